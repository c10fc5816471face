"""A letter whose templates break at somebody's values: every command says so, and none falls over."""

from pathlib import Path

import pytest

from mailer.foundation.database import Database
from mailer.foundation.settings import Settings
from tests.cli.calling import Caller
from tests.making import make_campaign, make_recipient

WRONG = {
    "wordwrap(40)": r"'NoneType' object has no attribute 'splitlines'",
    "long_date": "a date or time to be written out is missing",
    "truncate(2)": "expected length >=",
    "dictsort": "'NoneType' object has no attribute 'items'",
}


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """What is printed does not depend on the kind of database."""
    return sqlite_url


@pytest.fixture
def mailer(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Caller:
    caller = Caller(settings, monkeypatch, capsys)
    caller.set("SMTP_RELAYS", "smtp://127.0.0.1:2525?starttls=never")
    caller.set("TEMPLATES_DIR", str(tmp_path / "own"))
    return caller


def write_letter(tmp_path: Path, text: str) -> None:
    letter = tmp_path / "own" / "letters" / "hej"
    letter.mkdir(parents=True)
    (letter / "subject.txt").write_text("Hej")
    (letter / "body.txt").write_text(f"{text}\n")
    (letter / "body.html").write_text("<html><body><p>Hej</p></body></html>")


LOOKS = [
    ("campaign", "preflight", "brev"),
    ("campaign", "preview", "brev", "--as", "eva@kommune.example"),
    ("campaign", "queue", "brev", "--yes"),
]


@pytest.mark.parametrize("command", LOOKS)
def test_a_letter_that_asks_for_more_memory_than_there_is_is_told_with_file_and_line(
    mailer: Caller, database: Database, tmp_path: Path, command: tuple[str, ...]
) -> None:
    write_letter(tmp_path, "Hej\n{{ recipient.name|center(10 ** 15) }}")
    with database.write() as db:
        make_recipient(db, address="eva@kommune.example")
        make_campaign(db, name="brev", letter="hej")

    answer = mailer(*command)

    assert answer.code == 1
    assert "letter hej/body.txt:2: there is not enough memory for it" in answer.stdout + answer.stderr


@pytest.mark.parametrize(("wrong", "words"), WRONG.items())
@pytest.mark.parametrize("command", LOOKS)
def test_a_filter_that_breaks_is_told_with_file_line_and_reason(
    mailer: Caller, database: Database, tmp_path: Path, command: tuple[str, ...], wrong: str, words: str
) -> None:
    write_letter(tmp_path, f"Hej\n{{{{ recipient.workplace|{wrong} }}}}")
    with database.write() as db:
        make_recipient(db, address="eva@kommune.example", workplace=None)
        make_campaign(db, name="brev", letter="hej")

    answer = mailer(*command)

    assert answer.code == 1
    told = answer.stdout + answer.stderr
    assert f"letter hej/body.txt:2: {words}" in " ".join(told.split())
    assert "Traceback" not in told


def test_preflight_names_the_one_at_whose_values_a_filter_breaks(
    mailer: Caller, database: Database, tmp_path: Path
) -> None:
    write_letter(tmp_path, "{{ recipient.workplace|wordwrap(40) }}")
    with database.write() as db:
        for number in range(9):
            make_recipient(db, address=f"p{number}@kommune.example", workplace="Skødstrup Skole")
        make_recipient(db, address="eva@kommune.example", workplace=None)
        make_campaign(db, name="brev", letter="hej")

    answer = mailer("campaign", "preflight", "brev", "--json")

    assert answer.code == 1
    (broken,) = [found for found in answer.data["findings"] if found["check"] == "letter"]
    assert broken["recipients"] == 1
    assert "hej/body.txt:1" in broken["detail"]
