"""When letters may leave: hours, working days, spans, and the two days clocks change."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.campaigns.timetable import (
    BadTimetable,
    Hours,
    Plan,
    Span,
    Timetable,
    is_working_day,
    parse_hours,
    parse_span,
    plan_parts,
)

ZONE = ZoneInfo("Europe/Copenhagen")
MIDNIGHT = datetime(2014, 1, 1, tzinfo=UTC)
OFFICE = Timetable(ZONE, Hours(8 * 60, 16 * 60), workdays=True)


def local(day: date, hour: int = 0, minute: int = 0) -> datetime:
    return datetime.combine(day, time(hour, minute), ZONE)


def plan(timetable: Timetable, start: datetime, span: str, *, letters: int, most: int = 2000) -> Plan:
    return plan_parts(timetable, start, parse_span(span), letters=letters, most=most)


@pytest.mark.parametrize(
    ("text", "span"),
    [("90m", Span(90, "m")), ("6h", Span(6, "h")), (" 3D ", Span(3, "d")), ("2 h", Span(2, "h"))],
)
def test_spans_are_read_as_people_write_them(text: str, span: Span) -> None:
    assert parse_span(text) == span


@pytest.mark.parametrize("text", ["", "3", "d", "-1d", "0h", "1.5h", "3 days", "367d", "99999h"])
def test_what_is_no_span_of_a_year_at_most_is_refused(text: str) -> None:
    with pytest.raises(BadTimetable):
        parse_span(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("8-16", "8-16"), ("08:00-16:00", "8-16"), ("8.30 – 24", "8:30-24"), ("0-0:01", "0-0:01")],
)
def test_hours_are_read_as_people_write_them(text: str, shown: str) -> None:
    assert str(parse_hours(text)) == shown


@pytest.mark.parametrize("text", ["", "8", "16-8", "8-8", "22-6", "8-25", "24-25", "8:60-16", "a-b"])
def test_hours_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(BadTimetable):
        parse_hours(text)


def test_three_working_days_from_friday_noon_end_on_wednesday_at_noon() -> None:
    friday = date(2014, 3, 7)
    times = OFFICE.open_times(local(friday, 12), parse_span("3d"))
    assert times[0].opens == local(friday, 12)
    assert times[-1].closes == local(date(2014, 3, 12), 12)
    assert sum((window.length for window in times), timedelta()) == timedelta(hours=4 + 8 + 8 + 4)


def test_three_days_from_an_evening_begin_the_next_morning() -> None:
    times = OFFICE.open_times(local(date(2014, 3, 10), 20), parse_span("3d"))
    assert [window.opens.astimezone(ZONE).day for window in times] == [11, 12, 13]
    assert times[-1].closes == local(date(2014, 3, 13), 16)


def test_hours_of_a_span_count_only_while_letters_may_leave() -> None:
    times = OFFICE.open_times(local(date(2014, 3, 7), 14), parse_span("6h"))
    assert times[0].length == timedelta(hours=2)
    assert times[-1].closes == local(date(2014, 3, 10), 12)


def test_holidays_are_no_working_days() -> None:
    easter = [date(2014, 4, day) for day in range(17, 23)]
    assert [day.day for day in easter if is_working_day(day)] == [22]
    assert OFFICE.window_at(local(date(2014, 4, 16), 17)).opens == local(date(2014, 4, 22), 8)


def test_an_office_day_has_eight_hours_also_when_clocks_change() -> None:
    for day in (date(2014, 3, 30), date(2014, 10, 26)):
        window = Timetable(ZONE, Hours(8 * 60, 16 * 60)).window_at(local(day))
        assert (window.opens, window.closes) == (local(day, 8), local(day, 16))
        assert window.length == timedelta(hours=8)


def test_whole_days_have_23_and_25_hours_when_clocks_change() -> None:
    lengths = [
        Timetable(ZONE, workdays=False).window_at(local(day, 12)).length
        for day in (date(2014, 3, 30), date(2014, 10, 26))
    ]
    assert lengths == [timedelta(hours=23), timedelta(hours=25)]


def test_an_hour_that_clocks_skip_is_no_window() -> None:
    night = Timetable(ZONE, Hours(2 * 60, 3 * 60))
    assert night.window_at(local(date(2014, 3, 30))).opens == local(date(2014, 3, 31), 2)


def test_an_hour_that_clocks_show_twice_is_two_hours() -> None:
    night = Timetable(ZONE, Hours(2 * 60, 3 * 60))
    assert night.window_at(local(date(2014, 10, 26))).length == timedelta(hours=2)


def test_800_000_letters_over_three_office_days_leave_a_part_a_minute() -> None:
    made = plan(OFFICE, local(date(2026, 3, 9), 6), "3d", letters=800_000)
    assert made.size == 556
    assert len(made.moments) == 1439
    assert made.moments[0] == local(date(2026, 3, 9), 8)
    assert local(date(2026, 3, 11), 15, 58) < made.moments[-1] < local(date(2026, 3, 11), 16)


def test_a_few_letters_leave_one_by_one() -> None:
    made = plan(Timetable(ZONE), datetime(2014, 3, 7, tzinfo=UTC), "90m", letters=3)
    assert made.size == 1
    assert [moment.minute for moment in made.moments] == [0, 30, 0]


def test_a_part_is_never_larger_than_a_batch() -> None:
    made = plan(Timetable(ZONE), datetime(2014, 3, 7, tzinfo=UTC), "10m", letters=50_000, most=2000)
    assert made.size == 2000
    assert len(made.moments) == 25


def test_what_would_take_more_than_a_year_is_refused() -> None:
    for hours, span in ((Hours(0, 1), "8000h"), (None, "366d")):
        with pytest.raises(BadTimetable, match="more than a year"):
            Timetable(ZONE, hours, workdays=True).open_times(local(date(2014, 3, 7)), parse_span(span))


@given(
    start=st.integers(0, 8_000_000).map(lambda m: MIDNIGHT + timedelta(minutes=m)),
    begin=st.integers(0, 23 * 60),
    length=st.integers(30, 12 * 60),
    workdays=st.booleans(),
    span=st.builds(Span, st.integers(1, 20), st.sampled_from(["m", "h", "d"])),
    letters=st.integers(1, 5_000),
)
def test_every_part_is_due_within_hours_and_span_and_none_is_lost(
    start: datetime, begin: int, length: int, workdays: bool, span: Span, letters: int
) -> None:
    hours = Hours(begin, min(begin + length, 24 * 60))
    timetable = Timetable(ZONE, hours, workdays)
    times = timetable.open_times(start, span)
    made = plan_parts(timetable, start, span, letters=letters, most=100)

    assert (len(made.moments) - 1) * made.size < letters <= len(made.moments) * made.size
    assert all(earlier < later for earlier, later in pairwise(made.moments))
    assert start <= made.moments[0] == max(start, times[0].opens)
    assert made.moments[-1] < times[-1].closes
    for moment in made.moments:
        assert any(window.opens <= moment < window.closes for window in times)
    for window in times:
        shown = window.opens.astimezone(ZONE)
        assert is_working_day(shown.date()) or not workdays
        assert shown.hour * 60 + shown.minute >= hours.begin


def test_steps_count_only_the_time_in_which_letters_may_leave() -> None:
    moments = islice(OFFICE.every(timedelta(hours=3), local(date(2014, 3, 7), 12)), 4)
    friday, monday = date(2014, 3, 7), date(2014, 3, 10)
    assert [*moments] == [
        local(friday, 12),
        local(friday, 15),
        local(monday, 10),
        local(monday, 13),
    ]
