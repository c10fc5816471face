"""Which deliveries stand in which batch."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, false, insert, or_, select
from sqlalchemy.orm import Session

from mailer.campaigns.models import Batch, BatchState, Delivery


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


def in_claimed_batch(db: Session, campaign_id: int) -> ColumnElement[bool]:
    """True for a delivery of the campaign whose batch is at work now.

    They are few, and named one by one: joining 800,000 deliveries to ranges compares all with all.
    """
    at_work = select(Batch).where(Batch.campaign_id == campaign_id, Batch.state == BatchState.CLAIMED)
    return or_(false(), *[in_batch(batch) for batch in db.scalars(at_work)])


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


def add_retry_batch(db: Session, campaign_id: int, *, due_at: datetime) -> int:
    """Add an empty batch for deliveries that will name it; return its id."""
    batch = Batch(campaign_id=campaign_id, due_at=due_at)
    db.add(batch)
    db.flush()
    return batch.id
