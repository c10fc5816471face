"""The ledger: the only code that changes where a delivery stands, and the proof that it all adds up."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    String,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from mailer.campaigns.batches import add_retry_batch, in_batch, in_claimed_batch, in_joined_batch
from mailer.campaigns.models import (
    Batch,
    BatchState,
    Campaign,
    CampaignState,
    Delivery,
    DeliveryState,
    UncertainPolicy,
)
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

UNFINISHED = (DeliveryState.PENDING, DeliveryState.DEFERRED)
"""The states a delivery will still leave by itself."""

RETRY_BATCH_SIZE = 4_000
_READ_AT_ONCE = 5_000
_MOST_TIMES_UNCERTAIN = 2
_WAITING = (DeliveryState.DEFERRED, DeliveryState.UNCERTAIN)


class FenceMoved(Exception):
    """Somebody else has taken the batch over; nothing was written."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one delivery of a batch."""

    position: int
    state: DeliveryState
    relay: str | None = None
    code: int | None = None
    enhanced_code: str | None = None
    reason: str | None = None
    due_at: datetime | None = None
    """Real time of the next attempt, for a deferred one."""
    attempted: bool = True
    """Whether it was offered to a relay."""

    @property
    def note(self) -> tuple[object, ...]:
        """Everything but the position: what a range shares."""
        return (self.state, self.relay, self.code, self.enhanced_code, self.reason, self.attempted)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Whether every recipient of the audience is in exactly one state, and what is still to come."""

    ok: bool
    complete: bool
    audience: int
    deliveries: Mapping[str, int]
    problems: Sequence[str]


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
    rows = db.execute(
        select(Delivery.state, func.count())
        .where(Delivery.campaign_id == campaign_id)
        .group_by(Delivery.state)
    ).all()
    counts = dict.fromkeys(COUNTED, 0) | {state.value: count for state, count in rows}
    claimed = db.scalar(
        select(func.count())
        .select_from(Delivery)
        .join(Batch, in_joined_batch())
        .where(
            Batch.campaign_id == campaign_id,
            Batch.state == BatchState.CLAIMED,
            Delivery.state == DeliveryState.PENDING,
        )
    )
    counts[CLAIMED] = claimed or 0
    counts["pending"] -= counts[CLAIMED]
    return counts


def finalise_batch(
    db: Session,
    batch: Batch,
    outcomes: Sequence[Outcome],
    *,
    handed_back: Collection[int],
    now: datetime,
    back_at: datetime,
) -> None:
    """Write what became of a claimed batch, under its fence, and close it.

    The outcome most deliveries share is written to the whole range in one statement; only the
    exceptions are named.

    Args:
        batch: as it was claimed; its fence must still hold.
        outcomes: one per delivery that came to an outcome.
        handed_back: positions that were not begun; they wait in a batch of their own.
        now: the clock people see.
        back_at: real time from which those handed back may be claimed again.

    Raises:
        FenceMoved: the batch is no longer this worker's; nothing is written.
    """
    _close(db, batch)
    if handed_back:
        _hand_back(db, batch, handed_back, back_at=back_at, now=now)
    if not outcomes:
        return
    common = Counter(outcome.note for outcome in outcomes if outcome.due_at is None)
    shared = common.most_common(1)[0][0] if common else None
    named = [outcome for outcome in outcomes if outcome.due_at or outcome.note != shared]
    if named:
        _write_named(db, batch, named, now=now)
    if len(named) < len(outcomes):
        sample = next(outcome for outcome in outcomes if outcome.note == shared)
        _write_range(db, batch, sample, expected=len(outcomes) - len(named), now=now)


def release_waiting(db: Session, *, now: datetime) -> None:
    """Put into retry batches what is to be offered again.

    That is deferred deliveries whose time has come, and uncertain ones of campaigns that send such
    letters once more.

    Args:
        now: real time.
    """
    again = or_(
        and_(Delivery.state == DeliveryState.DEFERRED, Delivery.due_at <= now),
        will_be_resent(),
    )
    campaigns = db.scalars(
        select(Delivery.campaign_id)
        .join(Campaign, Campaign.id == Delivery.campaign_id)
        .where(again, Campaign.state == CampaignState.SENDING)
        .distinct()
    ).all()
    for campaign_id in campaigns:
        positions = (
            select(Delivery.position)
            .join(Campaign, Campaign.id == Delivery.campaign_id)
            .where(Delivery.campaign_id == campaign_id, again)
            .order_by(Delivery.due_at, Delivery.position)
            .limit(RETRY_BATCH_SIZE)
        )
        db.execute(
            update(Delivery)
            .where(
                Delivery.campaign_id == campaign_id,
                Delivery.position.in_(positions),
                Delivery.state.in_(_WAITING),  # of two sweeps at once, one finds them gone
            )
            .values(
                state=DeliveryState.PENDING,
                batch_id=add_retry_batch(db, campaign_id, due_at=now),
                due_at=None,
            )
        )


def will_be_resent() -> ColumnElement[bool]:
    """True for an uncertain delivery of a joined campaign that sends such letters once more."""
    return and_(
        Delivery.state == DeliveryState.UNCERTAIN,
        Delivery.attempts < _MOST_TIMES_UNCERTAIN,
        Campaign.on_uncertain == UncertainPolicy.RESEND,
    )


def cancel_unclaimed(db: Session, campaign_id: int, *, now: datetime) -> int:
    """Mark what a cancelled campaign has not sent, except in batches at work; return how many."""
    ours = Delivery.campaign_id == campaign_id
    cancelled = db.execute(
        update(Delivery)
        .where(ours, Delivery.state.in_(UNFINISHED), ~in_claimed_batch())
        .values(state=DeliveryState.CANCELLED, at=now, due_at=None)
    )
    db.execute(
        update(Batch)
        .where(Batch.campaign_id == campaign_id, Batch.state == BatchState.READY)
        .values(state=BatchState.DONE)
    )
    assert isinstance(cancelled, CursorResult)
    return cancelled.rowcount


def cancel_leftovers(db: Session, *, now: datetime) -> None:
    """Mark what a batch at work handed back while its campaign was being cancelled."""
    left = db.scalars(
        select(Campaign.id).where(
            Campaign.state == CampaignState.CANCELLED,
            exists().where(Batch.campaign_id == Campaign.id, Batch.state == BatchState.READY),
        )
    ).all()
    for campaign_id in left:
        cancel_unclaimed(db, campaign_id, now=now)


def reconcile(db: Session, campaign: Campaign) -> Reconciliation:
    """Prove that every recipient of the frozen audience is in exactly one state.

    ``ok`` says that nothing is lost, doubled or inconsistent; ``complete`` that nothing is to come.
    """
    counts = count_states(db, campaign.id)
    problems = [*_numbering_problems(db, campaign, counts), *_batch_problems(db, campaign)]
    to_come = counts["pending"] + counts[CLAIMED] + counts["deferred"]
    claimed = db.scalar(
        select(func.count())
        .select_from(Batch)
        .where(Batch.campaign_id == campaign.id, Batch.state == BatchState.CLAIMED)
    )
    launched = campaign.queued_at is not None
    complete = not problems and launched and to_come == 0 and not claimed
    return Reconciliation(not problems, complete, campaign.audience, counts, problems)


def ledger_rows(db: Session, campaign_id: int, *, state: str | None = None) -> Iterator[LedgerRow]:
    """Every delivery of a campaign in order, read in pages; only a page is ever in memory."""
    shown = case(
        ((Delivery.state == DeliveryState.PENDING) & in_claimed_batch(), CLAIMED),
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


def _close(db: Session, batch: Batch) -> None:
    closed = db.execute(
        update(Batch)
        .where(Batch.id == batch.id, Batch.fence == batch.fence, Batch.state == BatchState.CLAIMED)
        .values(state=BatchState.DONE, lease_until=None)
    )
    assert isinstance(closed, CursorResult)
    if closed.rowcount != 1:
        raise FenceMoved(f"batch {batch.id}")


def _hand_back(
    db: Session, batch: Batch, positions: Collection[int], *, back_at: datetime, now: datetime
) -> None:
    retry = add_retry_batch(db, batch.campaign_id, due_at=back_at)
    db.execute(
        update(Delivery.__table__)  # type: ignore[arg-type]
        .where(
            Delivery.campaign_id == batch.campaign_id,
            Delivery.position == bindparam("at_position"),
            Delivery.state == DeliveryState.PENDING,
        )
        .values(batch_id=retry),
        [{"at_position": position} for position in positions],
    )
    state = db.scalar(select(Campaign.state).where(Campaign.id == batch.campaign_id))
    if state == CampaignState.CANCELLED:
        cancel_unclaimed(db, batch.campaign_id, now=now)


def _write_named(db: Session, batch: Batch, named: Sequence[Outcome], *, now: datetime) -> None:
    deferred_first = func.coalesce(Delivery.first_deferred_at, bindparam("now_deferred"))
    db.execute(
        update(Delivery.__table__)  # type: ignore[arg-type]
        .where(
            Delivery.campaign_id == batch.campaign_id,
            Delivery.position == bindparam("at_position"),
            Delivery.state == DeliveryState.PENDING,
        )
        .values(
            state=bindparam("new_state", type_=Delivery.state.type),
            at=now,
            relay=bindparam("new_relay"),
            code=bindparam("new_code"),
            enhanced_code=bindparam("new_enhanced"),
            reason=bindparam("new_reason"),
            due_at=bindparam("new_due", type_=Delivery.due_at.type),
            first_deferred_at=deferred_first,
            attempts=Delivery.attempts + bindparam("new_attempts"),
        ),
        [
            {
                "at_position": outcome.position,
                "new_state": outcome.state,
                "new_relay": outcome.relay,
                "new_code": outcome.code,
                "new_enhanced": outcome.enhanced_code,
                "new_reason": outcome.reason,
                "new_due": outcome.due_at,
                "now_deferred": now if outcome.due_at else None,
                "new_attempts": int(outcome.attempted),
            }
            for outcome in named
        ],
    )


def _write_range(db: Session, batch: Batch, shared: Outcome, *, expected: int, now: datetime) -> None:
    written = db.execute(
        update(Delivery)
        .where(in_batch(batch), Delivery.state == DeliveryState.PENDING)
        .values(
            state=shared.state,
            at=now,
            relay=shared.relay,
            code=shared.code,
            enhanced_code=shared.enhanced_code,
            reason=shared.reason,
            due_at=None,
            attempts=Delivery.attempts + int(shared.attempted),
        )
    )
    assert isinstance(written, CursorResult)
    if written.rowcount != expected:
        raise FenceMoved(
            f"batch {batch.id}: {written.rowcount} deliveries to write, {expected} outcomes"
        )


def _numbering_problems(db: Session, campaign: Campaign, counts: Mapping[str, int]) -> Iterator[str]:
    rows, lowest, highest, people, known = db.execute(
        select(
            func.count(),
            func.min(Delivery.position),
            func.max(Delivery.position),
            func.count(Delivery.recipient_id.distinct()),
            func.count(Delivery.recipient_id),
        ).where(Delivery.campaign_id == campaign.id)
    ).one()
    if rows != campaign.audience:
        yield f"{rows} deliveries for an audience of {campaign.audience}"
    if rows and (lowest, highest) != (1, rows):
        yield f"positions run from {lowest} to {highest} for {rows} deliveries"
    if people != known:
        yield f"{known - people} recipients have more than one delivery"
    if sum(counts.values()) != rows or set(counts) != set(COUNTED):
        yield f"the states add up to {sum(counts.values())} for {rows} deliveries"


def _batch_problems(db: Session, campaign: Campaign) -> Iterator[str]:
    pending = (Delivery.campaign_id == campaign.id, Delivery.state == DeliveryState.PENDING)
    stranded = db.scalar(
        select(func.count())
        .select_from(Delivery)
        .where(
            *pending,
            ~exists(select(Batch.id).where(Batch.state != BatchState.DONE, in_joined_batch())),
        )
    )
    if stranded:
        yield f"{stranded} pending deliveries are in no open batch"
    undated = db.scalar(
        select(func.count())
        .select_from(Delivery)
        .where(
            Delivery.campaign_id == campaign.id,
            Delivery.state == DeliveryState.DEFERRED,
            Delivery.due_at.is_(None),
        )
    )
    if undated:
        yield f"{undated} deferred deliveries have no next attempt"
    left = db.scalar(
        select(func.count())
        .select_from(Delivery)
        .where(Delivery.campaign_id == campaign.id, Delivery.state.in_(UNFINISHED))
    )
    if campaign.state == CampaignState.FINISHED and left:
        yield f"the campaign is finished but {left} deliveries are not"
