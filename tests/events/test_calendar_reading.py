import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, time, timedelta
from pathlib import Path
from time import process_time

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from mailer.events.calendar import Publisher, calendar_feed, calendar_file
from mailer.events.calendar_reading import read_calendar
from mailer.events.catalogue import find_event, list_events
from mailer.events.changes import cancel_event, update_event
from mailer.events.errors import BadEventFile
from mailer.events.importing import EventImport, import_events
from mailer.events.models import Event
from mailer.foundation.database import open_database
from tests.events.making import NOW, make_event, policy

OURS = Publisher("https://brev.coi.example", "COI", "brev@coi.example")
LATER = NOW + timedelta(days=1)


@pytest.fixture
def sqlite_db(sqlite_url: str) -> Iterator[Session]:
    """One open transaction, where the database is not what matters."""
    database = open_database(sqlite_url)
    with database.write() as session:
        yield session
    database.dispose()


def vevent(*lines: str, uid: str = "kolding@brev.coi.example", summary: str = "Møde i Kolding") -> str:
    start = () if any(line.startswith("DTSTART") for line in lines) else ("DTSTART:20140512T073000Z",)
    return "\n".join(["BEGIN:VEVENT", f"UID:{uid}", f"SUMMARY:{summary}", *start, *lines, "END:VEVENT"])


def vcalendar(*parts: str) -> str:
    return "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", *parts, "END:VCALENDAR", ""])


def take_in(db: Session, tmp_path: Path, content: str | bytes) -> EventImport:
    path = tmp_path / "calendar.ics"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return import_events(db, path, LATER, public_url=OURS.public_url)


def only_event(db: Session) -> Event:
    (event,) = list_events(db)
    return event


def test_an_event_of_a_calendar_goes_in(db: Session, tmp_path: Path) -> None:
    done = take_in(
        db,
        tmp_path,
        vcalendar(
            vevent(
                "LOCATION:IBC Innovationsfabrikken\\, Birkemosevej 1\\, 6000 Kol",
                " ding",
                "URL:https://program.example/k",
                "BEGIN:VALARM",
                "SUMMARY:Husk",
                "END:VALARM",
            )
        ),
    )

    assert (done.added, done.refused) == (("kolding",), ())
    event = only_event(db)
    assert (event.slug, event.title) == ("kolding", "Møde i Kolding")
    assert (event.date, event.time) == (date(2014, 5, 12), time(9, 30))
    assert (event.place, event.address) == (
        "IBC Innovationsfabrikken",
        "Birkemosevej 1, 6000 Kolding",
    )
    assert event.programme_url == "https://program.example/k"


@pytest.mark.parametrize(
    ("start", "day", "clock"),
    [
        ("DTSTART;VALUE=DATE:20140512", date(2014, 5, 12), None),
        ("DTSTART:20140512T093000", date(2014, 5, 12), time(9, 30)),
        ("DTSTART:20140511T223000Z", date(2014, 5, 12), time(0, 30)),
        ("DTSTART;TZID=Europe/Copenhagen:20140512T093000", date(2014, 5, 12), time(9, 30)),
        ("DTSTART;TZID=Europe/London:20140512T093000", date(2014, 5, 12), time(10, 30)),
        ('DTSTART;TZID="Romance Standard Time":20140512T093000', date(2014, 5, 12), time(9, 30)),
        (
            "DTSTART;TZID=/example.org/2014/Europe/Copenhagen:20140512T093000",
            date(2014, 5, 12),
            time(9, 30),
        ),
        ("DTSTART;TZID=Kontoret:20140512T093000", date(2014, 5, 12), time(9, 30)),
    ],
)
def test_date_and_time_are_those_of_the_events_own_zone(
    sqlite_db: Session, tmp_path: Path, start: str, day: date, clock: time | None
) -> None:
    zone = "BEGIN:VTIMEZONE\nTZID:Kontoret\nX-LIC-LOCATION:Europe/Copenhagen\nEND:VTIMEZONE"
    take_in(sqlite_db, tmp_path, vcalendar(zone, vevent(start)))
    event = only_event(sqlite_db)
    assert (event.date, event.time) == (day, clock)


@pytest.mark.parametrize(
    ("uid", "slug"),
    [
        ("vejle-2014@brev.coi.example", "vejle-2014"),
        ("vejle-2014@BREV.coi.example", "vejle-2014"),
        ("vejle-2014@kl.example", "moede-i-kolding-[0-9a-f]{12}"),
        ("vejle-2014@brev.coi.example@kl.example", "moede-i-kolding-[0-9a-f]{12}"),
        ("040000008200E00074C5B7101A82E008", "moede-i-kolding-[0-9a-f]{12}"),
        ("", "moede-i-kolding-2014-05-12"),
    ],
)
def test_the_slug_is_in_the_uid_of_our_own_events_alone(
    sqlite_db: Session, tmp_path: Path, uid: str, slug: str
) -> None:
    take_in(sqlite_db, tmp_path, vcalendar(vevent(uid=uid)))
    assert re.fullmatch(slug, only_event(sqlite_db).slug)


def test_an_event_renamed_and_moved_in_its_calendar_is_the_same_event(
    db: Session, tmp_path: Path
) -> None:
    uid = "040000008200E00074C5B7101A82E008"
    take_in(db, tmp_path, vcalendar(vevent(uid=uid)))
    slug = only_event(db).slug

    moved = vevent("DTSTART:20140519T073000Z", uid=uid, summary="Inspirationsmøde")
    done = take_in(db, tmp_path, vcalendar(moved))

    event = only_event(db)
    assert (done.updated, event.slug, event.state) == ((slug,), slug, "moved")
    assert (event.title, event.date) == ("Inspirationsmøde", date(2014, 5, 19))


def test_our_own_feed_comes_back_unchanged(db: Session, tmp_path: Path) -> None:
    make_event(db, "kolding", start=time(9, 30), place="IBC, sal 2").address = "Birkemosevej 1, Kolding"
    make_event(db, "2-aalborg", place=None)
    make_event(db, "vejle")
    make_event(db, "new-york", start=time(19), timezone="America/New_York")
    update_event(db, "kolding", {"programme_url": "https://program.example/k"}, now=NOW)
    cancel_event(db, "vejle", policy(()), now=NOW)

    done = take_in(db, tmp_path, calendar_feed(list_events(db), OURS))

    assert (done.added, done.updated, done.unchanged, done.refused) == ((), (), 4, ())


def test_a_lost_event_comes_back_out_of_our_own_file(db: Session, tmp_path: Path) -> None:
    event = make_event(db, "2a-aalborg", start=time(9, 30))
    feed = calendar_file(event, OURS)
    db.delete(event)
    db.flush()

    take_in(db, tmp_path, feed)

    assert (only_event(db).slug, only_event(db).programme_url) == ("2a-aalborg", None)


@pytest.mark.parametrize("url", ["", "URL:https://evil.example/events/midtjylland"])
def test_a_strangers_calendar_changes_no_event_of_ours(db: Session, tmp_path: Path, url: str) -> None:
    make_event(db, "midtjylland", place="Skanderborg Park")
    foreign = vcalendar(vevent("LOCATION:Et andet sted", url, uid="midtjylland@evil.example"))

    done = take_in(db, tmp_path, foreign)
    again = take_in(db, tmp_path, foreign)

    assert find_event(db, "midtjylland").place == "Skanderborg Park"
    (added,) = done.added
    assert re.fullmatch("moede-i-kolding-[0-9a-f]{12}", added)
    assert (again.added, again.updated, again.unchanged) == ((), (), 1)


@pytest.mark.parametrize(
    "content",
    [
        vcalendar(vevent("STATUS:CANCELLED")),
        vcalendar("METHOD:CANCEL", vevent()),
    ],
)
def test_what_is_cancelled_elsewhere_is_for_somebody_to_cancel_here(
    sqlite_db: Session, tmp_path: Path, content: str
) -> None:
    make_event(sqlite_db, "kolding")
    done = take_in(sqlite_db, tmp_path, content)
    (refused,) = done.refused
    assert "if it is, say so with  mailer event cancel kolding" in refused.reason
    assert find_event(sqlite_db, "kolding").state == "open"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (vevent("RRULE:FREQ=WEEKLY"), "RRULE makes a series of it"),
        (vevent("RECURRENCE-ID:20140512T073000Z"), "RECURRENCE-ID makes a series of it"),
        (vevent("DTSTART;TZID=../../etc/passwd:20140512T093000"), "in a time zone nobody knows"),
        (vevent("DTSTART;TZID=Europe:20140512T093000"), "in a time zone nobody knows"),
        (vevent(f"DTSTART;TZID={'x' * 5000}:20140512T093000"), "in a time zone nobody knows"),
        (vevent("DTSTART:20140532T093000"), "DTSTART must be such as 20140512T093000"),
        (vevent("DTSTART:99991231T235959Z"), "date must be a day"),
        (vevent("DTSTART;TZID:20140512T093000"), "DTSTART"),
        (vevent("DTSTART:"), "date is missing"),
        (vevent(summary=""), "title is missing"),
        (vevent(summary="a" * 301), "title is too long"),
        (vevent("URL:https://a:b@x.example/"), "programme_url must not carry"),
        (vevent(), "slug stands already in entry 1"),
        (vevent(f"LOCATION:{'a' * 30_000}", uid="ny@brev.coi.example"), "LOCATION is longer than 20000"),
        (vevent("STATUS:CANCELLED", uid="ny@brev.coi.example"), "is cancelled, and not known here"),
    ],
)
def test_a_bad_entry_is_named_with_its_line_while_the_rest_goes_in(
    sqlite_db: Session, tmp_path: Path, bad: str, reason: str
) -> None:
    done = take_in(sqlite_db, tmp_path, vcalendar(vevent(), bad))
    (refused,) = done.refused
    assert (len(done.added), refused.number, refused.line) == (1, 2, 8)
    assert reason in refused.reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "holds no event"),
        (vcalendar().encode(), "holds no event"),
        (b"<html>", "line 1: no calendar"),
        (b"BEGIN:VEVENT\nEND:VEVENT\n", "line 1: no calendar"),
        (vcalendar(vevent()).encode()[:-15], "cut off: VCALENDAR of line 1"),
        (b"BEGIN:VCALENDAR\nBEGIN:VEVENT\nEND:VCALENDAR\n", "line 3: VEVENT ends as 'VCALENDAR'"),
        (b"BEGIN:VCALENDAR\n" + b"BEGIN:X\n" * 100_000, "nested deeper"),
        (vcalendar(vevent()).encode("cp1252"), "line 5: not UTF-8"),
    ],
)
def test_a_file_that_is_no_whole_calendar_changes_nothing(content: bytes, reason: str) -> None:
    with pytest.raises(BadEventFile, match=reason):
        list(read_calendar(Path("calendar.ics"), content))


@pytest.mark.parametrize(
    "hostile",
    [
        vcalendar(vevent(f"LOCATION:{' ' * 2_000_000}x")),
        vcalendar(vevent(f"LOCATION;{'X=1;' * 300_000}:her")),
        vcalendar(vevent("LOCATION:a", *[" b"] * 500_000)),
        vcalendar(vevent(f"URL:http://{'[' * 1_000_000}")),
        vcalendar("BEGIN:VTIMEZONE\nTZID;;;\nX-LIC-LOCATION:\nEND:VTIMEZONE", vevent()),
        vcalendar(
            "BEGIN:VTIMEZONE\nTZID:x\nBEGIN:STANDARD\nDTSTART:00010101T000000\nRRULE:FREQ=SECONDLY\n"
            "END:STANDARD\nEND:VTIMEZONE",
            vevent("DTSTART;TZID=x:20140512T093000"),
        ),
    ],
    ids=["blanks", "parameters", "folds", "brackets", "zone", "seconds"],
)
def test_a_hostile_calendar_costs_little(hostile: str) -> None:
    begun = process_time()
    list(read_calendar(Path("calendar.ics"), hostile.encode()))
    assert process_time() - begun < 5


@hypothesis.settings(max_examples=50)
@given(st.binary(max_size=300))
def test_no_line_of_a_calendar_breaks_the_reader(line: bytes) -> None:
    content = vcalendar(vevent("X-LINE")).encode().replace(b"X-LINE", line)
    with suppress(BadEventFile):
        list(read_calendar(Path("calendar.ics"), content))
