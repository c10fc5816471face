"""Keeping what was seen: on this machine before the answer leaves, in the database soon after it.

Each web process has two journals of its own, one of what is seen and one of what somebody asks for,
which the drainer moves first. A journal that is large or old is let go of and a new one begun, so that
the drainer can remove it.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from mailer.foundation.journal import Journal, JournalHeld
from mailer.foundation.log import get_log
from mailer.tracking.journals import (
    Progress,
    add_losses,
    drainer_lives,
    new_journal,
    read_progress,
    unmoved_bytes,
)
from mailer.tracking.sightings import Sighting, write_line

LARGEST_BYTES = 32_000_000
LONGEST_SECONDS = 3600.0
_ALARM_SECONDS = 10.0
_LOOK_SECONDS = 0.05
"""Between two looks at how far the drainer has come, however many wait for it."""

log = get_log(__name__)


class NotKept(Exception):
    """A deed could not be put on the disk; nothing may be promised."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line stands: once the drainer is past it, the line is in the database."""

    journal: str
    ends: int
    """Bytes of the journal up to the line's end."""


class _Book:
    """One kind of line: a journal after the other."""

    def __init__(self, folder: Path, ticking: Callable[[], float], *, of_deeds: bool) -> None:
        self._folder = folder
        self._ticking = ticking
        self._of_deeds = of_deeds
        self._journal: Journal | None = None
        self._began = 0.0
        self._syncs = 0

    def append(self, data: bytes) -> int:
        """Write whole lines; return how many of them are kept.

        Raises:
            OSError: the disk takes none.
            JournalHeld: another process holds the new journal.
        """
        return self._open().append(data)

    async def sync(self) -> Place:
        """Put what was written last on the disk; return where it ends.

        Raises:
            OSError: the disk does not take it.
        """
        assert self._journal is not None
        journal, place = self._journal, Place(self._journal.path.name, self._journal.size)
        self._syncs += 1  # meanwhile the journal must not be closed
        try:
            await anyio.to_thread.run_sync(journal.sync)
        finally:
            self._syncs -= 1
        return place

    def let_go_if_old(self) -> None:
        if self._journal is None:
            return
        is_old = self._ticking() - self._began >= LONGEST_SECONDS
        if is_old or self._journal.size >= LARGEST_BYTES:
            self.let_go()

    def let_go(self) -> None:
        if self._journal is not None and not self._syncs:
            self._journal.close()
            self._journal = None

    def _open(self) -> Journal:
        """The journal to write to, a new one where the last is large or old."""
        self.let_go_if_old()
        if self._journal is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(OSError):
                add_losses(self._folder, 0)
            journal = Journal(new_journal(self._folder, of_deeds=self._of_deeds))
            try:
                _sync_folder(self._folder)
            except OSError:
                journal.path.unlink(missing_ok=True)
                journal.close()
                raise
            self._journal, self._began = journal, self._ticking()
        return self._journal


class Recorder:
    """This process's journals of sightings; every method belongs to the loop's thread."""

    def __init__(self, folder: Path, *, ticking: Callable[[], float] = time.monotonic) -> None:
        """Keep journals in a folder; none is made before something is seen."""
        self._folder = folder
        self._ticking = ticking
        self._events = _Book(folder, ticking, of_deeds=False)
        self._deeds = _Book(folder, ticking, of_deeds=True)
        self._alarmed_at = float("-inf")
        self._gathered: list[bytes] = []
        self._progress = Progress()
        self._looked_at = float("-inf")
        self.noted = 0
        """Lines this process put into its journals."""
        self.lost = 0
        """Sightings of this process that are nowhere: the disk did not take them."""
        self.failing = False
        """Whether the disk refused the last write."""

    @property
    def unwritten(self) -> int:
        """Sightings that are in no journal yet: those of this turn of the loop."""
        return len(self._gathered)

    @property
    def unmoved(self) -> int:
        """Bytes in the folder's journals that are not known to be in the database yet."""
        return unmoved_bytes(self._folder)

    def note(self, sighting: Sighting) -> None:
        """Keep a sighting; when this returns, a kill of the process cannot lose it.

        If the disk does not take it, it is lost and counted: no reader waits for that.
        """
        self._gathered.append(write_line(sighting))
        self.flush()

    def gather(self, line: bytes) -> None:
        """Keep a sighting's line with the next ``flush``; the answer to it must not leave before."""
        self._gathered.append(line)

    def flush(self) -> None:
        """Put what was gathered into the journal, in one write."""
        lines = self._gathered
        if lines:
            self._gathered = []
            self._append(self._events, lines)

    async def note_deed(self, sighting: Sighting) -> Place:
        """Keep what somebody asked for; when this returns, not even a power cut can lose it.

        Returns:
            Where it stands.

        Raises:
            NotKept: the disk does not take it.
        """
        if not self._append(self._deeds, [write_line(sighting)]):
            raise NotKept
        try:
            return await self._deeds.sync()
        except OSError as error:
            self._alarm(_reason(error))
            raise NotKept from error

    async def wait_until_moved(self, place: Place, seconds: float) -> bool:
        """Whether a line is in the database, after so long a wait at most.

        Where nobody moves the journals, or the database is away, nobody waits for it.
        """
        if not drainer_lives(self._folder):
            return False
        with anyio.move_on_after(seconds):
            while True:
                progress = self._look_at_progress()
                if progress.moved.get(place.journal, 0) >= place.ends:
                    return True
                if progress.trouble is not None:
                    return False
                await anyio.sleep(_LOOK_SECONDS)
        return False

    def _look_at_progress(self) -> Progress:
        if self._ticking() - self._looked_at >= _LOOK_SECONDS:
            self._progress, self._looked_at = read_progress(self._folder), self._ticking()
        return self._progress

    def let_go_of_old(self) -> None:
        """Let go of a journal that is large or old, though nothing comes that would need a new one."""
        for book in (self._events, self._deeds):
            book.let_go_if_old()

    def close(self) -> None:
        """Let go of the journals; what stands in them is moved by the drainer."""
        self.flush()
        for book in (self._events, self._deeds):
            book.let_go()

    def _append(self, book: _Book, lines: list[bytes]) -> bool:
        """Write lines, and count those that are lost; whether all are kept."""
        noted, why = 0, "the disk is full"
        try:
            noted = book.append(b"".join(lines))
        except (OSError, JournalHeld) as error:
            why = _reason(error)
        self.noted += noted
        self.failing = noted < len(lines)
        if self.failing:
            self.lost += len(lines) - noted
            with suppress(OSError):  # it is in the log and in this process's own count
                add_losses(self._folder, len(lines) - noted)
            self._alarm(why)
        return not self.failing

    def _alarm(self, why: str) -> None:
        now = self._ticking()
        if now - self._alarmed_at >= _ALARM_SECONDS:
            self._alarmed_at = now
            with suppress(OSError):  # the log may lie on the same disk
                log.error("what readers do cannot be kept", why=why, lost=self.lost)


def _reason(error: Exception) -> str:
    return os.strerror(error.errno or 0) if isinstance(error, OSError) else "its journal is held"


def _sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk: a synced file without a name is gone with the power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
