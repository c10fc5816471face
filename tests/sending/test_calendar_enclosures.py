"""The calendar file in a letter, out of the message a relay took, as programs of others read it."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from email.message import EmailMessage
from pathlib import Path
from zoneinfo import ZoneInfo

import icalendar
import pytest
from ical.calendar_stream import IcsCalendarStream
from sqlalchemy import select

from mailer.campaigns.models import Link
from mailer.events.changes import cancel_event, update_event
from mailer.events.models import Event
from mailer.launch import Notice, launch_notice
from mailer.runtime import Runtime
from mailer.sending.preparing import prepare_letter
from mailer.sending.work import send_batches
from recipients.models import Recipient
from tests.conftest import NOW
from tests.events.making import policy
from tests.making import ScriptedRelay, make_campaign, make_recipient, relay_running, with_relay
from tests.servers.running import find_program

SLUG = "skanderborg"
COPENHAGEN = ZoneInfo("Europe/Copenhagen")
KHAL = """
[calendars]
[[own]]
path = {folder}/calendar
type = calendar
[sqlite]
path = {folder}/khal.db
[locale]
timeformat = %H:%M
dateformat = %Y-%m-%d
longdateformat = %Y-%m-%d
datetimeformat = %Y-%m-%d %H:%M
longdatetimeformat = %Y-%m-%d %H:%M
local_timezone = {zone}
default_timezone = {zone}
"""


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough: what is read here is tested with the events."""
    return sqlite_url


@pytest.fixture
def relay() -> Iterator[ScriptedRelay]:
    with relay_running(ScriptedRelay()) as running:
        yield running


@dataclass
class Post:
    """Letters about one event, sent through a real relay to a Dane and a reader of English."""

    runtime: Runtime
    relay: ScriptedRelay

    def launch(self, letter: str, *, now: datetime = NOW) -> int:
        """Start a letter about the event; return its campaign's id."""
        notice = Notice(letter, letter, SLUG)
        with self.runtime.database.write() as db:
            launched = launch_notice(
                self.runtime.launch_tools, db, notice, select(Recipient.id), now=now
            )
        assert launched is not None
        return launched.campaign_id

    def send(self, campaign_id: int) -> list[EmailMessage]:
        """The letters as the relay took them, parsed by the standard library."""
        self.relay.accepted.clear()
        with self.runtime.sending_tools() as tools:
            send_batches(tools, campaign_id=campaign_id)
        assert len(self.relay.recipients) == 2
        return [self.relay.letter_to(recipient) for recipient in self.relay.recipients]


@pytest.fixture
def post(runtime: Runtime, relay: ScriptedRelay) -> Post:
    with runtime.database.write() as db:
        make_recipient(db, address="aase@kommune.example")
        make_recipient(db, address="john@kommune.example", language="en")
        db.add(
            Event(
                slug=SLUG,
                title="Inspirationsmøde, Region Midtjylland",
                date=date(2014, 4, 7),
                time=time(13, 30),
                place="Skanderborg Park; stuen",
                created_at=NOW,
                updated_at=NOW,
            )
        )
        db.add(  # its letters are tracked as the one that invited to it
            Link(
                campaign_id=make_campaign(db).id,
                number=1,
                key=f"events.registration/{SLUG}",
                kind="registration",
                event_slug=SLUG,
                target=f"/events/{SLUG}",
            )
        )
    return Post(with_relay(runtime, relay.port), relay)


def calendar_part(letter: EmailMessage) -> EmailMessage:
    (part,) = [part for part in letter.walk() if part.get_content_type() == "text/calendar"]
    assert isinstance(part, EmailMessage)
    return part


def content(letter: EmailMessage) -> bytes:
    payload = calendar_part(letter).get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload


def change(post: Post, **changes: str) -> None:
    with post.runtime.database.write() as db:
        update_event(db, SLUG, changes, now=NOW + timedelta(hours=1))


def test_a_letter_brings_the_event_as_a_file_that_two_programs_read(post: Post) -> None:
    letters = post.send(post.launch("paamindelse"))

    part = calendar_part(letters[0])
    assert part.get_content_disposition() == "attachment"
    assert part.get_filename() == "inspirationsmoede-skanderborg.ics"
    assert part["Content-Transfer-Encoding"] == "base64"
    assert dict(part["Content-Type"].params) == {"charset": "utf-8", "method": "PUBLISH"}
    start = datetime(2014, 4, 7, 13, 30, tzinfo=COPENHAGEN)
    (entry,) = icalendar.Calendar.from_ical(content(letters[0])).walk("VEVENT")
    (read,) = IcsCalendarStream.calendar_from_ics(content(letters[0]).decode()).events
    assert entry.decoded("DTSTART") == read.dtstart == start
    assert str(entry["SUMMARY"]) == read.summary == "Inspirationsmøde, Region Midtjylland"
    assert str(entry["LOCATION"]) == read.location == "Skanderborg Park; stuen"
    assert str(entry["ORGANIZER"]) == "mailto:brev@coi.example"


def test_the_file_is_frozen_at_the_launch_and_the_same_for_everybody(post: Post) -> None:
    now = NOW + timedelta(minutes=30)
    campaign_id = post.launch("paamindelse", now=now)
    change(post, time="15:00")

    danish, english = post.send(campaign_id)

    assert content(danish) == content(english)
    (read,) = IcsCalendarStream.calendar_from_ics(content(danish).decode()).events
    assert (read.dtstamp, read.sequence) == (now, 0)
    assert read.dtstart == datetime(2014, 4, 7, 13, 30, tzinfo=COPENHAGEN)


def test_a_letter_about_no_event_in_particular_brings_none(runtime: Runtime, post: Post) -> None:
    with runtime.database.write() as db:
        letter = prepare_letter(runtime.letter_tools, db, make_campaign(db), now=NOW)
    assert letter.letter.source.enclosures == ()


@dataclass
class Khal:
    """A calendar program of Debian's, with a calendar of the test's own."""

    program: Path
    folder: Path

    def take(self, file: bytes) -> None:
        """Open a file in it."""
        path = self.folder / "taken.ics"
        path.write_bytes(file)
        self._run("import", "--batch", str(path))

    def shown(self, zone: str = "Europe/Copenhagen") -> list[str]:
        """What it shows of 2014 to somebody whose clock is in that zone."""
        (self.folder / "khal.db").unlink(missing_ok=True)
        self._configure(zone)
        row = "{start-date-full} {start-end-time-style} {title} @ {location}"
        listed = self._run("list", "--day-format", "", "--format", row, "2014-01-01", "365d")
        return [" ".join(line.split()) for line in listed.splitlines() if line]

    def _configure(self, zone: str) -> None:
        text = KHAL.format(folder=self.folder, zone=zone)
        (self.folder / "config").write_text(text, encoding="utf-8")

    def _run(self, *arguments: str) -> str:
        names = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")
        done = subprocess.run(
            [str(self.program), "--config", str(self.folder / "config"), *arguments],
            env={
                "PATH": os.defpath,
                "LANG": "C.UTF-8",
                **dict.fromkeys(names, str(self.folder)),
            },
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        return done.stdout


@pytest.fixture
def khal(tmp_path: Path) -> Khal:
    opened = Khal(find_program("khal"), tmp_path / "khal")
    (opened.folder / "calendar").mkdir(parents=True)
    opened._configure("Europe/Copenhagen")
    return opened


def test_a_calendar_program_follows_the_event_from_letter_to_letter(post: Post, khal: Khal) -> None:
    def take(letter: str) -> list[str]:
        khal.take(content(post.send(post.launch(letter))[0]))
        return khal.shown()

    where = "Inspirationsmøde, Region Midtjylland @ Skanderborg Park; stuen"
    assert take("paamindelse") == [f"2014-04-07 13:30-14:30 {where}"]  # an hour where no end is told
    assert khal.shown("Europe/London") == [f"2014-04-07 12:30-13:30 {where}"]

    change(post, date="2014-04-08", time="10:00")
    assert take("paamindelse") == [f"2014-04-08 10:00-11:00 {where}"]

    change(post, time="")
    with post.runtime.database.write() as db:
        cancel_event(db, SLUG, policy(()), now=NOW + timedelta(hours=2))
    assert take("aflysning") == [f"2014-04-08 Aflyst: {where}"]
