"""The audience of one campaign: who it is, frozen once, and spread over batches."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import (
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
from mailer.campaigns.models import Campaign, Delivery, DeliveryState
from recipients.models import Recipient, Suppression

OUTSIDE_TRIAL = "outside the trial"


def freeze_audience(
    db: Session,
    campaign: Campaign,
    recipients: Select[int],
    *,
    batch_size: int,
    allowed: Sequence[str] | None,
    now: datetime,
    due_at: datetime,
) -> int:
    """Write one delivery per recipient who may be written to, and the batches of first attempts.

    One ``INSERT ... SELECT``: the audience never passes through Python. Recipients of one mail domain
    are spread evenly over all positions, so that no batch meets a domain in one burst.

    Args:
        recipients: ids, from a segment or from what people did.
        batch_size: deliveries per batch.
        allowed: trial mode's patterns; who matches none is frozen as ``suppressed``.
        now: the clock people see.
        due_at: real time before which no batch is claimed.

    Returns:
        The size of the audience; positions run from 1 to it.
    """
    inside = matches_patterns(allowed)
    within_domain = func.row_number().over(partition_by=Recipient.domain, order_by=Recipient.id)
    in_domain = func.count().over(partition_by=Recipient.domain)
    spread = (
        select(
            Recipient.id.label("recipient_id"),
            inside.label("inside"),
            ((within_domain - 0.5) / in_domain).label("place"),
        )
        .where(Recipient.id.in_(recipients), ~is_suppressed())
        .subquery()
    )
    frozen = db.execute(
        insert(Delivery).from_select(
            ["campaign_id", "position", "recipient_id", "state", "attempts", "reason", "at"],
            select(
                literal(campaign.id),
                func.row_number().over(order_by=(spread.c.place, spread.c.recipient_id)),
                spread.c.recipient_id,
                case(
                    (spread.c.inside, DeliveryState.PENDING.value),
                    else_=DeliveryState.SUPPRESSED.value,
                ),
                literal(0),
                case((spread.c.inside, null()), else_=OUTSIDE_TRIAL),
                case((spread.c.inside, null()), else_=literal(now, Delivery.at.type)),
            ),
        ),
        execution_options={"preserve_rowcount": True},
    )
    assert isinstance(frozen, CursorResult)
    campaign.audience = frozen.rowcount
    add_range_batches(db, campaign.id, audience=frozen.rowcount, size=batch_size, due_at=due_at)
    return frozen.rowcount


def is_suppressed() -> ColumnElement[bool]:
    """True for a recipient whose address gets no more mail."""
    return exists().where(Suppression.address_hash == Recipient.address_hash)


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
