"""The ledger: the only code that changes where a delivery stands, and the questions it asks first."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
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

from mailer.campaigns.batches import add_retry_batch, in_batch, in_claimed_batch
from mailer.campaigns.models import (
    Batch,
    BatchState,
    Campaign,
    CampaignState,
    Delivery,
    DeliveryState,
    UncertainPolicy,
)
from mailer.campaigns.refused_addresses import is_about_the_address, suppress_refused

UNFINISHED = (DeliveryState.PENDING, DeliveryState.DEFERRED)
"""The states a delivery will still leave by itself."""

RETRY_BATCH_SIZE = 4_000
_NAMED_AT_ONCE = 1_000
_MOST_TIMES_UNCERTAIN = 2
_IN_PLACE = {"synchronize_session": False}
"""For statements over many deliveries: else SQLAlchemy fetches the key of every one it wrote."""
_WAITING = (DeliveryState.DEFERRED, DeliveryState.UNCERTAIN)
_REPORTED = (DeliveryState.SENT, DeliveryState.UNCERTAIN)
"""The states that a report by mail can move a delivery out of."""


class FenceMoved(Exception):
    """Somebody else has taken the batch over; nothing was written."""


@dataclass(slots=True)
class Outcome:
    """What became of one delivery of a batch; never changed, but a frozen one takes 3 µs to make."""

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


_note = attrgetter("state", "relay", "code", "enhanced_code", "reason", "due_at", "attempted")
"""Everything of an outcome but the position: what a range shares."""


def finalise_batch(
    db: Session,
    batch: Batch,
    outcomes: Sequence[Outcome],
    *,
    handed_back: Collection[int],
    now: datetime,
    back_at: datetime,
    real: datetime,
    broken_off: bool = False,
    **noted: object,
) -> None:
    """Write what became of a claimed batch, under its fence, and close it.

    The outcome most deliveries share is written to the whole range in one statement; only the
    exceptions are named.

    Addresses refused for good for what they are get no more mail from now on.

    Args:
        batch: as it was claimed; its fence must still hold.
        outcomes: one per delivery that came to an outcome.
        handed_back: positions that were not begun; they wait in a batch of their own.
        now: the clock people see.
        back_at: real time from which those handed back may be claimed again.
        real: real time.
        broken_off: whether its worker did not get through it; who is handed back remembers how often.
        noted: what else is written of the campaign, if there is any outcome.

    Raises:
        FenceMoved: the batch is no longer this worker's; nothing is written.
    """
    _close(db, batch)
    if handed_back:
        fence = batch.fence if broken_off else 0
        _hand_back(db, batch, handed_back, back_at=back_at, fence=fence)
    if outcomes:
        _write(db, batch, outcomes, now=now, real=real)
        refused = [
            outcome.position
            for outcome in outcomes
            if outcome.state is DeliveryState.BOUNCED and is_about_the_address(outcome.enhanced_code)
        ]
        suppress_refused(db, batch.campaign_id, refused, now=now)
        ours = Campaign.id == batch.campaign_id
        db.execute(update(Campaign).where(ours).values(progressed_at=real, **noted))
    state = db.scalar(select(Campaign.state).where(Campaign.id == batch.campaign_id))
    if state == CampaignState.CANCELLED:  # while the batch was at work
        cancel_unclaimed(db, batch.campaign_id, now=now)


def release_waiting(db: Session, *, now: datetime) -> None:
    """Put into retry batches what is to be offered again.

    That is deferred deliveries whose time has come, and uncertain ones of campaigns that send such
    letters once more.

    Args:
        now: real time.
    """
    again = and_(
        Delivery.due_at <= now,
        or_(Delivery.state == DeliveryState.DEFERRED, will_be_resent()),
    )
    campaigns = db.scalars(
        select(Delivery.campaign_id)
        .join(Campaign, Campaign.id == Delivery.campaign_id)
        .where(again, Campaign.state == CampaignState.SENDING)
        .distinct()
    ).all()
    for campaign_id in campaigns:
        chosen = (
            select(Delivery.position)
            .join(Campaign, Campaign.id == Delivery.campaign_id)
            .where(Delivery.campaign_id == campaign_id, again)
        )
        offer_again(db, campaign_id, chosen, was=_WAITING, now=now)


def release_deferred(db: Session, campaign_id: int, *, now: datetime) -> int:
    """Put one campaign's deferred deliveries whose time has come into retry batches; return how many.

    Args:
        now: real time.
    """
    due = (Delivery.due_at <= now, Delivery.state == DeliveryState.DEFERRED)
    chosen = (
        select(Delivery.position)
        .join(Campaign, Campaign.id == Delivery.campaign_id)
        .where(
            Delivery.campaign_id + 0 == campaign_id,  # else SQLite reads the whole campaign
            *due,
            Campaign.state == CampaignState.SENDING,
        )
    )
    return offer_again(db, campaign_id, chosen, was=[DeliveryState.DEFERRED], now=now)


def offer_again(
    db: Session,
    campaign_id: int,
    chosen: Select[int],
    *,
    was: Collection[DeliveryState],
    now: datetime,
    **values: object,
) -> int:
    """Put deliveries that have left their batch into retry batches; return how many.

    Of two who choose the same deliveries at once, one finds them gone.

    Args:
        chosen: their positions.
        was: the states they may be in; who has left them meanwhile is left alone.
        now: real time.
        values: what else is written to them.
    """
    lock_campaign(db, campaign_id)
    number = func.row_number().over(order_by=Delivery.position)
    numbered = chosen.add_columns(
        cast((number - 1) // RETRY_BATCH_SIZE, Integer).label("part")
    ).subquery()
    last_part = db.scalar(select(func.max(numbered.c.part)))
    if last_part is None:
        return 0
    batches = [add_retry_batch(db, campaign_id, due_at=now) for _ in range(last_part + 1)]
    batch_of = case(dict(enumerate(batches)), value=numbered.c.part)
    written = db.execute(
        update(Delivery)
        .where(
            Delivery.campaign_id == campaign_id,
            Delivery.position == numbered.c.position,
            Delivery.state.in_(was),
            numbered.c.part <= last_part,
        )
        .values(state=DeliveryState.PENDING, batch_id=batch_of, due_at=None, **values),
        execution_options=_IN_PLACE,
    )
    assert isinstance(written, CursorResult)
    return written.rowcount


def lock_campaign(db: Session, campaign_id: int) -> None:
    """Let nobody else move the campaign or offer its letters again until this transaction ends."""
    db.execute(select(Campaign.id).where(Campaign.id == campaign_id).with_for_update())


def settle_uncertain(db: Session, arrived: Select[Any, Any], *, evidence: str, now: datetime) -> int:
    """Mark uncertain letters as sent that are known to have arrived; return how many.

    Args:
        arrived: campaign and position of letters that did; others than uncertain ones may be among
            them.
        evidence: what shows it, kept as the reason.
        now: the clock people see.
    """
    came = arrived.subquery()
    settled = db.execute(
        update(Delivery)
        .where(
            is_uncertain(),
            exists().where(came.c[0] == Delivery.campaign_id, came.c[1] == Delivery.position),
        )
        .values(state=DeliveryState.SENT, reason=evidence, at=now, due_at=None),
        execution_options=_IN_PLACE,
    )
    assert isinstance(settled, CursorResult)
    return settled.rowcount


def is_claimed(db: Session, campaign_id: int, position: int) -> bool:
    """Whether the delivery's batch is at work: what became of it is written when that ends."""
    claimed = exists().where(
        Delivery.campaign_id == campaign_id,
        Delivery.position == position,
        Delivery.state == DeliveryState.PENDING,
        in_claimed_batch(db, campaign_id),
    )
    return bool(db.scalar(select(claimed)))


def note_report(
    db: Session,
    campaign_id: int,
    position: int,
    state: DeliveryState,
    *,
    reason: str,
    now: datetime,
    **noted: object,
) -> bool:
    """Write what came back by mail about a letter that was sent, or of which nobody knew.

    A report on an uncertain letter is also the evidence that it left.

    Args:
        state: bounced or complained.
        reason: in words that name no person.
        now: the clock people see.
        noted: what else is written, such as the codes that the report tells.

    Returns:
        False if the delivery is in another state, such as the one reported; nothing was changed.
    """
    written = db.execute(
        update(Delivery)
        .where(
            Delivery.campaign_id == campaign_id,
            Delivery.position == position,
            Delivery.state.in_(_REPORTED),
        )
        .values(state=state, reason=reason, at=now, due_at=None, **noted),
        execution_options=_IN_PLACE,
    )
    assert isinstance(written, CursorResult)
    return written.rowcount == 1


def forget_recipients(db: Session, recipients: Select[int]) -> int:
    """Let deliveries no longer say to whom they went; return how many did.

    Whoever erases a recipient calls this first, in the same transaction: no foreign key does it.
    """
    forgotten = db.execute(
        update(Delivery).where(Delivery.recipient_id.in_(recipients)).values(recipient_id=None),
        execution_options=_IN_PLACE,
    )
    assert isinstance(forgotten, CursorResult)
    return forgotten.rowcount


def is_uncertain() -> ColumnElement[bool]:
    """True for an uncertain delivery; written so that the database looks at no others."""
    return and_(Delivery.due_at.is_not(None), Delivery.state == DeliveryState.UNCERTAIN)


def is_deferred() -> ColumnElement[bool]:
    """True for a deferred delivery; written so that the database looks at few others."""
    return and_(Delivery.due_at.is_not(None), Delivery.state == DeliveryState.DEFERRED)


def will_be_resent() -> ColumnElement[bool]:
    """True for an uncertain delivery of a joined campaign that sends such letters once more."""
    return and_(
        is_uncertain(),
        Delivery.attempts < _MOST_TIMES_UNCERTAIN,
        Campaign.on_uncertain == UncertainPolicy.RESEND,
    )


def cancel_unclaimed(db: Session, campaign_id: int, *, now: datetime) -> int:
    """Mark what a cancelled campaign has not sent, except in batches at work; return how many."""
    db.execute(  # first, so that whatever is claimed at this moment shows as claimed below
        update(Batch)
        .where(Batch.campaign_id == campaign_id, Batch.state == BatchState.READY)
        .values(state=BatchState.DONE)
    )
    cancelled = db.execute(
        update(Delivery)
        .where(
            Delivery.campaign_id == campaign_id,
            Delivery.state.in_(UNFINISHED),
            ~in_claimed_batch(db, campaign_id),
        )
        .values(state=DeliveryState.CANCELLED, at=now, due_at=None),
        execution_options=_IN_PLACE,
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


def _close(db: Session, batch: Batch) -> None:
    closed = db.execute(
        update(Batch)
        .where(Batch.id == batch.id, Batch.fence == batch.fence, Batch.state == BatchState.CLAIMED)
        .values(state=BatchState.DONE, lease_until=None)
    )
    assert isinstance(closed, CursorResult)
    if closed.rowcount != 1:
        raise FenceMoved(f"batch {batch.id}")


def _write(
    db: Session, batch: Batch, outcomes: Sequence[Outcome], *, now: datetime, real: datetime
) -> None:
    notes = [_note(outcome) for outcome in outcomes]
    shared: tuple[object, ...] | None
    shared, count = Counter(notes).most_common(1)[0]
    in_range = outcomes[notes.index(shared)]
    # Deferred letters have times of their own.
    by_range = count > 1 and in_range.state != DeliveryState.DEFERRED
    named = [
        outcome for outcome, note in zip(outcomes, notes, strict=True) if not by_range or note != shared
    ]
    if named:
        _write_named(db, batch, named, now=now, real=real)
    if by_range:
        _write_range(db, batch, in_range, expected=count, now=now, real=real)


def _hand_back(
    db: Session, batch: Batch, positions: Collection[int], *, back_at: datetime, fence: int
) -> None:
    retry = add_retry_batch(db, batch.campaign_id, due_at=back_at, fence=fence)
    named = list(positions)
    for first in range(0, len(named), _NAMED_AT_ONCE):
        db.execute(
            update(Delivery)
            .where(
                Delivery.campaign_id == batch.campaign_id,
                Delivery.position.in_(named[first : first + _NAMED_AT_ONCE]),
                Delivery.state == DeliveryState.PENDING,
            )
            .values(batch_id=retry),
            execution_options=_IN_PLACE,
        )


def _write_named(
    db: Session, batch: Batch, named: Sequence[Outcome], *, now: datetime, real: datetime
) -> None:
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
                "new_due": _due_at(outcome, real),
                "now_deferred": real if outcome.state == DeliveryState.DEFERRED else None,
                "new_attempts": int(outcome.attempted),
            }
            for outcome in named
        ],
    )


def _write_range(
    db: Session, batch: Batch, shared: Outcome, *, expected: int, now: datetime, real: datetime
) -> None:
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
            due_at=_due_at(shared, real),
            attempts=Delivery.attempts + int(shared.attempted),
        ),
        execution_options=_IN_PLACE,
    )
    assert isinstance(written, CursorResult)
    if written.rowcount != expected:
        raise FenceMoved(
            f"batch {batch.id}: {written.rowcount} deliveries to write, {expected} outcomes"
        )


def _due_at(outcome: Outcome, real: datetime) -> datetime | None:
    """When a deferred letter is offered again, or since when nobody knows of an uncertain one."""
    return real if outcome.state == DeliveryState.UNCERTAIN else outcome.due_at
