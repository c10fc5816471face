"""The account of a campaign: its deliveries counted, listed and proven to add up. Writes nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import String, case, cast, func, select
from sqlalchemy.orm import Session

from mailer.campaigns.batches import in_claimed_batch
from mailer.campaigns.models import Batch, BatchState, Campaign, Delivery, DeliveryState
from mailer.campaigns.proofs import find_problems
from recipients.models import Recipient

CLAIMED = "claimed"
COUNTED = (
    "pending",
    CLAIMED,
    "sent",
    "deferred",
    "bounced",
    "complained",
    "failed",
    "suppressed",
    "uncertain",
    "cancelled",
)
"""The ten states that add up to the audience; ``claimed`` is pending in a batch at work."""

_READ_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Whether every recipient of the audience is in exactly one state, and what is still to come."""

    ok: bool
    complete: bool
    audience: int
    deliveries: Mapping[str, int]
    problems: Sequence[str]
    unread_journals: int


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One delivery as the ledger shows it."""

    position: int
    recipient: str | None
    """The address as written to; None after the person was erased."""
    state: str
    reason: str | None
    relay: str | None
    code: int | None
    enhanced_code: str | None
    attempts: int
    at: datetime | None


def count_states(db: Session, campaign_id: int) -> dict[str, int]:
    """How many deliveries stand where; the ten counts always add up to the audience."""
    claimed = func.count().filter(in_claimed_batch(db, campaign_id))
    rows = db.execute(
        select(Delivery.state, func.count(), claimed)
        .where(Delivery.campaign_id == campaign_id)
        .group_by(Delivery.state)
    ).all()
    counts = dict.fromkeys(COUNTED, 0) | {state.value: count for state, count, _ in rows}
    counts[CLAIMED] = sum(at for state, _, at in rows if state == DeliveryState.PENDING)
    counts["pending"] -= counts[CLAIMED]
    return counts


def reconcile(db: Session, campaign: Campaign, *, unread_journals: int = 0) -> Reconciliation:
    """Prove that every recipient of the frozen audience is in exactly one state.

    ``ok`` says that nothing is lost, doubled or inconsistent; ``complete`` that nothing is to come.

    Args:
        unread_journals: notes of dead processes that have not been written here yet.
    """
    counts = count_states(db, campaign.id)
    problems = find_problems(db, campaign)
    to_come = counts["pending"] + counts[CLAIMED] + counts["deferred"]
    claimed = db.scalar(
        select(func.count())
        .select_from(Batch)
        .where(Batch.campaign_id == campaign.id, Batch.state == BatchState.CLAIMED)
    )
    launched = campaign.queued_at is not None
    still = to_come or claimed or unread_journals or not launched
    return Reconciliation(
        ok=not problems,
        complete=not problems and not still,
        audience=campaign.audience,
        deliveries=counts,
        problems=problems,
        unread_journals=unread_journals,
    )


def ledger_rows(db: Session, campaign_id: int, *, state: str | None = None) -> Iterator[LedgerRow]:
    """Every delivery of a campaign in order, read in pages; only a page is ever in memory."""
    shown = case(
        ((Delivery.state == DeliveryState.PENDING) & in_claimed_batch(db, campaign_id), CLAIMED),
        else_=cast(Delivery.state, String),
    )
    last = 0
    while True:
        query = (
            select(
                Delivery.position,
                Recipient.email,
                shown.label("shown"),
                Delivery.reason,
                Delivery.relay,
                Delivery.code,
                Delivery.enhanced_code,
                Delivery.attempts,
                Delivery.at,
            )
            .outerjoin(Recipient, Recipient.id == Delivery.recipient_id)
            .where(Delivery.campaign_id == campaign_id, Delivery.position > last)
            .order_by(Delivery.position)
            .limit(_READ_AT_ONCE)
        )
        if state is not None:
            query = query.where(shown == state)
        rows = db.execute(query).all()
        for row in rows:
            yield LedgerRow(*row)
        if len(rows) < _READ_AT_ONCE:
            return
        last = rows[-1].position
