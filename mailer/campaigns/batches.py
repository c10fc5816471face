"""Which deliveries stand in which batch."""

from datetime import datetime

from sqlalchemy import ColumnElement, and_, exists, insert, or_, select
from sqlalchemy.orm import Session

from mailer.campaigns.models import Batch, BatchState, Delivery


def in_joined_batch() -> ColumnElement[bool]:
    """True for a delivery of the joined batch: by its range, or because it names the batch."""
    return and_(
        Delivery.campaign_id == Batch.campaign_id,
        or_(
            Delivery.batch_id == Batch.id,
            and_(Delivery.batch_id.is_(None), Delivery.position.between(Batch.first, Batch.last)),
        ),
    )


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


def in_claimed_batch() -> ColumnElement[bool]:
    """True for a delivery whose batch is at work."""
    return exists(select(Batch.id).where(Batch.state == BatchState.CLAIMED, in_joined_batch()))


def add_range_batches(
    db: Session, campaign_id: int, *, audience: int, size: int, due_at: datetime
) -> int:
    """Add the batches of first attempts, a range of positions each; return how many."""
    ranges = [
        {
            "campaign_id": campaign_id,
            "first": first,
            "last": min(first + size - 1, audience),
            "due_at": due_at,
        }
        for first in range(1, audience + 1, size)
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
