"""Events out of a calendar (iCalendar, RFC 5545), ours or whosever: read as text, and nothing computed.

A calendar may tell of repetitions and of clocks that change as its writer pleases; neither is followed.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from icalendar.parser import Contentline
from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from mailer.events.entries import CalendarFacts, RawEntry
from mailer.events.errors import BadEventFile, BadEventValue
from recipients.words import fold

_DEEPEST = 20
_LONGEST_LINE = 20_000
"""Characters of a property that we read."""
_LONGEST_TITLE = 50
"""Characters of the title in a slug."""
_MARK_BYTES = 6
_SERIES = frozenset({"RRULE", "RDATE", "RECURRENCE-ID"})
_NAME = re.compile(r"[A-Za-z0-9-]+(?=[;:])")
_START = re.compile(r"([0-9]{8})(?:T([0-9]{6})(Z?))?")


@dataclass(frozen=True, slots=True)
class _Component:
    """One component of a calendar: the first of each of its properties."""

    kind: str
    line: int
    properties: dict[str, str] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """What a property says; nothing if it is not there.

        Raises:
            BadEventValue: its line cannot be read.
        """
        return self.parts(name)[1] if name in self.properties else ""

    def parts(self, name: str) -> tuple[dict[str, str], str]:
        """The parameters and the value of a property that is there.

        Raises:
            BadEventValue: its line cannot be read, or is longer than any that we need.
        """
        if len(self.properties[name]) > _LONGEST_LINE:
            raise BadEventValue(name, f"is longer than {_LONGEST_LINE} characters")
        try:
            _, parameters, value = Contentline(self.properties[name]).parts()  # type: ignore[no-untyped-call]
        except ValueError as error:
            raise BadEventValue(name, "is no line of a calendar") from error
        return {key.upper(): str(said) for key, said in parameters.items()}, value.strip()


def read_calendar(path: Path, content: bytes, *, public_url: str | None = None) -> Iterator[RawEntry]:
    """The events of a calendar file, each with the line it begins on.

    Args:
        public_url: the base of our own pages, whose host stands in the UID of every event of ours; None
            takes every event for somebody else's.

    Raises:
        BadEventFile: it is no calendar, is cut off, or holds no event.
    """
    events, zones, taken_back = list[_Component](), dict[str, str](), False
    for component in _read_components(path, content):
        with suppress(BadEventValue):
            match component.kind:
                case "VEVENT":
                    events.append(component)
                case "VTIMEZONE":
                    zones[component.text("TZID")] = component.text("X-LIC-LOCATION")
                case "VCALENDAR":
                    taken_back |= component.text("METHOD").upper() == "CANCEL"  # RFC 5546 §3.2.5
    if not events:
        raise BadEventFile(f"{path}: the calendar holds no event")
    host = urlsplit(public_url).hostname if public_url else None
    return (_raw_entry(event, zones, host, cancelled=taken_back) for event in events)


def _read_components(path: Path, content: bytes) -> Iterator[_Component]:
    """The events and zones of a calendar and itself, each when it ends; what they hold is left out."""
    around: list[_Component] = []
    for line, text in _unfold(path, content):
        name = _NAME.match(text)
        if name is None or (not around and text.strip().upper() != "BEGIN:VCALENDAR"):
            raise BadEventFile(f"{path}, line {line}: no calendar; one begins with BEGIN:VCALENDAR")
        kind = text.partition(":")[2].strip().upper()
        match name[0].upper():
            case "BEGIN":
                around.append(_Component(kind, line))
                if len(around) > _DEEPEST:
                    raise BadEventFile(f"{path}, line {line}: nested deeper than a calendar ever is")
            case "END":
                if around[-1].kind != kind:
                    raise BadEventFile(f"{path}, line {line}: {around[-1].kind} ends as {kind[:40]!r}")
                ended = around.pop()
                if len(around) <= 1:
                    yield ended
            case other:
                around[-1].properties.setdefault(other, text)
    if around:
        raise BadEventFile(f"{path}: cut off: {around[-1].kind} of line {around[-1].line} has no end")


def _unfold(path: Path, content: bytes) -> Iterator[tuple[int, str]]:
    """The lines with their numbers; one is folded between bytes, not characters (§3.1)."""
    begun, parts = 1, [b""]
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for number, line in enumerate([*lines, b""], start=1):
        if line[:1] in {b" ", b"\t"}:
            parts.append(line[1:].rstrip(b"\r"))
            continue
        try:
            text = b"".join(parts).decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadEventFile(f"{path}, line {begun}: not UTF-8; export the calendar anew") from error
        if text.strip():
            yield begun, text
        begun, parts = number, [line.rstrip(b"\r")]


def _raw_entry(
    event: _Component, zones: dict[str, str], our_host: str | None, *, cancelled: bool
) -> RawEntry:
    try:
        return _read_event(event, zones, our_host, cancelled=cancelled)
    except BadEventValue as error:
        return RawEntry(event.line, {}, str(error))


def _read_event(
    event: _Component, zones: dict[str, str], our_host: str | None, *, cancelled: bool
) -> RawEntry:
    """An event's fields, under the names they have in other event files.

    The UID names an event of ours only where it bears our host: what others call theirs is theirs.

    Raises:
        BadEventValue: it is one of a series, or a line of it cannot be read.
    """
    for name in sorted(_SERIES & event.properties.keys()):
        raise BadEventValue(name, "makes a series of it: give each date an entry of its own")
    day, clock, moment = _read_start(event, zones)
    title = " ".join(event.text("SUMMARY").split())
    location = ", ".join(line.strip() for line in event.text("LOCATION").splitlines() if line.strip())
    place, _, address = location.partition(",")
    uid, url = event.text("UID"), event.text("URL")
    name, _, host = uid.partition("@")
    is_ours = host.casefold() == our_host
    mark = None
    if not uid:
        slug = f"{_in_slug(title)}-{day}"
    elif is_ours:
        slug = name
    else:
        mark = hashlib.blake2s(uid.encode(), digest_size=_MARK_BYTES).hexdigest()
        slug = f"{_in_slug(title)}-{mark}"
    fields = {"slug": slug, "title": title, "date": day, "time": clock}
    fields |= {"place": place, "address": address}
    if url.startswith(("http://", "https://")) and not (is_ours and _is_page_of(url, name, host)):
        fields["programme_url"] = url
    off = cancelled or event.text("STATUS").upper() == "CANCELLED"
    return RawEntry(event.line, fields, calendar=CalendarFacts(mark, moment, location, off))


def _is_page_of(url: str, slug: str, host: str) -> bool:
    """Whether an address is the page that this service shows of an event, whose UID it stands in."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.path.endswith(f"/events/{slug}") and parts.hostname == host.casefold()


def _in_slug(title: str) -> str:
    return fold(title).replace(" ", "-")[:_LONGEST_TITLE].strip("-") or "event"


def _read_start(
    event: _Component, zones: dict[str, str]
) -> tuple[date | None, time | None, datetime | None]:
    """Day and wall time; or, where the calendar names a zone or UTC, the day there and the moment.

    Raises:
        BadEventValue: it is neither, or in a zone nobody knows.
    """
    if not event.text("DTSTART"):
        return None, None, None
    parameters, value = event.parts("DTSTART")
    matched = _START.fullmatch(value)
    try:
        if matched is None:
            raise ValueError(value)
        day = date.fromisoformat(matched[1])
        if matched[2] is None:
            return day, None, None
        clock = time.fromisoformat(matched[2])
    except ValueError as error:
        raise BadEventValue("DTSTART", f"must be such as 20140512T093000, not {value[:40]!r}") from error
    if not matched[3] and "TZID" not in parameters:
        return day, clock, None
    zone = UTC if matched[3] else _find_zone(parameters["TZID"], zones)
    return day, None, datetime.combine(day, clock, zone)


def _find_zone(name: str, zones: dict[str, str]) -> ZoneInfo:
    """The zone of that name: of the zone database, of Windows, or with somebody's prefix.

    Raises:
        BadEventValue: nobody knows it.
    """
    parts = name.split("/")
    known = [name, WINDOWS_TO_OLSON.get(name, ""), "/".join(parts[-2:]), zones.get(name, "")]
    for key in known:
        try:
            return ZoneInfo(key)
        except (KeyError, ValueError, OSError):  # no such key; no key at all; a folder, or too long
            continue
    raise BadEventValue("DTSTART", f"is in a time zone nobody knows: {name[:60]!r}")
