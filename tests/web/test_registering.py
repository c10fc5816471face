"""Registering on a page of ours: looking does nothing, posting keeps, the answer says how it went."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import count

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser
from sqlalchemy import delete, select, update

from mailer.campaigns.models import Campaign
from mailer.events.models import Event, EventState, Registration, RegistrationState
from mailer.foundation.clock import Clock
from mailer.runtime import Runtime
from mailer.tracking.journals import find_journals, web_folder
from mailer.tracking.models import Label, TrackingKind
from mailer.tracking.sightings import read_line
from recipients.models import Recipient, Role, SuppressionReason, SuppressionScope
from recipients.suppression import suppress
from tests.conftest import NOW
from tests.web.conftest import (
    Mailing,
    Reader,
    add_campaign,
    add_event,
    add_recipient,
    draining,
    open_reader,
    outage,
    serving,
)
from tests.web.test_in_a_browser import HARMLESS, RULES

SEATED, WAITING, CANCELLED = RegistrationState
SLUG = "midtjylland"
PREFETCH = {"Purpose": "prefetch"}
GIVE_BACK, UNDO = {"choice": "give_back"}, {"choice": "undo"}


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Seats are tested on both kinds of database below the web, and these pages under their roles."""
    return sqlite_url


@pytest.fixture
def runtime(runtime: Runtime) -> Runtime:
    """Its clock goes on a little whenever somebody looks at it, as clocks do."""
    moments = count()
    clock = Clock(real=lambda: NOW + timedelta(microseconds=next(moments)))
    return replace(runtime, clock=clock)


@pytest.fixture(autouse=True)
def _hosted(mailing: Mailing) -> None:
    """The event in Midtjylland has one seat, people register for it here, and the letter is about it."""
    with mailing.runtime.database.write() as db:
        db.execute(update(Event).where(Event.slug == SLUG).values(hosted=True, capacity=1))
        db.execute(update(Campaign).values(frozen_letter={"event_slug": SLUG}))


def line(mailing: Mailing) -> list[tuple[int | None, RegistrationState]]:
    """Who stands where, in order, once all that was asked for is done."""
    mailing.drain()
    with mailing.runtime.database.read() as db:
        wanted = select(Registration.recipient_id, Registration.state).order_by(Registration.number)
        return [(recipient_id, state) for recipient_id, state in db.execute(wanted)]


def test_looking_registers_nobody_and_is_a_click_on_the_letters_link(
    reader: Reader, mailing: Mailing
) -> None:
    path = mailing.path("register", SLUG)
    for method, headers in (("GET", {}), ("HEAD", {}), ("GET", PREFETCH)):
        for query in ("", "?choice=register"):
            assert reader.request(method, path + query, headers=headers).status_code == 200
    assert reader.get(mailing.path("attend", SLUG) + "?choice=give_back").status_code == 200

    assert line(mailing) == []
    seen = mailing.seen()
    assert {(event.kind, event.position, event.link_number, event.subject) for event in seen} == {
        (TrackingKind.CLICK, 1, 2, SLUG)
    }
    assert [event.label for event in seen] == [Label.PERSON] * 2 + [Label.MACHINE] * 4


def test_the_page_is_filled_in_with_the_name_and_tells_no_address(
    reader: Reader, mailing: Mailing
) -> None:
    with mailing.runtime.database.write() as db:
        db.execute(update(Recipient).values(organisation="Eksempel Kommune"))
    page = reader.get(mailing.path("register", SLUG)).text

    for told in ("Mandag den 7. april 2014", "Skanderborg Park", "Åse Sørensen"):
        assert told in page
    for untold in ("aase", "eksempelkommune.example", "Eksempel Kommune"):
        assert untold not in page


@pytest.mark.parametrize(
    ("values", "greeted"),
    [({"role": role}, role not in {Role.MINISTER, Role.UNION}) for role in Role]
    + [({"shared": True}, False)],
)
def test_the_name_is_shown_only_where_letters_greet_by_it(
    reader: Reader, mailing: Mailing, values: dict[str, object], greeted: bool
) -> None:
    with mailing.runtime.database.write() as db:
        db.execute(update(Recipient).values(values))

    assert ("Åse" in reader.get(mailing.path("register", SLUG)).text) is greeted


@pytest.mark.parametrize(
    "form", [{"data": {"choice": "register"}}, {"files": {"choice": (None, "register")}}, {}]
)
def test_posting_registers_in_every_encoding_without_a_cookie(
    reader: Reader, mailing: Mailing, form: dict[str, object]
) -> None:
    answer = reader.post(mailing.path("register", SLUG), **form)

    assert answer.status_code == 200
    assert "Vi har din tilmelding" in answer.text  # nobody moves the journals: it is kept, no more
    assert "set-cookie" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    assert line(mailing) == [(mailing.recipient_id, SEATED)]
    (event,) = mailing.seen(TrackingKind.REGISTER)
    assert (event.subject, event.position, event.label) == (SLUG, 1, Label.PERSON)


def test_the_answer_says_how_it_went_only_to_who_did_it(reader: Reader, mailing: Mailing) -> None:
    first, second = (mailing.path("register", SLUG, position=position) for position in (1, 2))
    before = reader.get(first).text
    with draining(mailing.runtime):
        assert "Du har en plads" in reader.post(first).text
        assert "You are number 1 in line" in reader.post(second).text
        again = [reader.post(path + "?lang=en").text for path in (first, second)]
    assert again[0] == again[1]
    assert "We have your registration" in again[0]

    assert [state for _, state in line(mailing)] == [SEATED, WAITING]
    assert len(mailing.seen(TrackingKind.REGISTER)) == 2
    after = reader.get(first).text
    assert "Alle pladser er optaget" in after
    assert "Alle pladser" not in before
    assert "Du har en plads" not in after


def test_a_full_house_is_told_alike_to_who_has_a_seat_and_who_has_none(
    reader: Reader, mailing: Mailing
) -> None:
    with mailing.runtime.database.write() as db:
        db.execute(update(Event).values(state=EventState.FULL))
        db.execute(update(Recipient).values(language="da"))
    pages = {reader.get(mailing.path("register", SLUG, position=place)).text for place in (1, 2)}
    reader.post(mailing.path("register", SLUG))

    assert len(pages) == 1
    assert "Skriv mig på ventelisten" in next(iter(pages))
    assert line(mailing) == [(mailing.recipient_id, WAITING)]
    assert reader.get(mailing.path("register", SLUG)).text in pages


def test_a_seat_given_back_goes_to_the_first_that_waits_and_is_lost(
    reader: Reader, mailing: Mailing
) -> None:
    mine, others = (mailing.path("register", SLUG, position=place) for place in (1, 2))
    seat = mailing.path("attend", SLUG)
    looked = reader.get(seat).text
    with draining(mailing.runtime):
        reader.post(mine)
        reader.post(others)
        assert reader.get(seat).text == looked
        assert "kommer du bagest i køen" in looked
        answer = reader.post(seat, data=GIVE_BACK)
        assert "Du er meldt fra" in answer.text
        assert "set-cookie" not in answer.headers
        assert "Du er nummer 1 i køen" in reader.post(seat, data=UNDO).text

    assert [state for _, state in line(mailing)] == [SEATED, WAITING]
    assert line(mailing)[1] == (mailing.recipient_id, WAITING)
    kinds = Counter(event.kind for event in mailing.seen() if event.kind is not TrackingKind.CLICK)
    assert kinds == {TrackingKind.REGISTER: 3, TrackingKind.WITHDRAW: 1}


def test_giving_back_what_one_does_not_have_is_nothing(reader: Reader, mailing: Mailing) -> None:
    assert reader.post(mailing.path("attend", SLUG), data=GIVE_BACK).status_code == 200

    assert line(mailing) == []
    assert mailing.seen() == []


@pytest.mark.parametrize("choice", [GIVE_BACK, UNDO])
def test_a_letter_gives_back_no_seat_at_another_event(
    reader: Reader, mailing: Mailing, choice: dict[str, str]
) -> None:
    with mailing.runtime.database.write() as db:
        db.execute(update(Event).where(Event.slug == "sjaelland").values(hosted=True))
    reader.post(mailing.path("register", "sjaelland"))
    other, own = (mailing.path("attend", slug) for slug in ("sjaelland", SLUG))

    assert reader.get(other).status_code == reader.post(other, data=choice).status_code == 404
    assert reader.get(own).status_code == 200
    assert line(mailing) == [(mailing.recipient_id, SEATED)]


def test_with_the_database_away_a_seat_is_given_back_at_the_letters_own_event_alone(
    mailing: Mailing,
) -> None:
    with mailing.runtime.database.write() as db:
        db.execute(update(Event).where(Event.slug == "sjaelland").values(hosted=True))
    with open_reader(mailing.runtime) as reader:
        for slug in (SLUG, "sjaelland"):
            reader.post(mailing.path("register", slug))
        with outage(mailing.runtime.database):
            for slug in (SLUG, "sjaelland"):
                seat = mailing.path("attend", slug)
                assert reader.post(seat, data=GIVE_BACK).status_code == 200
                assert reader.post(seat, data=UNDO).status_code == 503
        line(mailing)
    with mailing.runtime.database.read() as db:
        stand = select(Event.slug, Registration.state).join(Event, Event.id == Registration.event_id)
        states = {row.slug: row.state for row in db.execute(stand)}
    assert states == {SLUG: CANCELLED, "sjaelland": SEATED}


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"data": {"List-Unsubscribe": "One-Click"}},
        {"files": {"List-Unsubscribe": (None, "One-Click")}},
        {"json": GIVE_BACK},
        {"data": {"choice": "register"}},
        {"data": {"choice": ["give_back", "undo"]}},
    ],
)
def test_only_its_own_button_gives_a_seat_back(
    reader: Reader, mailing: Mailing, form: dict[str, object]
) -> None:
    reader.post(mailing.path("register", SLUG))
    seat = mailing.path("attend", SLUG)
    looked = reader.get(seat)

    answers = [reader.post(seat, **form) for _ in range(25)]

    assert {(answer.status_code, answer.text) for answer in answers} == {(200, looked.text)}
    assert line(mailing) == [(mailing.recipient_id, SEATED)]
    assert mailing.seen(TrackingKind.WITHDRAW) == []


def test_whoever_holds_a_forwarded_letter_takes_nobodys_seat(reader: Reader, mailing: Mailing) -> None:
    path = mailing.path("register", SLUG)
    for choice in ("register", "undo", "give_back", "cancel"):
        reader.post(path, data={"choice": choice})
    reader.request("DELETE", path)

    assert line(mailing) == [(mailing.recipient_id, SEATED)]
    assert mailing.seen(TrackingKind.WITHDRAW) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"state": EventState.CANCELLED}, "Mødet er aflyst"),
        ({"date": NOW.date().replace(day=6)}, "Mødet er afholdt"),
        ({"hosted": False}, "Du tilmelder dig et andet sted"),
    ],
    ids=["cancelled", "over", "elsewhere"],
)
def test_what_is_closed_says_so_and_keeps_nothing(
    reader: Reader, mailing: Mailing, values: dict[str, object], words: str
) -> None:
    with mailing.runtime.database.write() as db:
        db.execute(update(Event).where(Event.slug == SLUG).values(values))
    for method in ("GET", "POST"):
        answer = reader.request(method, mailing.path("register", SLUG))
        assert answer.status_code == 410
        assert words in answer.text
    undone = reader.post(mailing.path("attend", SLUG), data=UNDO)
    assert undone.status_code == 410

    assert line(mailing) == []
    assert mailing.seen(TrackingKind.REGISTER) == []


def test_what_closes_before_the_drainer_comes_registers_nobody(reader: Reader, mailing: Mailing) -> None:
    reader.post(mailing.path("register", SLUG))
    with mailing.runtime.database.write() as db:
        db.execute(update(Event).values(state=EventState.CANCELLED))

    assert line(mailing) == []
    assert mailing.seen(TrackingKind.REGISTER) == []


@pytest.mark.parametrize("purpose", ["register", "attend"])
def test_nobody_we_know_and_no_event_we_have_is_no_page(
    reader: Reader, mailing: Mailing, purpose: str
) -> None:
    for method in ("GET", "POST"):
        for path in (
            mailing.path(purpose, "findes-ikke"),
            mailing.path(purpose, "x" * 65),
            mailing.path(purpose, SLUG, position=999),
        ):
            assert reader.request(method, path, data=GIVE_BACK).status_code == 404
    with mailing.runtime.database.write() as db:
        db.execute(delete(Recipient).where(Recipient.id == mailing.recipient_id))
    assert reader.post(mailing.path(purpose, SLUG)).status_code == 404
    assert mailing.drain() == 0


def test_with_the_database_away_a_registration_is_taken_and_done_after_it(mailing: Mailing) -> None:
    with (
        outage(mailing.runtime.database),
        draining(mailing.runtime),
        open_reader(mailing.runtime) as reader,
    ):
        assert 'value="register"' in reader.get(mailing.path("register", SLUG)).text
        said = reader.post(mailing.path("register", SLUG))
        reader.post(mailing.path("register", "findes-ikke"))
        reader.post(mailing.path("register", "forrige"))
        reader.post(mailing.path("attend", "findes-ikke"), data=GIVE_BACK)

    assert "Vi har din tilmelding" in said.text
    assert line(mailing) == [(mailing.recipient_id, SEATED)]


@pytest.mark.parametrize("mode", ["none", "anonymous", "consent", "personal"])
def test_one_can_register_in_every_tracking_mode_and_is_named_by_one(
    reader: Reader, mailing: Mailing, mode: str
) -> None:
    with mailing.runtime.database.write() as db:
        db.execute(update(Campaign).values(tracking=mode))
    reader.get(mailing.path("register", SLUG))
    reader.post(mailing.path("register", SLUG))

    assert line(mailing) == [(mailing.recipient_id, SEATED)]
    named = Counter((event.kind, event.link_number) for event in mailing.seen())
    counted = Counter({(kind, link): n for (_, kind, link, _), n in mailing.counted().items()})
    click, deed = TrackingKind.CLICK, TrackingKind.REGISTER
    if mode == "personal":
        assert (named, counted) == ({(click, 2): 1, (deed, None): 1}, {})
    else:
        assert (named, counted) == ({}, {(click, 2): 1, (deed, 0): 1})


def test_who_said_no_to_everything_may_come_all_the_same(reader: Reader, mailing: Mailing) -> None:
    with mailing.runtime.database.write() as db:
        scope = SuppressionScope.EVERYTHING
        suppress(db, mailing.address_hash, SuppressionReason.UNSUBSCRIBED, now=NOW, scope=scope)

    assert "sagt nej til alt" in reader.post(mailing.path("register", SLUG)).text
    assert line(mailing) == [(mailing.recipient_id, SEATED)]


def test_the_page_of_reminders_leads_on_to_registering(reader: Reader, mailing: Mailing) -> None:
    path = mailing.path("register", SLUG)
    for method in ("GET", "POST"):
        assert f'href="{path}?lang=da"' in reader.request(method, mailing.path("remind", SLUG)).text
        assert "/t/" not in reader.request(method, mailing.path("remind", "sjaelland")).text
    assert 'value="register"' in reader.get(path + "?lang=da").text


def test_forms_have_their_limits_and_taking_back_has_its_own(reader: Reader, mailing: Mailing) -> None:
    seat = mailing.path("attend", SLUG)
    refused = [reader.post(seat, data=UNDO) for _ in range(3)]
    back = [answer.status_code for answer in refused]
    given = [reader.post(seat, data=GIVE_BACK).status_code for _ in range(21)]

    assert back == [200] * 2 + [429]
    assert refused[-1].headers["retry-after"] == "900"
    assert given == [200] * 20 + [429]
    assert reader.post(mailing.path("register", SLUG)).status_code == 200


def test_two_hundred_register_at_once_for_fifty_seats(runtime: Runtime, mailing: Mailing) -> None:
    total = 200
    with runtime.database.write() as db:
        add_event(db, "styr", NOW.date().replace(month=6), hosted=True, capacity=50)
        people = [add_recipient(db, runtime, f"tr{number}@kommune.example") for number in range(total)]
        campaign = add_campaign(db, *people, tracking="none")
        campaign.frozen_letter = {"event_slug": "styr"}
    many = replace(mailing, campaign_id=campaign.id)

    with draining(runtime), serving(runtime) as base, httpx.Client(timeout=60) as client:

        def post(kind: str, position: int) -> str:
            path = many.path(kind, "styr", position=position)
            return client.post(base + path, data=GIVE_BACK).text

        with ThreadPoolExecutor(40) as threads:
            answers = list(threads.map(lambda place: post("register", place), range(1, total + 1)))
        written = journalled(runtime, campaign.id)
        assert "Du er meldt fra" in post("attend", written[9])

    order = [people[position - 1].id for position in written]
    assert len(order) == total
    states = [SEATED] * 9 + [CANCELLED] + [SEATED] * 41 + [WAITING] * 149
    assert line(many) == list(zip(order, states, strict=True))
    for place, position in enumerate(written):
        assert is_true(answers[position - 1], place), place


def journalled(runtime: Runtime, campaign_id: int) -> Sequence[int]:
    """Whose registrations stand in the journals, in their order."""
    folder = web_folder(runtime.settings.state_dir)
    lines = [
        read_line(raw)
        for path in find_journals(folder)
        for raw in path.read_bytes().splitlines(keepends=True)
    ]
    return [seen.position for seen in lines if seen.campaign_id == campaign_id]


def is_true(answer: str, place: int) -> bool:
    """Whether what a reader was told is what became of them, or that it will be told."""
    if "Vi har din tilmelding" in answer:
        return True
    return "Du har en plads" in answer if place < 50 else f"Du er nummer {place - 49} i køen" in answer


@pytest.mark.browser
def test_somebody_registers_and_gives_the_seat_back_by_keyboard_alone(
    browser: Browser, mailing: Mailing
) -> None:
    pages = (
        ("da", 1, "Ja tak, tilmeld mig", "Du har en plads", "Meld mig fra", "Du er meldt fra"),
        (
            "en",
            2,
            "Yes please, register me",
            "You have a seat",
            "Cancel my registration",
            "You are no longer registered",
        ),
    )
    with (
        draining(mailing.runtime),
        serving(mailing.runtime) as base,
        browser.new_page(viewport={"width": 320, "height": 800}, bypass_csp=True) as page,
    ):

        def examine(language: str) -> None:
            assert page.evaluate("document.documentElement.scrollWidth") <= 320, page.title()
            if language == "da":  # else only the words differ
                results = Axe().run(page, options={"runOnly": RULES}).response
                faults = [each for each in results["violations"] if each["impact"] not in HARMLESS]
                assert faults == [], page.title()

        def press(button: str) -> None:
            for _ in range(10):
                page.keyboard.press("Tab")
                if page.locator(":focus").inner_text() == button:
                    break
            page.keyboard.press("Enter")

        for language, position, register, seated, give_back, given_back in pages:
            for kind, button, heading in (
                ("register", register, seated),
                ("attend", give_back, given_back),
            ):
                page.goto(base + mailing.path(kind, SLUG, position=position))
                assert page.locator("html").get_attribute("lang") == language
                examine(language)
                press(button)
                page.get_by_role("heading", name=heading).wait_for()
                examine(language)

    assert line(mailing) == [(mailing.recipient_id, CANCELLED), (mailing.recipient_id + 1, CANCELLED)]
