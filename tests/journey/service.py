"""The whole service as an office runs it: `mailer up`, the mail sink, and the command line."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mailer.embedded.mailstore import Kept, read_record
from mailer.embedded.services import free_port
from tests.conftest import SECRET_KEY, SUPPRESSION_KEY

MAILER = [sys.executable, "-m", "mailer.cli"]
_PATIENCE_SECONDS = 90.0


@dataclass
class Service:
    """One running service and its folder."""

    folder: Path
    environment: dict[str, str]
    public_url: str
    supervisor: "subprocess.Popen[bytes]"

    def run(self, *arguments: str, code: int = 0) -> str:
        """What a command prints, having ended with this exit code."""
        done = subprocess.run(
            [*MAILER, *arguments],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
        )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def read(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """The JSON a command prints."""
        read: dict[str, Any] = json.loads(self.run(*arguments, "--json", code=code))
        return read

    def get(self, address: str, *, agent: str) -> str:
        """What a page says to a browser."""
        request = urllib.request.Request(address, headers={"User-Agent": agent})
        with urllib.request.urlopen(request, timeout=10) as response:
            text: str = response.read().decode("utf-8", "replace")
        return text

    def follow(self, address: str, *, agent: str) -> str:
        """Where a tracked link leads to; nobody goes there."""
        place = urlsplit(address)
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=10)
        try:
            connection.request("GET", place.path, headers={"User-Agent": agent})
            answer = connection.getresponse()
            assert answer.status == 302, answer.status
            return str(answer.headers["Location"])
        finally:
            connection.close()

    def post(self, address: str, body: str) -> int:
        """The status of a form's POST."""
        request = urllib.request.Request(
            address,
            data=body.encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)

    def kept(self) -> list[Kept]:
        """The sink's own record."""
        return list(read_record(self.folder / "sink"))

    def wait_until_finished(self, name: str) -> dict[str, Any]:
        """The campaign's status once it has ended."""
        return wait_for(
            lambda: (seen := self.read("campaign", "status", name))["state"] == "finished" and seen
        )


def wait_for(look: Callable[[], Any]) -> Any:
    """What ``look`` returns once it is true."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < until:
        if seen := look():
            return seen
        time.sleep(0.2)
    raise AssertionError("waited in vain")


def children_of(pid: int) -> list[tuple[int, str]]:
    """Every process below this one, with its command line."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            words = (stat.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, IndexError, ValueError):
            continue
        if parent == pid:
            child = int(stat.parent.name)
            found += [(child, words), *children_of(child)]
    return found


@contextmanager
def running_service(folder: Path, database_url: str, *, faults: str = "") -> Iterator[Service]:
    """Run everything for as long as the block lasts."""
    web, smtp = free_port(), free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MAILER_")},
        "MAILER_STATE_DIR": str(folder / "state"),
        "MAILER_DATABASE_URL": database_url,
        "MAILER_SECRET_KEY": SECRET_KEY,
        "MAILER_SUPPRESSION_KEY": SUPPRESSION_KEY,
        "MAILER_SENDER": "Center for Offentlig Innovation <brev@coi.example>",
        "MAILER_SMTP_RELAYS": f"smtp://127.0.0.1:{smtp}?starttls=never",
        "MAILER_PUBLIC_URL": f"http://127.0.0.1:{web}",
        "MAILER_CLOCK": "2014-03-07T09:00+01:00",
        "MAILER_BATCH_SIZE": "50",
    }
    (folder / "faults.toml").write_text(faults, encoding="utf-8")
    log = (folder / "up.log").open("wb")
    sink = subprocess.Popen(
        [*MAILER, "sink", "--port", str(smtp), "--folder", "sink", "--faults", "faults.toml"],
        env=environment,
        cwd=folder,
        stderr=log,
    )
    up = subprocess.Popen([*MAILER, "up", "--port", str(web)], env=environment, cwd=folder, stderr=log)
    service = Service(folder, environment, f"http://127.0.0.1:{web}", up)
    try:
        wait_for(lambda: "ready in" in (folder / "up.log").read_text() or up.poll() is not None)
        assert up.poll() is None, (folder / "up.log").read_text()
        yield service
    finally:
        up.send_signal(signal.SIGINT)
        sink.send_signal(signal.SIGTERM)
        assert up.wait(30) in {0, 130}
        sink.wait(10)
        log.close()
