"""Moving what the web saw out of its journals into the database: everything once, in the order of time.

What somebody asked for goes before what was only seen, however much of that there is.

How far a journal is moved is written in the transaction that moves it; so nothing is taken in twice,
whenever a process or the database dies. A line that the database refuses for what it is, or that cannot
be read, is set aside in a file; all others go on without it.
"""

import fcntl
import heapq
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError
from sqlalchemy.orm import Session

from mailer.foundation.clock import real_now
from mailer.foundation.database import Database, DatabaseUnavailable
from mailer.foundation.journal import JournalHeld, take_over
from mailer.foundation.log import get_log
from mailer.tracking.journals import (
    DRAIN_LOCK,
    PUT_OFF,
    SET_ASIDE,
    Progress,
    find_journals,
    is_of_deeds,
    read_progress,
    write_progress,
)
from mailer.tracking.log import record
from mailer.tracking.models import TrackingKind, WebJournal
from mailer.tracking.putting_off import PutOff
from mailer.tracking.sightings import BadLine, Sighting, read_line
from recipients.choices import RowHeld

MOST_AT_ONCE = 2000
"""Lines in one transaction."""
_MOST_IN_A_PASS = 10 * MOST_AT_ONCE
"""After an outage there may be millions; between passes labels are revised, what is over is removed."""
_MOST_TRIED_AGAIN = 100
"""Of the deeds put off, in a pass: they hold up what was asked for since."""
LOOK_SECONDS = 0.25
"""What comes meanwhile is moved together: a transaction for a few lines costs more than they do."""
REVISE_SECONDS = 2.0
_REST = 9
"""So many times as long as labels were revised they are left alone: lines come first."""
LONGEST_PAUSE_SECONDS = 5.0
"""Between two tries while the database is away."""
_NEW_SECONDS = 1.0
"""A journal is made a moment before it is held; until then nobody may try its lock."""
_KEPT_OF_A_LINE = 4000
_MOST_JOURNALS = 200
"""Read side by side; each is an open file."""
_NOT_BY_CHANCE = 20
"""Where so many lines are refused and none is taken in, it is not the lines' fault."""
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_FAULTS = (DataError, IntegrityError, StatementError, ValueError, TypeError, KeyError, OverflowError)
"""What can be a line's fault. Anything else is the database's (gone, locked, behind, lacking a
permission) or the program's: the lines wait."""

Deed = Callable[[Session, Sighting], bool]
"""Does what somebody asked for; False if it was done already, or nobody is there to do it for.

One that may be done in whatever order, and again, may raise ``RowHeld`` before it changes anything: it
is put off, and nothing that comes behind it waits.
"""

log = get_log(__name__)


class AlreadyDraining(Exception):
    """Another process moves this folder's journals."""


class NothingTaken(Exception):
    """Each of many lines was refused; nothing was changed."""


class Overtaken(Exception):
    """Somebody else moved a journal on; nothing was changed."""


class _Line(NamedTuple):
    """One line of a journal."""

    journal: str
    begins: int
    ends: int
    raw: bytes
    seen: Sighting | None
    """None where it cannot be read."""

    @property
    def at(self) -> datetime:
        return _LONG_AGO if self.seen is None else self.seen.at


class _Outcome(NamedTuple):
    """What became of lines."""

    done: Sequence[_Line] = ()
    """Deeds that changed something, and are to be kept."""
    waiting: Sequence[_Line] = ()
    """Deeds whose row is held."""
    refused: Sequence[tuple[_Line, str]] = ()
    """Those that never will be taken in, each with the reason."""

    def plus(self, more: "_Outcome") -> "_Outcome":
        """What became of these and of more."""
        return _Outcome(
            [*self.done, *more.done],
            [*self.waiting, *more.waiting],
            [*self.refused, *more.refused],
        )


_Act = Callable[[Session, Sequence[_Line]], _Outcome]


class Drainer:
    """Moves a folder's journals; one at a time may."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        *,
        zone: ZoneInfo,
        deeds: Mapping[TrackingKind, Deed],
        revise: Callable[[], object] = lambda: None,
        ticking: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is read yet.

        Args:
            zone: in which a day begins and ends.
            deeds: what is done for sightings of these kinds; they are kept if it changed anything.
            revise: looks at labels again; called every few seconds.
        """
        self._database = database
        self._folder = folder
        self._zone = zone
        self._deeds = deeds
        self._revise = revise
        self._ticking = ticking
        self._revise_at = float("-inf")
        self._moved: dict[str, int] = {}
        self._told: Progress | None = None
        self._set_aside = read_progress(folder).set_aside
        self._put_off = PutOff(folder)

    def run(self, is_stopping: Callable[[], bool]) -> None:
        """Move whatever comes until told to stop, then what is there; wait while the database is away.

        Raises:
            AlreadyDraining: another process does it.
        """
        with only_drainer(self._folder):
            failures = 0
            while True:
                last = is_stopping()
                try:
                    moved = self.drain()
                    self._revise_now_and_then()
                    failures = 0
                    pause = 0.0 if moved >= MOST_AT_ONCE else LOOK_SECONDS
                except Exception as error:  # noqa: BLE001 - whatever it is, what was seen waits for its end
                    failures, moved = failures + 1, 0
                    pause = min(LOOK_SECONDS * 2.0 ** min(failures, 64), LONGEST_PAUSE_SECONDS)
                    self._tell_trouble(error)
                if last and not moved:
                    return
                wait(pause, is_stopping)

    def drain(self) -> int:
        """Move whole lines that are there now; return how many, 0 only if there was none.

        What a row's writer holds up is put off, and tried again with every call.

        Raises:
            DatabaseUnavailable, sqlalchemy.exc.DBAPIError: the database is away or not fit; what was
                not moved stays in the journals.
            NothingTaken: it refuses everything; so does this.
        """
        try:
            return self._drain()
        except Exception:
            self._moved.clear()  # perhaps a commit went through whose answer was lost
            raise

    def _drain(self) -> int:
        self._try_again()
        total, moved = 0, MOST_AT_ONCE
        while moved >= MOST_AT_ONCE and total < _MOST_IN_A_PASS:
            moved = self._move_next()
            total += moved
        for path in find_journals(self._folder):
            if path.name in self._moved and (total == 0 or _size(path) <= self._moved[path.name]):
                self._remove_if_over(path)
        self._tell(None)
        return total

    def _move_next(self) -> int:
        """Move what fits in a transaction, of what was asked for; if that is all, of what was seen too.

        Whoever waits for what they asked for is told before anything else is moved.
        """
        journals = find_journals(self._folder)
        self._look_up([path.name for path in journals])
        unmoved = sorted(
            (path for path in journals if _size(path) > self._moved[path.name]), key=_last_written
        )
        total = self._move_first([path for path in unmoved if is_of_deeds(path)])
        if total:
            self._tell(None)
        if total < MOST_AT_ONCE:
            total += self._move_first([path for path in unmoved if not is_of_deeds(path)])
        return total

    def _move_first(self, journals: Sequence[Path]) -> int:
        """Move in the order of time what fits in a transaction, of the first with a whole line."""
        for begin in range(0, len(journals), _MOST_JOURNALS):
            reading = [
                self._read(path, _size(path)) for path in journals[begin : begin + _MOST_JOURNALS]
            ]
            lines = list(islice(heapq.merge(*reading, key=lambda line: line.at), MOST_AT_ONCE))
            if lines:
                self._move(lines)
                return len(lines)
        return 0

    def _try_again(self) -> None:
        """Do deeds that were put off, if their rows are free now."""
        self._put_off.read()
        if not self._put_off:
            return
        tried = self._put_off.first(_MOST_TRIED_AGAIN)
        lines = [_Line(PUT_OFF, 0, 0, raw, seen) for raw, seen in tried]
        with self._database.write() as db:
            outcome = self._take_in(db, lines)
            aside = [(line, "unreadable") for line in lines if line.seen is None]
            aside += outcome.refused
            for line, why in aside:
                self._put_aside(line, why)
        with suppress(OSError):  # the disk is full: what is done is done again, which changes nothing
            self._put_off.note_tried(tried, _held(outcome))
        self._set_aside += len(aside)

    def _look_up(self, names: Sequence[str]) -> None:
        """Ask how far journals are that this process has not seen yet; forget those that are gone."""
        new = [name for name in names if name not in self._moved]
        known = {name: self._moved[name] for name in names if name in self._moved}
        if new:
            with self._database.read() as db:
                rows = db.execute(
                    select(WebJournal.name, WebJournal.moved).where(WebJournal.name.in_(new))
                )
                known |= dict.fromkeys(new, 0) | {row.name: row.moved for row in rows}
        self._moved = known

    def _read(self, path: Path, until: int) -> Iterator[_Line]:
        """The whole lines that are not moved yet, as far as the file is written now."""
        name = path.name
        begins = self._moved[name]
        if begins >= until:
            return
        with suppress(FileNotFoundError), path.open("rb") as file:
            file.seek(begins)
            for raw in file:
                if not raw.endswith(b"\n") or begins >= until:
                    return
                ends = begins + len(raw)
                try:
                    seen = read_line(raw)
                except BadLine:
                    seen = None
                yield _Line(name, begins, ends, raw, seen)
                begins = ends

    def _move(self, lines: Sequence[_Line]) -> None:
        """Take lines in; if one is refused, all others without it."""
        aside = [
            (line, "unreadable") for line in lines if line.seen is None and line.raw.endswith(b"]\n")
        ]
        with self._database.write() as db:
            outcome = self._take_in(db, lines)
            aside += outcome.refused
            self._mark(db, lines)
            self._put_off.add(_held(outcome))  # before the commit: better twice than nowhere
            for line, why in aside:
                self._put_aside(line, why)
        self._set_aside += len(aside)
        self._moved |= {line.journal: line.ends for line in lines}

    def _take_in(self, db: Session, lines: Sequence[_Line]) -> _Outcome:
        """Do what was asked for in the lines that can be read, then keep them.

        In this order, so that it is known whose objection waits before anything is kept of them. What
        was asked for stays done where its line cannot be kept.

        Raises:
            NothingTaken: each of many is refused.
        """
        readable = [line for line in lines if line.seen is not None]
        asked = [line for line in readable if self._deed_of(line)]
        outcome = self._all_but_refused(db, asked, self._do)
        undone = set(map(id, asked)).difference(map(id, outcome.done))
        kept = [line for line in readable if id(line) not in undone] if undone else readable
        letters = {(seen.campaign_id, seen.position) for _, seen in _held(outcome)}
        objecting = letters.union(self._put_off.letters)

        def keep(db: Session, lines: Sequence[_Line]) -> _Outcome:
            sightings = [line.seen for line in lines if line.seen is not None]
            record(db, sightings, zone=self._zone, objecting=objecting)
            return _Outcome()

        outcome = outcome.plus(self._all_but_refused(db, kept, keep))
        if len(outcome.refused) == len(readable) >= _NOT_BY_CHANCE:
            raise NothingTaken
        return outcome

    def _all_but_refused(self, db: Session, lines: Sequence[_Line], act: _Act) -> _Outcome:
        """Act on lines; if one is refused, on all others without it."""
        if not lines:
            return _Outcome()
        try:
            with db.begin_nested():
                return act(db, lines)
        except _FAULTS as error:
            if not _is_a_lines(error):
                raise
            if len(lines) == 1:
                return _Outcome(refused=[(lines[0], type(error).__name__)])
            middle = len(lines) // 2
            first = self._all_but_refused(db, lines[:middle], act)
            return first.plus(self._all_but_refused(db, lines[middle:], act))

    def _do(self, db: Session, lines: Sequence[_Line]) -> _Outcome:
        done, waiting = [], []
        for line in lines:
            deed, seen = self._deed_of(line), line.seen
            assert deed is not None
            assert seen is not None
            try:
                if deed(db, seen) and not _takes_back(seen):
                    done.append(line)
            except RowHeld:
                waiting.append(line)
        return _Outcome(done, waiting)

    def _deed_of(self, line: _Line) -> Deed | None:
        """What is done for a line; None where nothing was asked for."""
        return self._deeds.get(line.seen.kind) if line.seen is not None else None

    def _mark(self, db: Session, lines: Sequence[_Line]) -> None:
        """Write how far the journals are moved.

        Raises:
            Overtaken: they are not where we left them.
        """
        on_postgres = db.get_bind().dialect.name == "postgresql"
        insert = postgresql.insert if on_postgres else sqlite.insert
        now = real_now()
        ends = {line.journal: line.ends for line in lines}
        for name, moved in sorted(ends.items()):
            adding = insert(WebJournal).values(name=name, moved=moved, at=now)
            adding = adding.on_conflict_do_update(
                index_elements=[WebJournal.name],
                set_={"moved": moved, "at": now},
                where=WebJournal.moved == self._moved[name],
            )
            if db.execute(adding.returning(WebJournal.name)).first() is None:
                raise Overtaken

    def _put_aside(self, line: _Line, why: str) -> None:
        """Keep a line beside the database, for somebody to look at.

        Raises:
            OSError: the disk does not take it; the line stays where it is.
        """
        told = {
            "journal": line.journal,
            "begins": line.begins,
            "why": why,
            "line": line.raw[:_KEPT_OF_A_LINE].decode("utf-8", "replace").rstrip("\n"),
        }
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        with os.fdopen(os.open(self._folder / SET_ASIDE, flags, 0o600), "wb") as file:
            file.write(json.dumps(told, ensure_ascii=False).encode() + b"\n")
        with suppress(OSError):  # the log may lie on a full disk
            log.error("a sighting is set aside", journal=line.journal, begins=line.begins, why=why)

    def _remove_if_over(self, path: Path) -> None:
        """Remove a journal whose process is gone and of which everything is moved."""
        try:
            if time.time() - path.stat().st_mtime < _NEW_SECONDS:
                return
            with take_over(path):
                if any(True for _ in self._read(path, _size(path))):
                    return
                path.unlink()  # first: a journal without a row would be moved again
        except (JournalHeld, FileNotFoundError):
            return
        with self._database.write() as db:
            db.execute(delete(WebJournal).where(WebJournal.name == path.name))

    def _revise_now_and_then(self) -> None:
        began = self._ticking()
        if began < self._revise_at:
            return
        self._revise()
        ended = self._ticking()
        self._revise_at = ended + max(REVISE_SECONDS, _REST * (ended - began))

    def _tell_trouble(self, error: Exception) -> None:
        why = str(error) if isinstance(error, DatabaseUnavailable) else type(error).__name__
        if self._told is None or self._told.trouble != why:
            with suppress(OSError):
                log.warning("what readers do waits for the database", why=why)
        self._tell(why)

    def _tell(self, trouble: str | None) -> None:
        """Say how far we are, if there is news; a full disk leaves the old word standing."""
        moved = dict(self._moved) or (self._told.moved if self._told else {})
        progress = Progress(moved, self._set_aside, trouble)
        if progress != self._told:
            with suppress(OSError):
                write_progress(self._folder, progress)
                self._told = progress


@contextmanager
def only_drainer(folder: Path) -> Iterator[None]:
    """Hold the folder as its only drainer; the kernel lets go when the process ends.

    Raises:
        AlreadyDraining: another process holds it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / DRAIN_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyDraining(str(folder)) from error
        yield
    finally:
        os.close(descriptor)


def _held(outcome: _Outcome) -> list[tuple[bytes, Sighting]]:
    """Those that have to wait."""
    return [(line.raw, line.seen) for line in outcome.waiting if line.seen is not None]


def _is_a_lines(error: Exception) -> bool:
    """Whether an error is about a value; one of the database itself has other classes too."""
    return not isinstance(error, DBAPIError) or isinstance(error, DataError | IntegrityError)


def _takes_back(seen: Sighting) -> bool:
    """Whether a reminder is taken back: it is done, but it is nothing to count."""
    return seen.kind is TrackingKind.REMIND and seen.scope is not None


def _last_written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def wait(seconds: float, is_stopping: Callable[[], bool]) -> None:
    """Wait in real time, but no longer than until told to stop."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not is_stopping():
        time.sleep(min(left, LOOK_SECONDS))
