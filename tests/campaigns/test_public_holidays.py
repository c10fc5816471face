"""Public holidays: the same as those of a library that knows every country's."""

from datetime import date

import holidays
import pytest

from mailer.campaigns.public_holidays import easter_day, public_holidays


def test_they_are_those_the_library_knows() -> None:
    for year in range(1950, 2101):
        assert public_holidays(year) == frozenset(holidays.country_holidays("DK", years=year)), year


@pytest.mark.parametrize(("year", "last"), [(2023, True), (2024, False)])
def test_great_prayer_day_was_a_holiday_until_2023(year: int, *, last: bool) -> None:
    assert (date(2023, 5, 5) in public_holidays(year)) == last
    assert len(public_holidays(year)) == (11 if last else 10)


@pytest.mark.parametrize("day", [date(1818, 3, 22), date(2038, 4, 25), date(2014, 4, 20)])
def test_easter_is_known_on_its_earliest_and_latest_day(day: date) -> None:
    assert easter_day(day.year) == day


def test_every_year_a_date_can_have_has_its_holidays() -> None:
    for year in (1, 1582, 9999):
        assert all(day.year == year for day in public_holidays(year))
        assert easter_day(year).weekday() == 6
