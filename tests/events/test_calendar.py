"""Calendar files as two implementations that know nothing of each other read them."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import ical.calendar
import ical.event
import icalendar
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ical.calendar_stream import IcsCalendarStream
from sqlalchemy.orm import Session

from mailer.events.calendar import (
    Publisher,
    calendar_events,
    calendar_feed,
    calendar_file,
    calendar_file_name,
)
from mailer.events.changes import cancel_event, update_event
from mailer.events.models import Event, EventState
from tests.events.making import NOW, make_event, new_event, policy

URL = "https://post.eksempel.example:8443"
PUBLISHER = Publisher(URL)
HOSTILE = [
    "Møde\r\nATTENDEE:mailto:x@y.example\rX:1\nEND:VEVENT",
    'Stuen, tv.; "Sal \\n 2" \\',
    "Fællesmøde \N{PARTY POPPER}\N{FAMILY}" * 15,
    "\N{COMBINING ACUTE ACCENT}" * 300,
    "%2C\\;\\N^n^'",
    "a\u2028b\u0085c\x0bd\x00e",
]


def written(event: Event, publisher: Publisher = PUBLISHER) -> icalendar.Event:
    (entry,) = icalendar.Calendar.from_ical(calendar_file(event, publisher)).walk("VEVENT")
    assert isinstance(entry, icalendar.Event)
    return entry


def second_reading(file: bytes) -> tuple[ical.calendar.Calendar, ical.event.Event]:
    """The calendar and its one event, as the other implementation reads them."""
    calendar = IcsCalendarStream.calendar_from_ics(file.decode())
    (entry,) = calendar.events
    return calendar, entry


def test_an_event_without_a_time_lasts_the_day_and_keeps_nobody_busy() -> None:
    event = new_event(day=date(2014, 6, 16))

    entry = written(event)
    assert type(entry.decoded("DTSTART")) is date
    assert entry.decoded("DTSTART") == date(2014, 6, 16)
    assert entry["TRANSP"] == "TRANSPARENT"
    _, read = second_reading(calendar_file(event, PUBLISHER))
    assert (read.start, read.end) == (date(2014, 6, 16), date(2014, 6, 17))


def test_a_time_is_local_and_its_end_is_not_made_up() -> None:
    event = new_event(start=time(9, 30))
    file = calendar_file(event, PUBLISHER)

    assert b"DTSTART;TZID=Europe/Copenhagen:20140616T093000\r\n" in file
    entry = written(event)
    assert entry.decoded("DTSTART") == datetime(2014, 6, 16, 7, 30, tzinfo=UTC)
    assert not {"DTEND", "DURATION", "TRANSP"} & set(entry)
    assert second_reading(file)[1].dtstart == datetime(2014, 6, 16, 7, 30, tzinfo=UTC)


def test_a_time_that_clocks_skip_is_written_as_they_show_it() -> None:
    event = new_event(day=date(2014, 3, 30), start=time(2, 30))
    start = written(event).decoded("DTSTART")
    assert start == datetime(2014, 3, 30, 3, 30, tzinfo=ZoneInfo("Europe/Copenhagen"))


@pytest.mark.parametrize(
    ("day", "clock", "hours"),
    [
        (date(2014, 3, 24), time(9, 30), 1),
        (date(2014, 3, 30), time(1, 59), 1),
        (date(2014, 3, 30), time(3, 0), 2),
        (date(2014, 4, 7), time(9, 30), 2),
        (date(2014, 10, 26), time(1, 59), 2),
        (date(2014, 10, 26), time(3, 0), 1),
        (date(2014, 10, 27), time(9, 30), 1),
    ],
)
def test_the_file_itself_tells_what_clocks_show(day: date, clock: time, hours: int) -> None:
    file = calendar_file(new_event(day=day, start=clock), PUBLISHER)
    unknown = file.replace(
        b"Europe/Copenhagen", b"Et andet sted"
    )  # nobody has rules of their own for it

    moment = datetime.combine(day, clock, UTC) - timedelta(hours=hours)
    (entry,) = icalendar.Calendar.from_ical(unknown).walk("VEVENT")
    assert entry.decoded("DTSTART").astimezone(UTC) == moment
    assert second_reading(unknown)[1].dtstart.astimezone(UTC) == moment


def test_the_uid_stays_and_the_sequence_grows(db: Session) -> None:
    event = make_event(db, "kolding")
    before = written(event)
    later = NOW + timedelta(days=1)
    update_event(db, "kolding", {"time": "10:00"}, now=later)
    after = written(event)

    assert before["UID"] == after["UID"] == "kolding@post.eksempel.example"
    assert (before["SEQUENCE"], after["SEQUENCE"]) == (0, 1)
    assert after.decoded("LAST-MODIFIED") == after.decoded("DTSTAMP") == later


def test_a_file_is_stamped_when_it_is_made_where_that_is_told() -> None:
    made = NOW + timedelta(days=3)
    _, entry = second_reading(calendar_file(new_event(), PUBLISHER, stamped_at=made))
    assert (entry.dtstamp, entry.last_modified) == (made, NOW)


def test_the_file_of_a_cancelled_event_takes_it_out_of_the_calendar(db: Session) -> None:
    event = make_event(db, "kolding", start=time(10))
    told, before = second_reading(calendar_file(event, PUBLISHER))
    cancel_event(db, "kolding", policy(()), now=NOW)
    taken, after = second_reading(calendar_file(event, PUBLISHER))

    assert (told.method, before.status) == ("PUBLISH", "CONFIRMED")
    assert (taken.method, after.status) == ("CANCEL", "CANCELLED")
    assert after.uid == before.uid
    assert after.sequence > before.sequence
    assert after.summary == "Aflyst: Møde i kolding"
    assert after.transparency == "TRANSPARENT"


def test_the_sender_of_the_letters_is_the_organizer() -> None:
    sender = 'Center "X", Offentlig; Innovation: æ'
    event = new_event()

    file = calendar_file(event, Publisher(URL, sender, "søren%1+a@coi.example"))

    organizer = written(event, Publisher(URL, sender, "a@coi.example"))["ORGANIZER"]
    assert (str(organizer), organizer.params["CN"]) == ("mailto:a@coi.example", sender)
    assert b":mailto:s%C3%B8ren%251+a@coi.example\r\n" in file.replace(b"\r\n ", b"")
    assert "ORGANIZER" not in written(event)


@settings(max_examples=40)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300),
)
@example(HOSTILE[0], HOSTILE[1])
@example(HOSTILE[2], HOSTILE[3])
@example(HOSTILE[4], HOSTILE[5])
def test_no_text_breaks_out_and_both_read_what_was_written(title: str, place: str) -> None:
    event = new_event(place=place.strip() or None, start=time(9))
    event.title = title.strip() or "x"

    file = calendar_file(event, Publisher(URL, event.title, "brev@coi.example"))

    assert file.endswith(b"\r\n")
    for line in file.removesuffix(b"\r\n").split(b"\r\n"):
        assert len(line) <= 75
        assert min(line.decode()) >= " "  # a fold splits no character, and no line holds a control one
    entry = written(event)
    assert "ATTENDEE" not in entry
    _, read = second_reading(file)
    shown = (on_one_line(event.title), on_one_line(event.place or "") or None)
    assert (str(entry["SUMMARY"]), str(entry["LOCATION"]) if "LOCATION" in entry else None) == shown
    assert (read.summary, read.location) == shown


def on_one_line(text: str) -> str:
    """The text with each run of control characters and line separators as one blank."""
    shown = ""
    for character in text:
        ends_line = ord(character) < 32 or 127 <= ord(character) < 160 or character in "\u2028\u2029"
        if not ends_line:
            shown += character
        elif not shown.endswith("\0"):
            shown += "\0"
    return shown.replace("\0", " ")


def test_the_entry_leads_to_the_programme_and_to_our_page_of_the_event() -> None:
    event = new_event("kolding")
    assert written(event)["URL"] == f"{URL}/events/kolding"
    assert "Programmet er ikke kommet endnu." in written(event)["DESCRIPTION"]

    event.programme_url = "https://program.example/a?b=1,2;c"
    assert written(event)["DESCRIPTION"] == (
        f"Program: https://program.example/a?b=1,2;c\nTilmelding og ændringer: {URL}/events/kolding"
    )


def test_place_and_address_are_the_location_once_known() -> None:
    event = new_event(place=None)
    assert "LOCATION" not in written(event)
    event.place, event.address = "Skanderborg Park", "Skovsvinget 10"
    assert written(event)["LOCATION"] == "Skanderborg Park, Skovsvinget 10"


def test_the_feed_has_a_name_every_event_and_when_to_look_again() -> None:
    cancelled = new_event("vejle", start=time(10))
    cancelled.state = EventState.CANCELLED
    cancelled.timezone = "Atlantic/Reykjavik"
    events = [new_event("kolding", start=time(9)), cancelled, new_event("odense", start=time(9))]

    file = calendar_feed(events, PUBLISHER)

    feed = icalendar.Calendar.from_ical(file)
    assert feed["X-WR-CALNAME"] == "Inspirationsmøder"
    assert feed["X-PUBLISHED-TTL"] == "PT1H"
    assert len(feed.walk("VTIMEZONE")) == 2
    read = IcsCalendarStream.calendar_from_ics(file.decode())
    assert (read.method, read.refresh_interval) == ("PUBLISH", timedelta(hours=1))
    assert [(entry.uid.partition("@")[0], entry.status.value) for entry in read.events] == [
        ("kolding", "CONFIRMED"),
        ("vejle", "CANCELLED"),
        ("odense", "CONFIRMED"),
    ]


def test_the_feed_is_the_same_until_an_event_changes() -> None:
    events = [new_event("kolding", start=time(9)), new_event("vejle")]
    assert calendar_feed(events, PUBLISHER) == calendar_feed(events, PUBLISHER)


def test_a_feed_without_events_is_a_calendar_too() -> None:
    feed = icalendar.Calendar.from_ical(calendar_feed([], PUBLISHER))
    assert feed.walk("VEVENT") == []


def test_the_feed_tells_of_what_is_to_come_and_of_the_last_year(db: Session) -> None:
    today = date(2014, 3, 7)
    for slug, day in (
        ("forrige-aar", today - timedelta(days=366)),
        ("for-et-aar-siden", today - timedelta(days=365)),
        ("aalborg", date(2014, 6, 16)),
        ("om-ti-aar", date(2024, 6, 16)),
    ):
        make_event(db, slug, day=day).state = EventState.CANCELLED

    slugs = [event.slug for event in calendar_events(db, today)]
    assert slugs == ["for-et-aar-siden", "aalborg", "om-ti-aar"]


def test_a_file_is_named_after_its_event() -> None:
    assert calendar_file_name(new_event("hovedstaden")) == "inspirationsmoede-hovedstaden.ics"
