"""Whoever showed interest in an event is told what became of it, each change once."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from threading import Barrier, Thread

import pytest
from sqlalchemy import func, select

from mailer.campaigns.errors import NotAllowedNow
from mailer.campaigns.models import Campaign, Delivery
from mailer.events.catalogue import find_event
from mailer.events.changes import list_history, update_event
from mailer.events.models import EventState, Reminder, ReminderState
from mailer.events.registering import cancel_registration, register
from mailer.events.requests import request_reminder
from mailer.foundation.settings import SettingsError
from mailer.notices.changes import CancelledEvent, ToldChanges, cancel_and_tell, tell_changes
from mailer.rendering.errors import LetterNotFound
from mailer.runtime import Runtime
from mailer.sending.work import send_batches
from recipients.models import Recipient, SuppressionReason, SuppressionScope, TrackingChoice
from recipients.suppression import suppress
from tests.conftest import NOW
from tests.events.making import click, make_campaign, make_event
from tests.making import ScriptedRelay, make_recipient, relay_running, with_relay

SLUG = "aalborg"
LATER = NOW + timedelta(days=1)
PEOPLE = ("asked", "seated", "waiting", "clicked", "gave-back", "nobody")


class Office:
    """A hosted event with one seat, and people who showed interest in it, each in one way."""

    def __init__(self, runtime: Runtime, relay: ScriptedRelay) -> None:
        self.runtime = with_relay(runtime, relay.port)
        with runtime.database.write() as db:
            event = make_event(db, SLUG)
            event.hosted, event.capacity = True, 1
            people = {who: make_recipient(db, address=f"{who}@kommune.example") for who in PEOPLE}
            campaign = make_campaign(db, [people["clicked"]], event_slug=SLUG)
            click(db, campaign, 1)
            request_reminder(db, SLUG, people["asked"].id, now=NOW)
            gone = register(db, SLUG, people["gave-back"].id, now=NOW)
            cancel_registration(db, gone, now=NOW)
            for who in ("seated", "waiting"):
                register(db, SLUG, people[who].id, now=NOW)

    def change(self, **changes: str) -> None:
        with self.runtime.database.write() as db:
            update_event(db, SLUG, changes, now=LATER)

    def tell(self) -> ToldChanges | None:
        with self.runtime.database.write() as db:
            return tell_changes(self.runtime.launch_tools, db, SLUG, now=LATER)

    def cancel(self, *, tell: bool = True) -> CancelledEvent:
        tools, database = self.runtime.launch_tools, self.runtime.database
        return cancel_and_tell(tools, database, SLUG, now=LATER, tell=tell)

    def readers(self, told: ToldChanges | None) -> Sequence[str]:
        assert told is not None
        with self.runtime.database.read() as db:
            readers = db.scalars(
                select(Recipient.email)
                .join(Delivery, Delivery.recipient_id == Recipient.id)
                .where(Delivery.campaign_id == told.campaign_id)
                .order_by(Recipient.email)
            )
            return [email.partition("@")[0] for email in readers]

    def say_no(self, *names: str, scope: SuppressionScope) -> None:
        with self.runtime.database.write() as db:
            for recipient in db.scalars(select(Recipient)):
                if recipient.email.partition("@")[0] in names:
                    reason = SuppressionReason.UNSUBSCRIBED
                    suppress(db, recipient.address_hash, reason, now=NOW, scope=scope)

    @property
    def state(self) -> tuple[EventState, int, int]:
        """The event's state, how often it was told of, and how many campaigns there are."""
        with self.runtime.database.read() as db:
            event = find_event(db, SLUG)
            told = sum(change.told_at is not None for change, _ in list_history(db, event.id))
            campaigns = db.scalar(select(func.count()).where(Campaign.auto_submitted)) or 0
            return event.state, told, campaigns


@pytest.fixture
def relay() -> Iterator[ScriptedRelay]:
    with relay_running(ScriptedRelay()) as running:
        yield running


@pytest.fixture
def office(runtime: Runtime, relay: ScriptedRelay) -> Office:
    return Office(runtime, relay)


def test_everybody_who_showed_interest_reads_what_was_and_what_is(
    office: Office, relay: ScriptedRelay
) -> None:
    office.change(date="2014-06-19")
    office.change(date="2014-06-17", place="Nordkraft", capacity="1")

    told = office.tell()

    assert told is not None
    assert (told.campaign_name, told.audience) == ("aendring-aalborg", 4)
    assert [(one.field, one.old, one.new) for one in told.differences] == [
        ("date", "2014-06-16", "2014-06-17"),
        ("place", "Medicinerhuset", "Nordkraft"),
    ]
    assert office.readers(told) == ["asked", "clicked", "seated", "waiting"]
    with office.runtime.sending_tools() as tools:
        assert told.campaign_id is not None
        send_batches(tools, campaign_id=told.campaign_id)
    letter = relay.letter_to("asked@kommune.example")
    text = letter.get_body(("plain",))
    assert text is not None
    assert letter["Subject"].startswith("Mødet er flyttet til en ny dato")
    for word in ("16. juni 2014", "17. juni 2014", "Medicinerhuset", "Nordkraft"):
        assert word in text.get_content()


def test_what_was_told_is_not_told_again(office: Office) -> None:
    office.change(place="Nordkraft")
    first = office.tell()
    assert office.tell() is None

    office.change(time="10:00")
    second = office.tell()

    assert first is not None
    assert second is not None
    assert [one.field for one in second.differences] == ["time"]
    assert second.campaign_name == "aendring-aalborg-2"
    with office.runtime.database.read() as db:
        history = list_history(db, find_event(db, SLUG).id)
    assert [(one.field, one.told_at, campaign) for one, campaign in history] == [
        ("place", LATER, "aendring-aalborg"),
        ("state", LATER, "aendring-aalborg"),
        ("time", LATER, "aendring-aalborg-2"),
    ]


def test_of_two_who_tell_at_once_one_does(office: Office) -> None:
    office.change(place="Nordkraft")
    together, told = Barrier(2), list[ToldChanges | None]()

    def tell() -> None:
        together.wait()
        told.append(office.tell())

    threads = [Thread(target=tell) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one is None for one in told) == [False, True]
    assert office.state[2] == 1


def test_who_said_no_is_told_only_what_they_asked_for(office: Office) -> None:
    office.say_no("asked", "clicked", scope=SuppressionScope.LETTERS)
    office.say_no("seated", scope=SuppressionScope.EVERYTHING)
    office.change(place="Nordkraft")
    assert office.readers(office.tell()) == ["asked", "waiting"]


def test_the_click_of_somebody_who_objects_to_tracking_is_no_interest(office: Office) -> None:
    with office.runtime.database.write() as db:
        for recipient in db.scalars(select(Recipient)):
            recipient.tracking = TrackingChoice.OBJECTION
    office.change(place="Nordkraft")
    assert office.readers(office.tell()) == ["asked", "seated", "waiting"]


def test_a_cancelled_event_takes_its_reminders_with_it_and_is_told_once(
    office: Office, relay: ScriptedRelay
) -> None:
    done = office.cancel()

    assert office.readers(done.told) == ["asked", "clicked", "seated", "waiting"]
    assert office.state == (EventState.CANCELLED, 1, 1)
    with office.runtime.database.read() as db:
        states = db.scalars(select(Reminder.state)).all()
    assert len(states) == done.reminders > 0
    assert set(states) == {ReminderState.CANCELLED}
    assert done.told is not None
    assert done.told.campaign_id is not None
    with office.runtime.sending_tools() as tools:
        send_batches(tools, campaign_id=done.told.campaign_id)
    letter = relay.letter_to("seated@kommune.example")
    assert letter["Subject"].startswith("Aflyst: Møde i aalborg")

    with pytest.raises(NotAllowedNow, match="cancelled already"):
        office.cancel()
    office.change(place="Nordkraft")
    assert office.tell() is None
    assert office.state == (EventState.CANCELLED, 1, 1)


def test_a_reminder_that_goes_this_moment_is_not_called_off(office: Office) -> None:
    with office.runtime.database.write() as db:
        event = find_event(db, SLUG)
        going = Reminder(
            event_id=event.id,
            lead="14 days",
            rule="asked",
            event_date=event.date,
            state=ReminderState.SENT,
            due_at=NOW,
            at=NOW,
        )
        db.add(going)
        db.flush()
        cancelling = Thread(target=office.cancel, kwargs={"tell": False})
        cancelling.start()
        cancelling.join(0.3)
        assert cancelling.is_alive()
    cancelling.join()

    assert office.state[0] is EventState.CANCELLED
    with office.runtime.database.read() as db:
        states = {(row.lead, row.rule): row.state for row in db.scalars(select(Reminder))}
    assert states.pop(("14 days", "asked")) is ReminderState.SENT
    assert set(states.values()) == {ReminderState.CANCELLED}


def test_a_cancellation_told_to_nobody_can_be_told_later(office: Office) -> None:
    assert office.cancel(tell=False).told is None
    told = office.tell()
    assert told is not None
    assert told.campaign_name == "aflysning-aalborg"


def test_an_event_that_takes_place_after_all_is_told_of_as_a_change(office: Office) -> None:
    office.cancel()
    with office.runtime.database.write() as db:
        update_event(db, SLUG, {}, now=LATER, state=EventState.OPEN)
    told = office.tell()
    assert told is not None
    assert told.campaign_name == "aendring-aalborg"
    assert [(one.old, one.new) for one in told.differences] == [("cancelled", "open")]


def test_where_nobody_is_interested_the_news_is_told_to_nobody_for_good(office: Office) -> None:
    office.say_no(*PEOPLE, scope=SuppressionScope.EVERYTHING)
    office.change(place="Nordkraft")
    told = office.tell()
    assert told is not None
    assert (told.campaign_id, told.audience) == (None, 0)
    assert office.tell() is None


def test_of_an_event_that_is_over_nobody_is_told(office: Office) -> None:
    office.change(date="2014-03-01")
    with pytest.raises(NotAllowedNow, match="aalborg is over"):
        office.tell()


def test_a_cancellation_that_cannot_be_told_does_not_happen(office: Office) -> None:
    before = office.state
    office.runtime = with_relay(office.runtime)
    with pytest.raises(SettingsError):
        office.cancel()
    assert office.state == before


def test_a_change_and_its_letter_are_kept_together_or_not_at_all(office: Office) -> None:
    before = office.state
    tools = office.runtime.launch_tools
    lacking = replace(tools, letters=replace(tools.letters, folders=()))

    def move_and_tell() -> None:
        with office.runtime.database.write() as db:
            update_event(db, SLUG, {"place": "Nordkraft"}, now=LATER)
            tell_changes(lacking, db, SLUG, now=LATER)

    with pytest.raises(LetterNotFound):
        move_and_tell()
    assert office.state == before
