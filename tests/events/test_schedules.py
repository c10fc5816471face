"""Which reminders an event gets: its own schedule, or the leads of the letters."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.events.audiences import AudienceRule
from mailer.events.dates import Lead
from mailer.events.errors import BadEventValue
from mailer.events.letters import (
    Occasion,
    check_reminder,
    find_letter_faults,
    list_occasions,
    reminder_letters,
)
from mailer.events.schedules import ScheduledLead, parse_schedule, read_schedule
from mailer.rendering.errors import LetterError
from mailer.rendering.source import LetterSource
from tests.events.making import ALL, EARLY, LAST, SEE_YOU

TEMPLATES = Path(__file__).parents[2] / "templates"

leads = st.builds(Lead, st.integers(1, 999), st.sampled_from(["day", "hour"]))
names = st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,8})?", fullmatch=True)
entries = st.builds(ScheduledLead, leads, st.one_of(st.none(), names))


def served(occasions: list[Occasion]) -> list[tuple[str, str, str | None]]:
    return [
        (str(one.lead), one.rule.value, one.letter.name if one.letter else None) for one in occasions
    ]


# What a person writes


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("14 days, 7 days: vi-ses, 2 hours", "14 days, 7 days: vi-ses, 2 hours"),
        (" 1  day :vi-ses ,7 days", "1 day: vi-ses, 7 days"),
        ("7 days: vi-ses, 7 days: invitation-igen", "7 days: vi-ses, 7 days: invitation-igen"),
        ("None", "none"),
    ],
)
def test_a_schedule_is_kept_as_one_writes_it(text: str, kept: str) -> None:
    assert read_schedule("reminders", text) == kept


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("soon", "reminders make no sense: 'soon' is no lead; write it as  14 days  or  2 hours"),
        ("", "'' is no lead"),
        ("7 days,", "'' is no lead"),
        ("none, 7 days", "'none' is no lead"),
        ("7 days: Vi ses", "'Vi ses' is no name of a letter; write it as  7 days: vi-ses"),
        ("7 days:", "'' is no name of a letter"),
        ("7 days, 7  days", "7 days stands there twice"),
        (", ".join(f"{day} days" for day in range(2, 15)), "at most 12 reminders, not 13"),
        (", ".join(f"{day} days: {'x' * 60}" for day in range(2, 12)), "are too long"),
        (7, "must be text in quotation marks, not 7"),
    ],
)
def test_what_is_no_schedule_is_refused_with_the_reason(text: object, reason: str) -> None:
    with pytest.raises(BadEventValue) as refused:
        read_schedule("reminders", text)
    assert reason in str(refused.value)


@given(st.lists(entries, min_size=1, max_size=12, unique=True))
def test_a_schedule_reads_back_as_it_is_written(schedule: list[ScheduledLead]) -> None:
    assert parse_schedule(", ".join(map(str, schedule))) == tuple(schedule)


# Which letters follow from it


def test_without_a_schedule_the_letters_own_leads_hold() -> None:
    assert served(list_occasions(None, ALL)) == [
        ("14 days", "registered", "vi-ses"),
        ("14 days", "asked", "paamindelse"),
        ("14 days", "clicked", "stadig-plads"),
        ("7 days", "registered", "vi-ses"),
        ("7 days", "asked", "paamindelse"),
        ("7 days", "clicked", "stadig-plads"),
        ("1 day", "registered", "vi-ses"),
        ("1 day", "asked", "dagen-foer"),
        ("1 day", "clicked", "stadig-plads"),
    ]


def test_an_event_names_its_own_leads_and_optional_ones_count() -> None:
    assert served(list_occasions("2 hours, 7 days", ALL)) == [
        ("7 days", "registered", "vi-ses"),
        ("7 days", "asked", "paamindelse"),
        ("7 days", "clicked", "stadig-plads"),
        ("2 hours", "registered", "vi-ses"),
    ]


def test_a_named_letter_goes_instead_of_the_usual_one_to_those_it_is_for() -> None:
    assert served(list_occasions("7 days: dagen-foer, 7 days: invitation-igen", ALL)) == [
        ("7 days", "registered", "vi-ses"),
        ("7 days", "asked", "dagen-foer"),
        ("7 days", "clicked", "stadig-plads"),
        ("7 days", "region", "invitation-igen"),
    ]
    assert served(list_occasions("5 days: paamindelse", ALL)) == [("5 days", "asked", "paamindelse")]


def test_none_is_no_reminders() -> None:
    assert list_occasions("none", ALL) == []


@pytest.mark.parametrize(
    ("schedule", "rules", "fault"),
    [
        ("7 days: vi-sess", 3, "no reminder letter 'vi-sess'; there are: dagen-foer, invitation-igen,"),
        ("3 days: tilmelding", 1, "no reminder letter 'tilmelding'"),
        ("3 days", 1, "no letter goes 3 days before an event unless it is named:  3 days: LETTER"),
        ("3 days: paamindelse, 3 days: dagen-foer", 1, "letters paamindelse and dagen-foer are both"),
        ("soon", 1, "reminders: 'soon' is no lead"),
    ],
)
def test_where_the_event_says_something_wrong_no_letter_goes_at_that_lead(
    schedule: str, rules: int, fault: str
) -> None:
    occasions = list_occasions(schedule, ALL)
    assert len(occasions) == rules
    for one in occasions:
        assert one.letter is None
        assert fault in str(one.fault)


def test_two_letters_for_the_same_people_at_one_lead_hold_up_nobody_else() -> None:
    twin = LetterSource("paamindelse-2", {}, {"leads": ["14 days"]})
    faults = {(str(one.lead), one.rule.value): one.fault for one in list_occasions(None, [*ALL, twin])}
    assert [key for key, fault in faults.items() if fault] == [("14 days", "asked")]
    assert "letters paamindelse and paamindelse-2" in str(faults["14 days", "asked"])


# What a letter says


def test_a_letter_without_rules_is_for_those_who_asked() -> None:
    assert (EARLY.rules, LetterSource("startpakke", {}, {}).rules) == (("asked",), ())


def test_needs_at_a_lead_replace_the_others_and_hours_need_the_time() -> None:
    needs = {
        str(one.lead): one.needs for one in list_occasions("7 days, 1 day, 2 hours", [SEE_YOU, LAST])
    }
    assert needs == {"7 days": ("place",), "1 day": ("place", "time"), "2 hours": ("place", "time")}


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        ({"leads": ["soon"]}, "letter a: leads: 'soon' is no lead"),
        ({"optional_leads": [7]}, "letter a: optional_leads: '7' is no lead"),
        ({"leads": ["1 day"], "needs": ["catering"]}, "letter a: needs: 'catering' is no field"),
        ({"leads": ["1 day"], "needs_at": {"soon": []}}, "letter a: needs_at: 'soon' is no lead"),
        ({"leads": ["1 day"], "needs_at": {"1 day": ["x"]}}, "letter a: needs_at: 1 day: 'x' is no"),
        ({"rules": ["everybody"]}, "letter a: rules: 'everybody' is no audience rule; there are: reg"),
    ],
)
def test_a_letter_that_makes_no_sense_is_named(manifest: Mapping[str, object], reason: str) -> None:
    with pytest.raises(LetterError) as refused:
        check_reminder(LetterSource("a", {}, manifest))
    assert str(refused.value).startswith(reason)


def test_a_letter_that_makes_no_sense_holds_up_no_other(tmp_path: Path) -> None:
    for name, manifest in {
        "god": 'rules = ["asked"]\nleads = ["3 days"]',
        "gal": 'leads = ["snart"]',
        "itu": "leads = [",
        "brev": "",
    }.items():
        folder = tmp_path / "letters" / name
        folder.mkdir(parents=True)
        (folder / "letter.toml").write_text(manifest)
        for part in ("subject.txt", "body.txt", "body.html"):
            (folder / part).write_text("x")

    assert [letter.name for letter in reminder_letters([tmp_path])] == ["god"]
    faults = find_letter_faults([tmp_path])
    assert {(fault.letter, fault.is_readable) for fault in faults} == {("itu", False), ("gal", True)}
    broken, senseless = sorted(map(str, faults))
    assert "itu" in broken
    assert senseless.startswith("letter gal: leads: 'snart'")


def test_the_shipped_letters_serve_everybody_14_7_and_1_days_before() -> None:
    assert find_letter_faults([TEMPLATES]) == []
    shipped = list_occasions(None, reminder_letters([TEMPLATES]))
    assert {(str(one.lead), one.rule) for one in shipped} == {
        (lead, rule)
        for lead in ("14 days", "7 days", "1 day")
        for rule in (AudienceRule.REGISTERED, AudienceRule.ASKED, AudienceRule.CLICKED)
    }
    assert all(one.fault is None for one in shipped)
