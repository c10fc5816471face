"""Finding one recipient."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from recipients.addresses import parse_address
from recipients.errors import BadAddress, RecipientNotFound
from recipients.models import Recipient


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
