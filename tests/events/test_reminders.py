"""The plan: when a reminder is due, where it stands at any moment, and why it does not go."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from mailer.events.changes import cancel_event, update_event
from mailer.events.importing import import_events
from mailer.events.letters import reminder_letters
from mailer.events.models import EventState, Reminder, ReminderState
from mailer.events.outcomes import store_outcome
from mailer.events.reminders import PlannedReminder, due_reminders, plan_reminders
from mailer.rendering.source import LetterSource
from tests.events.making import (
    EARLY,
    GRACE,
    LAST,
    NOW,
    SEATED,
    WAITING,
    ask,
    click,
    make_campaign,
    make_event,
    make_recipient,
    plan,
    plan_by_rule,
    policy,
    seat,
)

TEMPLATES = Path(__file__).parents[2] / "templates"
HOUR = timedelta(hours=1)
SENT, CANCELLED = ReminderState.SENT, ReminderState.CANCELLED


def states(planned: dict[tuple[str, str], PlannedReminder]) -> dict[str, str]:
    return {lead: one.state.value for (_, lead), one in planned.items()}


def told(planned: PlannedReminder) -> str | None:
    """Why it does not go, in the words that scripts read."""
    return None if planned.reason is None else str(planned.reason)


def by_rule(planned: Iterable[PlannedReminder]) -> dict[str, str]:
    return {one.rule.value: one.state.value for one in planned}


def test_the_plan_of_spring_2014_on_the_day_of_the_letter(db: Session) -> None:
    import_events(db, TEMPLATES / "letters/startpakke/events.toml", NOW)
    planned = plan_reminders(db, policy(reminder_letters([TEMPLATES])), now=NOW)

    when = [
        (f"{one.local_time:%a %d %b %H:%M}", one.event_slug, one.lead, one.state.value)
        for one in planned
        if one.rule == "asked"
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
    for rule in ("registered", "clicked"):
        assert [
            (f"{one.local_time:%a %d %b %H:%M}", one.event_slug, one.lead, one.state.value)
            for one in planned
            if one.rule == rule
        ] == when


def test_each_rule_has_its_own_row_letter_and_number(db: Session) -> None:
    event = make_event(db, start=time(10), reminders="7 days: invitation-igen", region="Sjælland")
    people = [make_recipient(db, region="Sjælland") for _ in range(10)]
    seat(db, event, people[0])
    ask(db, event, *people[1:3])
    campaign = make_campaign(db, people[3:6], event_slug=event.slug)
    for position in (1, 2, 3):
        click(db, campaign, position)

    rows = plan_by_rule(db)

    assert [(one.rule.value, one.letter, one.audience) for one in rows.values()] == [
        ("registered", "vi-ses", 1),
        ("asked", "paamindelse", 2),
        ("clicked", "stadig-plads", 3),
        ("region", "invitation-igen", 4),
    ]


def test_who_has_a_seat_and_asked_gets_the_letter_of_the_rule_that_is_served(db: Session) -> None:
    event = make_event(db, start=time(10), reminders="7 days, 3 days: paamindelse")
    both, asked = make_recipient(db), make_recipient(db)
    seat(db, event, both)
    ask(db, event, both, asked)

    rows = plan_by_rule(db)

    assert {(lead, rule.value): one.audience for (lead, rule), one in rows.items()} == {
        ("7 days", "registered"): 1,
        ("7 days", "asked"): 1,
        ("7 days", "clicked"): 0,
        ("3 days", "asked"): 2,
    }


def test_whoever_joins_after_a_due_moment_gets_only_the_next_reminder(db: Session) -> None:
    event = make_event(db, start=time(10))
    early, late, clicker = (make_recipient(db) for _ in range(3))
    due = plan(db)["aalborg", "14 days"].due_at
    ask(db, event, early, at=due)
    ask(db, event, late, at=due + HOUR)
    click(db, make_campaign(db, [clicker], event_slug=event.slug), 1, at=due + HOUR)

    rows = plan_by_rule(db, due + 2 * HOUR)

    audiences = {(lead, rule.value): one.audience for (lead, rule), one in rows.items()}
    assert (audiences["14 days", "asked"], audiences["14 days", "clicked"]) == (1, 0)
    assert (audiences["7 days", "asked"], audiences["7 days", "clicked"]) == (2, 1)


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
    assert told(plan(db, due + 2 * GRACE)["aalborg", "14 days"]) == "more than 24 hours late"


def test_a_reminder_is_blocked_however_far_ahead_and_missed_with_the_hole_as_reason(
    db: Session,
) -> None:
    make_event(db, place=None)

    ahead = plan(db)
    assert states(ahead) == {"14 days": "blocked", "7 days": "blocked", "1 day": "blocked"}
    assert told(ahead["aalborg", "14 days"]) == "no place yet"
    assert told(ahead["aalborg", "1 day"]) == "no place and no time yet"
    assert ahead["aalborg", "1 day"].lacking == ("place", "time")

    past = plan(db, ahead["aalborg", "14 days"].due_at + 2 * GRACE)["aalborg", "14 days"]
    assert (past.state, told(past)) == (ReminderState.MISSED, "no place yet")


def test_what_was_filled_in_too_late_is_still_the_reason_afterwards(db: Session) -> None:
    make_event(db, place=None)
    missed = plan(db)["aalborg", "14 days"].due_at + GRACE
    update_event(db, "aalborg", {"place": "Rådhuset"}, now=missed + timedelta(hours=1))

    past = plan(db, missed + timedelta(hours=2))["aalborg", "14 days"]

    assert (past.state, told(past)) == (ReminderState.MISSED, "no place in time")


def test_a_rule_whose_letter_needs_less_is_not_held_up_by_one_that_needs_more(db: Session) -> None:
    make_event(db)
    rows = plan_by_rule(db)
    assert by_rule(one for (lead, _), one in rows.items() if lead == "1 day") == {
        "registered": "blocked",
        "asked": "blocked",
        "clicked": "planned",
    }


def test_what_is_filled_in_within_the_grace_time_still_goes(db: Session) -> None:
    make_event(db, place=None)
    now = plan(db)["aalborg", "14 days"].due_at + HOUR
    assert plan(db, now)["aalborg", "14 days"].state is ReminderState.BLOCKED

    update_event(db, "aalborg", {"place": "Medicinerhuset"}, now=now)

    assert plan(db, now)["aalborg", "14 days"].state is ReminderState.DUE


def test_a_letter_nobody_has_blocks_its_reminder_and_no_other(db: Session) -> None:
    make_event(db, reminders="14 days: paamindels, 7 days")
    ahead = plan(db)
    assert states(ahead) == {"14 days": "blocked", "7 days": "planned"}
    assert ahead["aalborg", "14 days"].letter is None
    assert "no reminder letter 'paamindels'" in str(ahead["aalborg", "14 days"].reason)

    week = ahead["aalborg", "7 days"].due_at
    assert states(plan(db, week)) == {"14 days": "missed", "7 days": "due"}


# Moved, called off, full


def test_an_event_that_moves_is_reminded_of_anew_and_not_for_what_is_past(db: Session) -> None:
    event = make_event(db, start=time(10))
    rows = plan(db)
    for lead in ("14 days", "7 days"):
        one = rows["aalborg", lead]
        store_outcome(db, one, SENT, now=one.due_at)
    moved = datetime(2014, 6, 12, 12, 0, tzinfo=UTC)
    update_event(db, "aalborg", {"date": "2014-06-23"}, now=moved)
    assert event.moved_at == moved

    at_once = plan(db, moved)

    assert states(at_once) == {"14 days": "missed", "7 days": "planned", "1 day": "planned"}
    past = at_once["aalborg", "14 days"]
    assert (told(past), past.moot) == ("due before the event was moved", True)
    assert f"{at_once['aalborg', '7 days'].local_time:%a %d %b}" == "Mon 16 Jun"
    due = plan(db, at_once["aalborg", "7 days"].due_at)
    assert states(due) == {"14 days": "missed", "7 days": "due", "1 day": "planned"}
    store_outcome(db, due["aalborg", "7 days"], SENT, now=due["aalborg", "7 days"].due_at)
    assert plan(db, NOW + timedelta(days=110))["aalborg", "7 days"].state is SENT


def test_what_went_for_a_former_date_stays_in_the_plan_and_takes_no_new_ones_place(
    db: Session,
) -> None:
    event = make_event(db, start=time(10), day=date(2014, 8, 18), reminders="7 days, 1 day")
    week, day = (plan(db)["aalborg", lead] for lead in ("7 days", "1 day"))
    store_outcome(db, week, SENT, audience=3, now=week.due_at)
    store_outcome(db, day, CANCELLED, now=day.due_at)
    update_event(db, "aalborg", {"date": "2014-08-11", "reminders": "1 day"}, now=NOW)

    rows = plan_reminders(db, policy([EARLY, LAST]), now=datetime(2014, 8, 8, 8, 0, tzinfo=UTC))

    assert [
        (one.event_date.day, one.lead, one.state.value, one.audience, told(one), one.letter, one.due_at)
        for one in rows
    ] == [
        (11, "1 day", "due", 0, None, "dagen-foer", datetime(2014, 8, 8, 7, 0, tzinfo=UTC)),
        (18, "7 days", "sent", 3, "went for the former time", None, week.due_at),
        (18, "1 day", "cancelled", 0, "it was called off", None, day.due_at),
    ]
    assert {one.event_id for one in rows} == {event.id}
    assert [one.lead for one in due_reminders(db, policy([EARLY, LAST]), now=week.due_at)] == []


def test_why_a_reminder_of_a_former_date_was_called_off_is_not_guessed(db: Session) -> None:
    make_event(db, start=time(10), day=date(2014, 8, 18), reminders="1 day: stadig-plads")
    (asked,) = [one for one in plan_reminders(db, policy(), now=NOW) if one.rule.value == "clicked"]
    store_outcome(db, asked, CANCELLED, now=asked.due_at)
    update_event(db, "aalborg", {"date": "2014-08-25"}, now=NOW)

    rows = plan_reminders(db, policy(), now=NOW)

    assert [told(one) for one in rows if one.state is CANCELLED] == ["it was called off"]


def test_a_row_with_a_rule_that_this_version_does_not_know_stops_nothing(db: Session) -> None:
    event = make_event(db)
    before = plan_reminders(db, policy(), now=NOW)
    gone = {"lead": "9 days", "rule": "formerly", "event_date": date(2014, 1, 1), "due_at": NOW}
    more = {"late": False, "audience": 0, "at": NOW}
    db.add(Reminder(event_id=event.id, state=SENT, **gone, **more))
    db.flush()

    assert plan_reminders(db, policy(), now=NOW) == before


def test_a_day_before_the_move_is_rehearsed_as_if_the_event_had_always_been_then(db: Session) -> None:
    make_event(db, start=time(10))
    update_event(db, "aalborg", {"date": "2014-06-24"}, now=datetime(2026, 11, 22, tzinfo=UTC))
    assert states(plan(db, datetime(2014, 6, 10, 8, 0, tzinfo=UTC)))["14 days"] == "due"


def test_an_event_moved_back_is_not_reminded_of_twice(db: Session) -> None:
    make_event(db, start=time(10))
    one = plan(db)["aalborg", "14 days"]
    store_outcome(db, one, SENT, now=one.due_at)
    for day in ("2014-06-24", "2014-06-16"):
        update_event(db, "aalborg", {"date": day}, now=one.due_at + HOUR)
    assert plan(db, one.due_at + 2 * HOUR)["aalborg", "14 days"].state is SENT


def test_a_slip_of_the_pen_put_right_within_the_grace_time_loses_no_reminder(db: Session) -> None:
    make_event(db, start=time(10))
    due = plan(db)["aalborg", "14 days"].due_at
    update_event(db, "aalborg", {"date": "2014-06-17"}, now=due - HOUR)
    update_event(db, "aalborg", {"date": "2014-06-16"}, now=due + HOUR)
    assert plan(db, due + 2 * HOUR)["aalborg", "14 days"].state is ReminderState.DUE

    missed = plan(db, due + 2 * GRACE)["aalborg", "14 days"]
    assert (missed.state, missed.moot) == (ReminderState.MISSED, False)


def test_a_slip_of_the_pen_hides_no_move_before_it_and_a_date_of_days_is_no_slip(db: Session) -> None:
    make_event(db, start=time(10), day=date(2014, 8, 18))
    moved = datetime(2014, 6, 3, tzinfo=UTC)
    update_event(db, "aalborg", {"date": "2014-06-16"}, now=moved)
    for day, hours in (("2014-06-17", 1), ("2014-06-16", 2)):
        update_event(db, "aalborg", {"date": day}, now=moved + hours * HOUR)
    assert plan(db, moved + 3 * HOUR)["aalborg", "14 days"].moot

    make_event(db, "kolding", start=time(10))
    due = plan(db)["kolding", "14 days"].due_at
    update_event(db, "kolding", {"date": "2014-06-23"}, now=due - HOUR)
    update_event(db, "kolding", {"date": "2014-06-16"}, now=due + GRACE)
    assert plan(db, due + GRACE)["kolding", "14 days"].moot


def test_what_fell_due_while_the_event_was_cancelled_is_nobodys_fault(db: Session) -> None:
    make_event(db, start=time(10))
    rows = plan(db)
    first, week = (rows["aalborg", lead].due_at for lead in ("14 days", "7 days"))
    cancel_event(db, "aalborg", policy(), now=first - HOUR)
    update_event(db, "aalborg", {}, now=week + HOUR, state=EventState.OPEN)

    after = plan(db, week + HOUR)

    assert states(after) == {"14 days": "missed", "7 days": "due", "1 day": "planned"}
    past = after["aalborg", "14 days"]
    assert (told(past), past.moot) == ("due while the event was cancelled", True)
    assert not plan(db, week + 2 * GRACE)["aalborg", "7 days"].moot  # it could have gone


def test_a_reminder_that_went_for_another_time_of_the_same_day_says_so(db: Session) -> None:
    make_event(db, start=time(14), reminders="7 days, 2 hours: dagen-foer")
    for one in plan(db).values():
        store_outcome(db, one, SENT, now=one.due_at)
    update_event(db, "aalborg", {"time": "18:00"}, now=datetime(2014, 6, 16, 10, 30, tzinfo=UTC))

    rows = plan(db, datetime(2014, 6, 16, 14, 0, tzinfo=UTC))

    assert {lead: (one.state, told(one)) for (_, lead), one in rows.items()} == {
        "7 days": (SENT, None),
        "2 hours": (SENT, "went for the former time"),
    }


def test_what_was_due_before_the_event_was_known_is_nobodys_fault(db: Session) -> None:
    make_event(db, created_at=datetime(2014, 6, 5, tzinfo=UTC))
    one = plan(db, datetime(2014, 6, 5, 1, 0, tzinfo=UTC))["aalborg", "14 days"]
    assert (one.state, told(one)) == (ReminderState.MISSED, "due before the event was taken in")
    assert one.moot


def test_nothing_goes_once_the_event_has_begun(db: Session) -> None:
    make_event(db, start=time(8))
    late = timedelta(days=20)
    one = plan(db, datetime(2014, 6, 16, 6, 0, tzinfo=UTC), grace=late)["aalborg", "1 day"]
    assert (one.state, told(one)) == (ReminderState.MISSED, "the event had begun")


def test_an_event_without_a_time_has_not_begun_until_its_day_is_over(db: Session) -> None:
    make_event(db)
    evening = datetime(2014, 6, 16, 21, 59, tzinfo=UTC)
    late = timedelta(days=20)
    assert plan(db, evening, grace=late)["aalborg", "7 days"].state is ReminderState.DUE
    night = evening + timedelta(minutes=1)
    assert plan(db, night, grace=late)["aalborg", "7 days"].state is ReminderState.MISSED


def test_an_event_called_off_has_its_reminders_called_off(db: Session) -> None:
    make_event(db).state = EventState.CANCELLED
    called_off = plan(db).values()
    assert {one.state for one in called_off} == {CANCELLED}
    assert {told(one) for one in called_off} == {"the event does not take place"}


@pytest.mark.parametrize("said", [True, False])
def test_nobody_is_told_that_they_can_still_register_once_all_seats_are_taken(
    db: Session, *, said: bool
) -> None:
    event = make_event(db, start=time(10), reminders="7 days: invitation-igen")
    event.hosted, event.capacity = True, 2
    seat(db, event, make_recipient(db), state=SEATED)
    seat(db, event, make_recipient(db), state=WAITING)
    assert set(by_rule(plan_by_rule(db).values()).values()) == {"planned"}

    if said:
        event.state = EventState.FULL
    else:
        seat(db, event, make_recipient(db), state=SEATED)

    rows = plan_by_rule(db)
    assert by_rule(rows.values()) == {
        "registered": "planned",
        "asked": "planned",
        "clicked": "cancelled",
        "region": "cancelled",
    }
    assert {told(one) for one in rows.values() if one.state is CANCELLED} == {"all seats are taken"}


# Never a burst


def test_what_is_late_does_not_follow_a_nearer_reminder_that_has_gone(db: Session) -> None:
    make_event(db, start=time(10))
    week = timedelta(days=9)
    now = plan(db)["aalborg", "7 days"].due_at + HOUR

    planned = plan(db, now, grace=week)
    assert states(planned) == {"14 days": "due", "7 days": "due", "1 day": "planned"}

    store_outcome(db, planned["aalborg", "7 days"], SENT, now=now)
    overtaken = plan(db, now, grace=week)["aalborg", "14 days"]
    assert overtaken.state is ReminderState.MISSED
    assert told(overtaken) == "the next reminder of the event goes instead"


def test_a_reminder_to_others_takes_nobodys_place(db: Session) -> None:
    make_event(db, reminders="7 days, 6 days: invitation-igen", region="Sjælland")
    rows = plan_by_rule(db)
    now = max(one.due_at for one in rows.values())
    assert {one.state for one in plan_by_rule(db, now, grace=timedelta(days=5)).values()} == {
        ReminderState.DUE
    }


def test_of_reminders_that_working_days_bring_to_one_moment_the_nearest_goes(db: Session) -> None:
    make_event(db, start=time(10), reminders="3 days: paamindelse, 2 days: paamindelse, 1 day")
    rows = plan(db, letters=[EARLY, LAST])
    assert len({one.due_at for one in rows.values()}) == 1
    assert states(rows) == {"3 days": "cancelled", "2 days": "cancelled", "1 day": "planned"}
    assert told(rows["aalborg", "3 days"]) == "the one 1 day before is due at the same moment"

    now = rows["aalborg", "1 day"].due_at
    assert states(plan(db, now, letters=[EARLY, LAST])) == {
        "3 days": "cancelled",
        "2 days": "cancelled",
        "1 day": "due",
    }


# Hours and zones


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


def test_only_what_is_due_is_handed_to_the_tick_the_last_to_fall_due_first(db: Session) -> None:
    make_event(db)
    make_event(db, "kolding", place=None)
    make_event(db, "odense", day=date(2014, 6, 16)).state = EventState.CANCELLED
    now = plan(db)["aalborg", "7 days"].due_at

    due = due_reminders(db, policy(grace=timedelta(days=9)), now=now)

    assert [(one.event_slug, one.lead, one.rule.value) for one in due if one.state is not CANCELLED] == [
        ("aalborg", "7 days", "registered"),
        ("aalborg", "7 days", "asked"),
        ("aalborg", "7 days", "clicked"),
        ("kolding", "7 days", "clicked"),
        ("aalborg", "14 days", "registered"),
        ("aalborg", "14 days", "asked"),
        ("aalborg", "14 days", "clicked"),
        ("kolding", "14 days", "clicked"),
    ]
    assert {one.event_slug for one in due if one.state is CANCELLED} == {"odense"}
    assert len(due) == 8 + 6
