"""A reader finds in a letter what a mail program finds, and nothing that is not ours."""

from email.message import EmailMessage
from pathlib import Path

import pytest

from mailer.embedded.errors import DemoFailed
from mailer.embedded.readers import Targets, open_letter

URL = "http://127.0.0.1:8000"
HTML = f"""
<a href="{URL}/c/abc/1">Hent</a> <a href="{URL}/c/abc/2">Tilmeld</a> <a href="{URL}/c/abc/1">igen</a>
<a href="{URL}/r/def/midtjylland">Mind mig om det</a> <a href="{URL}/r/def/sjaelland">Mind mig</a>
<a href="{URL}/u/ghi">Afmeld</a> <a href="https://andre.example/o/x">andre</a>
<a href="{URL}/v/jkl?a=1&amp;b=2">vis</a> <a href='{URL}/p/mno'>send videre</a> <img src="{URL}/o/pqr">
"""


def write(folder: Path, html: str | None) -> Path:
    message = EmailMessage()
    message["List-Unsubscribe"] = f"<{URL}/u/ghi>, <mailto:bounce@x.example?subject=unsubscribe>"
    message.set_content("tekst")
    if html is not None:
        message.add_alternative(html, subtype="html")
    path = folder / "1.eml"
    path.write_bytes(message.as_bytes())
    return path


def test_the_addresses_of_a_letter_are_told_apart(tmp_path: Path) -> None:
    letter = open_letter(write(tmp_path, HTML), "b@c.example", URL)
    assert letter.clicks == (f"{URL}/c/abc/1", f"{URL}/c/abc/2")
    assert letter.reminders == (f"{URL}/r/def/midtjylland", f"{URL}/r/def/sjaelland")
    assert letter.pixel == f"{URL}/o/pqr"
    assert letter.unsubscribe == letter.one_click == f"{URL}/u/ghi"
    assert letter.view == f"{URL}/v/jkl?a=1&b=2"
    assert letter.pass_on == f"{URL}/p/mno"
    assert len(letter.all) == 8


def test_a_link_is_chosen_by_where_it_leads(tmp_path: Path) -> None:
    letter = open_letter(write(tmp_path, HTML), "b@c.example", URL)
    targets = Targets({"1": f"{URL}/startpakke.pdf", "2": "https://tilmelding.x.example/midtjylland"})
    assert targets.click(letter, "tilmelding") == f"{URL}/c/abc/2"
    assert targets.click(letter, "/principper") is None


def test_a_letter_without_html_fails_the_demo(tmp_path: Path) -> None:
    with pytest.raises(DemoFailed, match="has no HTML part"):
        open_letter(write(tmp_path, None), "b@c.example", URL)
