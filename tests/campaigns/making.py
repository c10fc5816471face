"""Campaigns that are under way, without a relay."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailer.campaigns.audience import freeze_audience
from mailer.campaigns.ledger import Outcome, finalise_batch
from mailer.campaigns.models import Batch, BatchState, Campaign, CampaignState, Delivery, DeliveryState
from mailer.campaigns.timetable import Plan
from recipients.models import Recipient
from tests.conftest import NOW
from tests.making import make_campaign, make_recipients

RELAY = "relay.example:587"
_REPLIES = {
    DeliveryState.SENT: {"relay": RELAY, "code": 250},
    DeliveryState.BOUNCED: {"relay": RELAY, "code": 550, "reason": "no such user"},
    DeliveryState.DEFERRED: {"relay": RELAY, "code": 451, "reason": "later", "due_at": NOW},
    DeliveryState.UNCERTAIN: {"relay": RELAY, "reason": "no reply was read"},
    DeliveryState.FAILED: {"reason": "not rendered", "attempted": False},
}


def sending(
    db: Session,
    count: int = 10,
    *,
    size: int = 10,
    spread: Callable[[int], Plan] | None = None,
    name: str = "brev",
    **values: Any,
) -> Campaign:
    """A campaign to so many new recipients that is being sent."""
    campaign = make_campaign(db, name=name)
    new = [recipient.id for recipient in make_recipients(db, count)]
    campaign.state, campaign.queued_at = CampaignState.SENDING, NOW
    for field, value in values.items():
        setattr(campaign, field, value)
    freeze_audience(
        db,
        campaign,
        select(Recipient.id).where(Recipient.id.in_(new)),
        batch_size=size,
        allowed=None,
        now=NOW,
        due_at=NOW,
        spread=spread,
    )
    db.flush()
    return campaign


def claim(db: Session, campaign: Campaign) -> Batch:
    """The next ready batch, claimed by a worker of no consequence."""
    ready = select(Batch).where(Batch.campaign_id == campaign.id, Batch.state == BatchState.READY)
    batch = db.scalars(ready.order_by(Batch.id)).first()
    assert batch is not None
    batch.state, batch.owner, batch.host = BatchState.CLAIMED, "sending-1", "host"
    batch.fence, batch.lease_until = batch.fence + 1, NOW
    db.flush()
    return batch


def finalise(
    db: Session,
    campaign: Campaign,
    outcomes: dict[int, DeliveryState],
    *,
    now: datetime = NOW,
    real: datetime = NOW,
) -> None:
    """Claim the next batch, give each position its outcome (else sent), and close it."""
    batch = claim(db, campaign)
    if batch.first is not None and batch.last is not None:
        positions = [*range(batch.first, batch.last + 1)]
    else:
        positions = [*db.scalars(select(Delivery.position).where(Delivery.batch_id == batch.id))]
    told = {position: outcomes.get(position, DeliveryState.SENT) for position in positions}
    written = [Outcome(position, state, **_REPLIES[state]) for position, state in told.items()]  # type: ignore[arg-type]
    finalise_batch(db, batch, written, handed_back=(), now=now, back_at=real, real=real)
    db.expire_all()


def states(db: Session, campaign: Campaign) -> dict[str, int]:
    """How many deliveries are in which state."""
    counted = select(Delivery.state, func.count()).group_by(Delivery.state)
    rows = db.execute(counted.where(Delivery.campaign_id == campaign.id))
    return {row[0].value: row[1] for row in rows}
