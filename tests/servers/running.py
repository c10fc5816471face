"""What the real mail servers of the tests have in common: how they are found, watched and ended."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Protocol

import pytest

HOST = "127.0.0.1"
UNKNOWN = "550 5.1.1 No such user here"
LATER = "451 4.7.1 Greylisted, please come again"
PEOPLE = "nobody"
"""The system user who owns what was received, where a server does not deliver as itself."""
UNPACKED = Path(__file__).resolve().parents[2] / ".cache" / "exim"
"""Where ``.ci/run`` unpacks what Debian does not install beside Postfix."""
_START_SECONDS = 20.0
_QUIET_SECONDS = 30.0
_TRACE = {
    "return-path",
    "x-original-to",
    "delivered-to",
    "envelope-to",
    "delivery-date",
    "received",
}


@dataclass(frozen=True)
class Arrived:
    """One letter as a server kept it."""

    sender: str
    recipient: str
    queued_as: str
    """The server's own name for it; a server killed while it delivers may deliver again."""
    data: bytes
    """As it was sent: without what the server put on top, lines ending in CRLF."""

    @property
    def message(self) -> EmailMessage:
        """The letter as the standard library reads it."""
        message = message_from_bytes(self.data, policy=default)
        assert isinstance(message, EmailMessage)
        return message


class MailServer(Protocol):
    """A mail server on loopback. To ``unknown@...`` it answers 550, to ``later@...`` 451."""

    name: str
    port: int

    def arrived(self) -> list[Arrived]:
        """Everything received so far, once the server has nothing left to deliver."""
        ...

    def empty(self) -> None:
        """Throw away everything received so far."""
        ...

    def restart(self) -> None:
        """End it at once with all its connections, and start it again with what it had taken."""
        ...


def find_program(*names: str, folders: Sequence[Path] = ()) -> Path:
    """The first of these programs that is there; without any the test is skipped.

    Args:
        folders: looked through before PATH and the folders of system programs.
    """
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    for name in names:
        if found := shutil.which(name, path=path):
            return Path(found)
    pytest.skip(f"the program {names[0]} is missing (.ci/run installs it)")


def require_root(server: str) -> None:
    """Skip the test where a server cannot change to its users."""
    if os.geteuid() != 0:
        pytest.skip(f"{server} starts only as root")


def free_port() -> int:
    """A port nobody listens on."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def open_folder(name: str) -> Iterator[Path]:
    """A temporary folder into which servers may look that run as other users."""
    folder = Path(tempfile.mkdtemp(prefix=f"mailer-{name}-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_folder(path: Path, *, user: str, mode: int = 0o700, group: str | None = None) -> Path:
    """A folder that belongs to a system user."""
    path.mkdir(parents=True)
    shutil.chown(path, user, group)
    path.chmod(mode)
    return path


class Daemon:
    """A server program in a process group of its own, ended by its id."""

    def __init__(self, command: Sequence[str | Path], port: int, log: Path) -> None:
        self._command, self._port, self._log = command, port, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            AssertionError: it ended or stayed silent; with the end of its log.
        """
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(part) for part in self._command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        until = time.monotonic() + _START_SECONDS
        while not self._greets():
            ended = self._process.poll() is not None
            if ended or time.monotonic() > until:
                self.end()
                told = self._log.read_text("utf-8", "replace")[-2000:]
                raise AssertionError(f"{self._command[0]} does not answer:\n{told}")
            time.sleep(0.05)

    def end(self) -> None:
        """End it with all its children."""
        if self._process is None:
            return
        for what in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, what)
            except ProcessLookupError:
                break
            try:
                self._process.wait(3)
            except subprocess.TimeoutExpired:
                continue
        self._process.wait(3)
        self._process = None

    def _greets(self) -> bool:
        try:
            with socket.create_connection((HOST, self._port), timeout=5) as connection:
                return connection.recv(4) == b"220 "
        except OSError:
            return False


def read_maildir(folder: Path, waiting: Callable[[], Iterable[Path]]) -> list[Arrived]:
    """The letters of a maildir, as soon as none waits in the server's queues.

    Raises:
        AssertionError: some go on waiting.
    """
    until = time.monotonic() + _QUIET_SECONDS
    while left := list(waiting()):
        assert time.monotonic() < until, f"letters stay in the queue: {left}"
        time.sleep(0.05)
    letters = [_read_letter(path) for path in sorted((folder / "new").glob("*"))]
    return list({letter.queued_as: letter for letter in letters}.values())


def empty_maildir(folder: Path) -> None:
    """Throw away what arrived."""
    for path in (folder / "new").glob("*"):
        path.unlink()


def _read_letter(path: Path) -> Arrived:
    """A letter out of a maildir, taken out of what the server put around it."""
    lines = path.read_bytes().splitlines(keepends=True)
    told: dict[str, str] = {}
    while lines:
        name, _, value = lines[0].partition(b":")
        if name.decode("latin-1").lower() not in _TRACE:
            break
        lines.pop(0)
        while lines[0].startswith((b" ", b"\t")):
            value += lines.pop(0)
        told[name.decode().lower()] = value.decode().strip().strip("<>")
    recipient = told.get("x-original-to") or told["envelope-to"]
    data = b"".join(line.removesuffix(b"\n").removesuffix(b"\r") + b"\r\n" for line in lines)
    queued_as = re.search(r"\bid ([\w-]+)", told["received"])
    assert queued_as is not None
    return Arrived(told["return-path"], recipient, queued_as[1], data)


class KeepingServer(ABC):
    """A server of its own folder that keeps all letters in one maildir."""

    _folder: Path
    _daemon: Daemon

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._daemon.start()

    def end(self) -> None:
        """End it with all its connections."""
        self._daemon.end()

    def restart(self) -> None:
        """End it at once with all its connections, and start it again with what it had taken."""
        self.end()
        self.start()

    def arrived(self) -> list[Arrived]:
        """Everything received so far, once there is nothing left to deliver."""
        return read_maildir(self._folder / "letters", self._waiting)

    def empty(self) -> None:
        """Throw away everything received so far."""
        self.arrived()
        empty_maildir(self._folder / "letters")

    @abstractmethod
    def _waiting(self) -> Iterable[Path]:
        """What it has taken and not delivered."""
