"""Denmark's public holidays.

A library that knows every country's takes 10 MB in each process that sends, for eleven days a year; the
tests compare with one.
"""

from datetime import date, timedelta
from functools import cache

_FIXED = ((1, 1), (12, 25), (12, 26))
_FROM_EASTER_DAY = (-3, -2, 0, 1, 39, 49, 50)
"""Maundy Thursday, Good Friday, Easter Day and Monday, Ascension Day, Whit Sunday and Monday."""
_GREAT_PRAYER_DAY = 26
_LAST_GREAT_PRAYER_DAY = 2023
"""Abolished by act no. 214 of 6 March 2023."""


@cache
def public_holidays(year: int) -> frozenset[date]:
    """The year's public holidays, in weekends too."""
    easter = easter_day(year)
    days = [*_FROM_EASTER_DAY, *([_GREAT_PRAYER_DAY] if year <= _LAST_GREAT_PRAYER_DAY else [])]
    return frozenset(
        [
            *(date(year, month, day) for month, day in _FIXED),
            *(easter + timedelta(days=days_after) for days_after in days),
        ]
    )


def easter_day(year: int) -> date:
    """Easter Day of a Gregorian year (Meeus, Astronomical Algorithms, 1991, ch. 8)."""
    century, rest = divmod(year, 100)
    moon = (19 * (year % 19) + century - century // 4 - (8 * century + 13) // 25 + 15) % 30
    weekday = (32 + 2 * (century % 4) + 2 * (rest // 4) - moon - rest % 4) % 7
    shift = (year % 19 + 11 * moon + 22 * weekday) // 451
    month, day = divmod(moon + weekday - 7 * shift + 114, 31)
    return date(year, month, day + 1)
