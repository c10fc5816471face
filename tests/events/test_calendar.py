from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import icalendar
from sqlalchemy.orm import Session

from mailer.events.calendar import calendar_feed, calendar_file
from mailer.events.catalogue import update_event
from mailer.events.models import Event, EventState
from tests.events.making import NOW, make_event, new_event

URL = "https://post.eksempel.example:8443"


def only_entry(file: bytes) -> icalendar.Event:
    (entry,) = icalendar.Calendar.from_ical(file).walk("VEVENT")
    assert isinstance(entry, icalendar.Event)
    return entry


def written(event: Event) -> icalendar.Event:
    return only_entry(calendar_file(event, public_url=URL, now=NOW))


def test_an_event_without_a_time_lasts_the_day() -> None:
    entry = written(new_event(day=date(2014, 6, 16)))
    assert entry.decoded("DTSTART") == date(2014, 6, 16)
    assert type(entry.decoded("DTSTART")) is date


def test_a_time_is_local_with_its_zone_in_the_file() -> None:
    file = calendar_file(new_event(start=time(9, 30)), public_url=URL, now=NOW)

    assert b"DTSTART;TZID=Europe/Copenhagen:20140616T093000\r\n" in file
    assert b"BEGIN:VTIMEZONE\r\nTZID:Europe/Copenhagen\r\n" in file
    assert b"DTSTART:20140330T030000\r\n" in file  # summer time begins
    start = only_entry(file).decoded("DTSTART")
    assert start == datetime(2014, 6, 16, 7, 30, tzinfo=UTC)


def test_a_time_that_clocks_skip_is_written_as_they_show_it() -> None:
    event = new_event(day=date(2014, 3, 30), start=time(2, 30))
    start = written(event).decoded("DTSTART")
    assert start == datetime(2014, 3, 30, 3, 30, tzinfo=ZoneInfo("Europe/Copenhagen"))


def test_the_uid_stays_and_the_sequence_grows(db: Session) -> None:
    event = make_event(db, "kolding")
    before = written(event)
    update_event(db, "kolding", {"time": "10:00"}, now=NOW)
    after = written(event)

    assert before["UID"] == after["UID"] == "kolding@post.eksempel.example"
    assert (before["SEQUENCE"], after["SEQUENCE"]) == (0, 1)
    assert after.decoded("DTSTAMP") == NOW


def test_text_cannot_break_out_of_its_line() -> None:
    event = new_event(place="Medicinerhuset; stuen, tv. \\ æøå " * 8)
    event.title = "Møde\r\nATTENDEE:mailto:x@y.example\rX:1\nEND:VEVENT"

    file = calendar_file(event, public_url=URL, now=NOW)

    lines = file.split(b"\r\n")
    assert lines[-1] == b""
    assert all(len(line) <= 75 and b"\n" not in line and b"\r" not in line for line in lines)
    entry = only_entry(file)
    assert "ATTENDEE" not in entry
    assert entry["LOCATION"] == event.place
    assert entry["SUMMARY"] == "Møde\nATTENDEE:mailto:x@y.example\nX:1\nEND:VEVENT"


def test_the_entry_leads_to_our_page_of_the_event() -> None:
    assert written(new_event("kolding"))["URL"] == f"{URL}/events/kolding"


def test_place_and_address_are_the_location_once_known() -> None:
    event = new_event(place=None)
    assert "LOCATION" not in written(event)
    event.place, event.address = "Skanderborg Park", "Skovsvinget 10"
    assert written(event)["LOCATION"] == "Skanderborg Park, Skovsvinget 10"


def test_an_event_called_off_says_so() -> None:
    event = new_event()
    assert written(event)["STATUS"] == "CONFIRMED"
    event.state = EventState.CANCELLED
    assert written(event)["STATUS"] == "CANCELLED"


def test_the_feed_has_a_name_and_every_event() -> None:
    events = [new_event("kolding", start=time(9)), new_event("vejle")]

    feed = icalendar.Calendar.from_ical(calendar_feed(events, public_url=URL, now=NOW))

    assert feed["X-WR-CALNAME"] == "Inspirationsmøder"
    assert [str(entry["UID"]).partition("@")[0] for entry in feed.walk("VEVENT")] == [
        "kolding",
        "vejle",
    ]
    assert len(feed.walk("VTIMEZONE")) == 1


def test_a_feed_without_events_is_a_calendar_too() -> None:
    feed = icalendar.Calendar.from_ical(calendar_feed([], public_url=URL, now=NOW))
    assert feed.walk("VEVENT") == []
