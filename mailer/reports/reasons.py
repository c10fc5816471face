"""Why letters did not get through, or may not have: reasons and how many, and nobody's address."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import BigInteger, case, cast, func, null, select
from sqlalchemy.orm import Session

from mailer.campaigns.models import Delivery, DeliveryState
from mailer.reports.hiding import FEWEST

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
    """A relay may name the person it refuses: None where fewer than five letters share the words."""
    letters: int


def count_reasons(db: Session, campaign_id: int) -> Sequence[Reason]:
    """The reasons of a campaign's letters that did not get through, the most frequent first.

    What fewer than five were told is put together by the reply's codes.
    """
    answer = (Delivery.state, Delivery.relay, Delivery.code, Delivery.enhanced_code)
    told = (
        select(*answer, Delivery.reason, func.count().label("letters"))
        .where(Delivery.campaign_id == campaign_id, Delivery.state.in_(EXPLAINED))
        .group_by(*answer, Delivery.reason)
        .cte("told")
    )
    codes = (told.c.state, told.c.relay, told.c.code, told.c.enhanced_code)
    words = case((told.c.letters >= FEWEST, told.c.reason), else_=null())
    shown = select(*codes, words.label("words"), told.c.letters).cte("shown")
    letters = cast(func.sum(shown.c.letters), BigInteger)
    by = (shown.c.state, shown.c.relay, shown.c.code, shown.c.enhanced_code, shown.c.words)
    counted = select(*by, letters).group_by(*by).order_by(letters.desc(), *by).limit(MOST)
    return [Reason(*row) for row in db.execute(counted)]
