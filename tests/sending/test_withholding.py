"""Who said no gets no letter, at the launch and until it leaves; what they asked for still comes."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from mailer.events.importing import import_events
from mailer.events.requests import request_reminder
from mailer.notices.reminders import launch_due_reminders
from mailer.runtime import Runtime
from mailer.sending.work import send_batches
from recipients.models import Recipient, SuppressionReason, SuppressionScope
from recipients.suppression import suppress
from tests.conftest import NOW
from tests.events.making import click, make_campaign
from tests.making import ScriptedRelay, make_recipient, relay_running, with_relay

EVENTS = Path(__file__).parents[2] / "templates/letters/startpakke/events.toml"
DUE = datetime.fromisoformat("2014-03-10T09:00+01:00")
SCOPES = {"some": SuppressionScope.LETTERS, "none": SuppressionScope.EVERYTHING}


@pytest.fixture
def relay() -> Iterator[ScriptedRelay]:
    with relay_running(ScriptedRelay()) as running:
        yield running


def say_no(runtime: Runtime) -> None:
    """Each of those in ``SCOPES`` wants no more letters, or nothing at all."""
    with runtime.database.write() as db:
        for recipient in db.scalars(select(Recipient)):
            scope = SCOPES.get(recipient.email.partition("@")[0].partition("-")[0])
            if scope is not None:
                reason = SuppressionReason.UNSUBSCRIBED
                suppress(db, recipient.address_hash, reason, now=NOW, scope=scope)


@pytest.mark.parametrize("after_the_freeze", [False, True])
def test_a_reminder_goes_to_who_asked_unless_they_said_no_to_everything(
    runtime: Runtime, relay: ScriptedRelay, *, after_the_freeze: bool
) -> None:
    runtime = with_relay(runtime, relay.port)
    with runtime.database.write() as db:
        import_events(db, EVENTS, NOW)
        people = [
            make_recipient(db, address=f"{who}@kommune.example")
            for who in ("all-asked", "some-asked", "none-asked", "all-clicked", "some-clicked")
        ]
        campaign = make_campaign(db, people, event_slug="hovedstaden")
        for position, person in enumerate(people, start=1):
            if person.email.startswith(("all-asked", "some-asked", "none-asked")):
                request_reminder(db, "hovedstaden", person.id, now=NOW)
            else:
                click(db, campaign, position)
    if not after_the_freeze:
        say_no(runtime)

    launched = launch_due_reminders(runtime.launch_tools, runtime.database, now=DUE)
    if after_the_freeze:
        say_no(runtime)
    with runtime.sending_tools() as tools:
        for reminder in launched:
            if reminder.campaign_id is not None:
                send_batches(tools, campaign_id=reminder.campaign_id)

    assert sum(reminder.audience for reminder in launched) == (5 if after_the_freeze else 3)
    assert sorted(relay.recipients) == [
        "all-asked@kommune.example",
        "all-clicked@kommune.example",
        "some-asked@kommune.example",
    ]
