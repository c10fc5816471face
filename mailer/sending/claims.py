"""Who works on which batch: claimed before the first byte, fenced, and kept alive by a heartbeat."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, func, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from mailer.campaigns.models import (
    Batch,
    BatchState,
    Campaign,
    CampaignState,
    Delivery,
    DeliveryState,
)
from mailer.campaigns.planning import is_open
from recipients.versions import newest_version

LEASE = timedelta(seconds=30)


def claim_batch(
    db: Session,
    campaign_id: int,
    *,
    owner: str,
    host: str,
    boot: str,
    now: datetime,
    shown: datetime,
) -> Batch | None:
    """Claim the next ready batch of a campaign that is sending; None if there is none.

    The commit that follows makes the claim durable; only then may a byte leave.

    Args:
        owner: the name of the claiming process's journal.
        now: real time.
        shown: the clock people see, by whose hours and working days a campaign may be held.
    """
    batch = db.scalar(
        select(Batch)
        .join(Campaign, Campaign.id == Batch.campaign_id)
        .where(Batch.campaign_id == campaign_id, _is_ready(now, shown))
        .order_by(Batch.due_at, Batch.id)
        .limit(1)
        .with_for_update(of=Batch, skip_locked=True)
    )
    if batch is None:
        return None
    batch.state = BatchState.CLAIMED
    batch.fence += 1
    batch.owner, batch.host, batch.boot_id = owner, host, boot
    batch.lease_until = now + LEASE
    batch.versions_seen = db.scalar(newest_version())
    db.execute(
        update(Campaign)
        .where(Campaign.id == campaign_id, Campaign.started_at.is_(None))
        .values(started_at=now)
    )
    db.flush()
    return batch


def next_due(db: Session, campaign_id: int, *, now: datetime, shown: datetime) -> datetime | None:
    """When there is more of a campaign to claim; None: nothing, or it sends nothing now.

    That is a batch that comes due, or a deferred letter, whose time may have come.

    Args:
        now: real time.
        shown: the clock people see.
    """
    goes_on = exists().where(
        Campaign.id == campaign_id, Campaign.state == CampaignState.SENDING, is_open(shown)
    )
    batches = select(func.min(Batch.due_at)).where(
        Batch.campaign_id == campaign_id, Batch.state == BatchState.READY, Batch.due_at > now, goes_on
    )
    retries = select(func.min(Delivery.due_at)).where(
        Delivery.campaign_id + 0 == campaign_id,  # else SQLite reads the whole campaign
        Delivery.state == DeliveryState.DEFERRED,
        Delivery.due_at.is_not(None),
        goes_on,
    )
    moments = [moment for moment in (db.scalar(batches), db.scalar(retries)) if moment is not None]
    return min(moments, default=None)


def others_are_ready(db: Session, *, besides: int, now: datetime, shown: datetime) -> bool:
    """Whether a batch of another campaign is ready for a worker to take.

    Args:
        besides: the campaign whose batches do not count.
        now: real time.
        shown: the clock people see.
    """
    return bool(db.scalar(select(exists().where(_is_ready(now, shown), Campaign.id != besides))))


def is_anything_ready(db: Session, *, now: datetime, shown: datetime) -> bool:
    """Whether a batch of any campaign is ready for a worker to take."""
    return bool(db.scalar(select(exists().where(_is_ready(now, shown)))))


def _is_ready(now: datetime, shown: datetime) -> ColumnElement[bool]:
    return and_(
        Campaign.id == Batch.campaign_id,
        Batch.state == BatchState.READY,
        Batch.due_at <= now,
        Campaign.state == CampaignState.SENDING,
        is_open(shown),
    )


def renew_lease(db: Session, batch: Batch, *, now: datetime) -> bool:
    """Say that the batch's worker is alive; False if the batch is no longer its."""
    renewed = db.execute(
        update(Batch)
        .where(Batch.id == batch.id, Batch.fence == batch.fence, Batch.state == BatchState.CLAIMED)
        .values(lease_until=now + LEASE)
    )
    assert isinstance(renewed, CursorResult)
    return renewed.rowcount == 1


def take_over_claim(db: Session, batch: Batch) -> Batch | None:
    """Move a lost claim's fence on, so that its worker, should it wake, writes nothing.

    Returns:
        The batch as it is now claimed by the caller; None if it was recovered or taken meanwhile.
    """
    taken = db.execute(
        update(Batch)
        .where(Batch.id == batch.id, Batch.fence == batch.fence, Batch.state == BatchState.CLAIMED)
        .values(fence=Batch.fence + 1)
    )
    assert isinstance(taken, CursorResult)
    if taken.rowcount == 0:
        return None
    return db.get_one(Batch, batch.id)


def claimed_batches(db: Session) -> list[Batch]:
    """Every batch at work or lost, oldest lease first."""
    return list(
        db.scalars(select(Batch).where(Batch.state == BatchState.CLAIMED).order_by(Batch.lease_until))
    )
