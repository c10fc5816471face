"""When a reminder is due: so many days or hours before the event, on a working day."""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from mailer.campaigns.timetable import is_working_day, resolve_local
from mailer.events.errors import BadLead

SENDING_HOUR = time(9)
"""The wall time at which day leads are due; hour leads of an event without a time count from it."""

_LEAD = re.compile(r"([1-9][0-9]{0,2}) (day|hour)s?")
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Lead:
    """How long before an event a reminder goes."""

    count: int
    unit: Literal["day", "hour"]

    @property
    def length(self) -> timedelta:
        """By which leads are told apart: a day counts as 24 hours."""
        return timedelta(**{f"{self.unit}s": self.count})

    def __str__(self) -> str:
        """As people write it: ``14 days``, ``1 day``, ``2 hours``."""
        return f"{self.count} {self.unit}" + ("" if self.count == 1 else "s")


def parse_lead(text: str) -> Lead:
    """The lead that a text such as ``14 days`` or ``2 hours`` names.

    Raises:
        BadLead: it is no whole number, 1 to 999, of days or hours.
    """
    match = _LEAD.fullmatch(" ".join(text.split()))
    if match is None:
        raise BadLead(f"{text!r} is no lead; write it as  14 days  or  2 hours")
    return Lead(int(match[1]), "day" if match[2] == "day" else "hour")


def due_moment(day: date, start: time | None, lead: Lead, zone: ZoneInfo) -> datetime:
    """The moment, in UTC, at which the reminder of an event is due.

    Day leads count from the date and are due at 09:00 local time, off weekends and public holidays.
    Hour leads count real hours back from the beginning.

    Args:
        day: the event's date in ``zone``.
        start: its wall time, if it is known.
    """
    if lead.unit == "day":
        sending_day = working_day_on_or_before(day - lead.length)
        return resolve_local(sending_day, SENDING_HOUR, zone)
    return resolve_local(day, start or SENDING_HOUR, zone) - lead.length


def working_day_on_or_before(day: date) -> date:
    """The day itself, or the last one before it that is no weekend and no Danish public holiday."""
    while not is_working_day(day):
        day -= _ONE_DAY
    return day


def working_days_before(day: date, count: int) -> date:
    """The working day from which so many working days lead up to the day, the day itself not counted."""
    for _ in range(count):
        day = working_day_on_or_before(day - _ONE_DAY)
    return day
