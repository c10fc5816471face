"""The pages open to everybody: the pack, the principles, the events with their holes."""

import io
import re
from datetime import date

import icalendar
import pypdf
import pytest
from sqlalchemy import delete, select

from mailer.events.models import Event
from mailer.tracking.models import Label, TrackingCount, TrackingKind
from tests.web.conftest import Mailing, Reader

COUNTS = select(TrackingCount)
PAGES = ("/", "/startpakke", "/principper", "/events", "/events/midtjylland", "/events/sjaelland")
DANISH_LETTERS = "æøåÆØÅ"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough: the queries behind these pages are tested with the events."""
    return sqlite_url


def test_the_front_page_says_what_this_is(reader: Reader) -> None:
    page = reader.get("/")

    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert 'href="/startpakke"' in page.text
    assert "Center for Offentlig Innovation" in page.text


def test_the_pack_shows_seven_principles_with_two_examples_and_three_questions(
    reader: Reader,
) -> None:
    page = reader.get("/startpakke").text

    assert page.count('class="pack-principle"') == 7
    assert page.count('class="pack-example"') == 14
    assert page.count('class="pack-questions"') == 7
    assert page.count("<h1") == 1


def test_the_principles_stand_on_one_page(reader: Reader) -> None:
    assert reader.get("/principper").text.count('class="pack-principle"') == 7


def test_the_pack_is_a_pdf(reader: Reader) -> None:
    response = reader.get("/startpakke.pdf")

    assert response.headers["content-type"] == "application/pdf"
    assert "Startpakke" in pypdf.PdfReader(io.BytesIO(response.content)).pages[0].extract_text()


@pytest.mark.parametrize("page", ["startpakke", "startpakke.pdf", "principper"])
def test_a_visit_is_counted_and_is_nobodys(reader: Reader, mailing: Mailing, page: str) -> None:
    reader.get(f"/{page}")
    reader.head(f"/{page}")

    assert mailing.seen() == []
    with mailing.runtime.database.read() as db:
        counts = {
            row.label: (row.campaign_id, row.kind, row.subject, row.total) for row in db.scalars(COUNTS)
        }
    assert counts == dict.fromkeys((Label.PERSON, Label.MACHINE), (0, TrackingKind.VISIT, page, 1))


@pytest.mark.parametrize("page", ["startpakke", "principper"])
def test_a_visit_to_the_english_page_counts_for_the_page(
    reader: Reader, mailing: Mailing, page: str
) -> None:
    reader.get(f"/en/{page}")

    assert mailing.counted() == {(0, TrackingKind.VISIT, 0, page): 1}


def test_events_are_listed_by_what_becomes_of_them(reader: Reader, mailing: Mailing) -> None:
    page = reader.get("/events").text

    places = [
        page.index(text)
        for text in ("Midtjylland</a>", "Sjaelland</a>", "Aflyst", "Prøve</a>", "Afholdt", "Forrige")
    ]
    assert places == sorted(places)
    assert "Stedet er ikke på plads endnu." in page
    assert "kl. 13.30" in page


def test_without_events_the_list_says_so(reader: Reader, mailing: Mailing) -> None:
    with mailing.runtime.database.write() as db:
        db.execute(delete(Event))

    assert "Der er ingen møder på vej" in reader.get("/events").text


def test_an_event_shows_what_is_known(reader: Reader, mailing: Mailing) -> None:
    page = reader.get("/events/midtjylland").text

    assert "Mandag den 7. april 2014" in page
    assert 'href="https://program.example/midt"' in page
    assert 'href="https://tilmelding.example/midt"' in page
    assert 'href="/events/midtjylland.ics"' in page


def test_an_event_with_holes_says_what_is_still_to_come(reader: Reader, mailing: Mailing) -> None:
    page = reader.get("/events/sjaelland").text

    for sentence in (
        "Tidspunktet følger.",
        "Stedet er ikke på plads endnu.",
        "Programmet er ikke kommet endnu.",
        "Tilmeldingen er ikke åbnet endnu.",
    ):
        assert sentence in page
    assert "None" not in page


def test_an_event_that_is_over_takes_nobody_in(reader: Reader, mailing: Mailing) -> None:
    page = reader.get("/events/forrige").text

    assert "Mødet er afholdt." in page
    assert "Tilmeld" not in page
    assert "kalender" not in page
    assert "Mødet er aflyst." in reader.get("/events/prøve").text


def test_an_event_page_says_how_to_be_reminded_and_asks_for_nothing(
    reader: Reader, mailing: Mailing
) -> None:
    page = reader.get("/events/midtjylland").text

    assert "linket »Mind mig om mødet«" in page
    assert 'href="/events.ics"' in page
    assert "<form" not in page
    assert "<input" not in page


@pytest.mark.parametrize("path", PAGES)
def test_each_page_has_its_like_in_the_other_language(
    reader: Reader, mailing: Mailing, path: str
) -> None:
    english_path = f"/en{path}".rstrip("/")
    danish, english = reader.get(path), reader.get(english_path)

    base = mailing.runtime.settings.public_url
    for page, language in ((danish, "da"), (english, "en")):
        assert page.status_code == 200
        assert page.headers["content-language"] == language
        assert f'<html lang="{language}">' in page.text
        assert f'<link rel="alternate" hreflang="da" href="{base}{path}">' in page.text
        assert f'<link rel="alternate" hreflang="en" href="{base}{english_path}">' in page.text
    assert f'href="{english_path}" lang="en" hreflang="en">English</a>' in danish.text
    assert f'href="{path}" lang="da" hreflang="da">Dansk</a>' in english.text


@pytest.mark.parametrize("path", PAGES)
def test_an_english_page_is_english_but_for_names(reader: Reader, mailing: Mailing, path: str) -> None:
    page = reader.get(f"/en{path}".rstrip("/")).text

    shown = re.sub(r"<(\w+)[^>]* lang=\"da\"[^>]*>.*?</\1>", "", page, flags=re.DOTALL)
    shown = re.sub(r"<title>.*?</title>|<[^>]+>", "", shown, flags=re.DOTALL)
    words = {word for word in re.findall(r"[\wæøåÆØÅ]+", shown) if set(word) & set(DANISH_LETTERS)}
    assert words <= {"Tårnby", "Nordsjællands"}
    assert not re.search(r"\b(og|ikke|møde|mødet|brev|til|af)\b", shown)


@pytest.mark.parametrize("path", PAGES)
def test_an_english_page_leads_to_english_pages(reader: Reader, mailing: Mailing, path: str) -> None:
    page = reader.get(f"/en{path}".rstrip("/")).text

    inside = set(re.findall(r'<a[^>]* href="(/[^"]*)"', page)) - {path}
    files = {address for address in inside if address.endswith((".pdf", ".ics"))}
    assert all(address == "/en" or address.startswith("/en/") for address in inside - files)
    for address in inside:
        assert reader.get(address.partition("#")[0]).status_code == 200


def test_the_english_pack_has_the_same_parts(reader: Reader) -> None:
    danish, english = reader.get("/startpakke").text, reader.get("/en/startpakke").text

    for part in ("pack-principle", "pack-example", "pack-questions"):
        assert english.count(f'class="{part}"') == danish.count(f'class="{part}"')
    assert re.findall(r'id="([^"]+)"', english) == re.findall(r'id="([^"]+)"', danish)


@pytest.mark.parametrize("path", ["/en/nowhere", "/en/", "/en/events/findes-ikke", "/english", "/en/en"])
def test_there_are_no_other_english_addresses(reader: Reader, mailing: Mailing, path: str) -> None:
    assert reader.get(path).status_code == 404


def test_an_address_that_is_none_of_the_web_becomes_no_link(reader: Reader, mailing: Mailing) -> None:
    with mailing.runtime.database.write() as db:
        event = Event(
            slug="ond",
            title="<script>alert(1)</script>",
            date=date(2014, 5, 2),
            programme_url="javascript:alert(1)",
            registration_url="data:text/html,x",
        )
        event.created_at = event.updated_at = mailing.runtime.clock.now()
        db.add(event)

    page = reader.get("/events/ond").text
    assert "javascript:" not in page
    assert "data:text" not in page
    assert "<script" not in page


@pytest.mark.parametrize("path", ["/events/findes-ikke", "/events/findes-ikke.ics", "/nowhere"])
def test_what_is_not_there_is_404(reader: Reader, mailing: Mailing, path: str) -> None:
    response = reader.get(path)

    assert response.status_code == 404
    assert "Siden findes ikke" in response.text


def test_an_event_can_be_put_in_a_calendar(reader: Reader, mailing: Mailing) -> None:
    response = reader.get("/events/midtjylland.ics")

    assert response.headers["content-type"] == "text/calendar; charset=utf-8"
    (entry,) = icalendar.Calendar.from_ical(response.content).walk("VEVENT")
    assert entry["LOCATION"] == "Skanderborg Park, Skovsvinget 10, 8660 Skanderborg"
    assert entry["DTSTART"].dt.isoformat() == "2014-04-07T13:30:00+02:00"


def test_an_event_without_a_time_is_a_day_in_the_calendar(reader: Reader, mailing: Mailing) -> None:
    calendar = icalendar.Calendar.from_ical(reader.get("/events/sjaelland.ics").content)

    (entry,) = calendar.walk("VEVENT")
    assert entry["DTSTART"].dt == date(2014, 6, 17)
    assert "LOCATION" not in entry


def test_the_feed_holds_the_events_of_the_list(reader: Reader, mailing: Mailing) -> None:
    response = reader.get("/events.ics")

    uids = {
        str(entry["UID"]).partition("@")[0]
        for entry in icalendar.Calendar.from_ical(response.content).walk("VEVENT")
    }
    assert {"midtjylland", "sjaelland"} <= uids


def test_robots_are_kept_off_what_belongs_to_a_letter(reader: Reader) -> None:
    text = reader.get("/robots.txt").text

    for path in ("/o/", "/c/", "/u/", "/v/", "/p/", "/r/"):
        assert f"Disallow: {path}\n" in text


def test_styles_may_be_kept_because_their_address_carries_the_version(reader: Reader) -> None:
    page = reader.get("/").text
    address = page.partition('<link rel="stylesheet" href="')[2].partition('"')[0]

    response = reader.get(address)
    assert response.headers["content-type"] == "text/css; charset=utf-8"
    assert "max-age" in response.headers["cache-control"]
    assert reader.get("/static/../base.html").status_code == 404
    assert reader.get("/static/base.html").status_code == 404
