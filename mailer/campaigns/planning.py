"""Keeping a campaign's timetable: windows that open and close, parts whose time comes."""

from datetime import datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.orm import Session

from mailer.campaigns.models import Batch, BatchState, Campaign, CampaignState
from mailer.campaigns.timetable import Timetable, parse_hours

_ALIVE = (CampaignState.SCHEDULED, CampaignState.SENDING, CampaignState.PAUSED)
_SLEPT_TOO_LONG = timedelta(minutes=10)


def timetable_of(campaign: Campaign, zone: ZoneInfo) -> Timetable:
    """When the campaign's letters may leave."""
    hours = parse_hours(campaign.hours) if campaign.hours else None
    return Timetable(zone, hours, campaign.workdays)


def is_open(now: datetime) -> ColumnElement[bool]:
    """True for a campaign whose letters may leave at this moment.

    Args:
        now: the clock people see.
    """
    return or_(Campaign.opens_at.is_(None), and_(Campaign.opens_at <= now, Campaign.closes_at > now))


def keep_timetables(
    db: Session, *, now: datetime, real_now: datetime, zone: ZoneInfo, slept: timedelta | None
) -> None:
    """Open the next window of campaigns whose last one is over, and release the parts that are due.

    Args:
        now: the clock people see.
        real_now: real time, on which batches are claimed.
        slept: real time since this was last done. After a long sleep the parts that are overdue do
            not leave all at once: what is left is planned anew from now on.
    """
    closed = select(Campaign).where(
        Campaign.state.in_(_ALIVE), Campaign.closes_at.is_not(None), ~is_open(now)
    )
    for campaign in db.scalars(closed):
        window = timetable_of(campaign, zone).window_at(now)
        campaign.opens_at, campaign.closes_at = window.opens, window.closes
    if slept is not None and slept > _SLEPT_TOO_LONG:
        spread = select(Campaign).where(
            Campaign.state == CampaignState.SENDING, Campaign.part_seconds.is_not(None)
        )
        for campaign in db.scalars(spread):
            plan_anew(db, campaign, now=now, zone=zone)
    db.flush()
    sending_ids = select(Campaign.id).where(Campaign.state == CampaignState.SENDING)
    db.execute(
        update(Batch)
        .where(is_waiting_part(), Batch.planned_at <= now, Batch.campaign_id.in_(sending_ids))
        .values(due_at=real_now)
    )


def is_waiting_part() -> ColumnElement[bool]:
    """True for a part of a spread campaign that has not been released."""
    return and_(Batch.state == BatchState.READY, Batch.due_at.is_(None))


def plan_anew(db: Session, campaign: Campaign, *, now: datetime, zone: ZoneInfo) -> None:
    """Plan the parts that wait from now on, as far apart as before, if one of them is overdue.

    Args:
        now: the clock people see.
    """
    if campaign.part_seconds is None:
        return
    parts = db.scalars(
        select(Batch)
        .where(Batch.campaign_id == campaign.id, is_waiting_part())
        .order_by(Batch.planned_at, Batch.id)
    ).all()
    if not parts or parts[0].planned_at is None or parts[0].planned_at >= now:
        return
    step = timedelta(seconds=campaign.part_seconds)
    moments = islice(timetable_of(campaign, zone).every(step, now), len(parts))
    for part, moment in zip(parts, moments, strict=True):
        part.planned_at = moment
    db.flush()
