"""Who asked to be reminded of an event."""

from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailer.events.catalogue import find_event
from mailer.events.models import ReminderRequest


def request_reminder(db: Session, slug: str, recipient_id: int, *, now: datetime) -> bool:
    """Remember that somebody asked; asking again changes nothing.

    Returns:
        Whether the request is new.

    Raises:
        EventNotFound: there is no such event.
    """
    key = (find_event(db, slug).id, recipient_id)
    if db.get(ReminderRequest, key) is not None:
        return False
    try:
        with db.begin_nested():
            db.add(ReminderRequest(event_id=key[0], recipient_id=recipient_id, asked_at=now))
    except IntegrityError:
        if db.get(ReminderRequest, key) is None:
            raise  # the recipient is gone
        return False  # the same person's other click was faster
    return True
