from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from threading import Barrier, Thread

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailer.events.audiences import interested_recipients
from mailer.events.catalogue import import_events, update_event
from mailer.events.errors import AlreadySent
from mailer.events.models import EventState, Reminder, ReminderRequest, ReminderState
from mailer.events.reminders import (
    PlannedReminder,
    due_reminders,
    list_sent,
    plan_reminders,
    reminder_letters,
    store_sent,
)
from mailer.foundation.database import Database
from mailer.rendering.errors import LetterError
from mailer.rendering.source import LetterSource
from mailer.tracking.models import Label
from recipients.models import Recipient, Suppression, SuppressionReason, TrackingChoice
from tests.events.making import (
    EARLY,
    GRACE,
    LAST,
    NOW,
    ZONE,
    click,
    make_campaign,
    make_event,
    make_recipient,
    plan,
)

TEMPLATES = Path(__file__).parents[2] / "templates"
HOUR = timedelta(hours=1)


def ask(db: Session, event_id: int, recipient: Recipient, at: datetime = NOW) -> None:
    db.add(ReminderRequest(event_id=event_id, recipient_id=recipient.id, asked_at=at))
    db.flush()


def audience(db: Session, event_id: int, *, until: datetime | None = None) -> list[int]:
    return sorted(db.scalars(interested_recipients(event_id, until=until)))


def states(planned: dict[tuple[str, str], PlannedReminder]) -> dict[str, str]:
    return {lead: one.state.value for (_, lead), one in planned.items()}


# To whom


def test_those_who_asked_and_those_who_clicked_are_reminded_once_each(db: Session) -> None:
    event = make_event(db)
    asked, clicked, both, neither = people = [make_recipient(db) for _ in range(4)]
    campaign = make_campaign(db, people, event_slug=event.slug)
    ask(db, event.id, asked)
    ask(db, event.id, both)
    for position in (2, 3, 3):
        click(db, campaign, position)

    assert audience(db, event.id) == sorted([asked.id, clicked.id, both.id])
    assert neither.id not in audience(db, event.id)


def test_a_click_counts_only_on_that_events_registration_link(db: Session) -> None:
    event, other = make_event(db), make_event(db, "kolding")
    (person,) = people = [make_recipient(db)]
    click(db, make_campaign(db, people, event_slug=event.slug), 1, link_number=1)
    click(db, make_campaign(db, people, event_slug=other.slug), 1)

    assert audience(db, event.id) == []
    assert audience(db, other.id) == [person.id]


@pytest.mark.parametrize(
    ("label", "counts"), [(Label.PERSON, True), (Label.UNSURE, True), (Label.MACHINE, False)]
)
def test_machines_are_not_reminded(db: Session, label: Label, counts: bool) -> None:
    event = make_event(db)
    people = [make_recipient(db)]
    click(db, make_campaign(db, people, event_slug=event.slug), 1, label=label)
    assert bool(audience(db, event.id)) is counts


@pytest.mark.parametrize(
    ("tracking", "choice", "counts"),
    [
        ("personal", None, True),
        ("personal", TrackingChoice.CONSENT, True),
        ("consent", TrackingChoice.CONSENT, True),
        ("consent", None, False),
        ("consent", TrackingChoice.OBJECTION, False),
        ("anonymous", TrackingChoice.CONSENT, False),
        ("none", TrackingChoice.CONSENT, False),
    ],
)
def test_clicks_count_only_where_mode_and_person_allow_it(
    db: Session, tracking: str, choice: TrackingChoice | None, counts: bool
) -> None:
    event = make_event(db)
    people = [make_recipient(db, tracking=choice)]
    click(db, make_campaign(db, people, event_slug=event.slug, tracking=tracking), 1)
    assert bool(audience(db, event.id)) is counts


def test_an_objection_to_tracking_wins_over_the_click_but_not_over_asking(db: Session) -> None:
    event = make_event(db)
    objector = make_recipient(db, tracking=TrackingChoice.OBJECTION)
    click(db, make_campaign(db, [objector], event_slug=event.slug), 1)
    assert audience(db, event.id) == []

    ask(db, event.id, objector)
    assert audience(db, event.id) == [objector.id]


def test_the_suppressed_are_not_reminded(db: Session) -> None:
    event = make_event(db)
    recipient = make_recipient(db)
    ask(db, event.id, recipient)
    db.add(
        Suppression(
            address_hash=recipient.address_hash,
            reason=SuppressionReason.UNSUBSCRIBED,
            created_at=NOW,
        )
    )
    db.flush()
    assert audience(db, event.id) == []


def test_whoever_joins_after_a_due_moment_gets_only_the_next_reminder(db: Session) -> None:
    event = make_event(db, start=time(10))
    early, late, clicker = (make_recipient(db) for _ in range(3))
    due = plan(db)["aalborg", "14 days"].due_at
    ask(db, event.id, early, at=due)
    ask(db, event.id, late, at=due + HOUR)
    click(db, make_campaign(db, [clicker], event_slug=event.slug), 1, at=due + HOUR)

    found_late = plan(db, due + 2 * HOUR)

    assert audience(db, event.id, until=due) == [early.id]
    assert found_late["aalborg", "14 days"].audience == 1
    assert found_late["aalborg", "7 days"].audience == 3


# When, and why not


def test_the_plan_of_spring_2014_on_the_day_of_the_letter(db: Session) -> None:
    import_events(db, TEMPLATES / "letters/startpakke/events.toml", NOW)
    planned = plan_reminders(
        db, reminder_letters([TEMPLATES]), now=NOW, zone=ZONE, grace=timedelta(hours=24)
    )

    when = [
        (f"{one.local_time:%a %d %b %H:%M}", one.event_slug, one.lead, one.state.value)
        for one in planned
    ]
    assert when == [
        ("Mon 10 Mar 09:00", "hovedstaden", "14 days", "planned"),
        ("Mon 17 Mar 09:00", "hovedstaden", "7 days", "planned"),
        ("Fri 21 Mar 09:00", "hovedstaden", "1 day", "blocked"),
        ("Mon 24 Mar 09:00", "midtjylland", "14 days", "planned"),
        ("Mon 31 Mar 09:00", "midtjylland", "7 days", "planned"),
        ("Fri 04 Apr 09:00", "midtjylland", "1 day", "blocked"),
        ("Mon 28 Apr 09:00", "syddanmark", "14 days", "planned"),
        ("Mon 05 May 09:00", "syddanmark", "7 days", "planned"),
        ("Fri 09 May 09:00", "syddanmark", "1 day", "blocked"),
        ("Mon 02 Jun 09:00", "nordjylland", "14 days", "planned"),
        ("Tue 03 Jun 09:00", "sjaelland", "14 days", "blocked"),
        ("Fri 06 Jun 09:00", "nordjylland", "7 days", "planned"),
        ("Tue 10 Jun 09:00", "sjaelland", "7 days", "blocked"),
        ("Fri 13 Jun 09:00", "nordjylland", "1 day", "blocked"),
        ("Mon 16 Jun 09:00", "sjaelland", "1 day", "blocked"),
    ]


def test_a_reminder_is_planned_then_due_then_late_then_missed(db: Session) -> None:
    make_event(db)
    due = plan(db)["aalborg", "14 days"].due_at

    def at(now: datetime) -> tuple[str, bool]:
        one = plan(db, now)["aalborg", "14 days"]
        return one.state.value, one.late

    assert at(due - timedelta(seconds=1)) == ("planned", False)
    assert at(due) == ("due", False)
    assert at(due + timedelta(minutes=10)) == ("due", False)
    assert at(due + HOUR) == ("due", True)
    assert at(due + GRACE) == ("due", True)
    assert at(due + GRACE + timedelta(seconds=1)) == ("missed", False)
    assert plan(db, due + 2 * GRACE)["aalborg", "14 days"].reason == "more than 24 hours late"


def test_a_reminder_is_blocked_however_far_ahead_and_missed_with_the_hole_as_reason(
    db: Session,
) -> None:
    make_event(db, place=None)

    ahead = plan(db)
    assert states(ahead) == {"14 days": "blocked", "7 days": "blocked", "1 day": "blocked"}
    assert ahead["aalborg", "14 days"].reason == "no place yet"
    assert ahead["aalborg", "1 day"].reason == "no place and no time yet"
    assert ahead["aalborg", "1 day"].lacking == ("place", "time")

    past = plan(db, ahead["aalborg", "14 days"].due_at + 2 * GRACE)["aalborg", "14 days"]
    assert (past.state, past.reason) == (ReminderState.MISSED, "no place yet")


def test_what_is_filled_in_within_the_grace_time_still_goes(db: Session) -> None:
    make_event(db, place=None)
    now = plan(db)["aalborg", "14 days"].due_at + HOUR
    assert plan(db, now)["aalborg", "14 days"].state is ReminderState.BLOCKED

    update_event(db, "aalborg", {"place": "Medicinerhuset"}, now=now)

    assert plan(db, now)["aalborg", "14 days"].state is ReminderState.DUE


def test_an_event_that_moves_is_planned_anew(db: Session) -> None:
    make_event(db, start=time(10))
    update_event(db, "aalborg", {"date": "2014-06-20"}, now=NOW)
    assert f"{plan(db)['aalborg', '1 day'].local_time:%a %d %b}" == "Thu 19 Jun"


def test_nothing_goes_once_the_event_has_begun(db: Session) -> None:
    make_event(db, start=time(8))
    late = timedelta(days=20)
    one = plan(db, datetime(2014, 6, 16, 6, 0, tzinfo=UTC), grace=late)["aalborg", "1 day"]
    assert (one.state, one.reason) == (ReminderState.MISSED, "the event had begun")


def test_an_event_without_a_time_has_not_begun_until_its_day_is_over(db: Session) -> None:
    make_event(db)
    evening = datetime(2014, 6, 16, 21, 59, tzinfo=UTC)
    late = timedelta(days=20)
    assert plan(db, evening, grace=late)["aalborg", "7 days"].state is ReminderState.DUE
    night = evening + timedelta(minutes=1)
    assert plan(db, night, grace=late)["aalborg", "7 days"].state is ReminderState.MISSED


def test_nobody_gets_two_reminders_of_one_event_at_once(db: Session) -> None:
    make_event(db, start=time(10))
    week = timedelta(days=9)
    now = plan(db)["aalborg", "7 days"].due_at + HOUR

    planned = plan(db, now, grace=week)
    assert states(planned) == {"14 days": "missed", "7 days": "due", "1 day": "planned"}
    assert planned["aalborg", "14 days"].reason == "the next reminder of the event goes instead"

    store_sent(db, planned["aalborg", "7 days"], campaign_id=None, audience=0, now=now)
    assert states(plan(db, now, grace=week))["14 days"] == "missed"


def test_an_event_called_off_has_its_reminders_called_off(db: Session) -> None:
    make_event(db).state = EventState.CANCELLED
    assert set(states(plan(db)).values()) == {"cancelled"}


def test_an_hour_lead_needs_the_time_though_its_text_does_not_say_so(db: Session) -> None:
    letter = LetterSource("snart", {}, {"leads": ["2 hours"]})
    make_event(db)
    one = plan(db, letters=[letter])["aalborg", "2 hours"]
    assert (one.state, one.lacking) == (ReminderState.BLOCKED, ("time",))

    update_event(db, "aalborg", {"time": "13:00"}, now=NOW)
    one = plan(db, letters=[letter])["aalborg", "2 hours"]
    assert (one.state, f"{one.local_time:%d %H:%M}") == (ReminderState.PLANNED, "16 11:00")


def test_an_event_is_planned_in_its_own_zone_and_shown_in_ours(db: Session) -> None:
    make_event(db, timezone="America/Godthab")
    one = plan(db)["aalborg", "14 days"]
    assert one.due_at == datetime(2014, 6, 2, 11, 0, tzinfo=UTC)
    assert f"{one.local_time:%H:%M}" == "13:00"


def test_only_what_is_due_is_handed_to_the_tick(db: Session) -> None:
    event = make_event(db)
    make_event(db, "kolding", place=None)
    ask(db, event.id, make_recipient(db))
    now = plan(db)["aalborg", "14 days"].due_at

    due = due_reminders(db, [EARLY, LAST], now=now, zone=ZONE, grace=GRACE)

    assert [(one.event_slug, one.lead, one.audience) for one in due] == [("aalborg", "14 days", 1)]


# Letters


@pytest.mark.parametrize(
    ("letters", "reason"),
    [
        ([{"leads": ["soon"]}], "letter a: leads: 'soon' is no lead"),
        ([{"leads": ["1 day"], "needs": ["catering"]}], "letter a: needs: 'catering' is no field"),
        ([{"leads": ["1 day"]}, {"leads": ["1 day"]}], "letters a and b both go 1 day before"),
    ],
)
def test_a_letter_that_makes_no_sense_is_named(
    db: Session, letters: Sequence[dict[str, object]], reason: str
) -> None:
    sources = [LetterSource(name, {}, manifest) for name, manifest in zip("ab", letters, strict=False)]
    with pytest.raises(LetterError, match=reason):
        plan(db, letters=sources)


def test_the_shipped_reminders_go_14_7_and_1_days_before() -> None:
    leads = {letter.name: letter.leads for letter in reminder_letters([TEMPLATES])}
    assert sorted(lead for each in leads.values() for lead in each) == [
        "1 day",
        "14 days",
        "7 days",
    ]


# Once


def test_a_reminder_that_has_gone_is_sent_for_ever(db: Session) -> None:
    event = make_event(db, start=time(10))
    campaign = make_campaign(db, [make_recipient(db)], event_slug=event.slug)
    due = plan(db)["aalborg", "14 days"]

    store_sent(db, due, campaign_id=campaign.id, audience=7, now=due.due_at + HOUR)

    for now in (NOW, due.due_at, due.due_at + 9 * GRACE):
        one = plan(db, now)["aalborg", "14 days"]
        assert (one.state, one.audience, one.late) == (ReminderState.SENT, 7, True)
        assert one.campaign_id == campaign.id
    ((row, slug, name),) = list_sent(db)
    assert (row.lead, slug, name) == ("14 days", "aalborg", campaign.name)


def test_sending_again_is_refused_and_the_first_stays(db: Session) -> None:
    make_event(db)
    due = plan(db)["aalborg", "14 days"]
    store_sent(db, due, campaign_id=None, audience=0, now=due.due_at)

    with pytest.raises(AlreadySent, match="14 days before aalborg"):
        store_sent(db, due, campaign_id=None, audience=5, now=due.due_at)

    assert [row.audience for row in db.scalars(select(Reminder))] == [0]


def test_of_ticks_at_the_same_moment_one_sends(database: Database) -> None:
    with database.write() as db:
        make_event(db)
        due = plan(db)["aalborg", "14 days"]
    ready, won, lost = Barrier(4), [], []

    def tick(number: int) -> None:
        ready.wait()
        try:
            with database.write() as db:
                store_sent(db, due, campaign_id=None, audience=number, now=due.due_at)
        except AlreadySent:
            lost.append(number)
        else:
            won.append(number)

    threads = [Thread(target=tick, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with database.read() as db:
        assert [row.audience for row in db.scalars(select(Reminder))] == won
    assert len(lost) == 3


def test_ten_years_of_ticks_send_each_reminder_once_or_say_why_not(db: Session) -> None:
    """The machine is off for days between two ticks."""
    days = [date(2014, 1, 6) + timedelta(days=373 * step) for step in range(10)]
    for number, day in enumerate(days):
        make_event(db, f"event-{number}", day=day, start=time(10) if number % 3 else None)
    now, last = datetime(2013, 12, 1, 8, 0, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
    while now < last:
        now += timedelta(days=11, hours=6)
        for one in due_reminders(db, [EARLY, LAST], now=now, zone=ZONE, grace=timedelta(days=10)):
            store_sent(db, one, campaign_id=None, audience=0, now=now)

    planned = plan(db, last).values()
    assert len(planned) == 3 * len(days)
    assert {one.state for one in planned} == {ReminderState.SENT, ReminderState.MISSED}
    assert all(one.reason for one in planned if one.state is ReminderState.MISSED)
