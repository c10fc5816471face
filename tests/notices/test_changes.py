"""Whoever showed interest in an event is told what became of it, each change once."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Thread

import pytest
from sqlalchemy import func, select

from mailer.campaigns.errors import NotAllowedNow
from mailer.campaigns.lifecycle import pause_campaign
from mailer.campaigns.models import Campaign, CampaignState, Delivery, DeliveryState
from mailer.events.catalogue import find_event
from mailer.events.changes import list_history, update_event
from mailer.events.models import EventState, Registration, RegistrationState, Reminder, ReminderState
from mailer.events.registering import cancel_registration, register
from mailer.events.requests import request_reminder
from mailer.foundation.settings import SettingsError
from mailer.launch import LaunchRefused
from mailer.notices.changes import CancelledEvent, ToldChanges, cancel_and_tell, tell_changes
from mailer.notices.confirmations import launch_confirmations
from mailer.notices.reminders import launch_due_reminders
from mailer.rendering.errors import LetterNotFound
from mailer.runtime import Runtime
from mailer.sending.work import send_batches
from recipients.errors import ImportRunning
from recipients.models import Recipient, SuppressionReason, SuppressionScope, TrackingChoice
from recipients.suppression import suppress
from tests.conftest import NOW
from tests.events.making import click, make_campaign, make_event
from tests.making import ScriptedRelay, make_recipient, relay_running, with_relay
from tests.notices.making import import_at_work

SLUG = "aalborg"
LATER = NOW + timedelta(days=1)
FORTNIGHT_BEFORE = datetime(2014, 6, 2, 10, 0, tzinfo=UTC)
PEOPLE = ("asked", "seated", "waiting", "clicked", "gave-back", "nobody")
TO_ALL = ("asked", "clicked", "seated", "waiting")


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

    def remind_and_confirm(self) -> None:
        """Launch what is due a fortnight before, so that nothing of it has left yet."""
        tools, database = self.runtime.launch_tools, self.runtime.database
        assert launch_due_reminders(tools, database, now=FORTNIGHT_BEFORE)
        assert launch_confirmations(tools, database, now=FORTNIGHT_BEFORE)

    def to_be_sent(self) -> set[tuple[str, str]]:
        """Letter and reader of all that is still to leave."""
        with self.runtime.database.read() as db:
            rows = db.execute(
                select(Campaign.letter, Recipient.email)
                .join(Delivery, Delivery.campaign_id == Campaign.id)
                .join(Recipient, Recipient.id == Delivery.recipient_id)
                .where(
                    Delivery.state == DeliveryState.PENDING,
                    Campaign.state.in_([CampaignState.SENDING, CampaignState.PAUSED]),
                )
            )
            return {(letter, email.partition("@")[0]) for letter, email in rows}

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


def test_an_event_that_takes_place_after_all_is_told_of_as_a_change(
    office: Office, relay: ScriptedRelay
) -> None:
    done = office.cancel()
    assert done.told is not None
    assert done.told.campaign_id is not None
    with office.runtime.sending_tools() as tools:
        send_batches(tools, campaign_id=done.told.campaign_id)
    with office.runtime.database.write() as db:
        update_event(db, SLUG, {}, now=LATER, state=EventState.OPEN)
    told = office.tell()
    assert told is not None
    assert told.campaign_name == "aendring-aalborg"
    assert [(one.old, one.new) for one in told.differences] == [("cancelled", "open")]


def test_where_nobody_may_be_written_to_there_is_no_news(office: Office) -> None:
    office.say_no(*PEOPLE, scope=SuppressionScope.EVERYTHING)
    office.change(place="Nordkraft")
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


@pytest.mark.parametrize("is_paused", [False, True], ids=["sending", "paused"])
def test_of_a_cancelled_event_nothing_leaves_but_the_news(office: Office, *, is_paused: bool) -> None:
    office.remind_and_confirm()
    before = office.to_be_sent()
    assert {("vi-ses", "seated"), ("paamindelse", "asked"), ("tilmelding", "seated")} < before
    if is_paused:
        with office.runtime.database.write() as db:
            for campaign in db.scalars(select(Campaign).where(Campaign.auto_submitted)):
                pause_campaign(db, campaign)

    done = office.cancel()

    assert done.held_back == len(before)
    assert office.to_be_sent() == {("aflysning", name) for name in TO_ALL}


def test_of_an_event_that_moves_to_another_day_nothing_leaves_that_names_the_old_one(
    office: Office,
) -> None:
    office.remind_and_confirm()
    before = office.to_be_sent()
    office.change(time="10:00", place="Nordkraft")
    assert office.to_be_sent() == before

    office.change(date="2014-06-23")
    assert office.to_be_sent() == set()
    office.tell()
    assert office.to_be_sent() == {("aendring", name) for name in TO_ALL}

    launch_confirmations(office.runtime.launch_tools, office.runtime.database, now=FORTNIGHT_BEFORE)
    news = {("tilmelding", "seated"), ("venteliste", "waiting")}
    assert office.to_be_sent() == {("aendring", name) for name in TO_ALL} | news


def test_who_had_given_a_seat_back_is_told_so_of_the_event_on_its_new_day(office: Office) -> None:
    tools, database = office.runtime.launch_tools, office.runtime.database
    launch_confirmations(tools, database, now=NOW)
    with database.write() as db:
        seated = db.scalars(
            select(Registration).where(Registration.state == RegistrationState.SEATED)
        ).one()
        cancel_registration(db, seated, now=NOW + timedelta(minutes=1))
    launch_confirmations(tools, database, now=LATER)
    assert ("afmelding", "seated") in office.to_be_sent()

    office.change(date="2014-06-23")
    assert office.to_be_sent() == set()
    launch_confirmations(tools, database, now=LATER)
    assert office.to_be_sent() == {("afmelding", "seated"), ("tilmelding", "waiting")}


def test_news_nobody_has_read_is_told_with_what_came_after_it(office: Office) -> None:
    office.change(date="2014-06-23", place="Nordkraft")
    office.tell()
    office.change(date="2014-06-24")
    told = office.tell()

    assert told is not None
    assert [(one.field, one.old, one.new) for one in told.differences] == [
        ("date", "2014-06-16", "2014-06-24"),
        ("place", "Medicinerhuset", "Nordkraft"),
    ]
    office.change(date="2014-06-16", place="Medicinerhuset")
    assert office.tell() is None
    assert office.to_be_sent() == set()


def test_news_that_somebody_has_read_is_not_taken_back(office: Office, relay: ScriptedRelay) -> None:
    office.change(date="2014-06-23")
    first = office.tell()
    assert first is not None
    assert first.campaign_id is not None
    with office.runtime.sending_tools() as tools:
        send_batches(tools, campaign_id=first.campaign_id)
    office.change(date="2014-06-16")
    again = office.tell()
    assert again is not None
    assert [(one.old, one.new) for one in again.differences] == [("2014-06-23", "2014-06-16")]


def test_an_event_that_takes_place_after_all_holds_back_the_news_that_it_does_not(
    office: Office,
) -> None:
    office.cancel()
    with office.runtime.database.write() as db:
        done = update_event(db, SLUG, {}, now=LATER, state=EventState.OPEN)
    assert done.held_back == len(TO_ALL)
    assert office.to_be_sent() == set()
    assert office.tell() is None


def test_what_other_events_have_to_say_leaves_all_the_same(office: Office) -> None:
    with office.runtime.database.write() as db:
        make_event(db, "kolding")
        someone = make_recipient(db, address="kolding@kommune.example")
        request_reminder(db, "kolding", someone.id, now=NOW)
    office.remind_and_confirm()
    office.cancel(tell=False)
    assert office.to_be_sent() == {("paamindelse", "kolding")}


def test_while_recipients_are_imported_nothing_is_cancelled_or_told(office: Office) -> None:
    before = office.state
    with import_at_work(office.runtime.database), pytest.raises(ImportRunning):
        office.cancel()
    assert office.state == before


def test_a_letter_that_reads_wrong_is_named_and_not_a_campaign_that_is_not_there(
    office: Office, tmp_path: Path
) -> None:
    letter = tmp_path / "letters/aendring"
    letter.mkdir(parents=True)
    for part in ("subject.txt", "body.txt", "body.html"):
        (letter / part).write_text("{{ recipient.workplace }}", "utf-8")
    office.change(place="Nordkraft")
    office.runtime = with_relay(office.runtime, 1, templates_dir=tmp_path)
    with pytest.raises(LaunchRefused, match="mend the letter 'aendring'"):
        office.tell()
