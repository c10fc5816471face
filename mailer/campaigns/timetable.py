"""When letters may leave: office hours, working days, and an audience spread over hours or days.

Everything here is wall time of the office's zone until it becomes a moment, so that a day on which
clocks change is a day like any other.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, takewhile
from typing import Literal
from zoneinfo import ZoneInfo

from mailer.campaigns.public_holidays import public_holidays

PART_EVERY = timedelta(minutes=1)
"""A spread audience is cut so that a part leaves about once a minute."""

_DAY_MINUTES = 24 * 60
_LONGEST = timedelta(days=366)
_ONE_DAY = timedelta(days=1)
_SPAN = re.compile(r"([1-9][0-9]{0,4}) ?([mhd])")
_CLOCK = r"([0-9]{1,2})(?:[:.]([0-5][0-9]))?"
_HOURS = re.compile(rf"{_CLOCK} ?[-–] ?{_CLOCK}")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": _ONE_DAY}


class BadTimetable(Exception):
    """A span, hours or a moment that cannot be read or kept; the message says what to write."""


@dataclass(frozen=True, slots=True)
class Hours:
    """The part of a day in which letters may leave, in minutes since midnight."""

    begin: int
    end: int

    def __str__(self) -> str:
        """As people write it: ``8-16``, ``8:30-16``."""
        return f"{_clock(self.begin)}-{_clock(self.end)}"


@dataclass(frozen=True, slots=True)
class Span:
    """Over how long an audience is spread."""

    count: int
    unit: Literal["m", "h", "d"]

    def __str__(self) -> str:
        """As people write it: ``90m``, ``6h``, ``3d``."""
        return f"{self.count}{self.unit}"


@dataclass(frozen=True, slots=True)
class Wishes:
    """When an administrator wants the letters of a campaign to leave."""

    span: Span | None = None
    hours: Hours | None = None
    workdays: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """A time in which letters may leave; moments in UTC, the end is outside."""

    opens: datetime
    closes: datetime

    @property
    def length(self) -> timedelta:
        """Real time between the two."""
        return self.closes - self.opens


@dataclass(frozen=True, slots=True)
class Timetable:
    """When letters may leave at all."""

    zone: ZoneInfo
    hours: Hours | None = None
    workdays: bool = False

    def __str__(self) -> str:
        """``8-16 on working days``; empty if letters may leave at any time."""
        days = "on working days" if self.workdays else ""
        return " ".join(part for part in (str(self.hours or ""), days) if part)

    @property
    def is_always(self) -> bool:
        """Whether letters may leave at any time."""
        return self.hours is None and not self.workdays

    def windows(self, start: datetime) -> Iterator[Window]:
        """The windows that are not over at ``start``, one a day; the first may have begun before."""
        day = start.astimezone(self.zone).date()
        while True:
            window = self._window_of(day)
            if window is not None and window.closes > start:
                yield window
            day += _ONE_DAY

    def window_at(self, moment: datetime) -> Window:
        """The window the moment lies in, or the next one."""
        return next(self.windows(moment))

    def open_times(self, start: datetime, span: Span) -> tuple[Window, ...]:
        """The times in which a spread audience leaves.

        Minutes and hours count only while letters may leave. Days are days of the calendar, working
        days if only those count: three days from Monday 8:00 end before Thursday 8:00.

        Raises:
            BadTimetable: it would take more than a year.
        """
        latest = start + _LONGEST
        first = max(start, self.window_at(start).opens)
        if span.unit == "d":
            end = self._days_after(first, span.count)
            if end > latest:
                raise BadTimetable(f"{span} would take more than a year")
            return tuple(_between(self.windows(first), first, end))
        left, times = span.count * _UNITS[span.unit], []
        for window in self.windows(first):
            opens = max(first, window.opens)
            closes = min(window.closes, opens + left)
            if closes > latest:
                raise BadTimetable(f"{span} would take more than a year")
            times.append(Window(opens, closes))
            left -= closes - opens
            if not left:
                break
        return tuple(times)

    def every(self, step: timedelta, start: datetime) -> Iterator[datetime]:
        """Moments so far apart, from ``start`` on, counting only the time in which letters may leave."""
        wait = timedelta()
        for window in self.windows(start):
            moment = max(start, window.opens) + wait
            while moment < window.closes:
                yield moment
                moment += step
            wait = moment - window.closes

    def _window_of(self, day: date) -> Window | None:
        if self.workdays and not is_working_day(day):
            return None
        hours = self.hours or Hours(0, _DAY_MINUTES)
        window = Window(self._moment(day, hours.begin), self._moment(day, hours.end))
        return window if window.opens < window.closes else None  # an hour that clocks skip

    def _moment(self, day: date, minutes: int) -> datetime:
        days, minutes = divmod(minutes, _DAY_MINUTES)
        return resolve_local(day + days * _ONE_DAY, time(minutes // 60, minutes % 60), self.zone)

    def _days_after(self, start: datetime, count: int) -> datetime:
        local = start.astimezone(self.zone)
        day = local.date()
        while count and day < local.date() + 2 * _LONGEST:
            day += _ONE_DAY
            count -= not self.workdays or is_working_day(day)
        return resolve_local(day, local.time(), self.zone)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a spread audience is cut into parts, and when each is due on the clock people see."""

    size: int
    """Letters in a part; the last may have fewer."""
    step: timedelta
    """Between two parts, counting only the time in which letters may leave."""
    moments: tuple[datetime, ...]


def plan_parts(timetable: Timetable, start: datetime, span: Span, *, letters: int, most: int) -> Plan:
    """Spread an audience evenly over the span: a part a minute, or fewer if there are fewer letters.

    Args:
        most: letters a part may have; a large audience gets more parts instead.

    Raises:
        BadTimetable: it would take more than a year.
    """
    length = sum((window.length for window in timetable.open_times(start, span)), timedelta())
    wanted = max(1, length // PART_EVERY)
    size = min(most, math.ceil(letters / wanted)) if letters else most
    parts = math.ceil(letters / size)
    step = length / max(1, parts)
    return Plan(size, step, tuple(islice(timetable.every(step, start), parts)))


def parse_span(text: str) -> Span:
    """The span that a text such as ``90m``, ``6h`` or ``3d`` names.

    Raises:
        BadTimetable: it is no whole number of minutes, hours or days, or more than a year.
    """
    match = _SPAN.fullmatch(text.strip().lower())
    if match is None:
        raise BadTimetable(f"{text!r} is no span: write minutes, hours or days as  90m,  6h  or  3d")
    count, unit = int(match[1]), match[2]
    if count * _UNITS[unit] > _LONGEST:
        raise BadTimetable(f"{text!r} is more than a year")
    return Span(count, "m" if unit == "m" else "h" if unit == "h" else "d")


def parse_hours(text: str) -> Hours:
    """The hours that a text such as ``8-16`` or ``8:30-16`` names; ``24`` is the day's end.

    Raises:
        BadTimetable: they cannot be read, or do not begin before they end on the same day.
    """
    match = _HOURS.fullmatch(text.strip())
    if match is None:
        raise BadTimetable(f"{text!r} are no hours: write them as  8-16  or  8:30-16")
    begin = int(match[1]) * 60 + int(match[2] or 0)
    end = int(match[3]) * 60 + int(match[4] or 0)
    if not begin < end <= _DAY_MINUTES:
        raise BadTimetable(f"{text!r}: hours begin before they end, on one day, such as  8-16")
    return Hours(begin, end)


def parse_moment(text: str, zone: ZoneInfo) -> datetime:
    """The moment, in UTC, that a text such as ``2014-03-07T09:00`` names (ISO 8601).

    Args:
        zone: in which it is read where it has no offset.

    Raises:
        BadTimetable: it names none.
    """
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            return resolve_local(moment.date(), moment.time(), zone)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadTimetable(
            f"{text!r} is no moment: write a time such as 2014-03-07T09:00 or 2014-03-21T09:00+01:00"
        ) from error


def resolve_local(day: date, wall: time, zone: ZoneInfo) -> datetime:
    """The moment, in UTC, that clocks on the wall show (RFC 5545 §3.3.5).

    A wall time that clocks skip is read with the offset before the gap, so it moves forward by the
    gap; one that they show twice means the first time. Both are what PEP 495 calls fold 0.
    """
    return datetime.combine(day, wall.replace(fold=0), zone).astimezone(UTC)


def is_working_day(day: date) -> bool:
    """Whether the day is neither weekend nor Danish public holiday."""
    return day.weekday() < 5 and day not in public_holidays(day.year)


def _between(windows: Iterator[Window], start: datetime, end: datetime) -> Iterator[Window]:
    for window in takewhile(lambda window: window.opens < end, windows):
        yield Window(max(start, window.opens), min(end, window.closes))


def _clock(minutes: int) -> str:
    return f"{minutes // 60}:{minutes % 60:02}" if minutes % 60 else str(minutes // 60)
