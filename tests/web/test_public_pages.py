"""The pages open to everybody: the pack, the principles, the events with their holes."""

import io
import re
from datetime import date, timedelta
from itertools import count

import icalendar
import pypdf
import pytest
from sqlalchemy import delete, select

from mailer.events.catalogue import find_event
from mailer.events.changes import update_event
from mailer.events.models import Event, EventState
from mailer.events.registering import register
from mailer.tracking.models import Label, TrackingCount, TrackingKind
from tests.conftest import NOW
from tests.web.conftest import Mailing, Reader, add_event, add_recipient

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
    assert "Tidspunktet følger." not in page
    assert "Tilmeld" not in page
    assert "kalender" not in page
    assert "Mødet er aflyst." in reader.get("/events/prøve").text


@pytest.mark.parametrize(
    ("state", "danish", "english"),
    [
        (EventState.MOVED, "Mødet er flyttet.", "The event has been moved."),
        (EventState.FULL, "Alle pladser er taget.", "All seats are taken."),
        (EventState.CANCELLED, "Mødet er aflyst.", "The event is cancelled."),
    ],
)
def test_an_event_page_says_what_became_of_the_event(
    reader: Reader, mailing: Mailing, state: EventState, danish: str, english: str
) -> None:
    path = "/events/midtjylland"
    assert danish not in reader.get(path).text
    with mailing.runtime.database.write() as db:
        db.scalars(select(Event).where(Event.slug == "midtjylland")).one().state = state

    assert danish in reader.get(path).text
    assert english in reader.get(f"/en{path}").text
    takes_place = state is not EventState.CANCELLED
    assert ("https://tilmelding.example/midt" in reader.get(path).text) == takes_place


def test_the_list_says_which_events_were_moved_and_which_are_full(
    reader: Reader, mailing: Mailing
) -> None:
    with mailing.runtime.database.write() as db:
        add_event(db, "odense", date(2014, 5, 2), state=EventState.MOVED)
        add_event(
            db, "vejle", date(2014, 5, 3), state=EventState.FULL, registration_url="https://x.example"
        )

    page = reader.get("/events").text

    moved, full = page[page.index("/events/odense") :], page[page.index("/events/vejle") :]
    assert "Flyttet:" in moved.partition("</li>")[0]
    assert "Alle pladser er taget." in full.partition("</li>")[0]
    assert "Tilmeld dig" not in full.partition("</li>")[0]
    assert "Flyttet:" not in full


def test_a_page_of_a_hosted_event_tells_of_seats_in_words_and_where_to_register(
    reader: Reader, mailing: Mailing
) -> None:
    def page(path: str = "/events/odense") -> str:
        return reader.get(path).text

    def sign_up(count: int) -> None:
        with mailing.runtime.database.write() as db:
            for _ in range(count):
                email = f"{next(names)}@odense.example"
                register(db, "odense", add_recipient(db, mailing.runtime, email).id, now=NOW)

    names = count()
    with mailing.runtime.database.write() as db:
        add_event(db, "odense", date(2014, 5, 2), hosted=True, capacity=11)
    assert "Der er ledige pladser." in page()
    assert "There are free seats." in page("/en/events/odense")
    many = page(), page("/events")
    assert "Brug linket til tilmelding i dit brev fra os." in page()
    assert "Tilmeld dig med linket i dit brev fra os." in page("/events")
    assert "<form" not in page()

    sign_up(1)
    assert (page(), page("/events")) == many
    sign_up(1)
    assert "Der er få ledige pladser." in page()
    assert "Der er få ledige pladser." in page("/events")
    assert "There are a few free seats." in page("/en/events/odense")
    few = page(), page("/events")
    sign_up(8)
    assert (page(), page("/events")) == few
    sign_up(1)
    assert "Alle pladser er taget." in page()
    assert "skrive dig på ventelisten" in page()
    assert "Der er venteliste." in page("/events")
    full = page(), page("/events")
    sign_up(1)
    assert (page(), page("/events")) == full


def test_a_hosted_event_without_a_limit_counts_nothing(reader: Reader, mailing: Mailing) -> None:
    with mailing.runtime.database.write() as db:
        add_event(
            db, "odense", date(2014, 5, 2), hosted=True, registration_url="https://tilmelding.example/o"
        )

    page = reader.get("/events/odense").text
    assert "ledig" not in page
    assert "pladser" not in page
    assert "https://tilmelding.example/o" not in page


def test_an_event_page_says_how_to_be_reminded_and_asks_for_nothing(
    reader: Reader, mailing: Mailing
) -> None:
    page = reader.get("/events/midtjylland").text

    assert "linket »Mind mig om mødet«" in page
    assert 'href="/events.ics"' in page
    assert "<form" not in page
    assert "<input" not in page


@pytest.mark.parametrize("path", ["/events", "/events/midtjylland", "/en/events"])
def test_calendars_can_subscribe_to_the_events(reader: Reader, mailing: Mailing, path: str) -> None:
    page = reader.get(path).text

    assert 'href="webcal://127.0.0.1:8000/events.ics"' in page
    assert '<a href="/events.ics">http://127.0.0.1:8000/events.ics</a>' in page


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


def test_the_file_of_an_event_is_named_after_it(reader: Reader, mailing: Mailing) -> None:
    response = reader.get("/events/midtjylland.ics")

    told = response.headers["content-disposition"]
    assert told == 'attachment; filename="inspirationsmoede-midtjylland.ics"'


def test_the_file_of_a_cancelled_event_takes_it_out_of_the_calendar(
    reader: Reader, mailing: Mailing
) -> None:
    page, file = reader.get("/events/prøve"), reader.get("/events/prøve.ics")

    assert "Tag mødet ud af kalenderen" in page.text
    assert icalendar.Calendar.from_ical(file.content)["METHOD"] == "CANCEL"


def test_the_feed_holds_the_events_of_the_list_and_what_became_of_them(
    reader: Reader, mailing: Mailing
) -> None:
    response = reader.get("/events.ics")

    assert response.headers["content-type"] == "text/calendar; charset=utf-8"
    assert {
        str(entry["UID"]).partition("@")[0]: str(entry["STATUS"])
        for entry in icalendar.Calendar.from_ical(response.content).walk("VEVENT")
    } == {
        "forrige": "CONFIRMED",
        "midtjylland": "CONFIRMED",
        "prøve": "CANCELLED",
        "sjaelland": "CONFIRMED",
    }
    assert response.headers["cache-control"] == "public, max-age=600"


def test_the_feed_is_known_by_its_tag_alone_so_that_an_event_may_go(
    reader: Reader, mailing: Mailing
) -> None:
    first = reader.get("/events.ics")
    tag = first.headers["etag"]
    later = {"If-Modified-Since": "Sat, 01 Nov 2014 08:00:00 GMT"}
    assert "last-modified" not in first.headers
    assert reader.get("/events.ics", headers={"If-None-Match": tag}).status_code == 304
    assert reader.get("/events.ics", headers=later).status_code == 200

    with mailing.runtime.database.write() as db:
        find_event(db, "sjaelland").date = date(2012, 6, 17)

    for headers in ({"If-None-Match": tag}, later):
        response = reader.get("/events.ics", headers=headers)
        assert (response.status_code, b"sjaelland" in response.content) == (200, False)


def test_a_calendar_that_looks_again_gets_the_file_only_if_something_changed(
    reader: Reader, mailing: Mailing
) -> None:
    path = "/events/midtjylland.ics"
    first = reader.get(path)
    tag, changed = first.headers["etag"], first.headers["last-modified"]
    same = ({"If-None-Match": f'"x", W/{tag}'}, {"If-None-Match": "*"}, {"If-Modified-Since": changed})
    for headers in same:
        response = reader.get(path, headers=headers)
        assert (response.status_code, response.content) == (304, b"")
        assert (response.headers["etag"], response.headers["last-modified"]) == (tag, changed)
    others = (
        {"If-None-Match": '"x"', "If-Modified-Since": changed},  # a tag decides alone
        {"If-Modified-Since": "Thu, 06 Mar 2014 08:00:00 GMT"},
        {"If-Modified-Since": "yesterday"},
        {"If-Modified-Since": f"Thu, 06 Mar 2014 08:00:00 +{'9' * 20}"},
    )
    for headers in others:
        assert reader.get(path, headers=headers).content == first.content

    with mailing.runtime.database.write() as db:
        update_event(db, "midtjylland", {"time": "15:00"}, now=NOW + timedelta(hours=1))

    for headers in ({"If-None-Match": tag}, {"If-Modified-Since": changed}):
        response = reader.get(path, headers=headers)
        assert (response.status_code, response.headers["etag"] != tag) == (200, True)
        assert b":20140407T150000" in response.content


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
