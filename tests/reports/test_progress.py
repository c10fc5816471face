"""What a report of progress counts: whole days, everybody once, and nothing of a few."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from mailer.campaigns.models import Delivery, DeliveryState
from mailer.events.models import (
    Event,
    EventChange,
    EventState,
    Registration,
    RegistrationSource,
    RegistrationState,
    Reminder,
    ReminderRequest,
    ReminderState,
)
from mailer.foundation.database import Database
from mailer.reports.progress import EventProgress, Period, ProgressReport, Standing
from mailer.reports.progress_figures import progress_report
from mailer.reports.report import Dimension
from mailer.tracking.models import Label, TrackingKind
from recipients.models import Region, Suppression, SuppressionReason
from tests.conftest import NOW
from tests.events.making import ZONE
from tests.reports.factories import act, deliver, make_campaign, make_event, make_link, make_recipient

PERIOD = Period(date(2013, 10, 25), date(2014, 4, 7), ZONE)
LATER = datetime(2014, 4, 8, 7, 0, tzinfo=UTC)
FIRST_MOMENT = datetime(2014, 4, 7, 22, 0, tzinfo=UTC)
"""The first moment after the period: midnight in Copenhagen's summer."""
BEFORE = FIRST_MOMENT - timedelta(seconds=1)


def count(db: Session, period: Period = PERIOD, **more: Any) -> ProgressReport:
    return progress_report(db, period, now=LATER, **more)


def only_event(report: ProgressReport) -> EventProgress:
    (one,) = report.events
    return one


def send(db: Session, campaign: Any, number: int, **recipient: Any) -> list[int]:
    """So many letters, each to somebody new."""
    return [
        deliver(db, campaign, make_recipient(db, f"{campaign.name}{n}@{n}.example", **recipient))
        for n in range(number)
    ]


# Borders


def test_a_period_is_whole_local_days(db: Session) -> None:
    campaign = make_campaign(db)
    link = make_link(db, campaign, "pack", kind="download")
    positions = send(db, campaign, 6)
    for position, at in zip(positions, [BEFORE, BEFORE, FIRST_MOMENT, *[NOW] * 3], strict=True):
        db.get_one(Delivery, (campaign.id, position)).at = at
        act(db, campaign, TrackingKind.CLICK, position, link=link, at=at)
        act(db, campaign, TrackingKind.CLICK, link=link, at=at)  # nobody's: only its day is kept

    inside = count(db)
    after = count(db, Period(date(2014, 4, 8), date(2014, 4, 8), ZONE))

    assert [inside.invitations.delivery["sent"], after.invitations.delivery["sent"]] == [5, 1]
    assert [inside.invitations.engagement["downloads"].total for inside in (inside, after)] == [10, 2]
    assert [r.invitations.engagement["downloads"].recipients for r in (inside, after)] == [5, 1]


def test_a_letter_opened_in_a_later_period_is_told_there(db: Session) -> None:
    campaign = make_campaign(db)
    positions = send(db, campaign, 5)
    act(db, campaign, TrackingKind.OPEN, positions[0], at=FIRST_MOMENT)

    later = count(db, Period(date(2014, 4, 8), date(2014, 4, 8), ZONE))

    (letter,) = later.letters
    assert letter.delivery["letters"] == 0
    assert letter.engagement["opens"].total == 1


# Mail


def test_what_went_by_itself_is_told_apart_and_by_letter(db: Session) -> None:
    send(db, make_campaign(db), 6)
    for name in ("p-hovedstaden-14-days", "p-hovedstaden-7-days"):
        reminder = make_campaign(db, name)
        reminder.auto_submitted, reminder.letter = True, "paamindelse"
        send(db, reminder, 6)

    report = count(db)

    told = [(letter.name, letter.automatic, letter.campaigns) for letter in report.letters]
    assert told == [("startpakke-2014", False, 1), ("paamindelse", True, 2)]
    assert (report.invitations.delivery["sent"], report.automatic.delivery["sent"]) == (6, 10)


def test_every_state_is_told_and_they_add_up(db: Session) -> None:
    campaign = make_campaign(db)
    for state in DeliveryState:
        deliver(db, campaign, make_recipient(db, f"{state}@kommune.example"), state)

    delivery = dict(count(db).invitations.delivery)

    assert delivery.pop("letters") == len(DeliveryState)
    assert delivery == dict.fromkeys(delivery, 1)
    assert sum(count or 0 for count in delivery.values()) == len(DeliveryState)


def test_people_machines_and_nobody_are_told_apart(db: Session) -> None:
    campaign = make_campaign(db)
    link = make_link(db, campaign, "events.registration/h", kind="registration", event="h")
    first, second, *_ = send(db, campaign, 5)
    act(db, campaign, TrackingKind.CLICK, first, link=link)
    act(db, campaign, TrackingKind.CLICK, second, link=link, label=Label.MACHINE)
    act(db, campaign, TrackingKind.CLICK, link=link, label=Label.UNSURE)

    clicks = count(db).invitations.engagement["registration_clicks"]

    assert (clicks.recipients, clicks.recipients_people) == (2, 1)
    assert (clicks.total, clicks.people, clicks.machines, clicks.unsure) == (3, 1, 1, 1)


def test_what_tracking_does_not_know_is_not_nought(db: Session) -> None:
    campaign = make_campaign(db, tracking="anonymous")
    send(db, campaign, 6)
    for _ in range(5):
        act(db, campaign, TrackingKind.OPEN)

    report = count(db)

    opens = report.invitations.engagement["opens"]
    assert (opens.recipients, opens.total) == (None, 5)
    assert [group.opened for group in report.by[Dimension.REGION]] == [None]


def test_letters_to_fewer_than_five_are_put_together(db: Session) -> None:
    for name, size in (("large", 20), ("middle", 8), ("small", 2)):
        send(db, make_campaign(db, name), size)

    letters = count(db).letters

    assert [(each.name, each.names, each.delivery["sent"]) for each in letters] == [
        ("large", 1, 20),
        ("andre", 2, 10),
    ]


def test_the_size_of_a_letter_is_that_of_its_whole_audience(db: Session) -> None:
    campaign = make_campaign(db)
    for position in send(db, campaign, 20)[:18]:
        db.get_one(Delivery, (campaign.id, position)).at = FIRST_MOMENT

    assert [letter.name for letter in count(db).letters] == ["startpakke-2014"]


# Recipients


def test_whoever_got_several_letters_counts_once(db: Session) -> None:
    people = [make_recipient(db, f"{n}@{n}.example") for n in range(12)]
    for name in ("first", "second"):
        campaign = make_campaign(db, name)
        for person in people:
            act(db, campaign, TrackingKind.OPEN, deliver(db, campaign, person))

    (region,) = count(db).by[Dimension.REGION]

    assert (region.value, region.audience, region.sent, region.opened) == ("Midtjylland", 12, 12, 12)


def test_what_would_point_at_a_few_is_hidden(db: Session) -> None:
    campaign = make_campaign(db)
    north = send(db, campaign, 9, region=Region.NORDJYLLAND)
    south = [
        deliver(db, campaign, make_recipient(db, f"s{n}@s{n}.example", region=Region.SYDDANMARK))
        for n in range(12)
    ]
    deliver(db, campaign, make_recipient(db, "one@z.example", region=Region.SJAELLAND))
    deliver(db, campaign, make_recipient(db, "two@z.example", region=Region.HOVEDSTADEN))
    for position in (north[0], *south[:6]):
        act(db, campaign, TrackingKind.OPEN, position)

    groups = count(db).by[Dimension.REGION]

    assert all(group.audience >= 5 for group in groups)
    assert not any(group.opened in {1, 6} for group in groups)
    assert sum(group.audience for group in groups) == 23


# Events


def test_events_are_held_to_come_moved_and_cancelled(db: Session) -> None:
    def make(slug: str, day: date, **values: Any) -> Event:
        made = make_event(db, slug, slug)
        made.date = day
        for name, value in values.items():
            setattr(made, name, value)
        return made

    make("before", date(2013, 10, 24))
    make("first-day", date(2013, 10, 25))
    make("last-day", date(2014, 4, 7))
    moved = make("moved", date(2014, 6, 16), state=EventState.MOVED)
    make("off", date(2014, 5, 12), state=EventState.CANCELLED)
    filled = make("filled-in", date(2014, 6, 17))
    for one, field, old in ((moved, "date", "2014-06-10"), (filled, "place", None)):
        db.add(EventChange(event_id=one.id, field=field, old=old, new="2014-06-16", at=NOW))
    db.flush()

    report = count(db)

    assert {event.slug: event.standing for event in report.events} == {
        "first-day": Standing.HELD,
        "last-day": Standing.HELD,
        "off": Standing.CANCELLED,
        "moved": Standing.COMING,
        "filled-in": Standing.COMING,
    }
    assert [event.slug for event in report.events if event.moved] == ["moved"]
    totals = report.totals
    assert (totals.held, totals.coming, totals.moved, totals.cancelled) == (2, 2, 1, 1)


@pytest.mark.parametrize(
    ("changes", "is_moved"),
    [
        ([("date", "2014-06-10", "2014-06-11"), ("date", "2014-06-11", "2014-06-10")], False),
        ([("date", "2014-06-10", "2014-06-11"), ("date", "2014-06-11", "2014-06-12")], True),
        ([("place", "A", None), ("place", None, "B")], True),
        ([("place", "A", None), ("place", None, "A")], False),
        ([("place", "A", None)], False),
        ([("place", None, "A"), ("place", "A", "B")], True),
        (
            [("place", "A", "B"), ("time", "09:00:00", "10:00:00"), ("time", "10:00:00", "09:00:00")],
            True,
        ),
        ([("place", "A", "B"), ("state", "open", "moved"), ("state", "moved", "open")], False),
        ([("place", "A", "B"), ("state", "moved", "open"), ("place", "B", "C")], True),
        ([("place", "A", "B"), ("state", "moved", "full")], True),
        ([("place", "A", "B"), ("place", "B", "A", FIRST_MOMENT)], True),
    ],
)
def test_what_was_undone_within_the_period_is_no_move(
    db: Session, changes: list[tuple[Any, ...]], *, is_moved: bool
) -> None:
    aarhus = make_event(db, "aarhus", "Aarhus", days_ahead=60)
    for field, old, new, *at in changes:
        made = EventChange(event_id=aarhus.id, field=field, old=old, new=new, at=at[0] if at else BEFORE)
        db.add(made)
        db.flush()

    assert only_event(count(db)).moved is is_moved


def test_interest_and_registrations_are_those_of_the_period(db: Session) -> None:
    kolding = make_event(db, "kolding", "Kolding", days_ahead=60)
    campaign = make_campaign(db)
    link = make_link(db, campaign, "events.registration/kolding", kind="registration", event="kolding")
    people = [make_recipient(db, f"{n}@{n}.example") for n in range(13)]
    positions = [deliver(db, campaign, person) for person in people]
    for position in (positions[0], *positions[:6]):
        act(db, campaign, TrackingKind.CLICK, position, link=link)
    act(db, campaign, TrackingKind.CLICK, positions[6], link=link, at=FIRST_MOMENT)
    states = (
        [RegistrationState.SEATED] * 7 + [RegistrationState.WAITING] * 5 + [RegistrationState.CANCELLED]
    )
    for number, (person, state) in enumerate(zip(people, states, strict=True)):
        db.add(
            Registration(
                event_id=kolding.id,
                recipient_id=person.id,
                state=state,
                source=RegistrationSource.HOSTED,
                number=number,
                registered_at=FIRST_MOMENT if number == 2 else BEFORE,
                changed_at=NOW,
            )
        )
    for person, at in zip(people, [*[BEFORE] * 5, FIRST_MOMENT], strict=False):
        db.add(ReminderRequest(event_id=kolding.id, recipient_id=person.id, asked_at=at))
    db.flush()

    one = only_event(count(db))

    assert (one.registration_clicks, one.registration_recipients) == (7, 6)
    assert (one.seated, one.waiting, one.asked) == (6, 5, 5)


def test_what_goes_at_one_lead_is_one_reminder(db: Session) -> None:
    kolding = make_event(db, "kolding", "Kolding", days_ahead=60)
    for lead, rule, audience, late in (
        ("14 days", "asked", 17, True),
        ("14 days", "registered", 5, True),
        ("7 days", "asked", 4, False),
        ("1 day", "asked", 0, False),
    ):
        db.add(
            Reminder(
                event_id=kolding.id,
                lead=lead,
                rule=rule,
                event_date=kolding.date,
                state=ReminderState.SENT,
                due_at=NOW,
                late=late,
                audience=audience,
                at=NOW,
            )
        )
    db.flush()

    one = only_event(count(db))

    assert (one.reminders_sent, one.reminders_late, one.reminded) == (2, 1, 20)


# Beyond the recipients


def test_reach_and_refusals_are_those_of_the_period(db: Session) -> None:
    campaign = make_campaign(db)
    for at in (BEFORE, FIRST_MOMENT):
        act(db, None, TrackingKind.VISIT, subject="startpakke", at=at)
        act(db, campaign, TrackingKind.VISIT, subject="startpakke", at=at, label=Label.MACHINE)
        act(db, campaign, TrackingKind.PASS_ON, at=at)
        reason = SuppressionReason.UNSUBSCRIBED
        db.add(Suppression(address_hash=f"{at:%H%M%S}", reason=reason, created_at=at))
    db.flush()

    report = count(db)

    (page,) = report.reach.pages
    assert (page.page, page.total, page.people, page.machines) == ("startpakke", 2, 1, 1)
    assert (report.reach.visits, report.reach.pass_on.total) == (2, 1)
    assert report.suppressions == {"unsubscribed": None}


# Cost


@contextmanager
def counted_statements(database: Database) -> Iterator[list[str]]:
    told: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if statement.startswith(("SELECT", "WITH")):
            told.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield told
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


@pytest.mark.parametrize("campaigns", [1, 7])
def test_a_report_costs_few_statements_however_much_there_is(database: Database, campaigns: int) -> None:
    with database.write() as db:
        for number in range(campaigns):
            make_event(db, f"event-{number}", "Møde")
            campaign = make_campaign(db, f"brev-{number}")
            link = make_link(db, campaign, "pack", kind="download")
            for position in send(db, campaign, 3):
                act(db, campaign, TrackingKind.CLICK, position, link=link)

    with counted_statements(database) as told, database.read() as db:
        count(db)

    assert len(told) == 13
