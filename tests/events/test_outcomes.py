"""What became of reminders: each goes once, and what was called off stays called off."""

from datetime import date, time, timedelta
from threading import Barrier, Thread

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign
from mailer.events.changes import cancel_event, update_event
from mailer.events.errors import AlreadySent
from mailer.events.models import EventState, Reminder, ReminderState
from mailer.events.outcomes import name_campaigns, reminded_since, store_outcome
from mailer.events.reminders import plan_reminders
from mailer.foundation.database import Database
from tests.events.making import (
    EARLY,
    GRACE,
    LAST,
    NOW,
    make_campaign,
    make_event,
    make_recipient,
    plan,
    policy,
)

HOUR = timedelta(hours=1)
SENT, CANCELLED = ReminderState.SENT, ReminderState.CANCELLED


def test_a_reminder_that_has_gone_is_sent_for_ever(db: Session) -> None:
    event = make_event(db, start=time(10))
    campaign = make_campaign(db, [make_recipient(db)], event_slug=event.slug)
    due = plan(db)["aalborg", "14 days"]

    store_outcome(db, due, SENT, campaign_id=campaign.id, audience=7, now=due.due_at + HOUR)

    for now in (NOW, due.due_at, due.due_at + 9 * GRACE):
        one = plan(db, now)["aalborg", "14 days"]
        assert (one.state, one.audience, one.late, one.reason) == (SENT, 7, True, None)
        assert (one.campaign_id, one.at) == (campaign.id, due.due_at + HOUR)
    assert name_campaigns(db) == {campaign.id: campaign.name}


def test_sending_again_is_refused_and_the_first_stays(db: Session) -> None:
    make_event(db)
    due = plan(db)["aalborg", "14 days"]
    store_outcome(db, due, SENT, now=due.due_at)

    with pytest.raises(AlreadySent, match="14 days before aalborg"):
        store_outcome(db, due, SENT, audience=5, now=due.due_at)

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
                store_outcome(db, due, SENT, audience=number, now=due.due_at)
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


def test_calling_an_event_off_stores_what_might_still_have_gone_and_keeps_what_has(db: Session) -> None:
    make_event(db, start=time(10))
    rows = plan(db)
    first, week = rows["aalborg", "14 days"], rows["aalborg", "7 days"]
    store_outcome(db, first, SENT, now=first.due_at)

    cancel_event(db, "aalborg", policy([EARLY, LAST]), now=week.due_at + HOUR)

    stored = {row.lead: row.state for row in db.scalars(select(Reminder))}
    assert stored == {"14 days": SENT, "7 days": CANCELLED, "1 day": CANCELLED}
    after = plan(db, week.due_at + 2 * HOUR)
    assert {lead: one.state for (_, lead), one in after.items()} == stored
    assert str(after["aalborg", "7 days"].reason) == "the event does not take place"


def test_an_event_that_takes_place_after_all_is_reminded_of_again(db: Session) -> None:
    make_event(db, start=time(10))
    cancel_event(db, "aalborg", policy([EARLY, LAST]), now=NOW)
    update_event(db, "aalborg", {}, now=NOW + HOUR, state=EventState.OPEN)
    assert {one.state for one in plan(db, NOW + HOUR).values()} == {ReminderState.PLANNED}


def test_what_was_called_off_at_its_moment_stays_so_when_a_seat_is_given_back(db: Session) -> None:
    make_event(db, start=time(10), reminders="7 days")
    one = plan(db)["aalborg", "7 days"]
    store_outcome(db, one, CANCELLED, now=one.due_at)
    after = plan(db, one.due_at + 9 * GRACE)["aalborg", "7 days"]
    assert (after.state, after.late) == (CANCELLED, False)
    assert after.reason


def test_reminders_of_an_earlier_date_are_still_told(db: Session) -> None:
    make_event(db, start=time(10))
    first = plan(db)["aalborg", "14 days"]
    store_outcome(db, first, SENT, now=first.due_at)
    update_event(db, "aalborg", {"date": "2014-08-18"}, now=first.due_at + HOUR)
    again = plan(db, first.due_at + HOUR)["aalborg", "14 days"]
    assert again.state is ReminderState.PLANNED
    store_outcome(db, again, SENT, now=again.due_at)

    planned = plan_reminders(db, policy([EARLY, LAST]), now=again.due_at)
    assert [(one.event_date, one.lead) for one in planned if one.state is SENT] == [
        (date(2014, 6, 16), "14 days"),
        (date(2014, 8, 18), "14 days"),
    ]


def test_who_got_a_later_reminder_gets_no_earlier_one_after_it(db: Session) -> None:
    event = make_event(db, start=time(10))
    rows = plan(db)
    people = [make_recipient(db) for _ in range(2)]
    campaign: Campaign = make_campaign(db, people, event_slug=event.slug)
    week = rows["aalborg", "7 days"]
    store_outcome(db, week, SENT, campaign_id=campaign.id, audience=2, now=week.due_at)

    def reminded(lead: str) -> list[int | None]:
        return sorted(db.scalars(reminded_since(rows["aalborg", lead])), key=str)

    both = sorted((person.id for person in people), key=str)
    assert (reminded("14 days"), reminded("7 days"), reminded("1 day")) == (both, both, [])
