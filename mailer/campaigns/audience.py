"""The audience of one campaign: who it is, frozen once, and spread over batches."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import cast

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    case,
    exists,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    true,
)
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from mailer.campaigns.batches import add_range_batches
from mailer.campaigns.models import Batch, Campaign, Delivery, DeliveryState
from mailer.campaigns.timetable import Plan
from recipients.models import Recipient, Suppression, SuppressionScope

OUTSIDE_TRIAL = "outside the trial"
_TWO_TO_32 = literal(1 << 32, BigInteger)
_GOLDEN_RATIO = literal(2_654_435_769, BigInteger)
"""Of 2³², and odd, so that all places differ."""
_PARTS, _WORTH_A_BATCH = 4, 1_000
"""A small audience comes in so many batches, of so many deliveries at least."""


def written_to() -> Select[int]:
    """The ids of all to whom a letter has gone, or is to go."""
    known = select(Delivery.recipient_id).where(Delivery.recipient_id.is_not(None))
    return cast("Select[int]", known)


def claims() -> Select[int]:
    """The newest version of a recipient there was, at every claim."""
    noted = select(Batch.versions_seen).where(Batch.versions_seen.is_not(None)).distinct()
    return cast("Select[int]", noted)


def freeze_audience(
    db: Session,
    campaign: Campaign,
    recipients: Select[int],
    *,
    batch_size: int,
    allowed: Sequence[str] | None,
    now: datetime,
    due_at: datetime,
    spread: Callable[[int], Plan] | None = None,
    withheld: ColumnElement[bool] | None = None,
) -> int:
    """Write one delivery per recipient who may be written to, and the batches of first attempts.

    One ``INSERT ... SELECT``: the audience never passes through Python. Recipients of one mail domain
    are spread evenly over all positions, so that no batch meets a domain in one burst: numbered domain
    by domain, they are put in the order of the fractional parts of number × golden ratio, of which any
    run of consecutive numbers covers the whole evenly (Knuth, TAOCP vol. 3, §6.4, theorem S).

    Args:
        recipients: ids, from a segment or from what people did.
        batch_size: deliveries per batch, at most.
        allowed: trial mode's patterns; who matches none is frozen as ``suppressed``.
        now: the clock people see.
        due_at: real time before which no batch is claimed.
        spread: for the size of the audience, the parts it leaves in, each a batch.
        withheld: who may not be written to; None is whoever ``is_suppressed``.

    Returns:
        The size of the audience; positions run from 1 to it.
    """
    number = func.row_number().over(order_by=(Recipient.domain, Recipient.id))
    numbered = (
        select(
            Recipient.id.label("recipient_id"),
            matches_patterns(allowed).label("inside"),
            (number * _GOLDEN_RATIO % _TWO_TO_32).label("place"),
        )
        .where(Recipient.id.in_(recipients), ~(is_suppressed() if withheld is None else withheld))
        .subquery()
    )
    frozen = db.execute(
        insert(Delivery).from_select(
            ["campaign_id", "position", "recipient_id", "state", "attempts", "reason", "at"],
            select(
                literal(campaign.id),
                func.row_number().over(order_by=numbered.c.place),
                numbered.c.recipient_id,
                case(
                    (numbered.c.inside, DeliveryState.PENDING.value),
                    else_=DeliveryState.SUPPRESSED.value,
                ),
                literal(0),
                case((numbered.c.inside, null()), else_=OUTSIDE_TRIAL),
                literal(now, Delivery.at.type),  # set now, so that an outcome makes no row longer by it
            ),
        ),
        execution_options={"preserve_rowcount": True},
    )
    assert isinstance(frozen, CursorResult)
    campaign.audience = frozen.rowcount
    plan = spread(frozen.rowcount) if spread is not None else None
    campaign.batch_size = plan.size if plan else _size_of_batches(frozen.rowcount, most=batch_size)
    campaign.part_seconds = plan.step.total_seconds() if plan else None
    add_range_batches(
        db,
        campaign.id,
        audience=frozen.rowcount,
        size=campaign.batch_size,
        due_at=due_at,
        moments=plan.moments if plan else None,
    )
    return frozen.rowcount


def _size_of_batches(audience: int, *, most: int) -> int:
    """Deliveries per batch: of a small audience several workers shall have a part."""
    return min(most, max(_WORTH_A_BATCH, -(-audience // _PARTS)))


def is_suppressed(scope: SuppressionScope = SuppressionScope.LETTERS) -> ColumnElement[bool]:
    """True for a recipient whose address gets no more mail.

    Args:
        scope: ``LETTERS`` where nobody asked for the mail, so that any suppression holds it back;
            ``EVERYTHING`` for what the recipient asked for.
    """
    suppressed = exists().where(Suppression.address_hash == Recipient.address_hash)
    if scope is SuppressionScope.EVERYTHING:
        suppressed = suppressed.where(Suppression.scope == scope)
    return suppressed


def matches_patterns(patterns: Sequence[str] | None) -> ColumnElement[bool]:
    """True for a recipient that trial mode lets through; None lets everybody through.

    A pattern with an ``@`` is an address, one without is a mail domain; ``*`` stands for anything.
    """
    if patterns is None:
        return true()
    return or_(
        *[
            (Recipient.email_key if "@" in pattern else Recipient.domain).like(
                _like(pattern.removeprefix("@")), escape="\\"
            )
            for pattern in patterns
        ]
    )


def _like(pattern: str) -> str:
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%")
