"""Who asked to be reminded of an event, and who may not be reminded."""

from datetime import datetime

from sqlalchemy import ColumnElement, CursorResult, delete, exists, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailer.campaigns.audience import is_suppressed
from mailer.events.catalogue import find_event
from mailer.events.models import Event, Registration, ReminderRequest
from recipients.models import Recipient, SuppressionScope


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


def withdraw_request(db: Session, slug: str, recipient_id: int, *, now: datetime) -> bool:
    """Forget that somebody asked.

    Args:
        now: when they said so; a request made later stays.

    Returns:
        Whether there was such a request.
    """
    event = select(Event.id).where(Event.slug == slug).scalar_subquery()
    gone = db.execute(
        delete(ReminderRequest).where(
            ReminderRequest.event_id == event,
            ReminderRequest.recipient_id == recipient_id,
            ReminderRequest.asked_at <= now,
        )
    )
    assert isinstance(gone, CursorResult)
    return gone.rowcount == 1


def gets_no_reminder(slug: str) -> ColumnElement[bool]:
    """True for a recipient who may get no letter about that event that goes by itself.

    Who wants no more letters still gets the reminders they asked for, and what follows from having
    registered, a seat given back included; a click on a link asked for nothing.
    """
    asked = (
        exists()
        .where(ReminderRequest.recipient_id == Recipient.id, ReminderRequest.event_id == Event.id)
        .where(Event.slug == slug)
    )
    registered = (
        exists()
        .where(Registration.recipient_id == Recipient.id, Registration.event_id == Event.id)
        .where(Event.slug == slug)
    )
    return is_suppressed(SuppressionScope.EVERYTHING) | (is_suppressed() & ~asked & ~registered)
