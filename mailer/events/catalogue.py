"""The events themselves: taken in, found, listed and filled in, with all letters' links following."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailer.campaigns.linking import retarget
from mailer.campaigns.models import Link
from mailer.events.errors import BadEventValue, EventNotFound
from mailer.events.fields import read_field
from mailer.events.files import EventEntry, RefusedEntry, read_event_file
from mailer.events.models import Event, EventState
from mailer.foundation.clock import real_now

DEFAULT_TIMEZONE = "Europe/Copenhagen"

_IN_CALENDAR = frozenset({"title", "date", "time", "place", "address"})
"""Fields that stand in calendar files: a change of one is a new revision there."""


@dataclass(frozen=True, slots=True)
class EventImport:
    """What became of an event file."""

    added: int
    updated: int
    unchanged: int
    refused: tuple[RefusedEntry, ...]


def import_events(
    db: Session, path: Path, now: datetime, *, timezone: str = DEFAULT_TIMEZONE
) -> EventImport:
    """Take in an event file; the same file again changes nothing.

    An event that is known gets the fields the file gives; one that is empty or missing there erases
    nothing. Bad entries are refused while the rest goes in.

    Args:
        timezone: the zone of the dates and times of new events.

    Raises:
        EventFileNotFound, BadEventFile: the file cannot be used at all; nothing was changed.
    """
    added = updated = unchanged = 0
    refused = []
    for entry in read_event_file(path):
        if isinstance(entry, RefusedEntry):
            refused.append(entry)
            continue
        event = db.scalar(select(Event).where(Event.slug == entry.slug))
        if event is None:
            db.add(_new_event(entry, timezone, now))
            added += 1
        elif _apply(db, event, entry.fields, now=now):
            updated += 1
        else:
            unchanged += 1
    db.flush()
    return EventImport(added, updated, unchanged, tuple(refused))


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


def list_events(db: Session) -> list[Event]:
    """All events, by date."""
    return list(db.scalars(select(Event).order_by(Event.date, Event.slug)))


def upcoming_events(db: Session, today: date) -> list[Event]:
    """The events that still take place, today's included, by date.

    Args:
        today: the local date.
    """
    coming = select(Event).where(Event.state == EventState.OPEN, Event.date >= today)
    return list(db.scalars(coming.order_by(Event.date, Event.slug)))


def update_event(db: Session, slug: str, changes: Mapping[str, object], *, now: datetime) -> list[str]:
    """Fill in or correct an event; links in letters that have left follow.

    Args:
        changes: field → new value, as a person writes it or in the field's type; an empty value
            clears a field that may be missing.

    Returns:
        The fields that really changed.

    Raises:
        EventNotFound: there is no such event.
        BadEventValue: a value does not fit its field; nothing was changed.
    """
    event = find_event(db, slug)
    if "slug" in changes:
        raise BadEventValue("slug", "cannot be changed: addresses in letters carry it")
    changed = _apply(
        db, event, {field: read_field(field, value) for field, value in changes.items()}, now=now
    )
    db.flush()
    return changed


def _new_event(entry: EventEntry, timezone: str, now: datetime) -> Event:
    return Event(
        slug=entry.slug, timezone=timezone, created_at=now, updated_at=now, **dict(entry.fields)
    )


def _apply(db: Session, event: Event, values: Mapping[str, object], *, now: datetime) -> list[str]:
    """Set the values that differ, in one revision; return the names of those fields."""
    changed = [field for field, value in values.items() if getattr(event, field) != value]
    before = {field: getattr(event, field) for field in changed}
    for field in changed:
        setattr(event, field, values[field])
    if changed:
        event.updated_at = now
    if _IN_CALENDAR.intersection(changed):
        event.sequence += 1
    _retarget_links(db, event, before)
    return changed


def _retarget_links(db: Session, event: Event, before: Mapping[str, object]) -> None:
    """Point the links of all letters, sent ones too, where the event now says, on record.

    While there is no such address, they open our own page of the event, which says so. A link that
    somebody led elsewhere by hand stays where it is.
    """
    page = f"/events/{event.slug}"
    for field, key in (("programme_url", "programme"), ("registration_url", "registration")):
        if field not in before:
            continue
        following = select(Link).where(
            Link.event_slug == event.slug,
            Link.key == f"events.{key}/{event.slug}",
            Link.target.in_([before[field] or page, page]),
        )
        for link in db.scalars(following).all():
            retarget(
                db,
                link,
                getattr(event, field) or page,
                reason=f"{field} of {event.slug}",
                now=real_now(),
            )
