"""The letters about one event: complete with what they need, true to their readers, and quick."""

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, time
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from mailer.events.letters import check_reminder, reminder_letters
from mailer.rendering.compiled import read_uses, require_compilable
from mailer.rendering.letter import Letter, RenderedLetter
from mailer.rendering.source import LetterSource, list_letters, load_letter
from mailer.rendering.values import (
    Attributes,
    CampaignValues,
    ChangeValues,
    EventValues,
    LetterValues,
    LinkValues,
    RecipientValues,
)
from recipients.models import Role

TEMPLATES = Path(__file__).parents[2] / "templates"
SOURCES: Mapping[str, LetterSource] = {
    name: source
    for name in list_letters([TEMPLATES])
    if (source := load_letter(name, [TEMPLATES])).kind is not None
}
LINKS = LinkValues("/u", "/v", "/p", "/pack", "/page", "/principles", "/events", ())
PASSED_ON = replace(LINKS, unsubscribe=None, browser=None)
BARE = EventValues(
    slug="midtjylland",
    title="Møde i Midtjylland",
    date=date(2014, 4, 7),
    time=None,
    place=None,
    address=None,
    region=None,
    own_region=False,
    programme="/programme",
    programme_out=False,
    registration=None,
    remind="/remind",
    calendar="/calendar",
)
WHOLE = replace(
    BARE,
    time=time(9, 30),
    place="Skanderborg Park",
    address="Skovsvinget 10, 8660 Skanderborg",
    region="Midtjylland",
    own_region=True,
    programme_out=True,
    registration="/registration",
    hosted=True,
    attendance="/attendance",
)
ELSEWHERE = replace(WHOLE, hosted=False, attendance=None)
MOVED = (
    ChangeValues("state", "open", "moved"),
    ChangeValues("date", date(2014, 3, 31), date(2014, 4, 7)),
)
PERSONAL = ("vi-ses", "tilmelding", "venteliste", "plads", "afmelding")
LANGUAGES = ("da", "en")
LONGEST_LINE = 72
LARGEST_BYTES = 60_000

each_letter = pytest.mark.parametrize("name", SOURCES)
in_each_language = pytest.mark.parametrize("language", LANGUAGES)


def somebody(
    language: str = "da",
    *,
    role: str = Role.UNION_REPRESENTATIVE,
    name: str | None = "Åse Bjørn",
    organisation: str | None = None,
) -> RecipientValues:
    return RecipientValues(
        name, role, "kommune", organisation, None, "ingen", "Midtjylland", language, Attributes()
    )


@functools.cache
def letter(name: str) -> Letter:
    return Letter(SOURCES[name])


def write(
    name: str,
    event: EventValues = WHOLE,
    changes: tuple[ChangeValues, ...] = (),
    *,
    to: RecipientValues | None = None,
    links: LinkValues = LINKS,
) -> RenderedLetter:
    values = LetterValues(to or somebody(), CampaignValues("c", ()), links, (event,), event, changes)
    return letter(name).render(values, pixel=None)


def just_enough(source: LetterSource) -> Iterator[EventValues]:
    """Events that have what the letter needs at one of its leads, and nothing more."""
    for needs in {source.needs, *source.needs_at.values()}:
        yield replace(BARE, **{need: getattr(WHOLE, need) for need in needs})


def words(html: str) -> str:
    """What is read in the card of an HTML letter."""
    card = html.partition('role="article"')[2].partition(">")[2]
    blocks = re.sub(r"</?(a|s|span|strong)\b[^>]*>", "", card)
    return " ".join(re.sub(r"<[^>]+>", " ", blocks).split())


def assert_reads_well(letter: RenderedLetter) -> None:
    """Nothing is missing, empty or too long, whichever way the letter is read."""
    for part in (letter.subject, letter.text, words(letter.html)):
        assert "None" not in part
        assert not re.search(r" [.,;:]|\(\)|,,|: *$", part.strip()), part
    assert letter.subject
    assert not letter.subject.endswith((",", ":"))
    assert not re.search(r"<(p|h1|h2|h3|li|strong|s|a)\b[^>]*>\s*</\1>", letter.html.split("unseen")[0])
    assert 'href=""' not in letter.html
    assert "\n\n\n\n" not in letter.text, "a section is empty"
    assert max(map(len, letter.text.splitlines())) <= LONGEST_LINE
    assert not re.search(r"[ \t]\n", letter.text)
    assert len(letter.html.encode()) < LARGEST_BYTES


@each_letter
@in_each_language
def test_every_letter_reads_well_with_just_what_it_needs(name: str, language: str) -> None:
    for event in just_enough(SOURCES[name]):
        for state in ("open", "moved", "full", "cancelled"):
            assert_reads_well(write(name, replace(event, state=state), to=somebody(language)))


@each_letter
@in_each_language
def test_every_letter_reads_well_with_all_there_is(name: str, language: str) -> None:
    for event in (WHOLE, ELSEWHERE):
        for state in ("open", "moved", "full", "cancelled"):
            for changes in ((), MOVED):
                letter = write(name, replace(event, state=state), changes, to=somebody(language))
                assert_reads_well(letter)
                assert event.title in letter.text
                assert "2014" in letter.text


@each_letter
@in_each_language
def test_everybody_is_greeted_as_they_should_be_in_text_and_html_alike(name: str, language: str) -> None:
    dear, union, hello = {
        "da": ("Kære ", "Til fagforeningen", "Goddag"),
        "en": ("Dear ", "To the trade union", "Hello"),
    }[language]
    for role in Role:
        for person, office in (("Åse Bjørn", "FTF"), (None, None)):
            to = somebody(language, role=role, name=person, organisation=office)
            letter = write(name, to=to)
            greeting = letter.text.splitlines()[0]
            assert f">{greeting}</p>" in letter.html
            if role is Role.MINISTER:
                assert greeting.lower() == f"{dear}minister".lower()
            elif role is Role.UNION:
                assert greeting == (f"{union[:3].strip()} FTF" if office else union)
            elif role is Role.OTHER and person is None:
                assert greeting == hello
            else:
                assert greeting.startswith(dear)
                assert (person or dear) in greeting


def test_the_letters_go_to_whom_and_when_they_should() -> None:
    plans = {
        name: (source.rules, source.leads, source.optional_leads, source.needs, source.needs_at)
        for name, source in SOURCES.items()
        if source.kind == "reminder"
    }
    timed = ("place", "time")
    assert plans == {
        "paamindelse": (("asked",), ("14 days", "7 days"), (), ("place",), {}),
        "paamindelse-dagen-foer": (("asked",), ("1 day",), ("2 hours",), timed, {}),
        "vi-ses": (
            *(("registered",), ("14 days", "7 days", "1 day"), ("2 hours",)),
            *(("place",), {"1 day": timed, "2 hours": timed}),
        ),
        "stadig-plads": (
            *(("clicked",), ("14 days", "7 days", "1 day"), ()),
            *(("place",), {"1 day": timed}),
        ),
        "invitation-igen": (("region",), (), (), ("place",), {}),
    }
    assert {letter.name for letter in reminder_letters([TEMPLATES])} == plans.keys()
    for name in plans:
        check_reminder(SOURCES[name])


@in_each_language
def test_no_letter_reckons_the_day_from_when_it_is_read(language: str) -> None:
    for name in SOURCES:
        letter = write(name, changes=MOVED, to=somebody(language))
        day = {"da": "mandag den 7. april 2014", "en": "Monday 7 April 2014"}[language]
        if name != "aflysning":
            assert day in letter.subject
        said = f"{letter.subject} {letter.text} {words(letter.html)}".lower()
        for near in ("i morgen", "i dag", "i overmorgen", "tomorrow", "today", "next week"):
            assert not re.search(rf"\b{near}\b", said)


@each_letter
def test_a_letter_with_a_calendar_file_says_so_and_no_other_does(name: str) -> None:
    for language, attached in (("da", "vedhæfte"), ("en", "attached")):
        letter = write(name, changes=MOVED, to=somebody(language))
        assert (attached in letter.text) is SOURCES[name].calendar
        assert (attached in words(letter.html)) is SOURCES[name].calendar


@pytest.mark.parametrize("name", ["vi-ses", "tilmelding", "plads", "venteliste"])
@in_each_language
def test_a_seat_can_be_given_back_on_our_page_and_else_by_replying(name: str, language: str) -> None:
    to = somebody(language)
    hosted, elsewhere = write(name, WHOLE, to=to), write(name, ELSEWHERE, to=to)
    assert "/attendance" in hosted.text
    assert 'href="/attendance"' in hosted.html
    assert "/attendance" not in elsewhere.text + elsewhere.html
    after = {"da": "svar på dette brev", "en": "reply to this letter"}[language]
    assert elsewhere.text.count(after) == hosted.text.count(after) + 1


def test_only_letters_to_those_on_the_list_let_anybody_off_it() -> None:
    with_link = {name for name in SOURCES if "/attendance" in write(name, changes=MOVED).html}
    assert with_link == {"vi-ses", "tilmelding", "plads", "venteliste"}


@pytest.mark.parametrize("name", ["paamindelse", "paamindelse-dagen-foer", "stadig-plads", "aendring"])
def test_a_full_meeting_promises_nobody_a_seat(name: str) -> None:
    full = replace(WHOLE, state="full")
    hosted, elsewhere = write(name, full), write(name, replace(full, hosted=False, attendance=None))
    for letter in (hosted, elsewhere):
        assert "Alle pladser er optaget" in letter.text
        assert not re.search(r"tilmelde dig|Tilmeld dig|kollega|velkomne", letter.text + letter.html)
    assert "Skriv dig på ventelisten:\n/registration" in hosted.text
    assert ">Skriv dig på ventelisten</a>" in hosted.html
    assert "/registration" not in elsewhere.text + elsewhere.html


def test_who_only_looked_at_the_registration_is_told_what_can_still_be_done() -> None:
    full = replace(WHOLE, state="full")
    for event, subject in (
        (WHOLE, "Du kan stadig nå at tilmelde dig"),
        (full, "Alle pladser er optaget, men der er venteliste"),
        (replace(full, hosted=False), "Alle pladser er optaget"),
        (replace(WHOLE, registration=None), "Snart inspirationsmøde"),
    ):
        letter = write("stadig-plads", event)
        assert letter.subject.startswith(f"{subject}: ")
        assert f"<title>{subject.partition(',')[0]}</title>" in letter.html


@pytest.mark.parametrize("name", [name for name, source in SOURCES.items() if source.kind == "reminder"])
def test_a_reminder_of_a_meeting_that_has_moved_says_so(name: str) -> None:
    assert "Mødet er flyttet." in write(name, replace(WHOLE, state="moved")).text
    assert "flyttet" not in write(name).text


@pytest.mark.parametrize(
    ("name", "because"),
    [
        ("paamindelse", "du har bedt os minde dig om mødet."),
        ("paamindelse-dagen-foer", "du har bedt os minde dig om mødet."),
        ("vi-ses", "du er tilmeldt mødet."),
        ("stadig-plads", "du har åbnet linket til tilmelding"),
        ("invitation-igen", "du står på listen over dem"),
        ("aendring", "du er tilmeldt mødet, står på ventelisten, har bedt os"),
        ("aflysning", "du er tilmeldt mødet, står på ventelisten, har bedt os"),
        ("tilmelding", "du har tilmeldt dig mødet."),
        ("venteliste", "du har tilmeldt dig mødet."),
        ("plads", "du stod på ventelisten til mødet."),
        ("afmelding", "du var tilmeldt mødet eller stod på ventelisten"),
    ],
)
def test_every_letter_says_truly_why_it_came(name: str, because: str) -> None:
    letter = write(name)
    foot = " ".join(letter.text.partition("\n----\n")[2].split())
    assert re.match(
        rf"Du får denne påmindelse, fordi {because}|Du får dette brev, fordi {because}", foot
    )
    assert f"fordi {because}" in words(letter.html)


@each_letter
@in_each_language
def test_what_speaks_to_one_person_is_not_passed_on_and_a_copy_says_whose_it_is(
    name: str, language: str
) -> None:
    letter = write(name, to=somebody(language))
    assert ('href="/p"' in letter.html) is ("\n/p\n" in letter.text) is (name not in PERSONAL)
    copy = write(name, replace(WHOLE, attendance=None), to=somebody(language), links=PASSED_ON)
    for part in (copy.text, words(copy.html)):
        assert {"da": "Brevet er skrevet til en anden", "en": "written to somebody else"}[
            language
        ] in part
        assert not re.search(r"fordi du|because you", part)


@pytest.mark.parametrize(
    ("fields", "subject"),
    [
        (["programme_url", "place", "date", "state"], "Mødet er flyttet til en ny dato"),
        (["programme_url", "time", "place"], "Nyt om tid og sted"),
        (["programme_url", "place"], "Mødet er flyttet til et nyt sted"),
        (["address", "time"], "Mødet har fået et nyt tidspunkt"),
        (["title", "programme_url"], "Nyt om programmet"),
        (["title"], "Mødet har fået et nyt navn"),
        (["capacity", "weather"], "Nyt om mødet"),
    ],
)
def test_the_subject_of_a_change_says_what_matters_most(fields: list[str], subject: str) -> None:
    known = {
        "date": (date(2014, 3, 31), date(2014, 4, 7)),
        "time": (time(9), time(9, 30)),
        "state": ("open", "moved"),
    }
    changes = tuple(ChangeValues(field, *known.get(field, ("før", "efter"))) for field in fields)
    letter = write("aendring", ELSEWHERE, changes)
    assert letter.subject == f"{subject}: Møde i Midtjylland, mandag den 7. april 2014"
    assert f"<title>{subject}</title>" in letter.html
    assert ("DET ER ÆNDRET" in letter.text) is (subject != "Nyt om mødet")


@pytest.mark.parametrize(
    ("change", "da", "en"),
    [
        (("place", None, "Salen"), "Stedet er på plads", "The place is settled"),
        (("place", "Salen", None), "Mødet skal have et nyt sted", "The meeting is to have a new place"),
        (("time", None, time(9)), "Klokkeslættet er på plads", "The time is settled"),
        (
            ("time", time(9), None),
            "Mødet skal have et nyt tidspunkt",
            "The meeting is to have a new time",
        ),
        (("address", None, "Vejen 1"), "Nyt om adressen", "News about the address"),
        (("programme_url", None, "https://p"), "Programmet er kommet", "The programme is out"),
        (("programme_url", "https://p", None), "Nyt om programmet", "News about the programme"),
        (("registration_url", None, "https://r"), "Tilmeldingen er åben", "Registration is open"),
        (("registration_url", "https://r", None), "Nyt om tilmeldingen", "News about registration"),
        (("state", "open", "full"), "Alle pladser er optaget", "All seats are taken"),
        (("state", "full", "open"), "Der er igen ledige pladser", "There are seats again"),
        (("state", "open", "cancelled"), "Mødet er aflyst", "The meeting is cancelled"),
        (
            *(("state", "cancelled", "open"), "Mødet bliver til noget alligevel"),
            "The meeting takes place after all",
        ),
    ],
)
def test_every_change_is_told_by_itself(
    change: tuple[str, date | time | str | None, date | time | str | None], da: str, en: str
) -> None:
    changes = (ChangeValues(*change),)
    for language, subject in (("da", da), ("en", en)):
        letter = write("aendring", ELSEWHERE, changes, to=somebody(language))
        assert letter.subject.startswith(f"{subject}: ")
        assert_reads_well(letter)
        headings = re.findall(r"<h2[^>]*>([^<]+)</h2>", letter.html)
        assert headings[0] == {"da": "Det er ændret", "en": "What has changed"}[language]


def test_a_change_is_told_with_what_was_and_what_is_in_words_and_not_by_strokes_alone() -> None:
    changes = (
        ChangeValues("place", "Gamle sal", "Skanderborg Park"),
        *MOVED,
        ChangeValues("time", None, time(9, 30)),
        ChangeValues("capacity", "100", "120"),
    )
    danish, english = (write("aendring", WHOLE, changes, to=somebody(one)) for one in LANGUAGES)
    assert (
        "Dato\n  Før: mandag den 31. marts 2014\n  Nu:  mandag den 7. april 2014\n\n"
        "Tidspunkt\n  Før: ikke fastlagt\n  Nu:  kl. 9.30\n\n"
        "Sted\n  Før: Gamle sal\n  Nu:  Skanderborg Park\n" in danish.text
    )
    assert "Sted Før: Gamle sal Nu: Skanderborg Park" in words(danish.html)
    assert re.search(r"Før: <s [^>]*line-through[^>]*>Gamle sal</s>", danish.html)
    assert "Date\n  Before: Monday 31 March 2014\n  Now:    Monday 7 April 2014\n" in english.text
    assert "Time Before: not settled Now: 9:30 am" in words(english.html)
    for letter in (danish, english):
        assert "120" not in letter.text + words(letter.html)


def test_what_an_event_holds_is_escaped_in_html_wherever_it_stands() -> None:
    change = (ChangeValues("place", "<b>Før</b>", "<b>Nu</b>"),)
    for name in SOURCES:
        event = replace(WHOLE, title="<b>Møde</b>", place="<b>Sal</b>", address="<b>Vej</b>")
        letter = write(name, event, change)
        assert "<b>" not in letter.html
        assert "<b>Møde</b>" in letter.subject


def test_a_cancellation_speaks_of_the_meeting_as_people_knew_it() -> None:
    letter = write("aflysning", replace(WHOLE, state="cancelled"))
    assert letter.subject == "Aflyst: Møde i Midtjylland, mandag den 7. april 2014"
    assert "Mandag den 7. april 2014 kl. 9.30\nSkanderborg Park\n" in letter.text
    assert 'href="/events"' in letter.html
    untold = (*MOVED, ChangeValues("time", None, time(9, 30)), ChangeValues("place", "Salen", "x"))
    letter = write("aflysning", replace(WHOLE, state="cancelled"), untold, to=somebody("en"))
    assert letter.subject == "Cancelled: Møde i Midtjylland, Monday 31 March 2014"
    assert "Monday 31 March 2014\nSalen\n" in letter.text


@each_letter
def test_clicks_on_registration_count_where_a_letter_leads_there(name: str) -> None:
    leads_there = "/registration" in write(name, ELSEWHERE, MOVED).html
    assert (SOURCES[name].counts_as("events.registration") == "registration") is leads_there


@each_letter
def test_no_letter_has_to_be_rendered_per_recipient(name: str) -> None:
    require_compilable(read_uses(SOURCES[name]))


@in_each_language
def test_the_starter_pack_offers_what_a_full_meeting_has_left(language: str) -> None:
    letter = Letter(load_letter("startpakke", [TEMPLATES]))
    wait, full = {
        "da": ("Skriv dig på ventelisten", "Alle pladser er optaget."),
        "en": ("Join the waiting list", "All seats are taken."),
    }[language]
    for own_region in (True, False):
        for event in (WHOLE, ELSEWHERE):
            events = (replace(event, state="full", own_region=own_region),)
            values = LetterValues(somebody(language), CampaignValues("c", ()), LINKS, events)
            rendered = letter.render(values, pixel=None)
            for part, link in (
                (rendered.text, "/registration"),
                (rendered.html, 'href="/registration"'),
            ):
                assert full in part
                assert (wait in part) is (link in part) is event.hosted


@pytest.mark.browser
def test_no_letter_scrolls_sideways_on_a_small_screen(browser: Browser) -> None:
    event = replace(
        WHOLE,
        title="Inspirationsmøde for Nordjyllands arbejdsmiljørepræsentanter",
        place="Aalborg Universitetshospital, Medicinerhuset",
    )
    changes = (*MOVED, ChangeValues("place", "Kulturministeriets-og-kommunernes-fælleshus", event.place))
    page = browser.new_page(viewport={"width": 320, "height": 900})
    page.route("**/*", lambda route: route.abort())
    for name in SOURCES:
        for language in LANGUAGES:
            page.set_content(write(name, event, changes, to=somebody(language)).html)
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, name
    page.close()
