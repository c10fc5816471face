"""Calendar files (RFC 5545): one event for a calendar, or the feed of all."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import icalendar

from mailer.campaigns.timetable import resolve_local
from mailer.events.models import Event, EventState

FEED_NAME = "Inspirationsmøder"
FEED_PATH = "/events.ics"

_PRODUCT = "-//startpakke-mailer//events//DA"


def calendar_file(event: Event, *, public_url: str, now: datetime) -> bytes:
    """The file of one event; its UID never changes, its SEQUENCE grows with the event's revisions.

    Args:
        public_url: the base of our own pages; its host stands in the UID.
    """
    return _write(_new_calendar(), [event], public_url, now)


def calendar_feed(events: Iterable[Event], *, public_url: str, now: datetime) -> bytes:
    """The feed that calendars subscribe to: all events, each with the UID of its own file."""
    calendar = _new_calendar()
    calendar.add("X-WR-CALNAME", FEED_NAME)
    calendar.add("NAME", FEED_NAME)  # RFC 7986 §5.1, for those who no longer read the other
    calendar.add("SOURCE", public_url + FEED_PATH, parameters={"VALUE": "URI"})
    return _write(calendar, list(events), public_url, now)


def _write(
    calendar: icalendar.Calendar, events: Sequence[Event], public_url: str, now: datetime
) -> bytes:
    """Put the events in, with the changes of clocks in their years, and end lines with CRLF."""
    for event in events:
        calendar.add_component(_entry(event, public_url, now))
    if events:
        years = [event.date.year for event in events]
        calendar.add_missing_timezones(date(min(years), 1, 1), date(max(years) + 1, 1, 1))
    return bytes(calendar.to_ical())


def _new_calendar() -> icalendar.Calendar:
    calendar = icalendar.Calendar()
    calendar.add("PRODID", _PRODUCT)
    calendar.add("VERSION", "2.0")
    calendar.add("CALSCALE", "GREGORIAN")
    calendar.add("METHOD", "PUBLISH")
    return calendar


def _entry(event: Event, public_url: str, now: datetime) -> icalendar.Event:
    page = f"{public_url}/events/{event.slug}"
    entry = icalendar.Event()
    entry.add("UID", f"{event.slug}@{urlsplit(public_url).hostname}")
    entry.add("DTSTAMP", now)
    entry.add("LAST-MODIFIED", event.updated_at)
    entry.add("SEQUENCE", event.sequence)
    entry.add("SUMMARY", event.title)
    if event.time is None:
        entry.add("DTSTART", event.date)  # a DATE alone lasts the day (§3.6.1)
    else:
        zone = ZoneInfo(event.timezone)
        entry.add("DTSTART", resolve_local(event.date, event.time, zone).astimezone(zone))
    where = ", ".join(part for part in (event.place, event.address) if part)
    if where:
        entry.add("LOCATION", where)
    entry.add("DESCRIPTION", f"Program og tilmelding: {page}")
    entry.add("URL", page)
    entry.add("STATUS", "CONFIRMED" if event.state is EventState.OPEN else "CANCELLED")
    return entry
