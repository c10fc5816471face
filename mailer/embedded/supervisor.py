"""Keeps one machine's services alive: starts them in order, again when one dies, ends them all."""

import fcntl
import os
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mailer.embedded.errors import AlreadyRunning, ServiceFailed
from mailer.embedded.processes import PidFile, Stop, begin, end, end_leftovers, has_ended

LOOK_EVERY_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 4.0
"""Whatever dies is back within five seconds, however often it died before."""
_STEADY_SECONDS = 10.0
_READY_SECONDS = 60.0
_READY_POLL_SECONDS = 0.02
_GRACE_SECONDS = 15.0
"""A worker finishes the dots that are out; a slower relay leaves one letter uncertain."""
_LEFTOVER_GRACE_SECONDS = 5.0
_LOG_LIMIT_BYTES = 20_000_000
_LOG_TAIL_BYTES = 4_000

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Service:
    """One program to keep running."""

    name: str
    command: tuple[str, ...]
    tells: str
    """What it is and where to find it, for people."""
    is_ready: Callable[[], bool] | None = None
    """None: it is ready when it runs."""
    serves_others: bool = False
    """It starts before the others and ends after them."""


@dataclass(slots=True)
class _Running:
    service: Service
    child: "subprocess.Popen[bytes]"
    began: float
    deaths: int = 0
    again_at: float | None = None


@dataclass(slots=True)
class Supervisor:
    """Runs services as child processes; every method belongs to the one thread that starts them.

    The thread matters: the kernel ends a leashed child when the thread that began it ends.
    """

    state_dir: Path
    environment: Mapping[str, str]
    tell: Tell
    log_folder: Path
    stop: Stop = field(default_factory=Stop)
    _running: list[_Running] = field(default_factory=list)

    @property
    def run_folder(self) -> Path:
        """Where the pid files lie."""
        return self.state_dir / "run"

    def run(
        self,
        services: Sequence[Service],
        *,
        when_ready: Callable[[], None] = lambda: None,
    ) -> None:
        """Start the services and keep them alive until told to stop; then all of them are gone.

        Raises:
            ServiceFailed: one of them could not be started.
        """
        self.run_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.log_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = end_leftovers(self.run_folder, grace_seconds=_LEFTOVER_GRACE_SECONDS)
        if found:
            self.tell(f"ended {found} processes left behind by an earlier run")
        try:
            for first in (True, False):
                chosen = [service for service in services if service.serves_others is first]
                for service in chosen:
                    self._start(service)
                self._wait_until_ready(len(chosen))
            if not self.stop.asked:
                when_ready()
            while not self.stop.asked:
                self._look()
                time.sleep(LOOK_EVERY_SECONDS)
        finally:
            self._stop()

    def _start(self, service: Service) -> None:
        running = _Running(service, self._begin(service), time.monotonic())
        self._running.append(running)
        self.tell(f"{service.name:10} {service.tells} (process {running.child.pid})")

    def _begin(self, service: Service) -> "subprocess.Popen[bytes]":
        path = self.log_path(service)
        if path.exists() and path.stat().st_size > _LOG_LIMIT_BYTES:
            path.replace(path.with_suffix(".log.1"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "ab") as log:
            child = begin(
                service.command, run_folder=self.run_folder, environment=self.environment, log=log
            )
        PidFile(self.run_folder / f"{service.name}.pid").write(child.pid)
        return child

    def log_path(self, service: Service) -> Path:
        """Where the service's output goes."""
        return self.log_folder / f"{service.name}.log"

    def _wait_until_ready(self, count: int) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        for running in self._running[len(self._running) - count :]:
            service = running.service
            while not self.stop.asked and not (service.is_ready is None or service.is_ready()):
                if has_ended(running.child):
                    raise ServiceFailed(self._obituary(running))
                if time.monotonic() > deadline:
                    raise ServiceFailed(
                        f"{service.name} was not ready after {_READY_SECONDS:.0f} s;"
                        f" its log: {self.log_path(service)}"
                    )
                time.sleep(_READY_POLL_SECONDS)

    def _look(self) -> None:
        now = time.monotonic()
        for running in self._running:
            if running.again_at is None and has_ended(running.child):
                steady = now - running.began > _STEADY_SECONDS
                running.deaths = 1 if steady else running.deaths + 1
                pause = pause_before_restart(running.deaths)
                running.again_at = now + pause
                self.tell(f"{self._obituary(running)}; starting it again in {pause:.1f} s")
            if running.again_at is not None and now >= running.again_at:
                running.again_at = None
                running.child = self._begin(running.service)
                running.began = now
                self.tell(f"{running.service.name:10} is back (process {running.child.pid})")

    def _obituary(self, running: _Running) -> str:
        code = running.child.returncode
        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        path = self.log_path(running.service)
        last = last_line(path)
        return f"{running.service.name} ended ({how}; {last or 'nothing said'}; log: {path})"

    def _stop(self) -> None:
        for last in (False, True):
            chosen = [each for each in self._running if each.service.serves_others is last]
            end([each.child for each in chosen], grace_seconds=_GRACE_SECONDS, stop=self.stop)
            for each in chosen:
                PidFile(self.run_folder / f"{each.service.name}.pid").forget()
        self._running.clear()


def pause_before_restart(deaths: int) -> float:
    """Seconds to wait before the next start, doubling for what keeps dying.

    Args:
        deaths: in a row, each soon after its start.
    """
    return min(0.25 * 2.0 ** min(deaths - 1, 64), LONGEST_PAUSE_SECONDS)


def last_line(path: Path) -> str:
    """The last line of a log that says something."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - _LOG_TAIL_BYTES))
            said = deque((line.strip() for line in log if line.strip()), maxlen=1)
    except OSError:
        return ""
    return said[0].decode("utf-8", "replace")[:200] if said else ""


@contextmanager
def only_one(state_dir: Path) -> Iterator[None]:
    """Hold the state folder as its only supervisor; the kernel lets go when the process ends.

    Raises:
        AlreadyRunning: another process holds it.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = state_dir / "up.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
            raise AlreadyRunning(
                f"{state_dir} is already served by process {holder or 'unknown'};"
                " stop it, or set another state folder (MAILER_STATE_DIR)"
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        os.close(descriptor)
