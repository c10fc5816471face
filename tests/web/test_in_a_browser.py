"""The pages in Chromium: wide and narrow, light and dark, enlarged, on paper, and by keyboard alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from recipients.models import SuppressionScope
from tests.web.conftest import Mailing, serving
from tests.web.test_letters_in_a_browser import posted

__all__ = ["posted"]
pytestmark = pytest.mark.browser

SMALLEST_TARGET = 44
"""CSS pixels that a finger hits (WCAG 2.5.5)."""
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
HARMLESS = {"minor", None}
HEIGHTS = """[...document.querySelectorAll(".button, .site-nav a, .site-language")].map(
    part => part.getBoundingClientRect().height)"""
CUT = """[...document.querySelectorAll("main *:not(.unseen), header *")].filter(
    part => part.scrollWidth > part.clientWidth + 1 && getComputedStyle(part).display != "inline"
      && getComputedStyle(part).overflow != "visible").map(part => part.outerHTML)"""
"""Parts whose text is wider than they are, and hidden there."""
PUBLIC = {
    "home": "/",
    "pack": "/startpakke",
    "principles": "/principper",
    "events": "/events",
    "event": "/events/midtjylland",
    "event-with-holes": "/events/sjaelland",
    "event-over": "/events/forrige",
}


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough: a browser does not see it."""
    return sqlite_url


def public_pages() -> dict[str, str]:
    """Every kind of public page in both languages, by the name of its picture."""
    english = {f"{name}-en": f"/en{path}".rstrip("/") for name, path in PUBLIC.items()}
    return PUBLIC | english | {"not-found": "/u/made-up"}


def letter_pages(mailing: Mailing) -> dict[str, str]:
    """The pages behind a letter's own links, to a Dane and to a reader of English."""
    pages = {}
    for position, ending in ((1, ""), (2, "-en")):
        pages |= {
            f"unsubscribe{ending}": mailing.path("unsubscribe", position=position),
            f"remind{ending}": mailing.path("remind", "midtjylland", position=position),
            f"remind-over{ending}": mailing.path("remind", "forrige", position=position),
        }
    return pages


def answers(mailing: Mailing) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Where to press which buttons; what comes then is a page too."""
    told = {}
    for language in ("da", "en"):
        for choices in (("letters",), ("everything",), ("everything", "undo")):
            path = f"{mailing.path('unsubscribe')}?lang={language}"
            told[f"unsubscribed-{choices[-1]}-{language}"] = (path, choices)
        for choice in ("remind", "undo"):
            path = f"{mailing.path('remind', 'midtjylland')}?lang={language}"
            told[f"reminding-{choice}-{language}"] = (path, (choice,))
    return told


def pictures_in(folder: Path) -> Path:
    """Where pictures go for people to look at."""
    return Path(os.environ.get("MAILER_TEST_PICTURES", folder))


def press(page: Page, address: str, choices: tuple[str, ...]) -> None:
    page.goto(address)
    for choice in choices:
        with page.expect_navigation():
            page.locator(f'button[value="{choice}"]').first.click()


def watch(page: Page) -> list[str]:
    """What the browser complains of from now on, refusals by the page's policy among it."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


@contextmanager
def opened(browser: Browser, mailing: Mailing, **context: object) -> Iterator[tuple[Page, str]]:
    """A page of a new browser, and the address of a real server."""
    with serving(mailing.runtime) as base, browser.new_context(**context) as fresh:  # type: ignore[arg-type]
        yield fresh.new_page(), base


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1000])
def test_pages_fit_and_can_be_used(
    browser: Browser, mailing: Mailing, tmp_path: Path, width: int, scheme: str
) -> None:
    viewport = {"width": width, "height": 800}
    with opened(browser, mailing, viewport=viewport, color_scheme=scheme) as (page, base):
        complaints = watch(page)

        def look(name: str) -> None:
            page.screenshot(path=pictures_in(tmp_path) / f"{name}-{width}-{scheme}.png", full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            assert page.locator("h1").count() == 1, name
            assert page.locator("main").count() == 1, name
            assert min(page.evaluate(HEIGHTS)) >= SMALLEST_TARGET, name

        for name, path in (public_pages() | letter_pages(mailing)).items():
            page.goto(base + path)
            look(name)
        for name, (path, choices) in answers(mailing).items():
            press(page, base + path, choices)
            look(name)
        assert [text for text in complaints if "404" not in text and "410" not in text] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_keeps_anybody_out(browser: Browser, posted: Mailing, scheme: str) -> None:
    found: dict[str, list[str]] = {}
    with opened(browser, posted, color_scheme=scheme, bypass_csp=True) as (page, base):

        def examine(name: str) -> None:
            rules = RULES if scheme == "light" else ["color-contrast"]  # nothing else depends on it
            results = Axe().run(page, options={"runOnly": rules}).response
            serious = [each for each in results["violations"] if each["impact"] not in HARMLESS]
            found.update(
                {name: [f"{each['id']}: {each['help']}" for each in serious]} if serious else {}
            )

        for name, path in (public_pages() | letter_pages(posted)).items():
            page.goto(base + path)
            examine(name)
        for name, (path, choices) in answers(posted).items():
            press(page, base + path, choices)
            examine(name)
    assert found == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_bar_above_a_letter_keeps_nobody_out(
    browser: Browser, posted: Mailing, tmp_path: Path, scheme: str
) -> None:
    path = posted.path("pass_on", position=0)
    viewport = {"width": 320, "height": 800}
    with opened(browser, posted, viewport=viewport, color_scheme=scheme, bypass_csp=True) as (
        page,
        base,
    ):
        page.goto(base + path)
        results = Axe().run(page, context=".pass-on", options={"runOnly": RULES}).response
        wide = page.evaluate("document.documentElement.scrollWidth")
        page.screenshot(path=pictures_in(tmp_path) / f"pass-on-320-{scheme}.png")

    assert [each["id"] for each in results["violations"] if each["impact"] not in HARMLESS] == []
    assert wide <= 320


def test_enlarged_text_fits(browser: Browser, mailing: Mailing) -> None:
    """Text alone at 200 %, in a narrow window (WCAG 1.4.4)."""
    viewport = {"width": 640, "height": 800}
    with opened(browser, mailing, viewport=viewport, bypass_csp=True) as (page, base):
        for name, path in (public_pages() | letter_pages(mailing)).items():
            page.goto(base + path)
            page.add_style_tag(content="html { font-size: 200% !important }")
            assert page.evaluate("document.documentElement.scrollWidth") <= 640, name
            assert page.evaluate(CUT) == [], name


def test_text_spacing_may_be_widened(browser: Browser, mailing: Mailing) -> None:
    """As WCAG 1.4.12 says, at the width of a phone."""
    spacing = (
        "* { line-height: 1.5 !important; letter-spacing: .12em !important;"
        " word-spacing: .16em !important } p { margin-bottom: 2em !important }"
    )
    viewport = {"width": 320, "height": 800}
    with opened(browser, mailing, viewport=viewport, bypass_csp=True) as (page, base):
        for name, path in (public_pages() | letter_pages(mailing)).items():
            page.goto(base + path)
            page.add_style_tag(content=spacing)
            assert page.evaluate("document.documentElement.scrollWidth") <= 320, name


def test_on_paper_there_is_what_is_read_and_nothing_to_press(browser: Browser, mailing: Mailing) -> None:
    with opened(browser, mailing) as (page, base):
        page.emulate_media(media="print")
        for name, path in public_pages().items():
            page.goto(base + path)
            assert page.locator("h1").is_visible(), name
            assert (
                page.locator(".button, .skip, .site-nav, .site-language").locator("visible=true").count()
                == 0
            )


def test_somebody_can_unsubscribe_by_keyboard_alone(browser: Browser, mailing: Mailing) -> None:
    with opened(browser, mailing, java_script_enabled=False) as (page, base):
        page.goto(base + mailing.path("unsubscribe"))
        page.keyboard.press("Tab")
        assert page.locator(":focus").inner_text() == "Gå til indholdet"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.locator(":focus").inner_text() == "Nej tak til flere breve"
        page.keyboard.press("Tab")
        assert page.locator(":focus").inner_text() == "Nej tak til alt"
        page.keyboard.press("Space")
        page.get_by_role("heading", name="Du får ikke mere fra os").wait_for()
        found = mailing.suppressed()
        assert found is not None
        assert found.scope is SuppressionScope.EVERYTHING

        for _ in range(3):
            page.keyboard.press("Tab")
        while page.locator(":focus").inner_text() != "Fortryd: Send mig breve igen":
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Dit nej er taget tilbage").wait_for()

    assert mailing.suppressed() is None


def test_a_button_says_what_it_does_to_who_hears_the_page(browser: Browser, mailing: Mailing) -> None:
    with opened(browser, mailing) as (page, base):
        page.goto(base + mailing.path("unsubscribe"))
        for name, words in (
            ("Nej tak til flere breve", "Påmindelser om møder, som du selv har bedt om, kommer stadig."),
            ("Nej tak til alt", "hverken breve eller påmindelser"),
        ):
            button = page.get_by_role("button", name=name)
            described = button.get_attribute("aria-describedby")
            assert words in page.locator(f"#{described}").inner_text()


def test_somebody_can_ask_to_be_reminded_and_take_it_back(browser: Browser, mailing: Mailing) -> None:
    with opened(browser, mailing, java_script_enabled=False) as (page, base):
        page.goto(base + mailing.path("remind", "midtjylland"))
        page.get_by_role("button", name="Ja tak, mind mig om det").click()
        page.get_by_role("heading", name="Vi minder dig om mødet").wait_for()
        page.get_by_role("button", name="Fortryd").click()
        page.get_by_role("heading", name="Vi minder dig ikke om mødet").wait_for()
        page.get_by_role("button", name="Fortryd").click()
        page.get_by_role("heading", name="Vi minder dig om mødet").wait_for()


def test_somebody_can_change_the_language_and_go_on(browser: Browser, mailing: Mailing) -> None:
    with opened(browser, mailing, java_script_enabled=False) as (page, base):
        page.goto(base + mailing.path("unsubscribe"))
        page.get_by_role("link", name="English").click()
        page.get_by_role("button", name="No more letters").click()
        page.get_by_role("heading", name="You will get no more letters").wait_for()
        page.get_by_role("link", name="Go to the front page").click()
        page.get_by_role("heading", name="Renewal begins with you").wait_for()
        page.get_by_role("link", name="Events", exact=True).click()
        page.get_by_role("link", name="Inspirationsmøde i Midtjylland").first.click()
        page.get_by_role("link", name="Dansk").click()
        page.get_by_text("Mandag den 7. april 2014").wait_for()
