from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.campaigns.timetable import resolve_local
from mailer.events.dates import (
    Lead,
    due_moment,
    parse_lead,
    working_day_on_or_before,
)
from mailer.events.errors import BadLead


def _last_sundays(year: int) -> list[date]:
    """The days on which clocks change in the European Union: the last Sundays of March and October."""
    lasts = (date(year, 3, 31), date(year, 10, 31))
    return [last - timedelta(days=last.isoweekday() % 7) for last in lasts]


ZONE = ZoneInfo("Europe/Copenhagen")
TO_SUMMER, TO_WINTER = date(2014, 3, 30), date(2014, 10, 26)

days = st.dates(date(2014, 1, 1), date(2024, 12, 31))
changes_of_clocks = st.sampled_from([day for year in range(2014, 2025) for day in _last_sundays(year)])
leads = st.builds(Lead, st.integers(1, 60), st.sampled_from(["day", "hour"]))


@pytest.mark.parametrize(
    ("text", "lead"),
    [
        ("14 days", Lead(14, "day")),
        ("1 day", Lead(1, "day")),
        ("2 hours", Lead(2, "hour")),
        (" 7  days ", Lead(7, "day")),
    ],
)
def test_a_lead_is_a_number_of_days_or_hours(text: str, lead: Lead) -> None:
    assert parse_lead(text) == lead


@pytest.mark.parametrize("text", ["", "0 days", "-1 day", "1.5 days", "days", "2 weeks", "٣ days"])
def test_anything_else_is_no_lead(text: str) -> None:
    with pytest.raises(BadLead, match="14 days"):
        parse_lead(text)


@given(leads)
def test_a_lead_reads_back_as_it_is_written(lead: Lead) -> None:
    assert parse_lead(str(lead)) == lead


@pytest.mark.parametrize(
    ("event", "lead", "due"),
    [
        (date(2014, 3, 24), "14 days", "2014-03-10T09:00+01:00"),
        (date(2014, 3, 24), "7 days", "2014-03-17T09:00+01:00"),
        (date(2014, 3, 24), "1 day", "2014-03-21T09:00+01:00"),
        (date(2014, 4, 7), "14 days", "2014-03-24T09:00+01:00"),
        (date(2014, 4, 7), "7 days", "2014-03-31T09:00+02:00"),
        (date(2014, 4, 7), "1 day", "2014-04-04T09:00+02:00"),
        (date(2014, 5, 12), "14 days", "2014-04-28T09:00+02:00"),
        (date(2014, 5, 12), "7 days", "2014-05-05T09:00+02:00"),
        (date(2014, 5, 12), "1 day", "2014-05-09T09:00+02:00"),
        (date(2014, 6, 16), "14 days", "2014-06-02T09:00+02:00"),
        (date(2014, 6, 16), "7 days", "2014-06-06T09:00+02:00"),  # 9 June is Whit Monday
        (date(2014, 6, 16), "1 day", "2014-06-13T09:00+02:00"),
        (date(2014, 6, 17), "14 days", "2014-06-03T09:00+02:00"),
        (date(2014, 6, 17), "7 days", "2014-06-10T09:00+02:00"),
        (date(2014, 6, 17), "1 day", "2014-06-16T09:00+02:00"),
    ],
)
def test_the_reminders_of_spring_2014(event: date, lead: str, due: str) -> None:
    assert due_moment(event, None, parse_lead(lead), ZONE) == datetime.fromisoformat(due)


def test_easter_moves_a_reminder_over_all_its_days() -> None:
    assert working_day_on_or_before(date(2014, 4, 21)) == date(2014, 4, 16)


def test_the_great_prayer_day_is_a_working_day_since_2024() -> None:
    assert working_day_on_or_before(date(2014, 5, 16)) == date(2014, 5, 15)
    assert working_day_on_or_before(date(2024, 4, 26)) == date(2024, 4, 26)


def test_the_hour_that_clocks_skip_moves_forward() -> None:
    moment = resolve_local(TO_SUMMER, time(2, 30), ZONE)
    assert moment.astimezone(ZONE).time() == time(3, 30)


def test_the_hour_that_clocks_show_twice_is_the_first() -> None:
    first = datetime(2014, 10, 26, 0, 30, tzinfo=UTC)
    assert resolve_local(TO_WINTER, time(2, 30), ZONE) == first
    assert resolve_local(TO_WINTER, time(2, 30, fold=1), ZONE) == first


def test_hour_leads_are_real_hours_over_the_change_of_clocks() -> None:
    due = due_moment(TO_SUMMER, time(4), Lead(2, "hour"), ZONE)
    assert due == datetime(2014, 3, 30, 0, 0, tzinfo=UTC)
    assert due.astimezone(ZONE).time() == time(1)


@given(days, st.one_of(st.none(), st.times()), leads)
def test_every_lead_of_every_day_is_due_once_before_the_event(
    day: date, start: time | None, lead: Lead
) -> None:
    due = due_moment(day, start, lead, ZONE)
    assert due.tzinfo is UTC
    assert due < resolve_local(day, start or time(9), ZONE) + timedelta(days=1)
    if lead.unit == "day":
        local = due.astimezone(ZONE)
        assert local.time() == time(9)
        assert local.date() <= day - timedelta(days=lead.count)
        assert local.date() >= day - timedelta(days=lead.count + 6)
        assert working_day_on_or_before(local.date()) == local.date()
    else:
        assert resolve_local(day, start or time(9), ZONE) - due == timedelta(hours=lead.count)


@given(changes_of_clocks, st.times(), st.integers(1, 48))
def test_on_a_day_of_change_hours_are_real_the_missing_one_moves_on_and_the_doubled_one_is_the_first(
    day: date, start: time, hours: int
) -> None:
    begins = due_moment(day, start, Lead(hours, "hour"), ZONE) + timedelta(hours=hours)
    wall = start.replace(fold=0)
    summer = timedelta(hours=2) if day.month == 10 or wall >= time(3) else timedelta(hours=1)
    offset = timedelta(hours=1) if day.month == 10 and wall >= time(3) else summer
    assert begins == (datetime.combine(day, wall) - offset).replace(tzinfo=UTC)


@given(days, st.times())
def test_wall_time_is_kept_wherever_clocks_show_it(day: date, wall: time) -> None:
    shown = resolve_local(day, wall, ZONE).astimezone(ZONE).replace(tzinfo=None, fold=0)
    skipped = timedelta(hours=1)
    assert shown - datetime.combine(day, wall.replace(fold=0)) in {timedelta(0), skipped}
