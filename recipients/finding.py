"""Finding one recipient, and the parties whose lists it stood on."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from recipients.addresses import parse_address
from recipients.errors import BadAddress, RecipientNotFound
from recipients.models import Recipient, RecipientSource


def find_recipient(db: Session, email: str) -> Recipient:
    """The recipient of an address, in whichever case and form it is written.

    Raises:
        RecipientNotFound: there is none.
    """
    try:
        key = parse_address(email).key
    except BadAddress as error:
        raise RecipientNotFound(f"no recipient has that address: {error}") from error
    recipient = db.scalar(select(Recipient).where(Recipient.email_key == key))
    if recipient is None:
        raise RecipientNotFound("no recipient has that address")
    return recipient


def list_sources(db: Session, recipient_id: int) -> list[str]:
    """The parties whose lists a recipient stood on, sorted."""
    found = select(RecipientSource.source).where(RecipientSource.recipient_id == recipient_id)
    return sorted(db.scalars(found))
