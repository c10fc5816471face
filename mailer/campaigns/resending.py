"""Letters offered once more because an administrator says so."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, func, null, select
from sqlalchemy.orm import Session

from mailer.campaigns.audience import is_suppressed
from mailer.campaigns.errors import NotAllowedNow
from mailer.campaigns.ledger import lock_campaign, offer_again
from mailer.campaigns.models import Campaign, CampaignState, Delivery, DeliveryState
from recipients.models import Recipient, SuppressionScope

RESENDABLE = (
    DeliveryState.DEFERRED,
    DeliveryState.BOUNCED,
    DeliveryState.FAILED,
    DeliveryState.UNCERTAIN,
)
"""The states of letters that may be offered once more."""

_ALLOWED = (CampaignState.SENDING, CampaignState.PAUSED, CampaignState.FINISHED)


@dataclass(frozen=True, slots=True)
class Resendable:
    """Whom a resend would reach."""

    letters: int
    left_out: int
    """In that state too, but the address gets no more mail by now, or the recipient was erased."""


def count_resendable(db: Session, campaign: Campaign, state: DeliveryState) -> Resendable:
    """How many letters of that state would be offered once more.

    Raises:
        NotAllowedNow: the campaign is neither sending, paused nor finished.
    """
    _require_launched(campaign)
    letters = db.scalar(select(func.count()).select_from(_chosen(campaign, state).subquery())) or 0
    there = db.scalar(
        select(func.count())
        .select_from(Delivery)
        .where(Delivery.campaign_id == campaign.id, Delivery.state == state)
    )
    return Resendable(letters, (there or 0) - letters)


def resend(db: Session, campaign: Campaign, state: DeliveryState, *, now: datetime) -> int:
    """Offer the letters of that state once more, in batches of their own; return how many.

    A finished campaign goes on sending. The attempts made so far still count, but the time of trying
    begins anew.

    Args:
        now: real time.

    Raises:
        NotAllowedNow: the campaign is neither sending, paused nor finished; nothing was changed.
    """
    lock_campaign(db, campaign.id)
    db.refresh(campaign)
    _require_launched(campaign)
    count = offer_again(
        db,
        campaign.id,
        _chosen(campaign, state),
        was={state},
        now=now,
        first_deferred_at=null(),
        relay=null(),
        code=null(),
        enhanced_code=null(),
        reason=f"to be sent once more; it was {state}",
    )
    if count and campaign.state == CampaignState.FINISHED:
        campaign.state = CampaignState.SENDING
        campaign.finished_at = None
        db.flush()
    return count


def _require_launched(campaign: Campaign) -> None:
    if campaign.state not in _ALLOWED:
        raise NotAllowedNow(
            f"campaign {campaign.name!r} is {campaign.state}: only letters of a campaign that is"
            " sending, paused or finished can be sent once more"
        )


def _chosen(campaign: Campaign, state: DeliveryState) -> Select[int]:
    scope = SuppressionScope.EVERYTHING if campaign.auto_submitted else SuppressionScope.LETTERS
    return (
        select(Delivery.position)
        .join(Recipient, Recipient.id == Delivery.recipient_id)
        .where(Delivery.campaign_id == campaign.id, Delivery.state == state, ~is_suppressed(scope))
    )
