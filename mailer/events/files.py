"""Event files: TOML, one ``[[event]]`` each."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mailer.events.errors import BadEventFile, BadEventValue, EventFileNotFound
from mailer.events.fields import REQUIRED, read_field

_HEADING = re.compile(r"^[ \t]*\[\[[ \t]*event[ \t]*\]\]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class RefusedEntry:
    """An entry that was not taken: where it stands and why."""

    number: int
    """Counted from 1."""
    line: int | None
    """The line of its heading; None where entries are written in one line."""
    slug: str | None
    reason: str

    def __str__(self) -> str:
        """``entry 3 (line 21, skanderborg): time must be …``."""
        where = ", ".join(
            [*([f"line {self.line}"] if self.line else []), *([self.slug] if self.slug else [])]
        )
        return f"entry {self.number}" + (f" ({where})" if where else "") + f": {self.reason}"


@dataclass(frozen=True, slots=True)
class EventEntry:
    """An entry that may go in: its fields, without the empty ones."""

    slug: str
    fields: Mapping[str, object]


def read_event_file(path: Path) -> Iterator[EventEntry | RefusedEntry]:
    """The entries of an event file, in order.

    Raises:
        EventFileNotFound: there is no such file.
        BadEventFile: it cannot be read, is no TOML, or holds something other than events.
    """
    text = _read_text(path)
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        hint = "; a time of day is written 09:30:00" if "time" in str(error).casefold() else ""
        raise BadEventFile(f"{path}: {error}{hint}") from error
    raw = content.get("event", [])
    strangers = sorted(set(content) - {"event"})
    if strangers or not isinstance(raw, list) or not raw:
        found = f"; found: {', '.join(strangers)}" if strangers else ""
        raise BadEventFile(f"{path}: an event file holds [[event]] entries and no more{found}")
    lines = [text.count("\n", 0, match.start()) + 1 for match in _HEADING.finditer(text)]
    return _read_entries(raw, lines if len(lines) == len(raw) else [None] * len(raw))


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise EventFileNotFound(f"no such file: {path}") from error
    except UnicodeDecodeError as error:
        raise BadEventFile(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except OSError as error:
        raise BadEventFile(f"{path}: {error.strerror}") from error


def _read_entries(
    raw: list[object], lines: list[int] | list[None]
) -> Iterator[EventEntry | RefusedEntry]:
    first: dict[str, int] = {}
    for number, (entry, line) in enumerate(zip(raw, lines, strict=True), start=1):
        slug = entry.get("slug") if isinstance(entry, dict) else None
        named = slug if isinstance(slug, str) else None
        try:
            read = _read_entry(entry)
        except BadEventValue as error:
            yield RefusedEntry(number, line, named, str(error))
            continue
        if read.slug in first:
            reason = f"slug stands already in entry {first[read.slug]}"
            yield RefusedEntry(number, line, named, reason)
            continue
        first[read.slug] = number
        yield read


def _read_entry(entry: object) -> EventEntry:
    if not isinstance(entry, dict):
        raise BadEventValue("event", f"must be a table of fields, not {entry!r}")
    read = {field: read_field(field, value) for field, value in entry.items()}
    for field in REQUIRED:
        if field not in read:
            raise BadEventValue(field, "is missing")
    given = {field: value for field, value in read.items() if value is not None}
    return EventEntry(str(given.pop("slug")), given)
