"""A campaign's timetable kept by the sweep: windows that open, parts that come due."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailer.campaigns.account import reconcile
from mailer.campaigns.heartbeats import SWEEP, last_heartbeat, note_heartbeat
from mailer.campaigns.models import Batch, Campaign, CampaignState
from mailer.campaigns.planning import is_open, keep_timetables, plan_anew
from mailer.campaigns.timetable import Hours, Plan, Timetable, parse_span, plan_parts
from tests.campaigns.making import sending
from tests.conftest import NOW

ZONE = ZoneInfo("Europe/Copenhagen")
REAL = datetime(2026, 11, 22, 12, tzinfo=UTC)
"""In a rehearsal the clock people see shows another time."""
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


def over_an_hour(letters: int) -> Plan:
    return plan_parts(Timetable(ZONE), NOW, parse_span("1h"), letters=letters, most=10)


def spread(db: Session, **values: object) -> Campaign:
    """Six letters in six parts, one every ten minutes from now on."""
    return sending(db, 6, spread=over_an_hour, **values)


def sweep(db: Session, now: datetime, slept: timedelta | None = 10 * SECOND) -> None:
    keep_timetables(db, now=now, real_now=REAL, zone=ZONE, slept=slept)
    db.expire_all()


def released(db: Session) -> int:
    return db.scalar(select(func.count()).where(Batch.due_at.is_not(None))) or 0


def may_leave(db: Session, campaign: Campaign, now: datetime) -> bool:
    return bool(db.scalar(select(is_open(now)).where(Campaign.id == campaign.id)))


def test_a_part_is_claimable_in_real_time_once_its_moment_has_come_on_peoples_clock(
    db: Session,
) -> None:
    campaign = spread(db)
    assert released(db) == 0
    sweep(db, NOW)
    assert released(db) == 1
    sweep(db, NOW + 10 * timedelta(minutes=1) - SECOND)
    assert released(db) == 1
    sweep(db, NOW + 10 * timedelta(minutes=1))
    assert released(db) == 2
    assert db.scalar(select(func.max(Batch.due_at))) == REAL
    assert reconcile(db, campaign).ok


def test_a_part_released_once_keeps_its_place_in_the_queue(db: Session) -> None:
    spread(db)
    sweep(db, NOW)
    keep_timetables(db, now=NOW, real_now=REAL + HOUR, zone=ZONE, slept=None)
    assert db.scalar(select(func.max(Batch.due_at))) == REAL


@pytest.mark.parametrize("state", [CampaignState.PAUSED, CampaignState.SCHEDULED])
def test_parts_of_a_campaign_that_is_held_are_not_released(db: Session, state: str) -> None:
    spread(db, state=state)
    sweep(db, NOW + HOUR)
    assert released(db) == 0


def test_after_a_pause_the_parts_keep_their_distance(db: Session) -> None:
    campaign = spread(db)
    sweep(db, NOW)
    later = NOW + 5 * HOUR

    plan_anew(db, campaign, now=later, zone=ZONE)

    sweep(db, later)
    assert released(db) == 2
    sweep(db, later + timedelta(minutes=10))
    assert released(db) == 3


def test_a_short_pause_between_two_parts_moves_nothing(db: Session) -> None:
    campaign = spread(db)
    sweep(db, NOW)
    before = db.scalars(select(Batch.planned_at).order_by(Batch.id)).all()
    plan_anew(db, campaign, now=NOW + timedelta(minutes=5), zone=ZONE)
    assert db.scalars(select(Batch.planned_at).order_by(Batch.id)).all() == before


def test_after_a_long_sleep_the_overdue_parts_do_not_leave_all_at_once(db: Session) -> None:
    spread(db)
    sweep(db, NOW + 5 * HOUR, slept=5 * HOUR)
    assert released(db) == 1


def test_a_fast_rehearsal_is_no_sleep(db: Session) -> None:
    spread(db)
    sweep(db, NOW + 5 * HOUR, slept=10 * SECOND)
    assert released(db) == 6


def test_outside_its_hours_no_letter_leaves_however_late_the_sweep(db: Session) -> None:
    table = Timetable(ZONE, Hours(8 * 60, 16 * 60), workdays=True)
    window = table.window_at(NOW)  # Friday 7 March 2014, nine o'clock
    campaign = sending(
        db,
        2,
        hours="8-16",
        workdays=True,
        opens_at=window.opens,
        closes_at=window.closes,
    )
    friday_evening, monday = NOW + 7 * HOUR, NOW + 72 * HOUR
    assert may_leave(db, campaign, NOW)
    assert not may_leave(db, campaign, friday_evening)
    assert not may_leave(db, campaign, monday), "until a sweep has looked the next window up"

    sweep(db, friday_evening)
    assert not may_leave(db, campaign, friday_evening)
    assert may_leave(db, campaign, monday)
    assert not may_leave(db, campaign, NOW + 48 * HOUR), "Sunday"


def test_a_campaign_without_hours_may_always_leave(db: Session) -> None:
    campaign = sending(db, 2)
    sweep(db, NOW)
    assert may_leave(db, campaign, NOW)
    assert campaign.opens_at is None


def test_a_heartbeat_says_how_long_ago_the_last_one_was(db: Session) -> None:
    assert last_heartbeat(db, SWEEP) is None
    assert note_heartbeat(db, SWEEP, now=REAL) is None
    assert note_heartbeat(db, SWEEP, now=REAL + HOUR) == HOUR
    assert last_heartbeat(db, SWEEP) == REAL + HOUR
