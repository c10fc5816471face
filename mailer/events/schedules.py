"""Which reminders one event gets, where it says so itself: ``14 days, 7 days: vi-ses, 2 hours``."""

import re
from dataclasses import dataclass

from mailer.events.dates import Lead, parse_lead
from mailer.events.errors import BadEventValue, BadLead

NO_REMINDERS = "none"

_MOST = 12
_LONGEST = 500
_LETTER = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class ScheduledLead:
    """One lead of a schedule."""

    lead: Lead
    letter: str | None
    """The letter that goes to those it is written for; None is whichever letters have that lead."""

    def __str__(self) -> str:
        """As people write it: ``14 days``, ``7 days: vi-ses``."""
        return str(self.lead) if self.letter is None else f"{self.lead}: {self.letter}"


def read_schedule(field: str, value: object) -> str:
    """A schedule as an event keeps it; whether its letters exist is seen when they are due.

    Raises:
        BadEventValue: it is no schedule.
    """
    if not isinstance(value, str):
        raise BadEventValue(field, f"must be text in quotation marks, not {value!r}")
    try:
        schedule = parse_schedule(value)
    except BadLead as error:
        raise BadEventValue(field, f"make no sense: {error}") from error
    text = ", ".join(map(str, schedule)) or NO_REMINDERS
    if len(text) > _LONGEST:
        raise BadEventValue(field, f"are too long: {len(text)} of {_LONGEST} characters")
    return text


def parse_schedule(text: str) -> tuple[ScheduledLead, ...]:
    """The leads that a text such as ``14 days, 7 days: vi-ses, 2 hours`` names; ``none`` is none.

    Raises:
        BadLead: one of them is no lead, names no letter, or stands there twice; or there are too many.
    """
    if text.strip().casefold() == NO_REMINDERS:
        return ()
    schedule: dict[ScheduledLead, None] = {}
    for part in text.split(","):
        entry = _read_entry(part)
        if entry in schedule:
            raise BadLead(f"{entry} stands there twice")
        schedule[entry] = None
    if len(schedule) > _MOST:
        raise BadLead(f"an event has at most {_MOST} reminders, not {len(schedule)}")
    return tuple(schedule)


def _read_entry(text: str) -> ScheduledLead:
    lead, colon, letter = text.partition(":")
    letter = letter.strip()
    if colon and not _LETTER.fullmatch(letter):
        raise BadLead(f"{letter!r} is no name of a letter; write it as  7 days: vi-ses")
    return ScheduledLead(parse_lead(lead), letter or None)
