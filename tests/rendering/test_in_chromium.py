"""The letters as people see them: narrow and wide, light and dark, for every kind of reader."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from sqlalchemy import select

from mailer.events.importing import import_events
from mailer.foundation.settings import Settings
from mailer.rendering.letter import RenderedLetter
from mailer.runtime import Runtime, template_folders
from mailer.sending.addressees import sample_addressee
from mailer.sending.letters import render_letter
from mailer.sending.preparing import prepare_letter
from recipients.models import Recipient
from tests.conftest import NOW
from tests.making import make_campaign, make_recipient

LARGEST_BYTES = 102 * 1024
"""Beyond it Gmail hides the rest of a letter."""
READERS = {
    "minister": {"role": "minister", "sector": "stat", "name": "Ib Holm", "region": "Hovedstaden"},
    "mayor": {"role": "borgmester", "name": "Åse Bjørnsdóttir Sørensen", "region": "Midtjylland"},
    "representative": {"name": "Søren Ærø", "region": "Sjælland"},
    "nameless": {"name": None, "region": None},
    "english": {"language": "en", "name": "Ann Lee"},
}

pytestmark = pytest.mark.browser


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough to look at letters."""
    return sqlite_url


def letters(runtime: Runtime, settings: Settings) -> dict[str, RenderedLetter]:
    events = template_folders(settings)[-1] / "letters" / "startpakke" / "events.toml"
    with runtime.database.write() as db:
        import_events(db, events, NOW)
        for who, values in READERS.items():
            make_recipient(db, address=f"{who}@kommune.example", **values)
        letter = prepare_letter(runtime.letter_tools, db, make_campaign(db), now=NOW)
        people = db.scalars(select(Recipient)).all()
        return {
            person.email.split("@")[0]: render_letter(
                runtime.letter_tools, letter, sample_addressee(db, person)
            )
            for person in people
        }


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_letter_reads_well_at_every_width(
    runtime: Runtime, settings: Settings, browser: Browser, tmp_path: Path, scheme: str
) -> None:
    pictures = Path(os.environ.get("MAILER_TEST_PICTURES", tmp_path))
    for who, letter in letters(runtime, settings).items():
        assert len(letter.html.encode()) < LARGEST_BYTES
        for width in (320, 800):
            page = browser.new_page(
                viewport={"width": width, "height": 900},
                color_scheme=scheme,  # type: ignore[arg-type]
            )
            requested: list[str] = []
            page.on("request", lambda request, seen=requested: seen.append(request.url))
            page.route("**/*", lambda route: route.abort())
            page.set_content(letter.html)
            overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            page.screenshot(path=pictures / f"letter-{who}-{width}-{scheme}.png", full_page=True)
            page.close()
            assert overflow <= 0, f"{who} scrolls sideways at {width} px"
            assert all("/o/" in url for url in requested), "a letter loads nothing but its pixel"


def test_each_reader_is_greeted_in_their_own_way(runtime: Runtime, settings: Settings) -> None:
    texts = {who: letter.text for who, letter in letters(runtime, settings).items()}
    greetings = {who: text.strip().splitlines()[0] for who, text in texts.items()}
    assert greetings == {
        "minister": "Kære minister",
        "mayor": "Kære borgmester Åse Bjørnsdóttir Sørensen",
        "representative": "Kære Søren Ærø",
        "nameless": "Kære tillidsrepræsentant",
        "english": "Dear Ann Lee",
    }
    assert texts["mayor"].index("Skanderborg Park") < texts["mayor"].index("Filminstitut")
