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
from mailer.events.errors import BadEventFile, BadEventValue, EventNotFound
from mailer.events.models import EventState
from tests.events.making import (
    NOW,
    make_campaign,
    make_event,
    make_recipient,
    toml_entry,
    write_file,
)

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


def test_every_field_of_an_event_file_goes_in(db: Session, tmp_path: Path) -> None:
    done = import_events(db, write_file(tmp_path, FULL), NOW)

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
    path = write_file(tmp_path, FULL)
    import_events(db, path, NOW)

    again = import_events(db, path, LATER)

    assert (again.added, again.updated, again.unchanged) == (0, 0, 1)
    event = find_event(db, "kolding")
    assert (event.sequence, event.updated_at) == (0, NOW)


def test_what_the_file_does_not_give_is_kept(db: Session, tmp_path: Path) -> None:
    import_events(db, write_file(tmp_path, FULL), NOW)

    done = import_events(
        db, write_file(tmp_path, toml_entry(title='"Møde i Kolding"', place='""', capacity="80")), LATER
    )

    event = find_event(db, "kolding")
    assert done.updated == 1
    assert (event.place, event.time, event.capacity) == (
        "Innovationsfabrikken",
        time(9, 30),
        80,
    )


def test_bad_entries_are_refused_while_the_rest_goes_in(db: Session, tmp_path: Path) -> None:
    text = toml_entry(slug='"vejle"') + toml_entry(capacity="0") + toml_entry(slug='"aalborg"')

    done = import_events(db, write_file(tmp_path, text), NOW)

    assert sorted(event.slug for event in list_events(db)) == ["aalborg", "vejle"]
    assert [(bad.number, bad.slug) for bad in done.refused] == [(2, "kolding")]


def test_a_file_that_cannot_be_used_changes_nothing(db: Session, tmp_path: Path) -> None:
    with pytest.raises(BadEventFile):
        import_events(db, write_file(tmp_path, FULL + "[[event]\n"), NOW)
    assert list_events(db) == []


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

    import_events(db, write_file(tmp_path, FULL), LATER)

    assert targets(db, "kolding")["events.programme/kolding"] == "https://program.example/kolding"
