"""A database with events and what people asked for goes back a revision and comes again."""

from datetime import date

import pytest
from alembic import command
from sqlalchemy import select, text

from mailer.events.models import Event, EventState, Registration, Reminder, ReminderRequest
from mailer.events.registering import register
from mailer.events.requests import request_reminder
from mailer.foundation.database import Database, open_database
from mailer.migrations.upgrading import DanglingRows, migrating, upgrade_schema
from mailer.schema import current_revision
from tests.events.making import NOW, make_event, make_recipient


@pytest.fixture
def postgres_url(fresh_postgres_url: str) -> str:
    """These tests change more than rows."""
    return fresh_postgres_url


SENT = text(
    "INSERT INTO reminders (event_id, lead, rule, state, due_at, late, audience, at)"
    " SELECT id, '14 days', 'interested', 'sent', :now, :late, 3, :now FROM events"
)


def test_what_people_asked_for_survives_the_way_back_and_forth(database: Database) -> None:
    with database.write() as db:
        asking = make_recipient(db)
        for slug in ("aalborg", "kolding"):
            event = make_event(db, slug)
            event.hosted, event.state = True, EventState.MOVED
            request_reminder(db, slug, asking.id, now=NOW)
            register(db, slug, asking.id, now=NOW)

    with migrating(database) as config:
        command.downgrade(config, "0004")
    with database.write() as db:
        assert set(db.scalars(text("SELECT state FROM events"))) == {"open"}
        db.execute(SENT, {"now": str(NOW)[:19], "late": False})
    upgrade_schema(database)

    with database.read() as db:
        assert len(db.scalars(select(ReminderRequest)).all()) == 2
        assert db.scalars(select(Registration)).all() == []
        rows = db.scalars(select(Reminder).order_by(Reminder.event_id, Reminder.rule)).all()
        assert [(row.rule, row.event_date, row.audience) for row in rows] == [
            ("asked", date(2014, 6, 16), 3),
            ("clicked", date(2014, 6, 16), 0),
        ] * 2
        assert {event.hosted for event in db.scalars(select(Event))} == {False}


def test_rows_that_would_refer_to_nothing_stop_an_upgrade(sqlite_url: str) -> None:
    database = open_database(sqlite_url)
    with migrating(database) as config:
        command.downgrade(config, "0004")
    with pytest.raises(DanglingRows, match="reminder_requests refer to"):
        upgrade_with_a_lost_row(database)
    assert current_revision(database) == "0004"
    database.dispose()


def upgrade_with_a_lost_row(database: Database) -> None:
    lost = text("INSERT INTO reminder_requests (event_id, recipient_id, asked_at) VALUES (1, 1, :now)")
    with migrating(database) as config:
        config.attributes["connection"].execute(lost, {"now": str(NOW)[:19]})
        command.upgrade(config, "head")
