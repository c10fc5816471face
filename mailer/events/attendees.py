"""Who is registered for an event, one person each, as whoever stands at the door wants to see them."""

import unicodedata
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from mailer.events.errors import RegistrationNotFound
from mailer.events.models import Event, Registration, RegistrationSource, RegistrationState
from recipients.addresses import parse_address
from recipients.errors import BadAddress
from recipients.models import Recipient

_AFTER_Z = str.maketrans({"æ": "{", "ä": "{", "ø": "|", "ö": "|", "å": "}"})
"""The last letters of the alphabet (Retskrivningsordbogen § 4), by signs that stand behind z."""


@dataclass(frozen=True, slots=True)
class Attendee:
    """One registration with all that is known of the person."""

    name: str | None
    """As the attendance list wrote it, else as the recipient's row has it."""
    organisation: str | None
    workplace: str | None
    email: str
    state: RegistrationState
    source: RegistrationSource
    place: int | None
    """On the waiting list, counted from 1."""
    registered_at: datetime


def list_attendees(db: Session, event: Event) -> list[Attendee]:
    """Everybody who registered: who has a seat by name, who waits by place, who cancelled by name."""
    queue = func.row_number().over(partition_by=Registration.state, order_by=Registration.number)
    rows = db.execute(
        select(Registration, Recipient, queue)
        .outerjoin(Recipient, Recipient.id == Registration.recipient_id)
        .where(Registration.event_id == event.id)
    )
    return sorted((_attendee(*row) for row in rows), key=_order)


def find_registration(db: Session, event: Event, email: str) -> Registration:
    """The registration of an address, in whichever case and form it is written.

    Raises:
        RegistrationNotFound: nobody of that address is registered.
    """
    nobody = f"nobody of that address is registered for {event.slug!r}"
    try:
        key = parse_address(email).key
    except BadAddress as error:
        raise RegistrationNotFound(f"{nobody}: {error}") from error
    found = db.scalar(
        select(Registration)
        .outerjoin(Recipient, Recipient.id == Registration.recipient_id)
        .where(
            Registration.event_id == event.id,
            or_(Recipient.email_key == key, Registration.email_key == key),
        )
        .order_by(Registration.recipient_id.is_(None))
    )
    if found is None:
        raise RegistrationNotFound(nobody)
    return found


def _attendee(registration: Registration, recipient: Recipient | None, place: int) -> Attendee:
    waits = registration.state is RegistrationState.WAITING
    return Attendee(
        name=registration.name or (recipient.name if recipient else None),
        organisation=registration.organisation or (recipient.organisation if recipient else None),
        workplace=recipient.workplace if recipient else None,
        email=recipient.email if recipient else registration.email or "",
        state=registration.state,
        source=registration.source,
        place=place if waits else None,
        registered_at=registration.registered_at,
    )


def _order(attendee: Attendee) -> tuple[int, int, bool, str, str]:
    name = _in_alphabet(attendee.name or "")
    states = list(RegistrationState)
    place = attendee.place or 0
    return states.index(attendee.state), place, not name, name, attendee.email.casefold()


def _in_alphabet(text: str) -> str:
    """The text as Danish sorts it: aa as å, other accents as their plain letters."""
    plain = unicodedata.normalize("NFC", text).casefold().replace("aa", "å").translate(_AFTER_Z)
    return "".join(c for c in unicodedata.normalize("NFD", plain) if not unicodedata.combining(c))
