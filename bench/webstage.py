"""A stage for the web: a campaign whose letters are out, servers on one processor, readers on the other.

The servers are the product's ``mailer web`` as shipped, nginx, and the plain route of
``plain_route.py``. PostgreSQL runs on the readers' processor, so that nobody's server shares its own.
"""

import json
import math
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic, sleep

import psycopg
from measuring import descendants
from plain_route import DATABASE, TABLE
from stage import BENCH, Program, Stage, StageFailed, open_stage, people

from mailer.embedded.services import LOOPBACK, free_port, web_service
from mailer.embedded.supervisor import Service
from mailer.foundation.settings import load_settings
from mailer.tracking.addresses import TrackedAddresses
from mailer.tracking.journals import find_journals
from mailer.tracking.tokens import Tokens

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.2
_LONGEST_LINE = 65_536
_NGINX = """daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder};
    proxy_temp_path {folder};
    fastcgi_temp_path {folder};
    uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    server {{
        listen {host}:{port};
        location / {{ empty_gif; }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Cpus:
    """Which processor belongs to whom."""

    server: int
    readers: int

    @classmethod
    def choose(cls) -> "Cpus":
        """The first and the last we may use.

        Raises:
            StageFailed: there is only one.
        """
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) < 2:
            raise StageFailed("two processors are needed: one for the server, one for its readers")
        return cls(allowed[0], allowed[-1])


@dataclass(frozen=True, slots=True)
class Mailing:
    """A campaign whose letters are out, as its readers see it."""

    name: str
    campaign_id: int
    audience: int
    links: tuple[int, ...]
    addresses: TrackedAddresses

    def click(self, position: int, link: int) -> str:
        """The path of one tracked link in one letter."""
        return self._path(self.addresses.click(self.campaign_id, position, link))

    def open_pixel(self, position: int) -> str:
        """The path of one letter's pixel."""
        return self._path(self.addresses.open_pixel(self.campaign_id, position))

    def unsubscribe(self, position: int) -> str:
        """The path that takes one recipient's no."""
        return self._path(self.addresses.unsubscribe(self.campaign_id, position))

    def clicks(self) -> Iterator[str]:
        """Every link of every letter, letters first."""
        for link in self.links:
            for position in range(1, self.audience + 1):
                yield self.click(position, link)

    def _path(self, address: str) -> str:
        return address.removeprefix(self.addresses.public_url)


@dataclass(frozen=True, slots=True)
class Load:
    """What ``wrk`` told of one run."""

    answered: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    """Answers of 400 and above."""
    broken: int
    """Requests that got no answer."""

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answered / self.seconds


@contextmanager
def open_web_stage(
    recipients: int, *, seed: int, settings: dict[str, object] | None = None
) -> Iterator[Stage]:
    """A stage with PostgreSQL and recipients; the web is not begun yet."""
    with open_stage("postgresql", settings=settings) as stage:
        stage.import_people(people(recipients, seed=seed))
        yield stage


def mail(stage: Stage, name: str, *, tracking: str = "personal") -> Mailing:
    """A campaign to everybody, queued by the product and marked as having left an hour ago."""
    basis = ("--legal-basis", "a measurement with invented people") if tracking == "personal" else ()
    stage.run("campaign", "create", name, "--letter", "startpakke", "--tracking", tracking, *basis)
    stage.run("campaign", "queue", name, "--yes")
    with asking(stage) as database:
        (found,) = database.execute(
            "SELECT id, audience, queued_at FROM campaigns WHERE name = %s", [name]
        ).fetchall()
        campaign_id, audience, queued_at = found
        database.execute(
            "UPDATE deliveries SET state = 'sent', at = %s - interval '1 hour', batch_id = NULL"
            " WHERE campaign_id = %s",
            [queued_at, campaign_id],
        )
        database.execute("UPDATE batches SET state = 'done' WHERE campaign_id = %s", [campaign_id])
        links = database.execute(
            "SELECT number FROM links WHERE campaign_id = %s ORDER BY number", [campaign_id]
        ).fetchall()
    told = load_settings(stage.folder / "mailer.toml")
    addresses = TrackedAddresses(told.public_url, Tokens(told.signing_keys))
    return Mailing(name, campaign_id, audience, tuple(number for (number,) in links), addresses)


@contextmanager
def asking(stage: Stage) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """A connection to the stage's PostgreSQL that commits by itself."""
    with psycopg.connect(stage.database_url.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


def start_web(stage: Stage, port: int, cpu: int | None = None) -> Program:
    """Begin ``mailer web`` as shipped, drainer and all, on one processor."""
    return stage.start("web", _on(cpu, web_service(port)))


def start_plain(stage: Stage, port: int, cpu: int) -> Program:
    """Begin the plain route."""
    url = stage.database_url.replace("+psycopg", "")
    with asking(stage) as database:
        database.execute(TABLE)
    service = Service(
        name="plain",
        command=(sys.executable, str(BENCH / "plain_route.py"), str(port)),
        tells="",
        is_ready=lambda: listens(port),
    )
    return stage.start("plain", _on(cpu, service), **{DATABASE: url})


def start_nginx(stage: Stage, port: int, cpu: int) -> Program:
    """Begin an nginx of our own: one worker, one picture from memory, no log.

    Raises:
        StageFailed: it is not installed.
    """
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise StageFailed("the program nginx is missing (Debian: nginx-light)")
    folder = stage.folder / "nginx"
    folder.mkdir()
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, host=LOOPBACK, port=port))
    service = Service(
        name="nginx",
        command=(program, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")),
        tells="",
        is_ready=lambda: listens(port),
    )
    return stage.start("nginx", _on(cpu, service))


def load(port: int, paths: Path, *, seconds: float, connections: int, cpu: int) -> Load:
    """Ask for the paths over again with wrk, as fast as answers come.

    Raises:
        StageFailed: wrk is not installed, or ended otherwise than well.
    """
    if shutil.which("wrk") is None:
        raise StageFailed("the program wrk is missing (Debian: wrk)")
    command = [
        *("taskset", "--cpu-list", str(cpu)),
        *("wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds:.0f}s"),
        *("--timeout", "10s", "--script", str(BENCH / "web.lua"), f"http://{LOOPBACK}:{port}"),
        *("--", str(paths), FIREFOX),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("result "):
            return Load(**json.loads(line.removeprefix("result ")))
    raise StageFailed(f"wrk ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def pin(pid: int, cpu: int) -> None:
    """Let a process, its threads and everything it began run on one processor only."""
    for each in (pid, *descendants(pid)):
        for thread in Path(f"/proc/{each}/task").glob("[0-9]*"):
            os.sched_setaffinity(int(thread.name), {cpu})


def find_drainer(web: Program) -> int | None:
    """The process id of the drainer beside a web process; None while there is none."""
    for pid in descendants(web.pid):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"drain" in words:
            return pid
    return None


def wait_for_drainer(web: Program, *, other_than: int | None = None) -> int:
    """The process id of the drainer, once there is one.

    Raises:
        StageFailed: none came.
    """
    deadline = monotonic() + _PATIENCE_SECONDS
    while monotonic() < deadline:
        found = find_drainer(web)
        if found is not None and found != other_than:
            return found
        sleep(0.02)
    raise StageFailed("no drainer was begun")


def wait_until_moved(stage: Stage, patience_seconds: float = 120.0) -> float:
    """Wait until every line of every web journal stands in the database; return the seconds it took.

    Args:
        patience_seconds: without any progress.

    Raises:
        StageFailed: it does not get there.
    """
    began = moved_at = monotonic()
    least: float = math.inf
    with asking(stage) as database:
        while (left := _unmoved_bytes(stage, database)) > 0:
            if left < least:
                least, moved_at = left, monotonic()
            if monotonic() - moved_at > patience_seconds:
                raise StageFailed(f"{left} bytes of the journals were not moved:\n{stage.tail('web')}")
            sleep(_LOOK_SECONDS)
    return monotonic() - began


def listens(port: int) -> bool:
    """Whether somebody takes connections on a loopback port."""
    try:
        socket.create_connection((LOOPBACK, port), 2).close()
    except OSError:
        return False
    return True


def free_ports(count: int) -> Sequence[int]:
    """Different loopback ports that nobody listens on."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return sorted(found)


def _on(cpu: int | None, service: Service) -> Service:
    if cpu is None:
        return service
    return replace(service, command=("taskset", "--cpu-list", str(cpu), *service.command))


def _unmoved_bytes(stage: Stage, database: "psycopg.Connection[tuple[object, ...]]") -> int:
    """Bytes of whole lines that no transaction has moved yet; a journal that was removed has none."""
    left = 0
    for path in find_journals(stage.state_dir / "web"):
        try:
            whole = _whole_lines_end(path)
        except FileNotFoundError:
            continue
        row = database.execute("SELECT moved FROM web_journals WHERE name = %s", [path.name]).fetchone()
        moved = int(str(row[0])) if row else 0
        if row is None and not path.exists():
            continue  # moved, and removed with its row
        left += max(whole - moved, 0)
    return left


def _whole_lines_end(path: Path) -> int:
    """Where the last whole line of a file ends; a line is far shorter than what is looked at."""
    with path.open("rb") as file:
        begins = max(file.seek(0, os.SEEK_END) - _LONGEST_LINE, 0)
        file.seek(begins)
        found = file.read().rfind(b"\n") + 1
    return begins + found if found else 0
