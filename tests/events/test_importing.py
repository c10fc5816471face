from datetime import date, time, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailer.campaigns.models import Link
from mailer.events.catalogue import find_event, list_events
from mailer.events.changes import list_history
from mailer.events.errors import BadEventFile
from mailer.events.importing import import_events
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

    assert (done.added, done.updated, done.unchanged, done.refused) == (("kolding",), (), 0, ())
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
    assert len(import_events(db, SHIPPED, NOW).added) == 5

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

    assert (again.added, again.updated, again.unchanged) == ((), (), 1)
    event = find_event(db, "kolding")
    assert (event.sequence, event.updated_at) == (0, NOW)


def test_what_the_file_does_not_give_is_kept(db: Session, tmp_path: Path) -> None:
    import_events(db, write_file(tmp_path, FULL), NOW)

    done = import_events(
        db, write_file(tmp_path, toml_entry(title='"Møde i Kolding"', place='""', capacity="80")), LATER
    )

    event = find_event(db, "kolding")
    assert done.updated == ("kolding",)
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


def test_links_follow_an_event_file_too(db: Session, tmp_path: Path) -> None:
    make_event(db, "kolding")
    make_campaign(db, [make_recipient(db)], event_slug="kolding")

    import_events(db, write_file(tmp_path, FULL), LATER)

    programme = select(Link.target).where(Link.key == "events.programme/kolding")
    assert db.scalars(programme).all() == ["https://program.example/kolding"]


def test_what_a_file_changes_is_history_too(db: Session, tmp_path: Path) -> None:
    import_events(db, write_file(tmp_path, FULL), NOW)
    event = find_event(db, "kolding")
    assert list_history(db, event.id) == []

    import_events(db, write_file(tmp_path, FULL.replace("05-12", "05-19")), LATER)

    assert [(one.field, one.old, one.new) for one, _ in list_history(db, event.id)] == [
        ("date", "2014-05-12", "2014-05-19"),
        ("state", "open", "moved"),
    ]
    assert (event.moved_at, event.sequence) == (LATER, 1)
