"""Recipients as a letter meets them: read for a batch, or as a sample for a preview."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, String, func, literal, null, select, type_coerce
from sqlalchemy.orm import InstrumentedAttribute, Session

from mailer.campaigns.batches import is_batch_of_delivery
from mailer.campaigns.models import Batch, Delivery
from mailer.rendering.values import Attributes, RecipientValues
from recipients.models import (
    Particulars,
    Recipient,
    RecipientSource,
    RecipientVersion,
    TrackingChoice,
)

NOBODY = 0
"""The position in tokens that name no delivery."""


@dataclass(slots=True)
class Addressee:
    """The recipient of one delivery as read for sending; not frozen: one is made for every letter."""

    position: int
    email: str
    domain: str
    """The mail domain in ASCII, lower case."""
    values: RecipientValues
    tracking: str | None
    source: str | None
    """The first of the parties whose lists the row came from; None also where nobody asked for it."""
    is_somebody: bool = True
    """False for the reader of the copy to pass on: no link in it acts for a person."""
    suppressed: bool = False
    attempts: int = 0
    first_deferred_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Needs:
    """What a letter wants to know of its recipients that costs something to read."""

    source: bool = True
    attributes: bool = True
    address: bool = True
    """Nobody is written to without; who shows a letter to its reader may not even ask for it."""


EVERYTHING = Needs()
FOR_SHOWING = Needs(source=False, address=False)
_COLUMNS = 17
"""How many columns ``addressees`` has."""


def addressees(needs: Needs = EVERYTHING) -> Select[Any]:
    """The columns ``read_addressee`` takes, from deliveries joined to their recipients.

    They come as the database has them: turning each word of a row into a member of its enumeration
    would cost more than writing the letter.
    """
    source = (
        select(func.min(RecipientSource.source))
        .where(RecipientSource.recipient_id == Recipient.id)
        .scalar_subquery()
    )
    columns: tuple[ColumnElement[Any] | InstrumentedAttribute[Any], ...] = (
        Delivery.position,
        Delivery.attempts,
        Delivery.first_deferred_at,
        Recipient.email if needs.address else literal(""),
        Recipient.domain if needs.address else literal(""),
        type_coerce(Recipient.tracking, String),
        source if needs.source else null(),
        Recipient.attributes if needs.attributes else null(),
        type_coerce(Recipient.shared, Integer),
        Recipient.name,
        type_coerce(Recipient.role, String),
        type_coerce(Recipient.sector, String),
        Recipient.organisation,
        Recipient.workplace,
        type_coerce(Recipient.confederation, String),
        type_coerce(Recipient.region, String),
        Recipient.language,
    )
    return select(*columns).join(Recipient, Recipient.id == Delivery.recipient_id)


def read_addressee(
    row: Sequence[Any], *, suppressed: bool = False, words: dict[Any, Any] | None = None
) -> Addressee:
    """One row of ``addressees``; columns added behind its own are left alone.

    Args:
        words: those of rows read before: the many that recur are then in memory once.
    """
    position, attempts, first_deferred_at, email, domain, tracking, source = row[:7]
    attributes, shared, name = row[7:10]
    keep = ({} if words is None else words).setdefault
    told = row[10:_COLUMNS]
    told = (None if shared else name, *map(keep, told, told), Attributes(attributes or ()))
    return Addressee(
        position,
        email,
        keep(domain, domain),
        RecipientValues(*told),
        tracking,
        source,
        True,
        suppressed,
        attempts,
        first_deferred_at,
    )


def addressee_as_sent(db: Session, campaign_id: int, position: int) -> Addressee | None:
    """The recipient of a delivery as its letter met them; None if there is none, or they are erased.

    A batch reads its recipients at once when it is claimed, and notes then how far they had changed: so
    it is the claim that counts, not when the letter came to its state, which may be minutes later, or
    days with a bounce. A deferred letter is written anew, and was last met by the claim of the batch in
    which it was last offered; one that waits shows what it would say now. Only an import that ends in
    the milliseconds between a claim and its reading is taken for later than it was.

    An objection holds whenever it was made: their links, looked at again, name nobody. A consent holds
    for the letters that came after it.
    """
    ours = (Delivery.campaign_id == campaign_id, Delivery.position == position)
    row = db.execute(addressees(FOR_SHOWING).where(*ours)).one_or_none()
    if row is None:
        return None
    to = read_addressee(row)
    version = db.scalar(
        select(RecipientVersion)
        .join(Delivery, Delivery.recipient_id == RecipientVersion.recipient_id)
        .join(Batch, is_batch_of_delivery())
        .where(*ours, RecipientVersion.id > Batch.versions_seen)
        .order_by(RecipientVersion.id)
        .limit(1)
    )
    if version is not None:
        to.values = recipient_values(version)
        if to.tracking != TrackingChoice.OBJECTION:
            to.tracking = version.tracking
    return to


def sample_addressee(db: Session, recipient: Recipient) -> Addressee:
    """A recipient as a letter would meet them, with links that name nobody."""
    source = db.scalar(
        select(func.min(RecipientSource.source)).where(RecipientSource.recipient_id == recipient.id)
    )
    return Addressee(
        NOBODY,
        recipient.email,
        recipient.domain,
        recipient_values(recipient),
        recipient.tracking,
        source,
    )


def recipient_values(row: Particulars) -> RecipientValues:
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
