"""The entries of an event file, whatever its form: read field by field, or refused with the reason."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from mailer.events.errors import BadEventValue
from mailer.events.fields import LONGEST_SLUG, REQUIRED, read_field


@dataclass(frozen=True, slots=True)
class RefusedEntry:
    """An entry that was not taken: where it stands and why."""

    number: int
    """Counted from 1."""
    line: int | None
    """The line it begins on; None where entries are written in one line."""
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
    number: int = 0
    line: int | None = None
    calendar: "CalendarFacts | None" = None
    """What only a calendar file tells."""


@dataclass(frozen=True, slots=True)
class CalendarFacts:
    """What calendars tell in another way than an event keeps it."""

    mark: str | None
    """What the slug ends with where the UID is somebody else's: by it the event is known again."""
    begins: datetime | None
    """The moment; date and time follow from it in the event's own zone. None: the fields tell them."""
    location: str
    """Place and address in one."""
    cancelled: bool


@dataclass(frozen=True, slots=True)
class RawEntry:
    """An entry as the file has it."""

    line: int | None
    fields: Mapping[str, object]
    fault: str | None = None
    """Why it cannot be read; its fields are then only a guess."""
    calendar: CalendarFacts | None = None


def read_entries(raw: Iterable[RawEntry]) -> Iterator[EventEntry | RefusedEntry]:
    """The entries in order; a slug that stands twice is refused the second time."""
    first: dict[str, int] = {}
    for number, entry in enumerate(raw, start=1):
        named = _legible_slug(entry.fields.get("slug"))
        if entry.fault is not None:
            yield RefusedEntry(number, entry.line, named, entry.fault)
            continue
        try:
            read = _read_entry(entry, number)
        except BadEventValue as error:
            yield RefusedEntry(number, entry.line, named, str(error))
            continue
        if read.slug in first:
            reason = f"slug stands already in entry {first[read.slug]}"
            yield RefusedEntry(number, entry.line, named, reason)
            continue
        first[read.slug] = number
        yield read


def _legible_slug(slug: object) -> str | None:
    """What an entry calls itself, if one can read it."""
    if isinstance(slug, str) and len(slug) <= LONGEST_SLUG and slug.isprintable():
        return slug
    return None


def _read_entry(entry: RawEntry, number: int) -> EventEntry:
    read = {field: read_field(field, value) for field, value in entry.fields.items()}
    for field in REQUIRED:
        if field not in read:
            raise BadEventValue(field, "is missing")
    given = {field: value for field, value in read.items() if value is not None}
    return EventEntry(str(given.pop("slug")), given, number, entry.line, entry.calendar)
