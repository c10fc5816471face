"""What is told about reminders, when, and the command that mends it."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

import pytest
from sqlalchemy.orm import Session

from mailer.events.alarms import ReminderAlarm, find_reminder_alarms
from mailer.events.changes import update_event
from mailer.events.models import EventState, ReminderState
from mailer.events.outcomes import store_outcome
from mailer.events.reminders import plan_reminders
from mailer.rendering.source import LetterSource
from tests.events.making import ALL, EARLY, GRACE, LAST, NOW, make_event, plan, policy

WEEK = timedelta(days=7)
HOUR = timedelta(hours=1)


def alarms(
    db: Session,
    now: datetime,
    *,
    warning: timedelta = WEEK,
    letters: Sequence[LetterSource] = ALL,
) -> list[ReminderAlarm]:
    planned = plan_reminders(db, policy(letters), now=now)
    return find_reminder_alarms(planned, now=now, warning=warning)


def test_a_blocked_reminder_is_told_so_long_before_it_is_due_and_not_sooner(db: Session) -> None:
    make_event(db, reminders="1 day")
    due = plan(db)["aalborg", "1 day"].due_at

    assert alarms(db, due - WEEK - timedelta(seconds=1)) == []
    (told,) = alarms(db, due - WEEK)
    assert str(told) == (
        "reminder of aalborg, 1 day before, is due Fri 2014-06-13 09:00 and blocked: no time yet;"
        " see  mailer event update aalborg --time …"
    )
    assert alarms(db, due - WEEK, warning=timedelta(0)) == []
    assert [one.state for one in alarms(db, due + HOUR, letters=[LAST])] == [ReminderState.BLOCKED]


def test_the_kinds_of_recipients_share_an_alarm_that_names_all_that_is_lacking(db: Session) -> None:
    make_event(db, place=None)
    (told,) = [one for one in alarms(db, datetime(2014, 6, 10, tzinfo=UTC)) if one.lead == "1 day"]
    assert str(told.reason) == "no place and no time yet"
    assert told.remedy == "mailer event update aalborg --place … --time …"


def test_a_letter_nobody_has_is_told_with_the_option_that_names_another(db: Session) -> None:
    make_event(db, reminders="14 days: vi-sess")
    (told,) = alarms(db, datetime(2014, 5, 30, tzinfo=UTC))
    assert str(told.reason).startswith("no reminder letter 'vi-sess'")
    assert told.remedy == "mailer event update aalborg --reminders …"


def test_a_missed_reminder_is_told_for_a_week_and_what_should_have_gone_until_it_goes(
    db: Session,
) -> None:
    make_event(db, start=time(10), reminders="7 days")
    one = plan(db)["aalborg", "7 days"]
    due = one.due_at

    assert alarms(db, due + timedelta(minutes=5)) == []
    (stuck,) = alarms(db, due + HOUR)
    assert str(stuck) == (
        "reminder of aalborg, 7 days before, was due Fri 2014-06-06 09:00: it should have gone and"
        " has not; see  mailer reminder run"
    )
    (missed,) = alarms(db, due + 2 * GRACE)
    assert str(missed) == "reminder of aalborg, 7 days before, was missed: more than 24 hours late"
    assert alarms(db, due + WEEK) == []


@pytest.mark.parametrize("trouble", ["moved", "known late", "called off", "sent"])
def test_what_nobody_could_have_sent_or_should_have_is_not_told(db: Session, trouble: str) -> None:
    event = make_event(db, start=time(10))
    now = plan(db)["aalborg", "14 days"].due_at + 2 * GRACE
    match trouble:
        case "moved":
            update_event(db, "aalborg", {"date": date(2014, 6, 17)}, now=now)
        case "known late":
            event.created_at = now
        case "called off":
            event.state = EventState.CANCELLED
        case "sent":
            store_outcome(db, plan(db)["aalborg", "14 days"], ReminderState.SENT, now=NOW)
    assert alarms(db, now, letters=[EARLY]) == []
