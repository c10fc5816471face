"""Getting what was seen into the event log: many sightings in one write, and none in a reader's way."""

import asyncio

import anyio.to_thread
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from sqlalchemy.orm import Session

from mailer.foundation.database import Database, DatabaseUnavailable
from mailer.foundation.log import get_log
from mailer.tracking.log import Sighting, record

PATIENCE_SECONDS = 1.0
"""The longest a reader waits for the log; after it the answer leaves, and the sighting stays."""
RETRY_SECONDS = 1.0
MOST_AT_ONCE = 500
MOST_WAITING = 100_000
"""Sightings kept while the database is away: some 20 MB."""

log = get_log(__name__)


class EventRecorder:
    """Sightings on their way to the database.

    Those that arrive while a write goes on share the next one. While the database is away they wait in
    memory.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[Sighting] = []
        self._tried = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._away = False

    @property
    def unwritten(self) -> int:
        """How many sightings are not in the database yet."""
        return len(self._waiting)

    async def note(self, sighting: Sighting) -> None:
        """Keep a sighting; returns when its write was tried, or a second has gone.

        While the database is known to be away it returns at once.
        """
        if len(self._waiting) >= MOST_WAITING:
            log.error("a sighting was lost: the database is away for too long")
            return
        self._waiting.append(sighting)
        tried = self._tried
        self._start()
        if self._away:
            return
        try:
            await asyncio.wait_for(tried.wait(), PATIENCE_SECONDS)
        except TimeoutError:
            log.warning("the event log is slow", unwritten=self.unwritten)

    async def close(self, patience_seconds: float = 5.0) -> None:
        """Write what is left, as far as the database lets us in that time."""
        if self._waiting:
            await asyncio.wait({self._start()}, timeout=patience_seconds)
        if self._writer is not None:
            self._writer.cancel()
        if self._waiting:
            log.error("sightings were lost: the database is away", lost=self.unwritten)

    def _start(self) -> asyncio.Task[None]:
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        return self._writer

    async def _write(self) -> None:
        while self._waiting:
            sightings = self._waiting[:MOST_AT_ONCE]
            tried, self._tried = self._tried, asyncio.Event()
            stored = await anyio.to_thread.run_sync(self._store, sightings)
            if stored:
                del self._waiting[: len(sightings)]
            self._away = not stored
            tried.set()
            if self._away:
                await asyncio.sleep(RETRY_SECONDS)

    def _store(self, sightings: list[Sighting]) -> bool:
        try:
            with self._database.write() as db:
                _record_or_drop(db, sightings)
        except (DatabaseUnavailable, OperationalError):
            log.warning("the event log waits for the database", unwritten=self.unwritten)
            return False
        return True


def _record_or_drop(db: Session, sightings: list[Sighting]) -> None:
    """Record all; if the database refuses one for what it is, the others go on without it."""
    try:
        with db.begin_nested():
            record(db, sightings)
    except (IntegrityError, DataError) as error:
        if len(sightings) == 1:
            log.error("a sighting was lost: the database refuses it", error=type(error).__name__)  # noqa: TRY400 - the trace would tell the row
            return
        for sighting in sightings:
            _record_or_drop(db, [sighting])
