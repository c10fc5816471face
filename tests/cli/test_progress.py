"""`mailer report progress` and `challenges`, as a script would call them."""

import csv
import io
import json
from pathlib import Path

import pytest
from python_calamine import CalamineWorkbook

from mailer.foundation.database import open_database
from mailer.foundation.settings import Settings, load_settings
from mailer.tracking.models import TrackingKind
from tests.cli.calling import Caller
from tests.conftest import SECRET_KEY, SUPPRESSION_KEY
from tests.reports.factories import (
    act,
    deliver,
    make_campaign,
    make_event,
    make_link,
    make_recipient,
    register,
)


@pytest.fixture
def settings(tmp_path: Path, sqlite_url: str) -> Settings:
    """The command line is the same on every database."""
    return load_settings(
        state_dir=tmp_path / "state",
        database_url=sqlite_url,
        secret_key=SECRET_KEY,
        suppression_key=SUPPRESSION_KEY,
        sender="Center <brev@coi.example>",
        smtp_relays="smtp://127.0.0.1:2525",
    )


@pytest.fixture
def mailer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Caller:
    """On the morning of 14 April 2014, with one letter and one event."""
    database = open_database(settings.database)
    with database.write() as db:
        make_event(db, "skanderborg", "Skanderborg", days_ahead=31)
        campaign = make_campaign(db)
        pack = make_link(db, campaign, "pack", kind="download")
        for number in range(20):
            recipient = make_recipient(db, f"{number}@{number}.example")
            act(db, campaign, TrackingKind.CLICK, deliver(db, campaign, recipient), link=pack)
    database.dispose()
    caller = Caller(settings, monkeypatch, capsys)
    caller.set("CLOCK", "2014-04-14T09:00+02:00")
    return caller


def test_by_default_the_report_covers_the_days_up_to_today(mailer: Caller) -> None:
    told = mailer("report", "progress", "--json").data

    assert (told["from"], told["to"], told["meeting"]) == ("2013-10-25", "2014-04-14", "2014-04-25")
    assert told["invitations"]["delivery"]["sent"] == 20
    assert told["invitations"]["engagement"]["downloads"]["recipients"] == 20
    assert told["totals"]["held"] == 1
    assert [event["slug"] for event in told["events"]] == ["skanderborg"]
    assert list(told["by"]) == ["region", "sector", "role"]
    assert (told["challenges"], told["suppressions"]) == (None, {})


def test_days_may_be_chosen(mailer: Caller) -> None:
    told = mailer("report", "progress", "--from", "2014-03-08", "--to", "2014-04-30", "--json").data

    assert (told["from"], told["to"], told["meeting"]) == ("2014-03-08", "2014-04-30", "2014-10-24")
    assert told["invitations"]["delivery"]["letters"] == 0
    answer = mailer("report", "progress", "--from", "2014-05-01", "--to", "2014-04-30")
    assert (answer.code, answer.stderr.partition(";")[0]) == (
        2,
        "error: 2014-05-01 comes after 2014-04-30",
    )


def test_every_form_tells_the_same(mailer: Caller, settings: Settings) -> None:
    for ending in ("html", "csv", "json", "xlsx", "txt"):
        assert mailer("report", "progress", "-o", f"report.{ending}").code == 0

    def read(ending: str) -> bytes:
        return (settings.state_dir / f"report.{ending}").read_bytes()

    assert json.loads(read("json"))["totals"]["held"] == 1
    rows = list(csv.reader(io.StringIO(read("csv").decode())))
    assert ["letters", "letter", "startpakke-2014", "sent", "20"] in rows
    assert ["totals", "", "", "held", "1"] in rows
    assert "20 breve modtaget af mailserverne, 1 møde holdt og 0 på vej." in (
        read("html").decode().replace("\u00a0", " ")
    )
    book = CalamineWorkbook.from_filelike(io.BytesIO(read("xlsx")))
    assert book.get_sheet_by_name("Breve").to_python()[1][:4] == ["startpakke-2014", 1, 20, 20]
    assert b"startpakke-2014" in read("txt")


def test_what_is_left_out_is_said_in_words(mailer: Caller, settings: Settings) -> None:
    assert "Not told" not in mailer("report", "progress").stdout
    database = open_database(settings.database)
    with database.write() as db:
        event = make_event(db, "kolding", "Kolding", days_ahead=31)
        campaign = make_campaign(db, "anonymt", tracking="anonymous")
        link = make_link(db, campaign, "r", kind="registration", event="kolding")
        for number in range(6):
            person = make_recipient(db, f"anonym{number}@{number}.example")
            deliver(db, campaign, person)
        act(db, campaign, TrackingKind.CLICK, link=link)
        register(db, event, person)
    database.dispose()

    told = mailer("report", "progress").stdout
    (row,) = [line.split() for line in told.splitlines() if line.startswith("kolding")]

    assert row[3:6] == ["–", "0", "–"]
    assert "Not told (–): one to four people, and what would tell of these." in told


def test_what_staff_write_is_kept_for_its_meeting(mailer: Caller, settings: Settings) -> None:
    assert mailer("report", "challenges", "2014-04-25", "For få tilmeldte.").code == 0
    assert mailer("report", "challenges", "2014-04-25").stdout == "For få tilmeldte.\n"
    assert mailer("report", "progress", "--json").data["challenges"] == "For få tilmeldte."

    (settings.state_dir / "text.txt").write_text("Ét.\n\nTo.\n", encoding="utf-8")
    assert mailer("report", "challenges", "2014-04-25", "--file", "text.txt").code == 0
    assert mailer("report", "challenges", "2014-04-25", "--json").data["challenges"] == "Ét.\n\nTo."
    (settings.state_dir / "other.txt").write_text("Tre.", encoding="utf-8")
    told = mailer("report", "progress", "--challenges", "other.txt", "--json").data
    assert told["challenges"] == "Tre."

    assert mailer("report", "challenges", "2014-04-25", "").code == 0
    assert "nothing is kept" in mailer("report", "challenges", "2014-04-25").stderr


def test_the_meetings_show_how_their_reports_stand(mailer: Caller) -> None:
    first, second, *_ = mailer("report", "challenges", "--json").data["meetings"]

    assert (first["meeting"], first["state"]) == ("2014-04-25", "missed")
    assert first["local_time"] == "2014-04-08T09:00:00+02:00"
    assert (second["from"], second["state"], second["challenges"]) == ("2014-04-08", "blocked", False)
    assert "2014-04-25" in mailer("report", "challenges").stdout


def test_why_no_report_can_go_is_said_once(mailer: Caller) -> None:
    answer = mailer("report", "challenges")

    reasons = {each["reason"] for each in mailer("report", "challenges", "--json").data["meetings"]}
    (reason,) = reasons
    assert answer.stderr == f"all of them: {reason}\n"
    assert reason not in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("challenges", "2014-04-26", "x"), 4, "no meeting on 2014-04-26; there are: 2014-04-25,"),
        (("challenges", "i dag"), 2, "must be a day such as 2014-03-24, not 'i dag'"),
        (("progress", "--from", "2014-13-01"), 2, "must be a day such as 2014-03-24, not '2014-13-01'"),
        (("progress", "--to", ""), 2, "is missing"),
        (("challenges", "2014-04-25", "x", "--file", "y"), 2, "two different things"),
        (("challenges", "--file", "y"), 2, "name the meeting"),
        (("challenges", "2014-04-25", "--file", "nowhere.txt"), 4, "no such file: nowhere.txt"),
        (("progress", "--challenges", "nowhere.txt"), 4, "no such file: nowhere.txt"),
        (("challenges", "2014-04-25", "å" * 20_001), 1, "room for 20,000"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    mailer: Caller, arguments: tuple[str, ...], code: int, told: str
) -> None:
    answer = mailer("report", *arguments)

    assert answer.code == code
    assert told in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_a_file_that_is_no_text_is_told(mailer: Caller, settings: Settings) -> None:
    (settings.state_dir / "text.txt").write_bytes("Få".encode("cp1252"))

    answer = mailer("report", "challenges", "2014-04-25", "--file", "text.txt")

    assert (answer.code, "not UTF-8" in answer.stderr) == (1, True)


def test_status_tells_of_a_report_that_was_missed(mailer: Caller) -> None:
    (told,) = [line for line in mailer("status", "--json").data["alarms"] if "the meeting of" in line]

    assert "was missed" in told
