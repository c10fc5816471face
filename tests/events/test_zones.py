"""The rules of a zone, as another library reads them, against what the zone's own clocks show."""

import io
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from dateutil.tz import tzical

from mailer.events.zones import zone_component


def rules(zone: str, first: int, last: int) -> str:
    return zone_component(ZoneInfo(zone), first, last).to_ical().decode()


@pytest.mark.parametrize(
    ("zone", "year"),
    [
        ("Europe/Copenhagen", 2014),
        ("Europe/Dublin", 2014),  # winter is its special time
        ("America/New_York", 2014),  # the second Sunday of March
        ("Australia/Lord_Howe", 2014),  # half an hour, and summer as the year begins
        ("Africa/Casablanca", 2024),  # by the moon
        ("Europe/Istanbul", 2016),  # summer time without end
        ("Asia/Pyongyang", 2018),  # once
        ("Atlantic/Reykjavik", 2014),  # never
    ],
)
def test_a_zone_is_read_as_its_clocks_go(zone: str, year: int) -> None:
    own = ZoneInfo(zone)
    read = tzical(io.StringIO(rules(zone, year, year))).get()
    assert read is not None

    noon = datetime.combine(date(year, 1, 1), time(12))
    for _ in range(365):
        assert noon.replace(tzinfo=read).utcoffset() == noon.replace(tzinfo=own).utcoffset(), noon
        noon += timedelta(days=1)


def test_summer_time_is_one_rule_and_begins_by_the_winter_clock() -> None:
    component = rules("Europe/Copenhagen", 2014, 2031)

    assert component.split("\r\n")[2:16] == [
        "BEGIN:DAYLIGHT",
        "DTSTART:20130331T020000",
        "RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3",
        "TZNAME:CEST",
        "TZOFFSETFROM:+0100",
        "TZOFFSETTO:+0200",
        "END:DAYLIGHT",
        "BEGIN:STANDARD",
        "DTSTART:20131027T030000",
        "RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10",
        "TZNAME:CET",
        "TZOFFSETFROM:+0200",
        "TZOFFSETTO:+0100",
        "END:STANDARD",
    ]


@pytest.mark.parametrize(("first", "last"), [(1, 1), (9999, 9999), (2014, 9999)])
def test_no_year_is_too_far_away(first: int, last: int) -> None:
    assert "TZOFFSETTO" in rules("Europe/Copenhagen", first, last)
