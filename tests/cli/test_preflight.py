"""`mailer campaign preflight`: what it prints, what it writes, and how it ends."""

import csv
from pathlib import Path

import pytest

from mailer.foundation.database import Database
from mailer.foundation.settings import Settings
from tests.cli.calling import Caller
from tests.making import make_campaign, make_recipient

ADDRESS = "tr.jensen@eksempelkommune.example"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """What is printed does not depend on the kind of database."""
    return sqlite_url


@pytest.fixture
def mailer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Caller:
    caller = Caller(settings, monkeypatch, capsys)
    caller.set("SMTP_RELAYS", "smtp://127.0.0.1:2525?starttls=never&rate=1")
    return caller


@pytest.fixture
def draft(database: Database, mailer: Caller, tmp_path: Path) -> str:
    letter = tmp_path / "own" / "letters" / "hej"
    letter.mkdir(parents=True)
    (letter / "subject.txt").write_text("Hej")
    (letter / "body.txt").write_text("Nr. {{ recipient.attributes.nr }}\n")
    (letter / "body.html").write_text("<html><body><p>[/b]{{ recipient.name }}</p></body></html>")
    mailer.set("TEMPLATES_DIR", str(tmp_path / "own"))
    with database.write() as db:
        make_recipient(db, address=ADDRESS, attributes={"nr": "=cmd"}, name="Tillid Jensen")
        make_campaign(db, name="brev", letter="hej")
    return "brev"


def add(database: Database, **values: object) -> None:
    with database.write() as db:
        make_recipient(db, **values)  # type: ignore[arg-type]


def test_nothing_wrong_ends_with_0_and_a_forecast(mailer: Caller, draft: str) -> None:
    answer = mailer("campaign", "preflight", draft)
    assert answer.code == 0
    assert "0 errors, 0 warnings; 1 letter looked at" in answer.stderr
    assert "compiled in 1 variant" in answer.stdout
    assert "1 s at 1.0 letters a second, the relays' rate" in answer.stdout
    assert ADDRESS not in answer.stdout


def test_warnings_end_with_0_and_errors_with_1(mailer: Caller, draft: str, database: Database) -> None:
    add(database, name="TEST JENSEN", attributes={"nr": "1"})
    warned = mailer("campaign", "preflight", draft)
    assert warned.code == 0
    assert "warning" in warned.stdout
    add(database, address="anden@kommune.example")
    failed = mailer("campaign", "preflight", draft)
    assert failed.code == 1
    assert "no attribute 'nr'" in failed.stdout
    assert "a…@kommune.example" in failed.stdout
    assert "anden@" not in failed.stdout + failed.stderr
    assert "1 error, 1 warning; 3 letters" in failed.stderr
    assert "anden@kommune.example" in mailer("campaign", "preflight", draft, "--show-recipients").stdout


def test_scripts_read_everything(mailer: Caller, draft: str, database: Database) -> None:
    add(database, address="anden@kommune.example")
    answer = mailer("campaign", "preflight", draft, "--json")
    assert answer.code == 1
    data = answer.data
    assert next(iter(data)) == "schema_version"
    assert (data["campaign"], data["state"], data["ok"]) == ("brev", "draft", False)
    assert (data["audience"], data["writable"], data["variants"]) == (2, 1, 1)
    (finding,) = data["findings"]
    assert finding["check"] == "lacking"
    assert finding["gravity"] == "error"
    assert finding["recipients"] == 1
    assert finding["examples"][0]["address"] == "a…@kommune.example"
    assert data["forecast"]["letters_per_second"] == 1.0
    assert data["forecast"]["ends_at"].startswith("20")
    assert set(data["sizes"]) == {"smallest", "mean", "largest", "limit"}


def test_the_list_of_problems_is_private_and_computes_nothing(
    mailer: Caller, draft: str, database: Database, tmp_path: Path
) -> None:
    add(database, address="=1+1@kommune.example", attributes={"nr": "1"}, name="TEST X")
    add(database, address="anden@kommune.example")
    path = tmp_path / "problems.csv"
    answer = mailer("campaign", "preflight", draft, "-o", str(path))
    assert answer.code == 1
    assert path.stat().st_mode & 0o777 == 0o600
    with path.open(newline="", encoding="utf-8") as file:
        heading, *rows = csv.reader(file)
    assert heading == ["recipient", "address", "check", "gravity", "detail"]
    assert [row[1:4] for row in rows] == [
        ["'=1+1@kommune.example", "odd", "warning"],
        ["anden@kommune.example", "lacking", "error"],
    ]


def test_a_file_that_cannot_be_written_is_one_line(mailer: Caller, draft: str) -> None:
    answer = mailer("campaign", "preflight", draft, "-o", "nowhere/file.csv")
    assert answer.code == 1
    assert answer.stderr == "error: cannot write nowhere/file.csv: No such file or directory\n"


def test_what_a_letter_says_is_printed_as_it_is(mailer: Caller, draft: str, tmp_path: Path) -> None:
    body = tmp_path / "own" / "letters" / "hej" / "body.html"
    body.write_text('<html><body><a href="#">[/b] [red]</a></body></html>')
    answer = mailer("campaign", "preflight", draft)
    assert answer.code == 1
    assert "shown as '[/b] [red]'" in answer.stdout


def test_no_such_campaign_is_4(mailer: Caller) -> None:
    assert mailer("campaign", "preflight", "brev").code == 4


def test_a_missing_sender_is_told_among_the_rest(mailer: Caller, draft: str) -> None:
    mailer.set("SENDER", "")
    mailer.set("SMTP_RELAYS", "")
    answer = mailer("campaign", "preflight", draft, "--json")
    assert answer.code == 1
    assert {finding["check"] for finding in answer.data["findings"]} == {"sender", "relay"}
    assert answer.data["writable"] == 1


def test_what_preflight_finds_stops_the_queue_and_is_named(
    mailer: Caller, draft: str, tmp_path: Path
) -> None:
    body = tmp_path / "own" / "letters" / "hej" / "body.html"
    body.write_text('<html><body><a href="#">her</a></body></html>')
    answer = mailer("campaign", "queue", draft, "--yes")
    assert answer.code == 1
    assert "no address a reader could open" in answer.stderr
    assert answer.stderr.rstrip().endswith("see  mailer campaign preflight brev")
    assert mailer("campaign", "list", "--json").data["campaigns"][0]["state"] == "draft"
