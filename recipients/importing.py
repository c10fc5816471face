"""Importing recipient files: every row is imported, or stands in the rejects file with its reason."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, Select, Update, select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from mailer.foundation.clock import Clock
from mailer.foundation.database import Database, begin_write, is_conflict
from recipients.columns import Column, Layout
from recipients.entries import Entry, read_entry
from recipients.errors import ImportRunning
from recipients.lists import ImportResult, OpenedList, open_list, read_rows
from recipients.models import Import, ImportState, Recipient
from recipients.rejects import Rejects, name_rejects, open_rejects
from recipients.runs import require_no_import_running
from recipients.staging import MergeCounts, Staging
from recipients.tables import Row

_BEAT_EVERY_SECONDS = 5.0
_CHUNK_ROWS = 2000
_MOST_TRIES = 3
"""Of the merge, where a deadlock takes it back."""
_LONGEST_FILE_NAME = 255
_EVERYBODY = select(Recipient.id)


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How files are to be read."""

    mapping: Mapping[Column, str] = field(default_factory=dict)
    """Headings named by hand."""
    source: str | None = None
    """The party whose list it is; a row's own source comes before it."""
    encoding: str | None = None
    rejects: Path | None = None
    """Where refused rows go; written even if there are none."""
    rejects_folder: Path = Path()
    """Where they go if no file is named; then only if there are any."""
    dry_run: bool = False
    """Read and count, and change nothing."""


def import_files(
    database: Database,
    paths: Sequence[Path],
    *,
    hash_key: bytes,
    clock: Clock,
    options: ImportOptions,
    written_to: Select[int] = _EVERYBODY,
    claims: Select[int] | None = None,
    report: Callable[[int], None] = lambda _rows: None,
) -> ImportResult:
    """Read files into the recipient table: all of them, or, on any error, nothing.

    Rows wait in temporary tables, so memory does not grow with the file; one transaction at the end
    writes them. It opens its own transactions, since it must show that it is alive while it reads.

    Args:
        hash_key: of the address hashes.
        written_to: ids of those who may have had a letter: what their rows said before is kept.
        claims: the newest version there was at each claim; what no letter showed is forgotten. None
            forgets nothing.
        report: is told how many rows have been read so far.

    Raises:
        InputNotFound, UnreadableFile: a file cannot be read; nothing was changed.
        ImportRunning: another import is at work; nothing was changed.
        DatabaseUnavailable: the database cannot be reached; nothing was changed.
    """
    started = time.monotonic()
    files = [open_list(path, options.mapping, encoding=options.encoding) for path in paths]
    result = ImportResult(uncertain=next(filter(None, (file.layout.uncertain for file in files)), None))
    with ExitStack() as stack:
        run = stack.enter_context(_running(database, paths, clock, options))
        connection = stack.enter_context(database.own_connection())
        headings = list(dict.fromkeys(h for file in files for h in file.layout.headings))
        path = options.rejects or name_rejects(options.rejects_folder, paths[0], clock.real())
        rejects = stack.enter_context(open_rejects(path, headings))
        staging = Staging(connection, hash_key)
        for entries in _chunks(files, options, result, rejects):
            staging.add(entries)
            report(result.rows)
            run.beat()
        result.duplicates = staging.combine()
        if result.rejected or options.rejects:
            rejects.keep()
            result.rejects_file = path
        if options.dry_run:
            _note(result, staging.count())
        else:
            write = partial(staging.merge, clock.now(), written_to=written_to, claims=claims)
            _merge(connection, write, run, result)
    result.seconds = time.monotonic() - started
    return result


def _merge(
    connection: Connection, write: Callable[[], MergeCounts], run: "_Run", result: ImportResult
) -> None:
    """Write everything staged; again, if somebody who writes several people's rows was in the way."""
    for tries_left in reversed(range(_MOST_TRIES)):
        try:
            with begin_write(connection):
                _note(result, write())
                run.finish(connection, result.counts)
        except OperationalError as error:
            if not tries_left or not is_conflict(error):
                raise
            run.beat()
        else:
            return


def _chunks(
    files: Sequence[OpenedList], options: ImportOptions, result: ImportResult, rejects: Rejects
) -> Iterator[list[Entry]]:
    """The readable rows, some at a time; the others go to the rejects file."""
    chunk: list[Entry] = []
    for file in files:
        read = partial(_read_row, layout=file.layout, source=options.source)
        for entry in read_rows(file, read, result, rejects):
            chunk.append(entry)
            if len(chunk) == _CHUNK_ROWS:
                yield chunk
                chunk = []
    yield chunk


def _read_row(row: Row, *, layout: Layout, source: str | None) -> Entry:
    return read_entry(row.cells, layout, source=source)


def _note(result: ImportResult, merged: MergeCounts) -> None:
    result.imported = merged.imported
    result.updated = merged.updated
    result.unchanged = merged.unchanged


class _Run:
    """The row by which others see that an import is at work; a dry run has none."""

    def __init__(self, database: Database, clock: Clock, import_id: int | None) -> None:
        self._database = database
        self._clock = clock
        self._id = import_id
        self._beat_at = time.monotonic()

    def beat(self) -> None:
        """Show now and then that the import is alive."""
        if self._id is None or time.monotonic() - self._beat_at < _BEAT_EVERY_SECONDS:
            return
        with self._database.write() as db:
            db.execute(self._change(beat_at=self._clock.real()))
        self._beat_at = time.monotonic()

    def finish(self, connection: Connection, counts: Mapping[str, int]) -> None:
        """Note the end in the transaction that writes the recipients.

        Raises:
            ImportRunning: the run was taken for dead and another has begun; the transaction fails.
        """
        done = connection.execute(
            self._change(state=ImportState.DONE, counts=dict(counts), beat_at=self._clock.real())
        )
        if done.rowcount != 1:
            raise ImportRunning("another import began while this one stood still; import again")

    def fail(self) -> None:
        """Note that a run that did not finish is over."""
        with self._database.write() as db:
            db.execute(self._change(state=ImportState.FAILED))

    def _change(self, **values: object) -> Update:
        running = update(Import).where(Import.id == self._id, Import.state == ImportState.RUNNING)
        return running.values(**values)


@contextmanager
def _running(
    database: Database, paths: Sequence[Path], clock: Clock, options: ImportOptions
) -> Iterator[_Run]:
    if options.dry_run:
        yield _Run(database, clock, None)
        return
    with database.write() as db:
        run = _Run(database, clock, _begin(db, paths, clock.real(), options.source))
    try:
        yield run
    finally:
        run.fail()


def _begin(db: Session, paths: Sequence[Path], now: datetime, source: str | None) -> int:
    """Write the run's row, unless another run is alive."""
    if db.get_bind().dialect.name == "postgresql":
        # Two imports that begin at once must see each other; SQLite has one writer anyway.
        db.execute(text("LOCK TABLE imports IN SHARE ROW EXCLUSIVE MODE"))
    require_no_import_running(db, now)
    dead = update(Import).where(Import.state == ImportState.RUNNING)
    db.execute(dead.values(state=ImportState.FAILED))
    run = Import(
        file=", ".join(path.name for path in paths)[:_LONGEST_FILE_NAME],
        source=source,
        state=ImportState.RUNNING,
        started_at=now,
        beat_at=now,
        counts={},
    )
    db.add(run)
    db.flush()
    return run.id
