"""Taking events in from a file; the same file again changes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailer.events.changes import apply_changes
from mailer.events.entries import EventEntry, RefusedEntry
from mailer.events.files import read_event_file
from mailer.events.models import Event, EventState

DEFAULT_TIMEZONE = "Europe/Copenhagen"


@dataclass(frozen=True, slots=True)
class EventImport:
    """What became of an event file."""

    added: tuple[str, ...]
    """Slugs."""
    updated: tuple[str, ...]
    """Slugs."""
    unchanged: int
    refused: tuple[RefusedEntry, ...]
    left_out: tuple[str, ...]
    """Headings of a table that name no field of an event."""
    held_back: int = 0
    """How many letters about events as they were had not left, and never will."""


def import_events(
    db: Session,
    path: Path,
    now: datetime,
    *,
    timezone: str = DEFAULT_TIMEZONE,
    encoding: str | None = None,
    public_url: str | None = None,
) -> EventImport:
    """Take in an event file.

    An event that is known gets the fields the file gives; one that is empty or missing there erases
    nothing. Bad entries are refused while the rest goes in.

    Args:
        timezone: the zone of the dates and times of new events.
        encoding: of a CSV file; None finds it.
        public_url: the base of our own pages: only a calendar with its host in a UID speaks of an event
            of ours by name.

    Raises:
        EventFileNotFound, BadEventFile: the file cannot be used at all; nothing was changed.
    """
    file = read_event_file(path, encoding=encoding, public_url=public_url)
    locking = select(Event).order_by(Event.id).with_for_update(key_share=True)
    known = {event.slug: event for event in db.scalars(locking)}
    by_mark = {slug.rpartition("-")[2]: event for slug, event in known.items()}
    unchanged = held_back = 0
    refused: list[RefusedEntry] = []
    added: list[str] = []
    updated: list[str] = []
    for entry in file.entries:
        if isinstance(entry, RefusedEntry):
            refused.append(entry)
            continue
        facts = entry.calendar
        event = by_mark.get(facts.mark) if facts and facts.mark else known.get(entry.slug)
        cancelled = facts is not None and facts.cancelled
        if cancelled and (event is None or event.state is not EventState.CANCELLED):
            refused.append(_refuse_cancelled(entry, event))
        elif event is None:
            db.add(_new_event(entry, timezone, now))
            added.append(entry.slug)
        elif cancelled:
            unchanged += 1
        else:
            done = apply_changes(db, event, _values(entry, event), now=now)
            updated += [event.slug] if done.changed else []
            unchanged += 0 if done.changed else 1
            held_back += done.held_back
    db.flush()
    return EventImport(tuple(added), tuple(updated), unchanged, tuple(refused), file.left_out, held_back)


def location_of(event: Event) -> str:
    """Place and address in one, as calendars write them."""
    return ", ".join(part for part in (event.place, event.address) if part)


def _refuse_cancelled(entry: EventEntry, event: Event | None) -> RefusedEntry:
    if event is None:
        reason = "is cancelled, and not known here"
    else:
        reason = f"is cancelled there; if it is, say so with  mailer event cancel {event.slug}"
    slug = event.slug if event else entry.slug
    return RefusedEntry(entry.number, entry.line, slug, reason)


def _new_event(entry: EventEntry, timezone: str, now: datetime) -> Event:
    event = Event(slug=entry.slug, timezone=timezone, created_at=now, updated_at=now)
    for field, value in _values(entry, event).items():
        setattr(event, field, value)
    return event


def _values(entry: EventEntry, event: Event) -> Mapping[str, object]:
    """The fields the entry gives to an event, a calendar's moment as wall time in the event's zone.

    Place and address stay as they are where a calendar, which writes both as one, has the same.
    """
    values = dict(entry.fields)
    facts = entry.calendar
    if facts is None:
        return values
    if facts.begins is not None:
        local = facts.begins.astimezone(ZoneInfo(event.timezone))
        values |= {"date": local.date(), "time": local.time()}
    if facts.location == location_of(event):
        values = {field: values[field] for field in values.keys() - {"place", "address"}}
    return values
