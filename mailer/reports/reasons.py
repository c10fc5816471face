"""Why letters did not get through, or may not have: reasons and how many, and nobody's address."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailer.campaigns.models import Delivery, DeliveryState

MOST = 100
EXPLAINED = (
    DeliveryState.UNCERTAIN,
    DeliveryState.FAILED,
    DeliveryState.DEFERRED,
    DeliveryState.BOUNCED,
)


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason, as it stands in the ledger."""

    state: DeliveryState
    relay: str | None
    code: int | None
    enhanced_code: str | None
    reason: str | None
    letters: int


def count_reasons(db: Session, campaign_id: int) -> Sequence[Reason]:
    """The reasons of a campaign's letters that did not get through, the most frequent first."""
    by = (
        Delivery.state,
        Delivery.relay,
        Delivery.code,
        Delivery.enhanced_code,
        Delivery.reason,
    )
    counted = (
        select(*by, func.count().label("letters"))
        .where(Delivery.campaign_id == campaign_id, Delivery.state.in_(EXPLAINED))
        .group_by(*by)
        .order_by(func.count().desc(), *by)
        .limit(MOST)
    )
    return [Reason(*row) for row in db.execute(counted)]
