"""`mailer campaign`: what a person may ask for, and one clear line for what cannot be."""

import signal
from pathlib import Path
from types import FrameType

import pytest

from mailer.campaigns.models import CampaignState
from mailer.foundation.database import Database
from mailer.foundation.settings import Settings
from tests.cli.calling import Answer, Caller
from tests.making import make_campaign, make_recipient

ADDRESS = "tr.jensen@eksempelkommune.example"


@pytest.fixture
def mailer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Caller:
    return Caller(settings, monkeypatch, capsys)


@pytest.fixture
def draft(database: Database) -> str:
    with database.write() as db:
        make_recipient(db, address=ADDRESS)
        make_campaign(db, name="brev")
    return "brev"


def own_letter(mailer: Caller, folder: Path, body: str) -> None:
    letter = folder / "own" / "letters" / "hej"
    letter.mkdir(parents=True)
    (letter / "subject.txt").write_text("Hej")
    (letter / "body.txt").write_text(body)
    (letter / "body.html").write_text("<html><body><p>Hej</p></body></html>")
    mailer.set("TEMPLATES_DIR", str(folder / "own"))


def one_line(answer: Answer) -> str:
    (line,) = answer.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("name", ["", " ", "brev ", "to\nlinjer", "x" * 101])
def test_a_name_nobody_could_type_again_is_refused(mailer: Caller, name: str) -> None:
    answer = mailer("campaign", "create", name, "--letter", "startpakke", "--tracking", "none")
    assert answer.code == 2
    assert "must be one line of 1 to 100 characters" in one_line(answer)
    assert mailer("campaign", "list", "--json").data["campaigns"] == []


def test_a_legal_basis_longer_than_the_table_holds_is_refused(mailer: Caller) -> None:
    tracking = ("--tracking", "personal", "--legal-basis", "x" * 501)
    answer = mailer("campaign", "create", "brev", "--letter", "startpakke", *tracking)
    assert answer.code == 2
    assert "longer than 500 characters" in one_line(answer)


def test_a_preview_is_also_data_for_scripts(mailer: Caller, draft: str) -> None:
    data = mailer("campaign", "preview", draft, "--as", ADDRESS, "--json").data
    assert data["recipient"] == ADDRESS
    assert data["html"].lstrip().startswith("<!")
    assert data["subject"]
    assert data["text"]
    both = mailer("campaign", "preview", draft, "--as", ADDRESS, "--json", "--format", "html")
    assert both.code == 2


@pytest.mark.parametrize("verb", [("preview", "--as", ADDRESS), ("ledger",)])
def test_a_file_that_cannot_be_written_is_one_line(
    mailer: Caller, draft: str, verb: tuple[str, ...]
) -> None:
    answer = mailer("campaign", verb[0], draft, *verb[1:], "-o", "nowhere/file")
    assert answer.code == 1
    assert (
        answer.stderr.splitlines()[-1] == "error: cannot write nowhere/file: No such file or directory"
    )


def test_an_attribute_the_recipient_lacks_is_named(mailer: Caller, draft: str, tmp_path: Path) -> None:
    own_letter(mailer, tmp_path, "Nr. {{ recipient.attributes.Medlemsnr }}\n")
    created = mailer("campaign", "create", "hej", "--letter", "hej", "--tracking", "none")
    assert created.code == 0
    answer = mailer("campaign", "preview", "hej", "--as", ADDRESS)
    assert answer.code == 1
    assert "no attribute 'Medlemsnr', which the letter needs" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_the_question_says_how_many_would_get_the_letter(mailer: Caller, draft: str) -> None:
    mailer.set("SMTP_RELAYS", "smtp://127.0.0.1:2525?starttls=never")
    answer = mailer("campaign", "queue", draft)
    assert answer.code == 2
    assert "Send startpakke to everybody, 1 recipient? Add --yes" in one_line(answer)
    mailer.set("ALLOW_ONLY", "ingen.example")
    answer = mailer("campaign", "queue", draft)
    assert "everybody, 0 recipients (trial mode)?" in one_line(answer)


def test_who_stops_watching_is_told_that_the_campaign_goes_on(
    mailer: Caller, database: Database
) -> None:
    with database.write() as db:
        make_campaign(db, name="brev").state = CampaignState.SENDING

    def press(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, press)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        answer = mailer("campaign", "status", "brev", "--watch")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert answer.code == 130
    assert "brev goes on: mailer campaign status brev --watch" in answer.stderr
