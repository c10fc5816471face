"""What a letter's links let their holder do: asked for on a page, done soon after in the database.

A link's holder may be anybody the letter was passed on to. So nothing here tells an address, or what the
recipient did before; of their name no more than the letter does, which greets them by it, or does not.
"""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.requests import Request

from mailer.campaigns.models import Campaign, Delivery, Link
from mailer.events.catalogue import find_event
from mailer.events.errors import EventNotFound, RegistrationClosed
from mailer.events.models import Event, EventState, Registration, RegistrationState
from mailer.events.registering import (
    cancel_registration,
    count_seats,
    find_registration,
    lock_seats,
    register,
)
from mailer.events.requests import request_reminder, withdraw_request
from mailer.tracking.sightings import Sighting
from mailer.tracking.tokens import Grant, Purpose
from mailer.web.event_view import EventView, view_event
from mailer.web.languages import LANGUAGES
from recipients.choices import object_at_once
from recipients.models import Recipient, Role, SuppressionScope
from recipients.suppression import find_suppression, resubscribe, unsubscribe

UNDO = "undo"
"""The scope of a reminder that is no longer wanted; what a form says that takes its page's deed back."""
GIVE_BACK = "give_back"
"""What the form says that gives a seat back."""
_GREETED_WITHOUT_NAME = frozenset({Role.MINISTER, Role.UNION})
_ONE_CLICK = "list-unsubscribe"
_MOST_FIELDS = 32


class MailChoice(StrEnum):
    """What somebody asks for on the page behind "no more letters"."""

    LETTERS = "letters"
    """No more letters; reminders they ask for still come."""
    EVERYTHING = "everything"
    UNDO = "undo"
    OBJECT = "object"
    """Letters may come; what becomes of them is not to be tracked."""


@dataclass(frozen=True, slots=True)
class MailForm:
    """What was posted to that page."""

    choice: MailChoice
    stamp: str
    """As it was posted; empty where there is none, or more than one."""


@dataclass(frozen=True, slots=True)
class ReminderPage:
    """What the page behind "remind me" has to show."""

    event: EventView
    language: str


@dataclass(frozen=True, slots=True)
class SeatPage:
    """What the pages to register on and to give a seat back on have to show."""

    event: EventView
    language: str
    name: str | None
    """None where letters greet without it."""
    link_number: int | None
    """Of the letter's link to register by, for which this page stands."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a registration stands."""

    state: RegistrationState
    ahead: int
    """How many wait longer."""


async def read_mail_form(request: Request) -> MailForm:
    """What a form that was posted asks for.

    Only the page's own form can ask for less than everything. Whatever else is posted is a mail
    program's one click (RFC 8058 §3.2), in whichever encoding, or meant to be one.
    """
    fields = await _read_form(request)
    stamps = [value for name, value in fields if name == "stamp"]
    stamp = stamps[0] if len(stamps) == 1 else ""
    chosen = [value for name, value in fields if name == "choice"]
    one_click = any(name.casefold() == _ONE_CLICK for name, _ in fields)
    if one_click or len(chosen) != 1 or chosen[0] not in list(MailChoice):
        return MailForm(MailChoice.EVERYTHING, stamp)
    return MailForm(MailChoice(chosen[0]), stamp)


async def read_choice(request: Request) -> str | None:
    """The one button of its page that a form was posted with; None for whatever else is posted."""
    chosen = [value for name, value in await _read_form(request) if name == "choice"]
    return chosen[0] if len(chosen) == 1 else None


def look_at_language(db: Session, grant: Grant) -> str | None:
    """The language of the recipient behind a delivery; None for nobody we know of."""
    return _known_language(_find_reader(db, grant))


def look_at_reminder(
    db: Session, grant: Grant, slug: str, *, today: date, language: str | None
) -> ReminderPage | None:
    """The event as the recipient's page shows it; None for nobody we know of.

    Args:
        language: what the reader chose; None is the recipient's.

    Raises:
        EventNotFound: there is no such event.
    """
    found = _find_reader(db, grant)
    if found is None:
        return None
    chosen = language or _known_language(found) or LANGUAGES[0]
    return ReminderPage(view_event(find_event(db, slug), today, chosen), chosen)


def look_at_seats(
    db: Session, grant: Grant, purpose: Purpose, slug: str, *, today: date, language: str | None
) -> SeatPage | None:
    """The event and whose registration it would be; None for nobody we know of.

    Args:
        purpose: what the link is for. By ``ATTEND`` one comes to the letter's own event alone; for
            any other the answer is None.
        language: what the reader chose; None is the recipient's.

    Raises:
        EventNotFound: there is no such event.
    """
    found = db.execute(
        select(Recipient.language, Recipient.name, Recipient.role, Recipient.shared)
        .join(Delivery, Delivery.recipient_id == Recipient.id)
        .where(Delivery.campaign_id == grant.campaign_id, Delivery.position == grant.number)
    ).one_or_none()
    if found is None or (purpose is Purpose.ATTEND and not _is_about(db, grant.campaign_id, slug)):
        return None
    unnamed = found.shared or found.role in _GREETED_WITHOUT_NAME
    chosen, event = language or _spoken(found.language) or LANGUAGES[0], find_event(db, slug)
    seats = count_seats(db, [event.id])[event.id]
    return SeatPage(
        view_event(event, today, chosen, seats=seats),
        chosen,
        None if unnamed else found.name,
        db.scalar(
            select(Link.number).where(
                Link.campaign_id == grant.campaign_id, Link.key == f"events.registration/{slug}"
            )
        ),
    )


def look_at_standing(db: Session, slug: str, made_at: datetime) -> Standing | None:
    """Where the registration stands that a deed made; None if it made none.

    It is found by its moment: whose it is, pages may not read. If two have the same moment, it is none.
    """
    made = db.execute(
        select(Registration.event_id, Registration.state, Registration.number)
        .join(Event, Event.id == Registration.event_id)
        .where(Event.slug == slug, Registration.registered_at == made_at)
    ).all()
    if len(made) != 1 or made[0].state is RegistrationState.CANCELLED:
        return None
    (found,) = made
    ahead = db.scalar(
        select(func.count()).where(
            Registration.event_id == found.event_id,
            Registration.state == RegistrationState.WAITING,
            Registration.number < found.number,
        )
    )
    return Standing(found.state, ahead or 0)


def apply_unsubscribe(db: Session, sighting: Sighting) -> bool:
    """Let the recipient behind a delivery get no more mail, as far as they asked.

    Returns:
        Whether anything changed; nothing does for somebody erased since.
    """
    found = _find_addressee(db, sighting.campaign_id, sighting.position)
    if found is None:
        return False
    said, _, mark = (sighting.scope or "").partition(" ")
    only_letters = said == SuppressionScope.LETTERS
    scope = SuppressionScope.LETTERS if only_letters else SuppressionScope.EVERYTHING
    return unsubscribe(db, found.address_hash, scope, now=sighting.at, mark=mark)


def apply_resubscribe(db: Session, sighting: Sighting) -> bool:
    """Take back the no that was said in one visit to the letter's page, and nothing else.

    Returns:
        Whether anything changed.
    """
    found = _find_addressee(db, sighting.campaign_id, sighting.position)
    return found is not None and resubscribe(
        db, found.address_hash, now=sighting.at, mark=sighting.scope or ""
    )


def apply_objection(db: Session, sighting: Sighting) -> bool:
    """Track the recipient behind a delivery no more, in any letter.

    A letter's page only ever says no: a yes, or taking the no back, would be the word of whoever holds
    the letter. Neither is lifted by anything else a page does.

    Returns:
        Whether anything changed.

    Raises:
        RowHeld: an import, say, is writing the row; nothing was done.
    """
    found = _find_addressee(db, sighting.campaign_id, sighting.position)
    return found is not None and object_at_once(db, found.address_hash, now=sighting.at)


def apply_reminder(db: Session, sighting: Sighting) -> bool:
    """Remember that the recipient wants to be reminded of an event, or with ``UNDO`` forget it.

    Nobody is reminded of what is over or cancelled, nor who said no to everything.

    Returns:
        Whether anything changed.
    """
    found = _find_addressee(db, sighting.campaign_id, sighting.position)
    if found is None or sighting.subject is None:
        return False
    if sighting.scope == UNDO:
        return withdraw_request(db, sighting.subject, found.id, now=sighting.at)
    try:
        event = find_event(db, sighting.subject)
    except EventNotFound:
        return False
    suppression = find_suppression(db, found.address_hash)
    if suppression is not None and suppression.scope == SuppressionScope.EVERYTHING:
        return False
    day = sighting.at.astimezone(ZoneInfo(event.timezone)).date()
    if event.date < day or event.state is EventState.CANCELLED:
        return False
    return request_reminder(db, event.slug, found.id, now=sighting.at)


def apply_registration(db: Session, sighting: Sighting) -> bool:
    """Register the recipient for an event, as far as one can by then.

    Who said no to all mail may come all the same; no letter tells them so.

    Returns:
        Whether anything changed.
    """
    found = _find_addressee(db, sighting.campaign_id, sighting.position)
    if found is None or sighting.subject is None:
        return False
    try:
        event = lock_seats(db, find_event(db, sighting.subject).id)
        before = find_registration(db, event.id, found.id)
        number = before.number if before else None
        return register(db, event.slug, found.id, now=sighting.at).number != number
    except (EventNotFound, RegistrationClosed):
        return False


def apply_withdrawal(db: Session, sighting: Sighting) -> bool:
    """Give the recipient's seat, or place on the waiting list, at the letter's own event back.

    Returns:
        Whether anything changed.
    """
    found = _find_addressee(db, sighting.campaign_id, sighting.position)
    if found is None or sighting.subject is None:
        return False
    if not _is_about(db, sighting.campaign_id, sighting.subject):
        return False
    try:
        event = lock_seats(db, find_event(db, sighting.subject).id)
    except EventNotFound:
        return False
    registration = find_registration(db, event.id, found.id)
    if registration is None:
        return False
    before = registration.state
    cancel_registration(db, registration, now=sighting.at)
    return registration.state is not before


async def _read_form(request: Request) -> list[tuple[str, str]]:
    """The fields of a form in either encoding (RFC 7578 or ``urlencoded``); none if it is unreadable.

    The body is small: the guards see to that.
    """
    if request.headers.get("content-type", "").strip().casefold().startswith("multipart/form-data"):
        try:
            async with request.form(max_fields=_MOST_FIELDS) as form:
                return [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
        except (HTTPException, ValueError):
            return []
    body = (await request.body()).decode("latin-1")
    try:
        return parse_qsl(body, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return []


def _find_reader(db: Session, grant: Grant) -> Row[str] | None:
    """The language of the recipient behind a delivery: pages need no more, and may read no more."""
    return db.execute(
        select(Recipient.language)
        .join(Delivery, Delivery.recipient_id == Recipient.id)
        .where(Delivery.campaign_id == grant.campaign_id, Delivery.position == grant.number)
    ).one_or_none()


def _find_addressee(db: Session, campaign_id: int | None, position: int) -> Row[int, str, str] | None:
    """Id, address hash and language of the recipient behind a delivery."""
    return db.execute(
        select(Recipient.id, Recipient.address_hash, Recipient.language)
        .join(Delivery, Delivery.recipient_id == Recipient.id)
        .where(Delivery.campaign_id == campaign_id, Delivery.position == position)
    ).one_or_none()


def _is_about(db: Session, campaign_id: int | None, slug: str) -> bool:
    """Whether the campaign's letter is about this one event."""
    about = Campaign.frozen_letter["event_slug"].as_string()
    asking = select(Campaign.id).where(Campaign.id == campaign_id, about == slug)
    return db.scalar(asking) is not None


def _known_language(found: Row[str] | None) -> str | None:
    return _spoken(found.language) if found is not None else None


def _spoken(language: str) -> str | None:
    """The language if it is one of ours."""
    return language if language in LANGUAGES else None
