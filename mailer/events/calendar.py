"""Calendar files (RFC 5545): one event for a calendar, or the feed of all.

No end is written, for none is known: an event without a time lasts its day, one with a time is told by
its beginning alone (§3.6.1). Nor is there an alarm: a calendar reminds as its owner has chosen.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

import icalendar
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailer.campaigns.timetable import resolve_local
from mailer.events.models import Event, EventState
from mailer.events.zones import zone_component
from mailer.foundation.settings import Settings
from mailer.smtp.envelope import ascii_domain

FEED_NAME = "Inspirationsmøder"
FEED_PATH = "/events.ics"

_PRODUCT = "-//startpakke-mailer//events//DA"
_KEPT = timedelta(days=365)
"""How long the feed tells of an event that is over."""
_REFRESH = timedelta(hours=1)
"""How often a calendar that subscribes is to look again."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
"""What no text may hold (§3.1), and what some programs end a line at."""


class _Text(icalendar.vText):
    """Text, escaped by §3.3.11; the library takes a backslash before an N for the end of a line."""

    def to_ical(self) -> bytes:
        """What stands behind the colon."""
        escaped = self.replace("\\", "\\\\").replace("\n", "\\n")
        return escaped.replace(";", "\\;").replace(",", "\\,").encode()


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who gives calendar files out."""

    public_url: str
    """The base of our own pages; its host stands in every UID."""
    name: str = ""
    address: str | None = None
    """The sender of letters; None while there is none."""


def publisher_of(settings: Settings) -> Publisher:
    """The publisher whom the settings name."""
    if settings.sender is None:
        return Publisher(settings.public_url)
    return Publisher(settings.public_url, settings.sender_name, settings.sender_address)


def calendar_events(db: Session, today: date) -> Sequence[Event]:
    """What the feed tells of: the events to come and those of the last year, the cancelled too.

    Args:
        today: the local date.
    """
    return db.scalars(
        select(Event).where(Event.date >= today - _KEPT).order_by(Event.date, Event.slug)
    ).all()


def calendar_file(event: Event, publisher: Publisher, *, stamped_at: datetime | None = None) -> bytes:
    """The file of one event; its UID never changes, its SEQUENCE grows with the event's revisions.

    That of a cancelled event takes it out of the calendar again (RFC 5546 §3.2.5).

    Args:
        stamped_at: when the file is made. None is the event's last revision, so that the file stays
            the same as long as the event does.
    """
    calendar = _new_calendar(calendar_method(event))
    return _write(calendar, [event], publisher, stamped_at)


def calendar_method(event: Event) -> str:
    """What the event's own file asks a calendar to do: ``PUBLISH`` or ``CANCEL`` (RFC 5546 §1.4)."""
    return "CANCEL" if event.state is EventState.CANCELLED else "PUBLISH"


def calendar_file_name(event: Event) -> str:
    """What the event's file is called where it is kept."""
    return f"inspirationsmoede-{event.slug}.ics"


def calendar_feed(events: Iterable[Event], publisher: Publisher) -> bytes:
    """The feed that calendars subscribe to: all events, each with the UID of its own file."""
    calendar = _new_calendar("PUBLISH")
    calendar.add("X-WR-CALNAME", FEED_NAME)
    calendar.add("NAME", FEED_NAME)  # RFC 7986 §5.1, for those who no longer read the other
    calendar.add("SOURCE", publisher.public_url + FEED_PATH, parameters={"VALUE": "URI"})
    calendar.add("REFRESH-INTERVAL", _REFRESH, parameters={"VALUE": "DURATION"})  # RFC 7986 §5.7
    calendar.add("X-PUBLISHED-TTL", icalendar.vDuration(_REFRESH))
    return _write(calendar, list(events), publisher, None)


def _new_calendar(method: str) -> icalendar.Calendar:
    calendar = icalendar.Calendar()
    calendar.add("PRODID", _PRODUCT)
    calendar.add("VERSION", "2.0")
    calendar.add("CALSCALE", "GREGORIAN")
    calendar.add("METHOD", method)
    return calendar


def _write(
    calendar: icalendar.Calendar,
    events: Sequence[Event],
    publisher: Publisher,
    stamped_at: datetime | None,
) -> bytes:
    """Put the events in behind the zones of their times; lines end in CRLF."""
    years: dict[str, list[int]] = {}
    for event in events:
        if event.time is not None:
            years.setdefault(event.timezone, []).append(event.date.year)
    for zone, used in years.items():
        calendar.add_component(zone_component(ZoneInfo(zone), min(used), max(used)))
    for event in events:
        calendar.add_component(_entry(event, publisher, stamped_at or event.updated_at))
    return bytes(calendar.to_ical())


def _entry(event: Event, publisher: Publisher, stamped_at: datetime) -> icalendar.Event:
    page = f"{publisher.public_url}/events/{quote(event.slug)}"
    cancelled = event.state is EventState.CANCELLED
    title = _one_line(event.title)
    entry = icalendar.Event()
    entry.add("UID", f"{event.slug}@{urlsplit(publisher.public_url).hostname}")
    entry.add("DTSTAMP", stamped_at.astimezone(UTC))
    entry.add("LAST-MODIFIED", event.updated_at.astimezone(UTC))
    entry.add("SEQUENCE", event.sequence)
    entry.add("SUMMARY", _Text(f"Aflyst: {title}" if cancelled else title))
    if event.time is None:
        entry.add("DTSTART", event.date)
    else:
        zone = ZoneInfo(event.timezone)
        entry.add("DTSTART", resolve_local(event.date, event.time, zone).astimezone(zone))
    if cancelled or event.time is None:
        entry.add("TRANSP", "TRANSPARENT")  # nobody is busy all day with what has no time yet
    where = ", ".join(_one_line(part) for part in (event.place, event.address) if part)
    if where:
        entry.add("LOCATION", _Text(where))
    if publisher.address is not None:
        entry.add("ORGANIZER", _organizer(publisher.name, publisher.address))  # RFC 5546 §3.2.1
    entry.add("DESCRIPTION", _Text(_description(event, page)))
    entry.add("URL", page)
    entry.add("STATUS", "CANCELLED" if cancelled else "CONFIRMED")
    return entry


def _description(event: Event, page: str) -> str:
    if event.state is EventState.CANCELLED:
        return f"Mødet er aflyst.\nMere om det: {page}"
    programme = event.programme_url
    first = f"Program: {programme}" if programme else "Programmet er ikke kommet endnu."
    return f"{first}\nTilmelding og ændringer: {page}"


def _organizer(name: str, address: str) -> icalendar.vCalAddress:
    organizer = icalendar.vCalAddress(f"mailto:{quote(ascii_domain(address), safe='@+')}")  # RFC 6068 §2
    if name:
        organizer.params["CN"] = _one_line(name)
    return organizer


def _one_line(text: str) -> str:
    return _UNPRINTABLE.sub(" ", text)
