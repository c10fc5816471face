"""The events themselves: found, listed, and where links about them lead."""

from collections.abc import Mapping
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailer.events.errors import EventNotFound
from mailer.events.models import Event, EventState


def find_event(db: Session, slug: str) -> Event:
    """The event of that slug.

    Raises:
        EventNotFound: there is none.
    """
    event = db.scalar(select(Event).where(Event.slug == slug))
    if event is None:
        known = ", ".join(db.scalars(select(Event.slug).order_by(Event.slug))) or "none"
        raise EventNotFound(f"no event {slug!r}; there are: {known}")
    return event


def lock_event(db: Session, slug: str) -> Event:
    """The event as it stands, to be changed by nobody else until this transaction ends; its seats too.

    Raises:
        EventNotFound: there is none.
    """
    locking = (
        select(Event)
        .where(Event.slug == slug)
        .with_for_update(key_share=True)  # rows that refer to it can be written meanwhile
        .execution_options(populate_existing=True)
    )
    return db.scalar(locking) or find_event(db, slug)


def list_events(db: Session) -> list[Event]:
    """All events, by date."""
    return list(db.scalars(select(Event).order_by(Event.date, Event.slug)))


def upcoming_events(db: Session, today: date) -> list[Event]:
    """The events that still take place, today's included, by date.

    Args:
        today: the local date.
    """
    coming = select(Event).where(Event.state != EventState.CANCELLED, Event.date >= today)
    return list(db.scalars(coming.order_by(Event.date, Event.slug)))


def is_over(event: Event, now: datetime) -> bool:
    """Whether the day of the event has passed, where it is."""
    return event.date < now.astimezone(ZoneInfo(event.timezone)).date()


def takes_place(event: Event, now: datetime) -> bool:
    """Whether one can still go there."""
    return event.state is not EventState.CANCELLED and not is_over(event, now)


def link_targets(event: Event) -> Mapping[str, str]:
    """Where the links about an event lead: our own page of it where there is no such address.

    That page says so, and takes the registrations of an event that is hosted here.
    """
    page = f"/events/{event.slug}"
    return {
        "programme": event.programme_url or page,
        "registration": (None if event.hosted else event.registration_url) or page,
        "calendar": f"{page}.ics",
    }
