"""Event files: TOML with one ``[[event]]`` each, a table (CSV, XLSX, ODS), or a calendar (iCalendar)."""

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mailer.events.calendar_reading import read_calendar
from mailer.events.entries import EventEntry, RawEntry, RefusedEntry, read_entries
from mailer.events.errors import BadEventFile, EventFileNotFound
from mailer.events.fields import shown
from mailer.events.table_files import open_event_table

_LARGEST = 4 << 20
"""Bytes; the events of many years are a small part of it."""
_MOST = 500
"""Entries."""
_TABLES = frozenset({".csv", ".xlsx", ".xls", ".ods"})
_CALENDARS = frozenset({".ics", ".ical"})
_HEADING = re.compile(r"^[ \t]*\[\[[ \t]*event[ \t]*\]\]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class EventFile:
    """What stands in an event file."""

    entries: tuple[EventEntry | RefusedEntry, ...]
    """In order."""
    left_out: tuple[str, ...] = ()
    """Headings of a table that name no field of an event."""


def read_event_file(
    path: Path, *, encoding: str | None = None, public_url: str | None = None
) -> EventFile:
    """The entries of an event file, which the ending of its name says how to read.

    Args:
        encoding: of a CSV file; None finds it.
        public_url: the base of our own pages, by which our own calendars are known.

    Raises:
        EventFileNotFound: there is no such file.
        BadEventFile: it cannot be read, is larger than an event file ever is, is not what its name
            says, holds something other than events, or too many of them.
    """
    content = _read_bytes(path)
    ending = path.suffix.casefold()
    if ending in _TABLES:
        raw, left_out = open_event_table(path, encoding=encoding)
        return EventFile(_read_all(path, raw), left_out)
    if ending in _CALENDARS:
        return EventFile(_read_all(path, read_calendar(path, content, public_url=public_url)))
    return EventFile(_read_all(path, _read_toml(path, content)))


def _read_all(path: Path, raw: Iterable[RawEntry]) -> tuple[EventEntry | RefusedEntry, ...]:
    entries = tuple(islice(read_entries(raw), _MOST + 1))
    if len(entries) > _MOST:
        raise BadEventFile(f"{path}: holds more than {_MOST:,} events; take them in by several files")
    return entries


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except FileNotFoundError as error:
        raise EventFileNotFound(f"no such file: {path}") from error
    except OSError as error:
        raise BadEventFile(f"{path}: {error.strerror}") from error
    if len(content) > _LARGEST:
        raise BadEventFile(f"{path}: larger than {_LARGEST >> 20} MB, and holds more than events")
    return content


def _read_toml(path: Path, content: bytes) -> Iterator[RawEntry]:
    try:
        text = content.decode("utf-8-sig")
        read = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise BadEventFile(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        hint = "; a time of day is written 09:30:00" if "time" in str(error).casefold() else ""
        raise BadEventFile(f"{path}: {error}{hint}") from error
    except RecursionError as error:
        raise BadEventFile(f"{path}: lists within lists, deeper than an event ever is") from error
    except ValueError as error:
        raise BadEventFile(f"{path}: holds a number of more digits than any in an event") from error
    raw = read.get("event", [])
    strangers = sorted(set(read) - {"event"})
    if strangers or not isinstance(raw, list) or not raw:
        found = f"; found: {', '.join(name[:40] for name in strangers[:5])}" if strangers else ""
        raise BadEventFile(f"{path}: an event file holds [[event]] entries and no more{found}")
    lines = [text.count("\n", 0, match.start()) + 1 for match in _HEADING.finditer(text)]
    return _toml_entries(raw, lines if len(lines) == len(raw) else [None] * len(raw))


def _toml_entries(raw: list[object], lines: list[int] | list[None]) -> Iterator[RawEntry]:
    for entry, line in zip(raw, lines, strict=True):
        if isinstance(entry, dict):
            yield RawEntry(line, entry)
        else:
            yield RawEntry(line, {}, f"event must be a table of fields, not {shown(entry)}")
