"""Scanners fetch every link of every letter, by GET and HEAD: nobody is unsubscribed, nobody registered.

The letters are the shipped startpakke as it leaves. ``MAILER_TEST_SCANNED=1000`` scans a thousand of
them, each by a program of its own.
"""

import html
import os
import random
import re
from email import message_from_bytes, policy
from urllib.parse import urlsplit

import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA
from sqlalchemy import func, select, update

from mailer.campaigns.lifecycle import create_campaign
from mailer.campaigns.models import Campaign, Delivery, DeliveryState
from mailer.events.importing import import_events
from mailer.events.models import Event, Registration, ReminderRequest
from mailer.launch import LaunchTools, launch_campaign
from mailer.reports.figures import count_report, tell_report
from mailer.runtime import Runtime, template_folders
from mailer.sending.addressees import addressees, read_addressee
from mailer.sending.frozen import open_letter
from mailer.sending.writer import LetterWriter
from mailer.smtp.relays import parse_relay
from mailer.tracking.models import Label, TrackingEvent, TrackingKind
from mailer.tracking.revising import revise
from recipients.models import Suppression
from tests.conftest import NOW
from tests.web.conftest import FIREFOX, Mailing, Reader, add_recipient
from tests.web.raw import Answer, Headers, ask_all

SCANNED = int(os.environ.get("MAILER_TEST_SCANNED", "40"))
ADDRESS = re.compile(r"https?://127\.0\.0\.1:8000/[^\s\"'<>)\]]*")
DEEDS = {
    *(TrackingKind.UNSUBSCRIBE, TrackingKind.RESUBSCRIBE, TrackingKind.REMIND),
    *(TrackingKind.REGISTER, TrackingKind.WITHDRAW),
}

SAYING_SO = (
    "Mozilla/5.0 (compatible; Microsoft-ATP-Safe-Links/1.{})",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) BingPreview/{}.0b",
    "Barracuda Sentinel (EE) {}",
    "BarracudaCentral/{}.0",
    "Mimecast-URL-Protection/{}",
    "Proofpoint URL Defense {}",
    "Mozilla/5.0 (compatible; FortiMail URI scanner/{}.0)",
    "Trend Micro WTP/{}",
    "Symantec.cloud Link Following {}",
    "Sophos Email Gateway/{}.2",
    "Mozilla/5.0 (compatible; Googlebot/2.{}; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/{}.0",
    "facebookexternalhit/1.{}",
    "Slackbot-LinkExpanding 1.{} (+https://api.slack.com/robots)",
    "WhatsApp/2.{} W",
    "python-requests/2.{}",
    "curl/8.{}.0",
    "Wget/1.{}",
    "Go-http-client/1.{}",
    "Java/{}.0.2",
)
PASSING_FOR_BROWSERS = (
    FIREFOX + " build/{}",
    "Mozilla/5.0 (Windows NT 10.0; Win64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0 Safari/537",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_{} like Mac OS X) AppleWebKit/605 (KHTML, like Gecko)",
    "Mozilla/4.0 (compatible; MSIE {}.0; Windows NT 6.1; Trident/4.0)",
    "Microsoft Office/16.{} (Windows NT 10.0; Microsoft Outlook 16.0; Pro)",
)
SILENT = ("", "Mozilla/5.0", "x{}", "\xff\xfe{}")


def scanners(count: int) -> list[str]:
    """User agents of scanners, honest and not: first made up, then as real ones were seen."""
    shapes = [shape.format(10) for shape in (*SAYING_SO, *PASSING_FOR_BROWSERS, *SILENT)]
    seen = [agent for known in CRAWLER_USER_AGENTS_DATA for agent in known["instances"]]
    random.Random(2014).shuffle(seen)
    return [*shapes, *(agent for agent in seen if agent.isascii())][:count]


@pytest.fixture
def letters(runtime: Runtime) -> dict[int, list[str]]:
    """Every address of ours in each letter of the shipped campaign, by position."""
    events = template_folders(runtime.settings)[-1] / "letters/startpakke/events.toml"
    with runtime.database.write() as db:
        for number in range(SCANNED):
            language = "en" if number % 10 == 9 else "da"
            add_recipient(db, runtime, f"modtager{number}@kommune.example", language=language)
        import_events(db, events, NOW)
        db.execute(update(Event).where(Event.slug == "midtjylland").values(hosted=True))
        campaign = create_campaign(
            db,
            "spring",
            letter="startpakke",
            segment=None,
            tracking="personal",
            legal_basis="a public task",
            now=NOW,
        )
        tools = LaunchTools(runtime.letter_tools, (parse_relay("smtp://127.0.0.1:1?starttls=never"),))
        launch_campaign(tools, db, campaign, now=NOW)
    with runtime.database.write() as db:
        writer = LetterWriter(runtime.letter_tools, open_letter(db, db.get_one(Campaign, 1)))
        rows = db.execute(addressees(writer.needs)).all()
        db.execute(update(Delivery).values(state=DeliveryState.SENT, at=NOW))
        written = {to.position: writer.write(to).data for to in map(read_addressee, rows)}
    return {position: addresses_in(data) for position, data in written.items()}


def addresses_in(letter: bytes) -> list[str]:
    """Every address of ours in a letter: in its header, its text and its HTML."""
    message = message_from_bytes(letter, policy=policy.SMTP)
    texts = [str(message["List-Unsubscribe"])]
    for part in message.walk():
        if part.get_content_maintype() == "text":
            texts.append(html.unescape(part.get_content()))
    found = [address.rstrip(".,;") for text in texts for address in ADDRESS.findall(text)]
    return list(dict.fromkeys(found))


def scan(reader: Reader, addresses: list[str], agent: str) -> list[Answer]:
    """Fetch everything in a letter, first the heads and then all of it."""
    headers: Headers = [(b"host", b"127.0.0.1:8000"), (b"user-agent", agent.encode("latin-1"))]
    if not agent:
        del headers[1]
    paths = [address.removeprefix("http://127.0.0.1:8000") for address in addresses]
    return ask_all(reader, [(how, path, headers, b"") for how in ("HEAD", "GET") for path in paths])


def test_scanning_every_letter_does_nothing_in_anybodys_name(
    reader: Reader, letters: dict[int, list[str]], runtime: Runtime
) -> None:
    kinds = {urlsplit(address).path.split("/")[1] for address in letters[1]}
    assert {"o", "c", "u", "v", "p", "r", "t"} <= kinds, "the letter lacks a kind of link"

    for (_, addresses), agent in zip(letters.items(), scanners(len(letters)), strict=True):
        for address, answer in zip(addresses * 2, scan(reader, addresses, agent), strict=True):
            assert answer.status in {200, 302, 410}, address

    everything = Mailing(runtime, 1, 1, "", runtime.letter_tools.addresses)
    assert everything.seen()
    with runtime.database.write() as db:
        revise(db, now=NOW)
    with runtime.database.read() as db:
        assert db.scalar(select(func.count()).select_from(Suppression)) == 0
        assert db.scalar(select(func.count()).select_from(ReminderRequest)) == 0
        assert db.scalar(select(func.count()).select_from(Registration)) == 0
        assert not set(db.scalars(select(TrackingEvent.kind).distinct())) & DEEDS
        people = select(TrackingEvent).where(
            TrackingEvent.kind == TrackingKind.CLICK, TrackingEvent.label == Label.PERSON
        )
        assert [(event.position, event.reason) for event in db.scalars(people)] == []
        counted = count_report(db, db.get_one(Campaign, 1), now=NOW, zone=runtime.settings.zone)
    report = tell_report(counted)
    assert report.engagement.registration_clicks.people == 0
    assert report.engagement.registration_clicks.recipients == len(letters)
    assert report.engagement.unsubscribes.total == 0


def test_a_person_among_the_scanners_is_still_one(
    reader: Reader, letters: dict[int, list[str]], runtime: Runtime
) -> None:
    scan(reader, letters[1], "Mimecast-URL-Protection/1")
    pixel = next(address for address in letters[2] if "/o/" in address)
    click = next(address for address in letters[2] if "/c/" in address)
    scan_as_person: Headers = [(b"host", b"127.0.0.1:8000"), (b"user-agent", FIREFOX.encode())]
    paths = [address.removeprefix("http://127.0.0.1:8000") for address in (pixel, click)]
    ask_all(reader, [("GET", path, scan_as_person, b"") for path in paths])

    everything = Mailing(runtime, 1, 1, "", runtime.letter_tools.addresses)
    assert {event.label for event in everything.seen() if event.position == 1} == {Label.MACHINE}
    assert {event.label for event in everything.seen() if event.position == 2} == {Label.PERSON}
