"""The pages in Chromium: wide and narrow, light and dark, by keyboard alone."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.web.conftest import Mailing, serving

pytestmark = pytest.mark.browser

WIDTHS = (320, 1000)
SMALLEST_TARGET = 44
"""CSS pixels that a finger hits (WCAG 2.5.5)."""


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough: a browser does not see it."""
    return sqlite_url


def pages_of(mailing: Mailing) -> dict[str, str]:
    """The pages people see most, by the name of their picture."""
    return {
        "home": "/",
        "pack": "/startpakke",
        "principles": "/principper",
        "events": "/events",
        "event": "/events/midtjylland",
        "event-with-holes": "/events/sjaelland",
        "unsubscribe": mailing.path("unsubscribe"),
        "unsubscribe-en": mailing.path("unsubscribe", position=2),
        "remind": mailing.path("remind", "midtjylland"),
        "not-found": "/u/made-up",
    }


def watch(page: Page) -> list[str]:
    """What the browser complains of from now on, refusals by the page's policy among it."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_pages_fit_and_can_be_used(
    browser: Browser, mailing: Mailing, tmp_path: Path, width: int, scheme: str
) -> None:
    with (
        serving(mailing.runtime) as base,
        browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme=scheme,  # type: ignore[arg-type]
        ) as context,
    ):
        page = context.new_page()
        complaints = watch(page)
        for name, path in pages_of(mailing).items():
            page.goto(base + path)
            page.screenshot(path=tmp_path / f"{name}-{width}-{scheme}.png", full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            assert page.locator("h1").count() == 1, name
            assert page.locator("main").count() == 1, name
            for target in page.locator(".button, .site-nav a").all():
                box = target.bounding_box()
                assert box is not None
                assert box["height"] >= SMALLEST_TARGET, name
        assert [text for text in complaints if "404" not in text] == []


def test_somebody_can_unsubscribe_by_keyboard_alone(browser: Browser, mailing: Mailing) -> None:
    with serving(mailing.runtime) as base, browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(base + mailing.path("unsubscribe"))
        page.keyboard.press("Tab")
        assert page.locator(":focus").inner_text() == "Gå til indholdet"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.locator(":focus").inner_text() == "Ja, stop alle breve"
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Du får ikke flere breve").wait_for()

    assert mailing.suppressed() is not None


def test_somebody_can_ask_to_be_reminded(browser: Browser, mailing: Mailing) -> None:
    with serving(mailing.runtime) as base, browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(base + mailing.path("remind", "midtjylland"))
        page.get_by_role("button", name="Ja tak, mind mig om det").click()
        page.get_by_role("heading", name="Vi minder dig om mødet").wait_for()
