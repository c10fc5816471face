"""Attendance lists: who is registered for an event, by somebody else's registration form."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from mailer.events.attendance_rows import (
    Attendance,
    StateColumn,
    find_state_column,
    read_attendance,
)
from mailer.events.attendance_staging import AttendanceStaging, MergeOutcome
from mailer.events.catalogue import find_event
from mailer.foundation.clock import Clock
from mailer.foundation.database import Database
from recipients.columns import REJECT_HEADINGS
from recipients.errors import UnreadableFile
from recipients.importing import ImportOptions
from recipients.lists import ImportResult, OpenedList, open_list, read_rows
from recipients.rejects import name_rejects, open_rejects

_CHUNK_ROWS = 2000


@dataclass(slots=True)
class AttendanceResult(ImportResult):
    """What became of a list's rows, and of those on earlier lists."""

    hosted: int = 0
    """Of those unchanged: registered or cancelled here, which no list changes."""
    hosted_lines: Sequence[int] = ()
    """The first few of them."""
    taken_off: int = 0
    """Those on an earlier list and not on this one, where it was to replace that."""


def import_attendance(
    database: Database,
    slug: str,
    path: Path,
    *,
    clock: Clock,
    options: ImportOptions,
    state_heading: str | None = None,
    replace: bool = False,
    agree: Callable[[int], None] = lambda _count: None,
    report: Callable[[int], None] = lambda _rows: None,
) -> AttendanceResult:
    """Register everybody on a list: all that can be read, or, on any error, nobody.

    Whose address a recipient has is that recipient; the others are counted and get no mail. The list
    alone says who has a seat: the event's capacity is not looked at.

    Args:
        options: ``source`` is of no account.
        state_heading: of the column that says who has a seat, waits or has cancelled, if named by hand.
        replace: take off those on earlier lists who are not on this one; not while rows are refused,
            which may be theirs.
        agree: is told how many that would be, and raises to let all be as it was.
        report: is told how many rows have been read so far.

    Raises:
        EventNotFound: there is no such event; nothing was changed.
        InputNotFound, UnreadableFile: the file cannot be used; nothing was changed.
        DatabaseUnavailable: the database cannot be reached; nothing was changed.
    """
    started = time.monotonic()
    with database.read() as db:
        event_id = find_event(db, slug).id
    opened, column = _open(path, options, state_heading, replace=replace)
    result = AttendanceResult()
    rejects_path = options.rejects or name_rejects(options.rejects_folder, path, clock.real())
    with ExitStack() as stack:
        connection = stack.enter_context(database.own_connection())
        rejects = stack.enter_context(open_rejects(rejects_path, opened.layout.headings))
        staging = AttendanceStaging(connection)
        read = partial(read_attendance, layout=opened.layout, column=column)
        for rows in _chunks(read_rows(opened, read, result, rejects)):
            staging.add(rows)
            report(result.rows)
        if result.rejected or options.rejects:
            rejects.keep()
            result.rejects_file = rejects_path
        replacing = replace and not result.rejected
        merge = partial(staging.merge, event_id, now=clock.now(), replace=replacing)
        if replacing and not options.dry_run and (count := merge(dry_run=True).taken_off):
            agree(count)
        _note(result, merge(dry_run=options.dry_run))
    result.seconds = time.monotonic() - started
    return result


def _open(
    path: Path, options: ImportOptions, state_heading: str | None, *, replace: bool
) -> tuple[OpenedList, StateColumn | None]:
    opened = open_list(path, options.mapping, encoding=options.encoding)
    if replace and opened.layout.headings[: len(REJECT_HEADINGS)] == REJECT_HEADINGS:
        raise UnreadableFile(
            f"{path}: refused rows are only a part of a list; import them without replacing the rest"
        )
    column = find_state_column(opened.layout, state_heading)
    if state_heading and column is None:
        raise UnreadableFile(f"{path}: no heading {state_heading!r}")
    return opened, column


def _chunks(rows: Iterator[Attendance]) -> Iterator[list[Attendance]]:
    while chunk := list(islice(rows, _CHUNK_ROWS)):
        yield chunk


def _note(result: AttendanceResult, outcome: MergeOutcome) -> None:
    result.imported, result.updated = outcome.imported, outcome.updated
    result.unchanged = outcome.total - outcome.imported - outcome.updated
    result.duplicates = result.rows - result.rejected - outcome.total
    result.hosted, result.hosted_lines = outcome.hosted, outcome.hosted_lines
    result.taken_off = outcome.taken_off
