"""What the fields of an event may hold, whoever gives them: an event file or the command line."""

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from urllib.parse import urlsplit

from mailer.events.errors import BadEventValue
from mailer.events.schedules import read_schedule
from mailer.tracking.links import locate
from recipients.models import Region

REQUIRED = ("slug", "title", "date")

_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_CLOCK = re.compile(r"(?:kl\.? ?)?([0-2]?[0-9])[:.]([0-5][0-9])(?::[0-5][0-9])?", re.IGNORECASE)
_DANISH_DAY = re.compile(r"([0-9]{1,2})[-.]([0-9]{1,2})[-.]([0-9]{4})")
_OUR_TIME = range(1900, 2200)
_SAID = {"true": True, "yes": True, "ja": True, "false": False, "no": False, "nej": False}
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
LONGEST_SLUG = 64
_LONGEST_TEXT, _LONGEST_URL, _LONGEST_SCHEDULE, _LONGEST_SHOWN = 300, 2000, 1000, 80


def read_field(field: str, value: object) -> object:
    """The value of a field in the type the event keeps; None for an empty one.

    Args:
        field: one of ``FIELDS``.
        value: what a TOML file or a person gave.

    Raises:
        BadEventValue: there is no such field, or the value does not fit it.
    """
    if field not in FIELDS:
        raise BadEventValue(
            field[:LONGEST_SLUG], f"is no field of an event; there are: {', '.join(FIELDS)}"
        )
    if isinstance(value, str):
        value = value.strip()
    if value is None or value == "":
        if field in REQUIRED:
            raise BadEventValue(field, "is missing")
        return None
    return FIELDS[field](field, value)


def shown(value: object) -> str:
    """A value as a refusal quotes it: whatever it is, no longer than one reads."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # more digits than Python writes out; tables within tables
        return f"{type(value).__name__} too large to show"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _read_slug(field: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_SLUG or not _SLUG.fullmatch(value):
        raise BadEventValue(
            field, f"must be a-z, 0-9 and hyphens, at most {LONGEST_SLUG}, not {shown(value)}"
        )
    return value


def _read_text(field: str, value: object) -> str:
    text = _expect_text(field, value, _LONGEST_TEXT)
    if _UNPRINTABLE.search(text):
        raise BadEventValue(field, "must be one line without control characters")
    return text


def _read_reminders(field: str, value: object) -> str:
    return read_schedule(field, _expect_text(field, value, _LONGEST_SCHEDULE))


def _expect_text(field: str, value: object, longest: int) -> str:
    if not isinstance(value, str):
        raise BadEventValue(field, f"must be text in quotation marks, not {shown(value)}")
    if len(value) > longest:
        raise BadEventValue(field, f"is too long: {len(value)} of {longest} characters")
    return value


def _read_region(field: str, value: object) -> str:
    text = _read_text(field, value).casefold().removeprefix("region ").strip()
    for region in Region:
        if region.casefold() == text:
            return region.value
    raise BadEventValue(field, f"must be one of {', '.join(Region)}, not {shown(value)}")


def _read_date(field: str, given: object) -> date:
    value = _parse_day(given) if isinstance(given, str) else given
    if isinstance(value, datetime) or not isinstance(value, date) or value.year not in _OUR_TIME:
        raise BadEventValue(field, f"must be a day such as 2014-03-24, not {_written(given)}")
    return value


def _parse_day(text: str) -> date | None:
    """The day, written as in ISO 8601 or as in Denmark; 4/7/2014 is another in each country."""
    try:
        if danish := _DANISH_DAY.fullmatch(text):
            day, month, year = (int(part) for part in danish.groups())
            return date(year, month, day)
        return date.fromisoformat(text)
    except ValueError:
        return None


def _read_time(field: str, value: object) -> time:
    if isinstance(value, time):
        return value.replace(microsecond=0)
    if isinstance(value, str) and (clock := _CLOCK.fullmatch(value)):
        hour, minute = (int(part) for part in clock.groups())
        if hour < 24:
            return time(hour, minute)
    raise BadEventValue(field, f"must be a time of day such as 09:30, not {_written(value)}")


def _written(value: object) -> str:
    """A value that may be a day or a clock, quoted as people write it."""
    return shown(str(value) if isinstance(value, date | time) else value)


def _read_url(field: str, value: object) -> str:
    if (
        not isinstance(value, str)
        or any(character.isspace() for character in value)
        or not value.startswith(("http://", "https://"))
        or locate("", value) is None
    ):
        raise BadEventValue(field, f"must be an http or https address, not {shown(value)}")
    if "@" in urlsplit(value).netloc:
        raise BadEventValue(field, "must not carry a user name or password")
    if len(value) > _LONGEST_URL:
        raise BadEventValue(field, f"is too long: {len(value)} of {_LONGEST_URL} characters")
    return value


def _read_capacity(field: str, value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1_000_000:
        raise BadEventValue(field, f"must be a whole number of seats, at least 1, not {shown(value)}")
    return value


def _read_hosted(field: str, value: object) -> bool:
    said = _SAID.get(value.casefold()) if isinstance(value, str) else value
    if not isinstance(said, bool):
        raise BadEventValue(field, f"must be true or false, not {shown(value)}")
    return said


FIELDS: Mapping[str, Callable[[str, object], object]] = {
    "slug": _read_slug,
    "title": _read_text,
    "date": _read_date,
    "time": _read_time,
    "place": _read_text,
    "address": _read_text,
    "region": _read_region,
    "programme_url": _read_url,
    "registration_url": _read_url,
    "capacity": _read_capacity,
    "hosted": _read_hosted,
    "reminders": _read_reminders,
}
"""The fields a person may give, in the order in which one writes them."""
