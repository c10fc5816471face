"""People on attendance lists whom we did not know, and who have become recipients since."""

from sqlalchemy import ColumnElement, CursorResult, Delete, and_, delete, select, update
from sqlalchemy.orm import Session, aliased

from mailer.events.models import Registration
from mailer.events.registering import lock_seats
from recipients.models import Recipient

_UNSEEN = {"synchronize_session": False}
"""No session holds these rows."""


def link_registrations(db: Session, event_id: int | None = None) -> int:
    """Give registrations from attendance lists to the recipients whose addresses they have.

    Where the recipient is registered for that event already, their own registration stays.

    Args:
        event_id: None is every event.

    Returns:
        How many registrations have found their recipient.
    """
    known = and_(
        Registration.recipient_id.is_(None),
        Registration.email_key.in_(select(Recipient.email_key)),
        *([] if event_id is None else [Registration.event_id == event_id]),
    )
    events = select(Registration.event_id).where(known).distinct().order_by(Registration.event_id)
    for one in db.scalars(events).all():
        lock_seats(db, one)
    db.execute(_delete_doubles(known), execution_options=_UNSEEN)
    found = select(Recipient.id).where(Recipient.email_key == Registration.email_key).scalar_subquery()
    linked = db.execute(
        update(Registration).where(known).values(recipient_id=found, email=None, email_key=None),
        execution_options=_UNSEEN,
    )
    assert isinstance(linked, CursorResult)
    return linked.rowcount


def _delete_doubles(known: ColumnElement[bool]) -> Delete:
    own = aliased(Registration)
    registered = (
        select(own.id)
        .join(Recipient, Recipient.id == own.recipient_id)
        .where(own.event_id == Registration.event_id, Recipient.email_key == Registration.email_key)
        .correlate(Registration)
    )
    return delete(Registration).where(known, registered.exists())
