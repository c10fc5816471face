"""Recipients as a letter meets them: read for a batch, or as a sample for a preview."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import Session

from mailer.campaigns.models import Delivery
from mailer.rendering.values import Attributes, RecipientValues
from recipients.models import Recipient, RecipientSource

NOBODY = 0
"""The position in tokens that name no delivery."""


_RECIPIENT_COLUMNS = (
    Recipient.email,
    Recipient.name,
    Recipient.shared,
    Recipient.role,
    Recipient.sector,
    Recipient.organisation,
    Recipient.workplace,
    Recipient.confederation,
    Recipient.region,
    Recipient.language,
    Recipient.attributes,
    Recipient.tracking,
)


@dataclass(frozen=True, slots=True)
class Addressee:
    """The recipient of one delivery as read for sending."""

    position: int
    email: str
    values: RecipientValues
    tracking: str | None
    source: str | None
    """The first of the parties whose lists the row came from."""
    is_somebody: bool = True
    """False for the reader of the copy to pass on: no link in it acts for a person."""
    suppressed: bool = False
    attempts: int = 0
    first_deferred_at: datetime | None = None


def addressees() -> Select[Any]:
    """The columns ``read_addressee`` takes, from deliveries joined to their recipients."""
    source = (
        select(func.min(RecipientSource.source))
        .where(RecipientSource.recipient_id == Recipient.id)
        .scalar_subquery()
    )
    return select(
        Delivery.position,
        Delivery.attempts,
        Delivery.first_deferred_at,
        *_RECIPIENT_COLUMNS,
        source.label("source"),
    ).join(Recipient, Recipient.id == Delivery.recipient_id)


def read_addressee(row: Row[Any], *, suppressed: bool = False) -> Addressee:
    """One row of ``addressees``."""
    return Addressee(
        position=row.position,
        email=row.email,
        values=recipient_values(row),
        tracking=row.tracking,
        source=row.source,
        suppressed=suppressed,
        attempts=row.attempts,
        first_deferred_at=row.first_deferred_at,
    )


def sample_addressee(db: Session, recipient: Recipient) -> Addressee:
    """A recipient as a letter would meet them, with links that name nobody."""
    source = db.scalar(
        select(func.min(RecipientSource.source)).where(RecipientSource.recipient_id == recipient.id)
    )
    return Addressee(NOBODY, recipient.email, recipient_values(recipient), recipient.tracking, source)


def recipient_values(row: Row[Any] | Recipient) -> RecipientValues:
    """What the templates see of a recipient; an address several people share is nobody's by name."""
    return RecipientValues(
        name=None if row.shared else row.name,
        role=row.role.value,
        sector=row.sector.value,
        organisation=row.organisation,
        workplace=row.workplace,
        confederation=row.confederation.value,
        region=row.region.value if row.region else None,
        language=row.language,
        attributes=Attributes(row.attributes or {}),
    )
