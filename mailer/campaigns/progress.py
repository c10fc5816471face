"""How far a campaign is, how fast it goes, and what it waits for, in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailer.campaigns.ledger import CLAIMED, count_states
from mailer.campaigns.models import Batch, BatchState, Campaign, CampaignState, Delivery, DeliveryState

_UNCLAIMED_AFTER = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Progress:
    """One look at a campaign."""

    campaign: str
    state: CampaignState
    audience: int
    deliveries: Mapping[str, int]
    waiting_for: str | None
    rate_per_second: float | None
    """Letters that came to an outcome, per second of real time since the first claim."""
    started_at: datetime | None
    finished_at: datetime | None


def look_at(db: Session, campaign: Campaign, *, now: datetime) -> Progress:
    """Where the campaign stands.

    Args:
        now: real time.
    """
    counts = count_states(db, campaign.id)
    return Progress(
        campaign=campaign.name,
        state=campaign.state,
        audience=campaign.audience,
        deliveries=counts,
        waiting_for=_waiting_for(db, campaign, counts, now=now),
        rate_per_second=_rate(campaign, counts, now=now),
        started_at=campaign.started_at,
        finished_at=campaign.finished_at,
    )


def _waiting_for(
    db: Session, campaign: Campaign, counts: Mapping[str, int], *, now: datetime
) -> str | None:
    match campaign.state:
        case CampaignState.SCHEDULED if campaign.due_at:
            return f"its time, {campaign.due_at.isoformat(timespec='minutes')}"
        case CampaignState.PAUSED:
            return "somebody to resume it"
        case CampaignState.SENDING:
            return campaign.waiting_for or _waiting_in_queue(db, campaign, counts, now=now)
        case _:
            return None


def _waiting_in_queue(
    db: Session, campaign: Campaign, counts: Mapping[str, int], *, now: datetime
) -> str | None:
    if counts[CLAIMED]:
        return None
    if counts["pending"]:
        oldest = db.scalar(
            select(func.min(Batch.due_at)).where(
                Batch.campaign_id == campaign.id, Batch.state == BatchState.READY
            )
        )
        if oldest is not None and now - oldest > _UNCLAIMED_AFTER:
            return "a worker: letters are ready and nobody takes them (is  mailer up  running?)"
        return None
    if counts["deferred"]:
        due = db.scalar(
            select(func.min(Delivery.due_at)).where(
                Delivery.campaign_id == campaign.id, Delivery.state == DeliveryState.DEFERRED
            )
        )
        moment = due.isoformat(timespec="seconds") if due else "soon"
        return f"letters that were refused for now; the next attempt is at {moment}"
    return None


def _rate(campaign: Campaign, counts: Mapping[str, int], *, now: datetime) -> float | None:
    if campaign.started_at is None:
        return None
    seconds = ((campaign.finished_at or now) - campaign.started_at).total_seconds()
    done = campaign.audience - counts["pending"] - counts[CLAIMED] - counts["suppressed"]
    return round(done / seconds, 1) if seconds > 0 else None
