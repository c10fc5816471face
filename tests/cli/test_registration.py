import csv
import io
import stat
from datetime import date
from pathlib import Path

import pytest
from python_calamine import CalamineWorkbook

from mailer.events.models import Event
from mailer.foundation.database import Database
from mailer.foundation.settings import Settings
from tests.cli.calling import Caller
from tests.events.making import make_event

LISTE = (
    "E-mail;Navn;Organisation;Status\n"
    "tr@aarhus.example;Østen Bo;Aarhus Kommune;tilmeldt\n"
    "ny@x.example;Åse Holm;=1+1;tilmeldt\n"
    "senere@x.example;Ærø Dal;;venteliste\n"
    "nej@x.example;Zara Ib;;afmeldt\n"
)
RECIPIENTS = "E-mail;Navn;Arbejdsplads\ntr@aarhus.example;Bo;Skødstrup Skole\nto@x.example;;\n"


@pytest.fixture
def mailer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Caller:
    caller = Caller(settings, monkeypatch, capsys)
    caller.set("CLOCK", "2014-03-07T09:00+01:00")
    return caller


@pytest.fixture
def kolding(database: Database) -> Event:
    with database.write() as db:
        event = make_event(db, "kolding", day=date(2014, 5, 12))
        event.hosted, event.capacity = True, 1
        return event


@pytest.fixture
def liste(tmp_path: Path, kolding: Event) -> str:
    del kolding
    return write(tmp_path, LISTE)


def write(folder: Path, content: str, name: str = "tilmeldte.csv") -> str:
    path = folder / name
    path.write_bytes(content.encode("cp1252"))
    return str(path)


def import_recipients(mailer: Caller, tmp_path: Path) -> None:
    assert mailer("recipient", "import", write(tmp_path, RECIPIENTS, "modtagere.csv")).code == 0


def test_import_counts_every_row_and_the_same_list_again_is_unchanged(
    mailer: Caller, liste: str
) -> None:
    first = mailer("registration", "import", "kolding", liste, "--json")
    again = mailer("registration", "import", "kolding", liste, "--json")

    assert first.code == again.code == 0
    assert first.data | {"seconds": 0} == {
        "schema_version": 1,
        "rows": 4,
        "imported": 4,
        "updated": 0,
        "unchanged": 0,
        "duplicates": 0,
        "rejected": 0,
        "rejects_file": None,
        "seconds": 0,
        "dry_run": False,
        "hosted": 0,
        "taken_off": 0,
        "event": "kolding",
    }
    assert (again.data["unchanged"], again.data["imported"]) == (4, 0)
    assert "unchanged" in mailer("registration", "import", "kolding", liste, "--dry-run").stdout


def test_refused_rows_end_with_3_and_are_named_without_their_content(
    mailer: Caller, settings: Settings, liste: str, tmp_path: Path
) -> None:
    del liste
    path = write(tmp_path, f"{LISTE}hemmelig@skole.test;Ib;;\nib@x.example;Ib;;måske\n")

    answer = mailer("registration", "import", "kolding", path, "--json")

    assert (answer.code, answer.data["rejected"], answer.data["imported"]) == (3, 2, 4)
    assert Path(answer.data["rejects_file"]).parent == settings.state_dir / "rejects"
    assert "tilmeldte.csv, line 7: the status is none of tilmeldt" in answer.stderr
    assert "hemmelig" not in answer.stderr
    assert "måske" not in answer.stderr


def test_what_is_wrong_is_said_in_one_line(mailer: Caller, liste: str, tmp_path: Path) -> None:
    calls = {
        ("import", "nogen", liste): 4,
        ("import", "kolding", str(tmp_path / "mangler.csv")): 4,
        ("import", "kolding", write(tmp_path, "Navn\nÅse\n", "uden.csv")): 1,
        ("import", "kolding", liste, "--map", "role=Navn"): 2,
        ("import", "kolding", liste, "--map", "status=Svar"): 1,
        ("import", "kolding", liste, "--encoding", "volapyk"): 2,
        ("list", "nogen"): 4,
        ("export", "nogen"): 4,
        ("cancel", "nogen", "a@x.example"): 4,
        ("cancel", "kolding", "hemmelig@x.example"): 4,
        ("add", "kolding", "hemmelig@x.example"): 4,
    }
    for call, code in calls.items():
        answer = mailer("registration", *call)
        assert (answer.code, answer.stderr.count("\n")) == (code, 1), call
        assert answer.stderr.startswith("error: ")
        assert "hemmelig" not in answer.stderr


def test_taking_people_off_needs_a_yes(mailer: Caller, liste: str, tmp_path: Path) -> None:
    mailer("registration", "import", "kolding", liste)
    shorter = write(tmp_path, "E-mail\ntr@aarhus.example\n")
    call = ("registration", "import", "kolding", shorter, "--replace")

    tried = mailer(*call, "--dry-run", "--json")
    assert (tried.code, tried.data["taken_off"]) == (0, 2)
    assert "2 people would be taken off" in tried.stderr
    refused = mailer(*call)
    assert refused.code == 2
    assert "2 people of earlier lists, not on this one, will be taken off" in refused.stderr
    assert mailer("registration", "list", "kolding", "--json").data["cancelled"] == 1
    assert mailer(*call, "--yes", "--json").data["taken_off"] == 2
    assert mailer("registration", "list", "kolding", "--json").data["cancelled"] == 3
    assert mailer(*call).code == 0  # nobody is left to ask about


def test_the_list_shows_seats_the_queue_and_who_cancelled_in_the_order_of_the_alphabet(
    mailer: Caller, liste: str, tmp_path: Path
) -> None:
    import_recipients(mailer, tmp_path)
    mailer("registration", "import", "kolding", liste)

    listed = mailer("registration", "list", "kolding", "--json").data

    assert [listed[state] for state in ("seated", "waiting", "cancelled")] == [2, 1, 1]
    assert [each["name"] for each in listed["registrations"]] == [
        "Østen Bo",
        "Åse Holm",
        "Ærø Dal",
        "Zara Ib",
    ]
    first = listed["registrations"][0]
    assert first.pop("registered_at").startswith("2014-03-07T09:")
    assert first == {
        "name": "Østen Bo",
        "organisation": "Aarhus Kommune",
        "workplace": "Skødstrup Skole",
        "email": "tr@aarhus.example",
        "state": "seated",
        "source": "list",
        "place": None,
    }
    waiting = mailer("registration", "list", "kolding", "--state", "waiting", "--json").data
    assert [each["place"] for each in waiting["registrations"]] == [1]
    assert waiting["seated"] == 2
    shown = mailer("registration", "list", "kolding")
    assert "Østen Bo" in shown.stdout
    assert shown.stderr == "kolding: 2 seated, 1 waiting, 1 cancelled\n"


def test_the_door_list_opens_in_a_danish_spreadsheet_and_computes_nothing(
    mailer: Caller, liste: str, tmp_path: Path
) -> None:
    mailer("registration", "import", "kolding", liste)
    path = tmp_path / "dør.csv"

    answer = mailer("registration", "export", "kolding", "-o", str(path))

    assert (answer.code, answer.stdout) == (0, "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    headings = "Navn;Organisation;Arbejdssted;E-mail;Status;Nummer på ventelisten;Registreret\r\n"
    assert path.read_bytes().startswith(f"\ufeff{headings}".encode())
    rows = list(csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline=""), delimiter=";"))
    assert [row[0] for row in rows] == ["Navn", "Østen Bo", "Åse Holm", "Ærø Dal", "Zara Ib"]
    assert rows[2][1] == "'=1+1"
    assert [row[4] for row in rows[1:]] == ["tilmeldt", "tilmeldt", "venteliste", "afmeldt"]
    assert rows[3][5] == "1"
    assert rows[1][6].startswith("2014-03-07 09:")


def test_the_door_list_is_a_workbook_too(mailer: Caller, liste: str, tmp_path: Path) -> None:
    mailer("registration", "import", "kolding", liste)
    path = tmp_path / "dør.xlsx"

    assert mailer("registration", "export", "kolding", "--state", "seated", "-o", str(path)).code == 0

    with CalamineWorkbook.from_path(path) as workbook:
        rows = workbook.get_sheet_by_index(0).to_python()
    assert [row[0] for row in rows] == ["Navn", "Østen Bo", "Åse Holm"]
    assert rows[2][1] == "=1+1"


@pytest.mark.parametrize("ending", ["csv", "xlsx"])
def test_a_door_list_that_is_imported_again_changes_nothing(
    mailer: Caller, liste: str, tmp_path: Path, ending: str
) -> None:
    import_recipients(mailer, tmp_path)
    mailer("registration", "import", "kolding", liste)
    before = mailer("registration", "list", "kolding", "--json").data
    path = tmp_path / f"dør.{ending}"
    mailer("registration", "export", "kolding", "-o", str(path))

    again = mailer("registration", "import", "kolding", str(path), "--replace", "--json")

    assert (again.code, again.data["unchanged"], again.data["taken_off"]) == (0, 4, 0)
    assert mailer("registration", "list", "kolding", "--json").data == before


@pytest.mark.parametrize("name", ["dør.txt", "dør"])
def test_a_file_whose_ending_names_no_format_needs_one_named(
    mailer: Caller, liste: str, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    call = ("registration", "export", "kolding", "-o", str(path))

    refused = mailer(*call)

    assert (refused.code, path.exists()) == (2, False)
    assert refused.stderr.startswith(f"error: {path}: the ending is none of .csv, .xlsx")
    assert refused.stderr.count("\n") == 1
    assert mailer(*call, "--format", "csv").code == 0
    assert path.read_bytes().startswith(b"\xef\xbb\xbfNavn;")


def test_who_rings_up_is_registered_as_on_our_page(
    mailer: Caller, kolding: Event, tmp_path: Path
) -> None:
    import_recipients(mailer, tmp_path)

    first = mailer("registration", "add", "kolding", "TR@Aarhus.example", "--json")
    second = mailer("registration", "add", "kolding", "to@x.example")
    again = mailer("registration", "add", "kolding", "to@x.example")

    assert first.data == {
        "schema_version": 1,
        "event": "kolding",
        "state": "seated",
        "source": "hosted",
        "changed": True,
    }
    assert "is on the waiting list; a letter confirms it" in second.stderr
    assert again.stderr == "kolding: was registered already, is on the waiting list\n"


def test_nobody_is_added_where_registration_is_elsewhere(
    mailer: Caller, database: Database, tmp_path: Path
) -> None:
    with database.write() as db:
        make_event(db, "aalborg")
    import_recipients(mailer, tmp_path)

    assert mailer("registration", "add", "aalborg", "to@x.example").code == 5


def test_a_seat_given_back_goes_to_the_first_who_waits(
    mailer: Caller, kolding: Event, tmp_path: Path
) -> None:
    import_recipients(mailer, tmp_path)
    mailer("registration", "add", "kolding", "tr@aarhus.example")
    mailer("registration", "add", "kolding", "to@x.example")
    call = ("registration", "cancel", "kolding", "tr@aarhus.example")

    unasked = mailer(*call)
    assert unasked.code == 2
    assert "This person has a seat" in unasked.stderr
    done = mailer(*call, "--yes")
    assert "1 person moved up from the waiting list; a letter says so" in done.stderr
    assert "@" not in done.stderr
    assert mailer(*call, "--json").data == {
        "schema_version": 1,
        "event": "kolding",
        "state": "cancelled",
        "changed": False,
        "moved_up": 0,
    }


def test_whoever_cancels_here_is_not_registered_again_by_a_list(mailer: Caller, liste: str) -> None:
    mailer("registration", "import", "kolding", liste)

    assert mailer("registration", "cancel", "kolding", "NY@x.example", "--yes").code == 0

    again = mailer("registration", "import", "kolding", liste, "--json")
    assert (again.data["unchanged"], again.data["hosted"]) == (4, 1)
    assert "left as they are, for they registered or cancelled here: line 3\n" in again.stderr


def test_where_registration_is_elsewhere_the_next_list_has_the_last_word(
    mailer: Caller, database: Database, liste: str
) -> None:
    with database.write() as db:
        make_event(db, "aalborg")
    mailer("registration", "import", "aalborg", liste)

    done = mailer("registration", "cancel", "aalborg", "NY@x.example", "--yes")

    assert "the next list that has this person registers them again" in done.stderr
    assert mailer("registration", "import", "aalborg", liste, "--json").data["updated"] == 1


def test_people_of_a_list_are_linked_when_they_are_imported_as_recipients(
    mailer: Caller, liste: str, tmp_path: Path
) -> None:
    mailer("registration", "import", "kolding", liste)

    import_recipients(mailer, tmp_path)

    listed = mailer("registration", "list", "kolding", "--json").data["registrations"]
    assert listed[0]["workplace"] == "Skødstrup Skole"
