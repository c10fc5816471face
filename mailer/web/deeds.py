"""What a letter's links let its holder see and do: looking changes nothing, a deed is done once.

A link's holder may be anybody the letter was passed on to, so nothing here tells a name or an address.
"""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailer.campaigns.models import Delivery
from mailer.events.catalogue import find_event
from mailer.events.models import ReminderRequest
from mailer.events.requests import request_reminder
from mailer.tracking.labels import POSTED
from mailer.tracking.log import Sighting, record
from mailer.tracking.models import TrackingKind
from mailer.tracking.tokens import Grant
from mailer.web.event_view import EventView, view_event
from recipients.models import Recipient, SuppressionReason
from recipients.suppression import find_suppression, suppress

DEFAULT_LANGUAGE = "da"


@dataclass(frozen=True, slots=True)
class Addressee:
    """The recipient behind one delivery, as far as a page needs to know."""

    recipient_id: int
    address_hash: str
    language: str


@dataclass(frozen=True, slots=True)
class MailChoice:
    """Whether this recipient gets letters."""

    unsubscribed: bool
    language: str


class Standing(StrEnum):
    """Where a recipient stands with an event's reminders."""

    MAY_ASK = "may_ask"
    ASKED = "asked"
    OVER = "over"
    CANCELLED = "cancelled"
    UNSUBSCRIBED = "unsubscribed"
    """Gets no mail at all, so no reminder either."""


@dataclass(frozen=True, slots=True)
class ReminderChoice:
    """An event and where this recipient stands with its reminders."""

    event: EventView
    standing: Standing
    language: str


def look_at_mail(db: Session, grant: Grant) -> MailChoice:
    """Whether the recipient of this delivery gets letters."""
    addressee = _find_addressee(db, grant)
    if addressee is None:
        return MailChoice(unsubscribed=False, language=DEFAULT_LANGUAGE)
    suppression = find_suppression(db, addressee.address_hash)
    return MailChoice(suppression is not None, addressee.language)


def unsubscribe(db: Session, grant: Grant, *, now: datetime) -> MailChoice:
    """Suppress the address for everything; a second time changes nothing.

    Somebody erased since gets no letters anyway.
    """
    addressee = _find_addressee(db, grant)
    if addressee is None:
        return MailChoice(unsubscribed=True, language=DEFAULT_LANGUAGE)
    if suppress(db, addressee.address_hash, SuppressionReason.UNSUBSCRIBED, now=now):
        _record_deed(db, TrackingKind.UNSUBSCRIBE, grant, now)
    return MailChoice(unsubscribed=True, language=addressee.language)


def look_at_reminder(db: Session, grant: Grant, slug: str, *, today: date) -> ReminderChoice | None:
    """The event, and whether this recipient may ask to be reminded; None for somebody erased since.

    Raises:
        EventNotFound: there is no such event.
    """
    addressee = _find_addressee(db, grant)
    if addressee is None:
        return None
    event = find_event(db, slug)
    view = view_event(event, today, addressee.language)
    asked = db.get(ReminderRequest, (event.id, addressee.recipient_id)) is not None
    if view.cancelled:
        standing = Standing.CANCELLED
    elif view.over:
        standing = Standing.OVER
    elif find_suppression(db, addressee.address_hash) is not None:
        standing = Standing.UNSUBSCRIBED
    else:
        standing = Standing.ASKED if asked else Standing.MAY_ASK
    return ReminderChoice(view, standing, addressee.language)


def ask_for_reminder(
    db: Session, grant: Grant, slug: str, *, today: date, now: datetime
) -> ReminderChoice | None:
    """Remember that this recipient wants a reminder, if they may ask; a second time changes nothing.

    Raises:
        EventNotFound: there is no such event.
    """
    addressee = _find_addressee(db, grant)
    choice = look_at_reminder(db, grant, slug, today=today)
    if addressee is None or choice is None or choice.standing is not Standing.MAY_ASK:
        return choice
    if request_reminder(db, slug, addressee.recipient_id, now=now):
        _record_deed(db, TrackingKind.REMIND, grant, now, subject=slug)
    return ReminderChoice(choice.event, Standing.ASKED, choice.language)


def _find_addressee(db: Session, grant: Grant) -> Addressee | None:
    row = db.execute(
        select(Recipient.id, Recipient.address_hash, Recipient.language)
        .join(Delivery, Delivery.recipient_id == Recipient.id)
        .where(Delivery.campaign_id == grant.campaign_id, Delivery.position == grant.number)
    ).one_or_none()
    if row is None:
        return None
    language = row.language if row.language in {"da", "en"} else DEFAULT_LANGUAGE
    return Addressee(row.id, row.address_hash, language)


def _record_deed(
    db: Session, kind: TrackingKind, grant: Grant, now: datetime, subject: str | None = None
) -> None:
    deed = Sighting(
        kind, now, POSTED, campaign_id=grant.campaign_id, position=grant.number, subject=subject
    )
    record(db, [deed])
