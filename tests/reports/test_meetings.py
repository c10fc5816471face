"""When the parties meet, and which days each report covers."""

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from mailer.reports.meetings import (
    BadMeetings,
    BadText,
    clean_text,
    coming_meeting,
    read_challenges,
    read_meetings,
    store_challenges,
)
from tests.events.making import ZONE

TEMPLATES = Path(__file__).parents[2] / "templates"
AGREED = "agreed = 2013-10-25\n"
ONE = "[[meeting]]\ndate = 2014-04-25\n"


def test_the_first_meeting_is_six_months_after_the_agreement() -> None:
    first, *_, last = read_meetings([TEMPLATES])

    assert (first.held_on, first.since) == (date(2014, 4, 25), date(2013, 10, 25))
    assert last.held_on.year == 2016


def test_a_report_goes_ten_working_days_before_over_easter() -> None:
    first = read_meetings([TEMPLATES])[0]

    assert f"{first.due_at(ZONE).astimezone(ZONE):%a %Y-%m-%d %H:%M}" == "Tue 2014-04-08 09:00"
    assert first.until == date(2014, 4, 7)


def test_no_day_is_in_two_reports_and_none_in_no_report() -> None:
    meetings = read_meetings([TEMPLATES])

    for one, following in pairwise(meetings):
        assert following.since == one.until + timedelta(days=1)


def test_the_coming_meeting_is_the_first_that_is_not_over() -> None:
    meetings = read_meetings([TEMPLATES])

    assert coming_meeting(meetings, date(2014, 4, 25)) == meetings[0]
    assert coming_meeting(meetings, date(2014, 4, 26)) == meetings[1]
    assert coming_meeting(meetings, date(2030, 1, 1)) is None


def test_an_office_brings_its_own_meetings(tmp_path: Path) -> None:
    (tmp_path / "meetings.toml").write_text(AGREED + "[[meeting]]\ndate = 2014-05-30\n")

    (only,) = read_meetings([tmp_path, TEMPLATES])

    assert only.held_on == date(2014, 5, 30)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("agreed = soon", "at line 1"),
        (ONE, "agreed is the day"),
        (AGREED, r"there is no \[\[meeting\]\]"),
        (AGREED + "meeting = 3", r"there is no \[\[meeting\]\]"),
        (AGREED + "met = 1\n" + ONE, "met is no field"),
        (AGREED + ONE + '[[meeting]]\ndate = "soon"', r"meeting 2 \(line 4\): a meeting has a day"),
        (AGREED + "[[meeting]]\nday = 2014-04-25", r"meeting 1 \(line 2\): a meeting has a day"),
        (AGREED + "[[meeting]]\ndate = 2014-04-25T10:00:00", r"meeting 1 \(line 2\): a meeting has a"),
        (AGREED + ONE + ONE, r"meeting 2 \(line 4\): 2014-04-25 does not come after 2014-04-25"),
        (
            AGREED + "[[meeting]]\ndate = 2013-11-01",
            r"meeting 1 \(line 2\): its report would go on 2013",
        ),
        (AGREED + "meeting = [{ date = 3 }]", "meeting 1: a meeting has a day"),
        (f"agreed = {'9' * 5_000}", "longer numbers"),
        (f"agreed = {'[' * 5_000}", "deeper lists"),
    ],
)
def test_a_file_that_makes_no_sense_is_told_where_and_why(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "meetings.toml").write_text(text)

    with pytest.raises(BadMeetings, match=f"meetings.toml: .*{told}"):
        read_meetings([tmp_path])


def test_without_a_file_there_is_none_to_go_by(tmp_path: Path) -> None:
    with pytest.raises(BadMeetings, match=r"there is no meetings\.toml"):
        read_meetings([tmp_path])


def test_a_text_is_kept_with_its_paragraphs_and_taken_back(db: Session) -> None:
    day = date(2014, 4, 25)

    assert store_challenges(db, day, "  Det går.\r\n\r\n\r\n\tMen langsomt.\x00 ") is not None
    assert read_challenges(db, day) == "Det går.\n\nMen langsomt."
    assert store_challenges(db, day, " \n") is None
    assert read_challenges(db, day) is None


def test_a_text_without_end_is_refused() -> None:
    with pytest.raises(BadText, match="room for 20,000"):
        clean_text("å" * 20_001)
