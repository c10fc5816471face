"""How the clocks of a zone change, as a calendar file tells it (RFC 5545 §3.6.5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import icalendar

_EARLIEST, _LATEST = 2, 9998
"""Years whose every moment every zone can show."""
_MOST_YEARS = 50
"""A rule that has held so long is taken to go on."""
_SECOND = timedelta(seconds=1)
_WEEK = timedelta(weeks=1)
"""No zone changes its clocks and back within one."""
_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


@dataclass(frozen=True, slots=True)
class _Change:
    """From what to what clocks change."""

    before: timedelta
    after: timedelta
    name: str
    """Of the time that begins: ``CEST``."""


def zone_component(zone: ZoneInfo, first: int, last: int) -> icalendar.Timezone:
    """The changes of clocks that times in these years are read by.

    Changes that come by a yearly rule are written as that rule, which is all that some programs read:
    one for summer, one for winter. Where there is none, they stand one by one.

    Args:
        first, last: the years of the file's first and last time in the zone.
    """
    component = icalendar.Timezone()
    component.add("TZID", zone.key)
    years = range(max(first - 1, _EARLIEST), min(last + 1, _LATEST, first + _MOST_YEARS) + 1)
    for change, onsets in _changes(zone, years).items():
        ahead = change.after > change.before
        observance = icalendar.TimezoneDaylight() if ahead else icalendar.TimezoneStandard()
        observance.add("DTSTART", onsets[0])
        observance.add("TZOFFSETFROM", change.before)
        observance.add("TZOFFSETTO", change.after)
        observance.add("TZNAME", change.name)
        if rule := _yearly_rule(onsets, years):
            observance.add("RRULE", rule)
        elif onsets[1:]:
            observance.add("RDATE", onsets[1:])
        component.add_component(observance)
    return component


@lru_cache(maxsize=64)
def _changes(zone: ZoneInfo, years: range) -> Mapping[_Change, Sequence[datetime]]:
    """When clocks change in these years, what they show at the onset being told by the time that ends.

    Where nothing changes in the first year, what holds from its beginning is told too.
    """
    changes: dict[_Change, list[datetime]] = {}
    moment, end = (datetime(year, 1, 1, tzinfo=UTC) for year in (years[0], years[-1] + 1))
    while moment < end:
        following = moment + _WEEK
        if _offset(zone, moment) != _offset(zone, following):
            onset = _find_onset(zone, moment, following)
            if not changes and onset.year > years[0]:
                changes |= _lasting(zone, years[0])
            change = _change(zone, onset)
            changes.setdefault(change, []).append((onset + change.before).replace(tzinfo=None))
        moment = following
    return changes or _lasting(zone, years[0])


def _lasting(zone: ZoneInfo, year: int) -> dict[_Change, list[datetime]]:
    """What clocks show as the year begins, as if it began then."""
    lasting = _change(zone, datetime(year, 1, 1, tzinfo=UTC))
    return {replace(lasting, before=lasting.after): [datetime.combine(date(year, 1, 1), time())]}


def _find_onset(zone: ZoneInfo, earlier: datetime, later: datetime) -> datetime:
    """The moment between the two from which clocks show what they show at the later one."""
    before = _offset(zone, earlier)
    while later - earlier > _SECOND:
        middle = earlier + (later - earlier) // _SECOND // 2 * _SECOND
        if _offset(zone, middle) == before:
            earlier = middle
        else:
            later = middle
    return later


def _change(zone: ZoneInfo, onset: datetime) -> _Change:
    local = onset.astimezone(zone)
    return _Change(_offset(zone, onset - _SECOND), _offset(zone, onset), local.tzname() or zone.key)


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _yearly_rule(onsets: Sequence[datetime], years: range) -> Mapping[str, object] | None:
    """The rule by which they come: on a certain weekday of a month, at a certain time, once a year."""
    if [onset.year for onset in onsets] != list(years):
        return None
    if len({(onset.month, onset.weekday(), onset.time()) for onset in onsets}) > 1:
        return None
    weeks = {(onset.day - 1) // 7 + 1 for onset in onsets}
    if all((onset + _WEEK).month != onset.month for onset in onsets):
        weeks = {-1}
    if len(weeks) > 1:
        return None
    on = f"{weeks.pop()}{_WEEKDAYS[onsets[0].weekday()]}"
    return {"FREQ": "YEARLY", "BYMONTH": onsets[0].month, "BYDAY": on}
