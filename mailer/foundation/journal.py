"""An append-only file that survives kill -9, held by one process for as long as it lives.

What ``write`` has returned from is in the kernel's hands: it outlives the process, though not the
machine. Only ``sync`` outlives that. A line cut short by a crash is no line.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class JournalHeld(Exception):
    """Another living process holds the journal; nothing was read or written."""


class Journal:
    """One process's notes, a line each."""

    def __init__(self, path: Path) -> None:
        """Open the journal, made if need be, and hold it.

        Raises:
            JournalHeld: another process has it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._torn = 0
        """Bytes at the end that a short write left and that do not count."""
        self._descriptor = _hold(path)
        while os.fstat(self._descriptor).st_nlink == 0:  # cleared away before we held it
            os.close(self._descriptor)
            self._descriptor = _hold(path)

    def write(self, lines: str) -> None:
        """Note a line, or several, in one write; when this returns, a kill of the process loses none.

        Raises:
            OSError: none of them is noted.
        """
        data = lines.encode() + b"\n"
        written = self._put(data)
        if written < len(data):
            self._torn = written
            self._take_back()
            raise OSError(errno.ENOSPC, f"short write to {self.path.name}")

    def append(self, lines: bytes) -> int:
        """Note whole lines, each with its end, in one write; return how many of them are noted.

        Fewer than there are: the disk is full. What was cut short is taken back.

        Raises:
            OSError: none is noted.
        """
        written = self._put(lines)
        whole = lines.rfind(b"\n", 0, written) + 1
        if written < len(lines):
            self._torn = written - whole
            with suppress(OSError):  # those before it are noted; it is tried again at the next write
                self._take_back()
        return lines.count(b"\n", 0, whole)

    @property
    def size(self) -> int:
        """Bytes that stand in the file, with what was cut short."""
        return os.fstat(self._descriptor).st_size

    def sync(self) -> None:
        """Put what was noted on the disk."""
        os.fdatasync(self._descriptor)

    def clear(self) -> None:
        """Forget everything noted: it stands in the database now."""
        os.ftruncate(self._descriptor, 0)
        self._torn = 0

    def go_on_in(self, path: Path) -> None:
        """Let go of the file, whose notes stay, and hold another from now on.

        Raises:
            OSError, JournalHeld: it cannot be had; the first is still held.
        """
        other = Journal(path)
        self.close()
        self.path, self._descriptor, self._torn = path, other._descriptor, 0

    def lines(self) -> Iterator[str]:
        """Every whole line noted so far, in order; what is no UTF-8 in it is replaced."""
        return _whole_lines(self.path)

    def close(self) -> None:
        """Let go of the file; the notes stay."""
        os.close(self._descriptor)

    def _put(self, data: bytes) -> int:
        """Write at the end, where nothing is left that was cut short; return how many bytes are written.

        Raises:
            OSError: none is.
        """
        self._take_back()
        return os.write(self._descriptor, data)

    def _take_back(self) -> None:
        """Forget what a short write left: what is noted next would make of it a line nobody wrote.

        Raises:
            OSError: it is still there.
        """
        if self._torn:
            os.ftruncate(self._descriptor, self.size - self._torn)
            self._torn = 0


def _hold(path: Path) -> int:
    """Open the file, made if need be, and lock it.

    Raises:
        JournalHeld: another process has it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise JournalHeld(path.name) from error
    return descriptor


@contextmanager
def take_over(path: Path) -> Iterator[Journal]:
    """Hold the journal of a process that is gone.

    Raises:
        FileNotFoundError: there is no such journal.
        JournalHeld: its process is alive.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    journal = Journal(path)
    try:
        yield journal
    finally:
        journal.close()


def _whole_lines(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line[:-1].decode(errors="replace")
