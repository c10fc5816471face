from datetime import date, time, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailer.campaigns.models import Link
from mailer.events.catalogue import (
    find_event,
    import_events,
    list_events,
    upcoming_events,
    update_event,
)
from mailer.events.errors import (
    BadEventFile,
    BadEventValue,
    EventFileNotFound,
    EventNotFound,
)
from mailer.events.models import EventState
from tests.events.making import NOW, make_campaign, make_event, make_recipient

SHIPPED = Path(__file__).parents[2] / "templates/letters/startpakke/events.toml"
LATER = NOW + timedelta(days=1)

FULL = """
[[event]]
slug = "kolding"
title = "Møde i Kolding"
date = 2014-05-12
time = 09:30:00
place = "Innovationsfabrikken"
address = "Birkemosevej 1, 6000 Kolding"
region = "Region Syddanmark"
programme_url = "https://program.example/kolding"
registration_url = "http://tilmelding.example/kolding?plads=1"
capacity = 120
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "events.toml"
    path.write_text(text, encoding="utf-8")
    return path


def entry(**fields: str) -> str:
    values = {"slug": '"kolding"', "title": '"Kolding"', "date": "2014-05-12", **fields}
    return "[[event]]\n" + "".join(f"{name} = {value}\n" for name, value in values.items())


def test_every_field_of_an_event_file_goes_in(db: Session, tmp_path: Path) -> None:
    done = import_events(db, write(tmp_path, FULL), NOW)

    assert (done.added, done.updated, done.unchanged, done.refused) == (1, 0, 0, ())
    event = find_event(db, "kolding")
    assert (event.date, event.time, event.capacity) == (date(2014, 5, 12), time(9, 30), 120)
    assert event.region == "Syddanmark"
    assert event.registration_url == "http://tilmelding.example/kolding?plads=1"
    assert (event.state, event.sequence, event.timezone) == (
        EventState.OPEN,
        0,
        "Europe/Copenhagen",
    )


def test_the_events_of_2014_go_in_with_their_holes(db: Session) -> None:
    assert import_events(db, SHIPPED, NOW).added == 5

    places = {event.slug: (event.date, event.place is None) for event in list_events(db)}
    assert places == {
        "hovedstaden": (date(2014, 3, 24), False),
        "midtjylland": (date(2014, 4, 7), False),
        "syddanmark": (date(2014, 5, 12), False),
        "nordjylland": (date(2014, 6, 16), False),
        "sjaelland": (date(2014, 6, 17), True),
    }


def test_the_same_file_again_changes_nothing(db: Session, tmp_path: Path) -> None:
    path = write(tmp_path, FULL)
    import_events(db, path, NOW)

    again = import_events(db, path, LATER)

    assert (again.added, again.updated, again.unchanged) == (0, 0, 1)
    event = find_event(db, "kolding")
    assert (event.sequence, event.updated_at) == (0, NOW)


def test_what_the_file_does_not_give_is_kept(db: Session, tmp_path: Path) -> None:
    import_events(db, write(tmp_path, FULL), NOW)

    done = import_events(
        db, write(tmp_path, entry(title='"Møde i Kolding"', place='""', capacity="80")), LATER
    )

    event = find_event(db, "kolding")
    assert done.updated == 1
    assert (event.place, event.time, event.capacity) == (
        "Innovationsfabrikken",
        time(9, 30),
        80,
    )


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"slug": '"Kolding By"'}, "slug must be a-z"),
        ({"slug": '"../kolding"'}, "slug must be a-z"),
        ({"slug": f'"{"a" * 65}"'}, "slug must be a-z"),
        ({"slug": "7"}, "slug must be a-z"),
        ({"title": '" "'}, "title is missing"),
        ({"title": r'"Møde\r\nBcc: x"'}, "title must be one line"),
        ({"title": f'"{"a" * 301}"'}, "title is too long"),
        ({"date": "2014-05-12T09:00:00"}, "date must be a day"),
        ({"date": '"12. maj"'}, "date must be a day"),
        ({"time": '"25:00"'}, "time must be a time of day"),
        ({"time": "9"}, "time must be a time of day"),
        ({"region": '"Bornholm"'}, "region must be one of Hovedstaden"),
        ({"programme_url": '"javascript:alert(1)"'}, "programme_url must be an http"),
        ({"programme_url": '"/events"'}, "programme_url must be an http"),
        ({"registration_url": '"ftp://x.example"'}, "registration_url must be an http"),
        ({"registration_url": '"https://"'}, "registration_url must be an http"),
        ({"registration_url": r'"https://x.example/\r\nX: y"'}, "registration_url must be an"),
        ({"registration_url": '"https://a:b@x.example/"'}, "registration_url must not carry"),
        ({"registration_url": '"https://x.example:99999/"'}, "registration_url must be an"),
        ({"capacity": "0"}, "capacity must be a whole number"),
        ({"capacity": "true"}, "capacity must be a whole number"),
        ({"programme": '"https://x.example"'}, "programme is no field of an event"),
    ],
)
def test_a_bad_entry_is_named_while_the_rest_goes_in(
    db: Session, tmp_path: Path, fields: dict[str, str], reason: str
) -> None:
    good = entry(slug='"vejle"')
    path = write(tmp_path, f"# Møder\n\n{good}\n{entry(**fields)}\n")

    done = import_events(db, path, NOW)

    assert [event.slug for event in list_events(db)] == ["vejle"]
    (refused,) = done.refused
    assert (refused.number, refused.line) == (2, 8)
    assert reason in str(refused)


@pytest.mark.parametrize("missing", ["slug", "title", "date"])
def test_an_event_needs_slug_title_and_date(db: Session, tmp_path: Path, missing: str) -> None:
    text = "\n".join(line for line in entry().splitlines() if not line.startswith(missing))
    (refused,) = import_events(db, write(tmp_path, text), NOW).refused
    assert refused.reason == f"{missing} is missing"


def test_a_slug_that_stands_twice_is_refused_the_second_time(db: Session, tmp_path: Path) -> None:
    done = import_events(db, write(tmp_path, entry() + entry(title='"Andet"')), NOW)
    assert done.added == 1
    assert done.refused[0].reason == "slug stands already in entry 1"
    assert find_event(db, "kolding").title == "Kolding"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[event]\n", "events.toml: "),
        ("[[events]]\nslug = 'x'\n", r"holds \[\[event\]\] entries and no more; found: events"),
        ("", r"holds \[\[event\]\] entries"),
        ("event = 3\n", r"holds \[\[event\]\] entries"),
    ],
)
def test_a_file_that_holds_no_events_is_refused_whole(
    db: Session, tmp_path: Path, text: str, reason: str
) -> None:
    with pytest.raises(BadEventFile, match=reason):
        import_events(db, write(tmp_path, text), NOW)


def test_a_file_in_another_encoding_is_refused_with_what_to_do(db: Session, tmp_path: Path) -> None:
    path = tmp_path / "events.toml"
    path.write_bytes(FULL.encode("cp1252"))
    with pytest.raises(BadEventFile, match="save it as UTF-8"):
        import_events(db, path, NOW)


def test_a_missing_file_is_told_from_a_bad_one(db: Session, tmp_path: Path) -> None:
    with pytest.raises(EventFileNotFound, match=r"no such file: .*nothing\.toml"):
        import_events(db, tmp_path / "nothing.toml", NOW)


def test_an_unknown_slug_is_answered_with_the_known_ones(db: Session) -> None:
    make_event(db, "kolding")
    with pytest.raises(EventNotFound, match="no event 'koldin'; there are: kolding"):
        find_event(db, "koldin")


def test_upcoming_events_are_open_and_not_past(db: Session) -> None:
    make_event(db, "past", day=date(2014, 3, 6))
    make_event(db, "later", day=date(2014, 4, 1))
    make_event(db, "today", day=date(2014, 3, 7))
    make_event(db, "off").state = EventState.CANCELLED

    coming = upcoming_events(db, date(2014, 3, 7))

    assert [event.slug for event in coming] == ["today", "later"]


def test_an_update_tells_what_changed_and_is_one_revision(db: Session) -> None:
    make_event(db, "kolding", start=time(10))

    changed = update_event(
        db, "kolding", {"time": "09.30", "place": "Rådhuset", "capacity": "80"}, now=LATER
    )

    event = find_event(db, "kolding")
    assert changed == ["time", "place", "capacity"]
    assert (event.time, event.place, event.capacity) == (time(9, 30), "Rådhuset", 80)
    assert (event.sequence, event.updated_at) == (1, LATER)


@pytest.mark.parametrize("changes", [{"place": "Medicinerhuset"}, {"capacity": 80}])
def test_calendars_need_not_hear_of_what_they_do_not_show(
    db: Session, changes: dict[str, object]
) -> None:
    make_event(db, "kolding")
    update_event(db, "kolding", changes, now=LATER)
    assert find_event(db, "kolding").sequence == 0


def test_an_empty_value_clears_what_may_be_missing_and_nothing_else(db: Session) -> None:
    make_event(db, "kolding")
    update_event(db, "kolding", {"place": ""}, now=LATER)
    assert find_event(db, "kolding").place is None
    with pytest.raises(BadEventValue, match="date is missing"):
        update_event(db, "kolding", {"date": ""}, now=LATER)


def test_a_bad_value_changes_nothing(db: Session) -> None:
    make_event(db, "kolding")
    with pytest.raises(BadEventValue, match="time must be"):
        update_event(db, "kolding", {"place": "Rådhuset", "time": "ti"}, now=LATER)
    assert find_event(db, "kolding").place == "Medicinerhuset"


def test_a_slug_is_for_ever(db: Session) -> None:
    make_event(db, "kolding")
    with pytest.raises(BadEventValue, match="slug cannot be changed"):
        update_event(db, "kolding", {"slug": "vejle"}, now=LATER)


def targets(db: Session, slug: str) -> dict[str, str]:
    rows = db.execute(select(Link.key, Link.target).where(Link.event_slug == slug))
    return {row.key: row.target for row in rows}


def test_links_in_letters_that_have_left_follow_the_event(db: Session) -> None:
    for slug in ("kolding", "vejle"):
        make_event(db, slug)
        make_campaign(db, [make_recipient(db)], event_slug=slug)

    update_event(db, "kolding", {"programme_url": "https://program.example/k"}, now=LATER)
    assert targets(db, "kolding") == {
        "events.programme/kolding": "https://program.example/k",
        "events.registration/kolding": "/events/kolding",
    }

    update_event(db, "kolding", {"registration_url": "https://tilmeld.example/k"}, now=LATER)
    assert targets(db, "kolding")["events.registration/kolding"] == "https://tilmeld.example/k"
    assert targets(db, "vejle") == {
        "events.programme/vejle": "/events/vejle",
        "events.registration/vejle": "/events/vejle",
    }


def test_a_programme_withdrawn_opens_our_page_of_the_event_again(db: Session) -> None:
    make_event(db, "kolding")
    make_campaign(db, [make_recipient(db)], event_slug="kolding")
    update_event(db, "kolding", {"programme_url": "https://program.example/k"}, now=LATER)

    update_event(db, "kolding", {"programme_url": ""}, now=LATER)

    assert targets(db, "kolding")["events.programme/kolding"] == "/events/kolding"


def test_links_follow_an_event_file_too(db: Session, tmp_path: Path) -> None:
    make_event(db, "kolding")
    make_campaign(db, [make_recipient(db)], event_slug="kolding")

    import_events(db, write(tmp_path, FULL), LATER)

    assert targets(db, "kolding")["events.programme/kolding"] == "https://program.example/kolding"
