"""Sightings reach the event log together, once each, and outlive an outage."""

import asyncio
from dataclasses import replace

from sqlalchemy import func, select

from mailer.foundation.database import Database
from mailer.tracking.labels import Judgement
from mailer.tracking.log import Sighting
from mailer.tracking.models import Label, TrackingEvent, TrackingKind
from mailer.web.recording import EventRecorder
from tests.conftest import NOW
from tests.web.conftest import outage

VISIT = Sighting(TrackingKind.VISIT, NOW, Judgement(Label.PERSON, "browser"), subject="startpakke")


def logged(database: Database) -> int:
    with database.read() as db:
        return db.scalar(select(func.count()).select_from(TrackingEvent)) or 0


def test_a_sighting_is_in_the_log_when_its_note_returns(database: Database) -> None:
    async def watch() -> int:
        await EventRecorder(database).note(VISIT)
        return logged(database)

    assert asyncio.run(watch()) == 1


def test_many_at_once_are_each_written_once(database: Database) -> None:
    async def watch() -> None:
        recorder = EventRecorder(database)
        await asyncio.gather(*[recorder.note(VISIT) for _ in range(1200)])
        await recorder.close()
        assert recorder.unwritten == 0

    asyncio.run(watch())
    assert logged(database) == 1200


def test_one_the_database_refuses_takes_no_other_with_it(database: Database) -> None:
    impossible = replace(VISIT, subject=None, judgement=Judgement(None, "x"))  # type: ignore[arg-type]

    async def watch() -> None:
        recorder = EventRecorder(database)
        await asyncio.gather(*[recorder.note(s) for s in (VISIT, impossible, VISIT)])
        await recorder.close()

    asyncio.run(watch())
    assert logged(database) == 2


def test_what_is_seen_during_an_outage_is_written_after_it(database: Database) -> None:
    async def watch() -> None:
        recorder = EventRecorder(database)
        with outage(database):
            await asyncio.gather(*[recorder.note(VISIT) for _ in range(10)])
            assert recorder.unwritten == 10
        await recorder.close()

    asyncio.run(watch())
    assert logged(database) == 10


def test_at_the_end_it_waits_for_the_database_only_so_long(database: Database) -> None:
    async def watch() -> None:
        recorder = EventRecorder(database)
        with outage(database):
            await recorder.note(VISIT)
            await recorder.close(patience_seconds=0.1)

    asyncio.run(watch())
    assert logged(database) == 0
