"""Which deliveries stand in which batch."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, false, func, insert, or_, select
from sqlalchemy.orm import Session

from mailer.campaigns.models import Batch, BatchState, Delivery

_OFTEN = 3
"""So many times nobody breaks off the work on the same letters by chance."""
_FENCE_MOVES = 2
"""So far a fence moves with each claim that breaks off: once at the claim, once as it is taken over."""


def in_batch(batch: Batch) -> ColumnElement[bool]:
    """True for a delivery of this batch; written so that the database reads one range."""
    ours = Delivery.campaign_id == batch.campaign_id
    if batch.first is None:
        return and_(ours, Delivery.batch_id == batch.id)
    return and_(
        ours,
        Delivery.batch_id.is_(None),
        Delivery.position.between(batch.first, batch.last),
    )


def is_batch_of_delivery() -> ColumnElement[bool]:
    """True for the batch that the delivery joined to it stands in, or last stood in."""
    in_range = and_(
        Delivery.batch_id.is_(None),
        Delivery.position.between(Batch.first, Batch.last),
    )
    return and_(Batch.campaign_id == Delivery.campaign_id, or_(Batch.id == Delivery.batch_id, in_range))


def in_claimed_batch(db: Session, campaign_id: int) -> ColumnElement[bool]:
    """True for a delivery of the campaign whose batch is at work now.

    They are few, and named one by one: joining 800,000 deliveries to ranges compares all with all.
    """
    at_work = select(Batch).where(Batch.campaign_id == campaign_id, Batch.state == BatchState.CLAIMED)
    return or_(false(), *[in_batch(batch) for batch in db.scalars(at_work)])


def often_broken_off(db: Session) -> Mapping[int, int]:
    """By campaign that is not over: how often the work on some of its letters broke off, if often."""
    rows = db.execute(
        select(Batch.campaign_id, func.max(Batch.fence))
        .where(Batch.state != BatchState.DONE, Batch.fence >= _OFTEN * _FENCE_MOVES)
        .group_by(Batch.campaign_id)
    )
    return {campaign_id: fence // _FENCE_MOVES for campaign_id, fence in rows}


def add_range_batches(
    db: Session,
    campaign_id: int,
    *,
    audience: int,
    size: int,
    due_at: datetime,
    moments: Sequence[datetime] | None = None,
) -> int:
    """Add the batches of first attempts, a range of positions each; return how many.

    Args:
        due_at: real time before which none is claimed.
        moments: when each is due instead, on the clock people see.
    """
    ranges = [
        {
            "campaign_id": campaign_id,
            "first": first,
            "last": min(first + size - 1, audience),
            "planned_at": moments[number] if moments is not None else None,
            "due_at": due_at if moments is None else None,
        }
        for number, first in enumerate(range(1, audience + 1, size))
    ]
    if ranges:
        db.execute(insert(Batch), ranges)
    return len(ranges)


def add_retry_batch(db: Session, campaign_id: int, *, due_at: datetime, fence: int = 0) -> int:
    """Add an empty batch for deliveries that will name it; return its id.

    Args:
        fence: of the batch that they were in, where the work on it broke off.
    """
    batch = Batch(campaign_id=campaign_id, due_at=due_at, fence=fence)
    db.add(batch)
    db.flush()
    return batch.id
