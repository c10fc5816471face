from pathlib import Path

import pytest

from mailer.events.registering import register
from mailer.events.requests import request_reminder
from mailer.foundation.database import Database
from mailer.foundation.settings import Settings
from tests.cli.calling import Caller
from tests.events.making import NOW, make_recipient
from tests.notices.making import import_at_work

SHIPPED = str(Path(__file__).parents[2] / "templates/letters/startpakke/events.toml")


@pytest.fixture
def mailer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Caller:
    caller = Caller(settings, monkeypatch, capsys)
    caller.set("CLOCK", "2014-03-07T09:00+01:00")
    caller.set("SMTP_RELAYS", "smtp://127.0.0.1:2525?starttls=never")
    return caller


def test_an_event_file_goes_in_once(mailer: Caller) -> None:
    first = mailer("event", "import", SHIPPED, "--json")
    assert first.code == 0
    assert first.data == {
        "schema_version": 1,
        "added": 5,
        "updated": 0,
        "unchanged": 0,
        "refused": [],
        "changed": [],
        "left_out": [],
        "held_back": 0,
    }
    again = mailer("event", "import", SHIPPED)
    assert (again.code, again.stdout) == (0, "")
    assert again.stderr == "0 added, 0 updated, 5 unchanged\n"


def test_refused_entries_end_with_3_and_are_named(mailer: Caller, tmp_path: Path) -> None:
    path = tmp_path / "events.toml"
    path.write_text(
        '[[event]]\nslug = "vejle"\ntitle = "Vejle"\ndate = 2014-05-12\n'
        '[[event]]\nslug = "kolding"\ntitle = "Kolding"\n',
        encoding="utf-8",
    )
    answer = mailer("event", "import", str(path), "--json")
    assert answer.code == 3
    assert answer.data["added"] == 1
    assert answer.data["refused"] == [
        {"entry": 2, "line": 5, "slug": "kolding", "reason": "date is missing"}
    ]
    assert answer.stderr == f"refused: {path}: entry 2 (line 5, kolding): date is missing\n"


def test_a_missing_file_ends_with_4_and_a_broken_one_with_1(mailer: Caller, tmp_path: Path) -> None:
    assert mailer("event", "import", str(tmp_path / "nothing.toml")).code == 4
    path = tmp_path / "events.toml"
    path.write_text("[[event]]\ntime = 9:30\n", encoding="utf-8")
    broken = mailer("event", "import", str(path))
    assert broken.code == 1
    assert broken.stderr.startswith(f"error: {path}: ")
    assert "line 2" in broken.stderr


def test_events_are_listed_by_date_with_their_holes(mailer: Caller) -> None:
    mailer("event", "import", SHIPPED)
    listed = mailer("event", "list", "--json").data["events"]
    assert [event["slug"] for event in listed] == [
        "hovedstaden",
        "midtjylland",
        "syddanmark",
        "nordjylland",
        "sjaelland",
    ]
    assert (listed[4]["place"], listed[4]["interested"]) == (None, 0)
    table = mailer("event", "list").stdout
    assert "Mon 2014-03-24" in table
    assert "not yet out" in table


def test_one_event_is_shown_with_all_its_fields(mailer: Caller) -> None:
    mailer("event", "import", SHIPPED)
    mailer("event", "update", "nordjylland", "--time", "9:30")
    shown = mailer("event", "show", "nordjylland", "--json").data
    assert (shown["date"], shown["time"], shown["sequence"]) == ("2014-06-16", "09:30:00", 1)
    assert "Medicinerhuset" in mailer("event", "show", "nordjylland").stdout


def test_an_update_says_what_it_changed(mailer: Caller) -> None:
    mailer("event", "import", SHIPPED)
    options = ("--place", "Sorø Akademi", "--programme-url", "https://program.example/s")
    answer = mailer("event", "update", "sjaelland", *options, "--json")
    assert answer.code == 0
    assert answer.data["changed"] == ["place", "programme_url"]
    assert answer.data["place"] == "Sorø Akademi"
    assert mailer("event", "update", "sjaelland", *options).stderr == "sjaelland: as it was\n"


BAD_REQUESTS: list[tuple[list[str], int, str]] = [
    (["show", "bornholm"], 4, "no event 'bornholm'; there are: hovedstaden"),
    (["update", "bornholm", "--place", "Rønne"], 4, "no event 'bornholm'"),
    (["update", "sjaelland"], 2, "name at least one field"),
    (["update", "sjaelland", "--time", "25:00"], 2, "--time"),
    (["update", "sjaelland", "--date", "17/6"], 2, "must be a day such as 2014-03-24"),
    (["update", "sjaelland", "--date", ""], 2, "--date: is missing"),
    (["update", "sjaelland", "--capacity", "mange"], 2, "at least 1"),
    (["update", "sjaelland", "--programme-url", "javascript:x"], 2, "--programme-url"),
    (["update", "sjaelland", "--reminders", "14 dage"], 2, "--reminders: make no sense"),
    (["update", "sjaelland", "--state", "cancelled"], 2, "'open', 'full'"),
    (["update", "sjaelland", "--place", "Sorø", "--notify"], 2, "Add --yes"),
    (["update", "nordjylland", "--place", "Nordkraft", "--notify"], 2, "give --address too"),
    (["update", "bornholm", "--notify", "--yes"], 4, "no event 'bornholm'"),
    (["cancel", "bornholm", "--yes"], 4, "no event 'bornholm'"),
    (["cancel", "sjaelland"], 2, "Cancel sjaelland (2014-06-17) and tell 0 recipients? Add --yes"),
]


def test_a_bad_request_changes_nothing(mailer: Caller) -> None:
    mailer("event", "import", SHIPPED)
    before = mailer("event", "list", "--json").stdout
    for arguments, code, told in BAD_REQUESTS:
        answer = mailer("event", *arguments)
        assert (answer.code, answer.stdout) == (code, ""), arguments
        assert told in answer.stderr
    assert mailer("event", "list", "--json").stdout == before


def ask(database: Database, slug: str, *, people: int) -> None:
    with database.write() as db:
        for _ in range(people):
            request_reminder(db, slug, make_recipient(db).id, now=NOW)


def test_a_change_says_who_was_not_told_and_how_to_tell_them(mailer: Caller, database: Database) -> None:
    mailer("event", "import", SHIPPED)
    ask(database, "nordjylland", people=2)

    moved = mailer("event", "update", "nordjylland", "--date", "2014-06-18")
    assert moved.stderr == (
        "nordjylland: date, state updated; it is now moved\n"
        "note: 2 recipients showed interest in nordjylland and were not told of: date;"
        " tell them with  mailer event update nordjylland --notify\n"
    )

    told = mailer("event", "update", "nordjylland", "--notify", "--yes", "--json")
    assert told.code == 0
    assert {key: told.data[key] for key in ("changed", "told", "campaign", "audience", "rung")} == {
        "changed": [],
        "told": ["date"],
        "campaign": "aendring-nordjylland",
        "audience": 2,
        "rung": False,
    }
    assert (told.data["state"], told.data["untold"]) == ("moved", [])
    assert "rung: false" in told.stderr

    again = mailer("event", "update", "nordjylland", "--notify", "--yes")
    assert (again.code, again.stderr) == (0, "nordjylland: there was nothing to tell\n")


def test_a_change_and_its_news_go_at_once(mailer: Caller, database: Database) -> None:
    mailer("event", "import", SHIPPED)
    ask(database, "nordjylland", people=1)
    answer = mailer(
        "event", "update", "nordjylland", "--place", "Nordkraft", "--address", "", "--notify", "--yes"
    )
    assert answer.code == 0
    assert answer.stderr.startswith(
        "nordjylland: place, address, state updated; it is now moved\n"
        "nordjylland: 1 recipient told as campaign aendring-nordjylland;"
    )


def test_an_event_shows_its_history(mailer: Caller, database: Database) -> None:
    mailer("event", "import", SHIPPED)
    ask(database, "nordjylland", people=1)
    mailer("event", "update", "nordjylland", "--place", "Nordkraft", "--hosted")
    shown = mailer("event", "show", "nordjylland", "--json").data
    assert (shown["hosted"], shown["state"], shown["reminders"]) == (True, "moved", None)
    assert [(row["field"], row["old"], row["new"], row["told_at"]) for row in shown["history"]] == [
        ("place", "Aalborg Universitetshospital, Medicinerhuset", "Nordkraft", None),
        ("hosted", "false", "true", None),
        ("state", "open", "moved", None),
    ]
    assert shown["history"][0]["at"].startswith("2014-03-07T09:00")
    assert "Nordkraft" in mailer("event", "show", "nordjylland").stdout


def test_hosted_wins_over_a_page_elsewhere_and_says_so(mailer: Caller) -> None:
    mailer("event", "import", SHIPPED)
    options = ("--hosted", "--registration-url", "https://tilmeld.example/")
    answer = mailer("event", "update", "nordjylland", *options)
    assert "note: nordjylland is hosted, so people register on our own page" in answer.stderr
    assert "note" not in mailer("event", "update", "nordjylland", "--not-hosted").stderr


def test_more_seats_let_those_who_wait_move_up(mailer: Caller, database: Database) -> None:
    mailer("event", "import", SHIPPED)
    mailer("event", "update", "nordjylland", "--hosted", "--capacity", "1")
    with database.write() as db:
        for _ in range(3):
            register(db, "nordjylland", make_recipient(db).id, now=NOW)
    answer = mailer("event", "update", "nordjylland", "--capacity", "2", "--json")
    assert (answer.data["moved_up"], answer.data["registered"], answer.data["waiting"]) == (1, 2, 1)
    assert answer.stderr == "1 recipient moved up from the waiting list\n"


def test_an_event_whose_own_seats_are_all_taken_is_full_whoever_asks(
    mailer: Caller, database: Database
) -> None:
    mailer("event", "import", SHIPPED)
    mailer("event", "update", "nordjylland", "--hosted", "--capacity", "2")
    mailer("event", "update", "sjaelland", "--capacity", "2")  # not hosted: we count no seats

    def states() -> tuple[str, str, str, str]:
        with database.write() as db:
            register(db, "nordjylland", make_recipient(db).id, now=NOW)
        listed = mailer("event", "list", "--json").data["events"]
        (line,) = [
            line for line in mailer("event", "list").stdout.splitlines() if line.startswith("nord")
        ]
        shown = mailer("event", "show", "nordjylland").stdout.splitlines()
        (field,) = [line for line in shown if line.startswith("state ")]
        return (
            *(found["state"] for found in listed if found["slug"] == "nordjylland"),
            line.split()[1],
            mailer("event", "show", "nordjylland", "--json").data["state"],
            field.split()[1],
        )

    assert states() == ("open",) * 4
    assert states() == ("full",) * 4
    assert states() == ("full",) * 4  # one waits
    others = [one for one in mailer("event", "list", "--json").data["events"] if not one["hosted"]]
    assert {one["state"] for one in others} == {"open"}
    mailer("event", "cancel", "nordjylland", "--no-notify", "--yes")
    assert mailer("event", "show", "nordjylland", "--json").data["state"] == "cancelled"


def test_a_cancelled_event_is_told_of_once(mailer: Caller, database: Database) -> None:
    mailer("event", "import", SHIPPED)
    ask(database, "nordjylland", people=2)

    done = mailer("event", "cancel", "nordjylland", "--yes", "--json")
    assert done.code == 0
    assert (done.data["state"], done.data["sequence"]) == ("cancelled", 1)
    assert (done.data["campaign"], done.data["audience"]) == ("aflysning-nordjylland", 2)
    assert done.data["cancelled_reminders"] > 0

    again = mailer("event", "cancel", "nordjylland", "--yes")
    assert (again.code, again.stdout) == (5, "")
    assert "nordjylland was cancelled already" in again.stderr


def test_letters_about_the_day_before_it_moved_are_held_back_and_counted(
    mailer: Caller, database: Database
) -> None:
    mailer("event", "import", SHIPPED)
    ask(database, "nordjylland", people=2)
    news = ("--notify", "--yes")
    mailer("event", "update", "nordjylland", "--date", "2014-06-18", *news)
    moved = mailer("event", "update", "nordjylland", "--date", "2014-06-19", *news, "--json")
    assert (moved.data["held_back"], moved.data["audience"]) == (2, 2)
    assert "2 letters about it as it was had not left and will not" in moved.stderr

    done = mailer("event", "cancel", "nordjylland", "--yes", "--json")
    assert (done.data["held_back"], done.data["audience"]) == (2, 2)


@pytest.mark.parametrize("form", ["--json", None])
def test_letters_that_an_import_holds_back_are_counted(
    mailer: Caller, database: Database, tmp_path: Path, form: str | None
) -> None:
    mailer("event", "import", SHIPPED)
    for slug, people in (("nordjylland", 2), ("midtjylland", 1)):
        ask(database, slug, people=people)
        mailer("event", "update", slug, "--time", "10:00", "--notify", "--yes")
    path = tmp_path / "moved.csv"
    path.write_text("slug;titel;dato\nnordjylland;Møde;18-06-2014\nmidtjylland;Møde;08-04-2014\n")

    answer = mailer("event", "import", str(path), *filter(None, [form]))

    assert answer.code == 0
    assert "3 letters about events as they were had not left and will not" in answer.stderr
    if form:
        assert answer.data["held_back"] == 3
    assert "will not" not in mailer("event", "import", str(path)).stderr


def test_while_recipients_are_imported_nobody_is_told_and_nothing_changes(
    mailer: Caller, database: Database
) -> None:
    mailer("event", "import", SHIPPED)
    ask(database, "nordjylland", people=1)
    before = mailer("event", "show", "nordjylland", "--json").stdout
    with import_at_work(database):
        for arguments in (["cancel"], ["update", "--place", "Nordkraft", "--address", "", "--notify"]):
            answer = mailer("event", *arguments, "nordjylland", "--yes")
            assert (answer.code, answer.stdout) == (5, "")
            assert "an import of liste.csv is still running" in answer.stderr
    assert mailer("event", "show", "nordjylland", "--json").stdout == before


def test_a_cancellation_may_be_told_to_nobody(mailer: Caller, database: Database) -> None:
    mailer("event", "import", SHIPPED)
    ask(database, "nordjylland", people=1)
    mailer.set("SMTP_RELAYS", "")
    answer = mailer("event", "cancel", "nordjylland", "--no-notify", "--yes")
    assert answer.code == 0
    assert "were not told of: state; tell them with" in answer.stderr


def test_without_sender_or_relay_nothing_is_changed(mailer: Caller) -> None:
    mailer("event", "import", SHIPPED)
    before = mailer("event", "show", "nordjylland", "--json").stdout
    mailer.set("SMTP_RELAYS", "")
    for arguments in (["cancel"], ["update", "--place", "Nordkraft", "--address", "", "--notify"]):
        answer = mailer("event", *arguments, "nordjylland", "--yes")
        assert (answer.code, answer.stdout) == (78, "")
        assert "no relay is set" in answer.stderr
    assert mailer("event", "show", "nordjylland", "--json").stdout == before


def test_a_table_tells_what_it_left_out_and_whom_it_did_not_tell(
    mailer: Caller, database: Database, tmp_path: Path
) -> None:
    mailer("event", "import", SHIPPED)
    ask(database, "nordjylland", people=1)
    path = tmp_path / "møder.csv"
    path.write_bytes("slug;titel;dato;lokale\nnordjylland;Møde;18-06-2014;4\n".encode("cp1252"))

    answer = mailer("event", "import", str(path), "--json")

    assert answer.code == 0
    assert (answer.data["changed"], answer.data["left_out"]) == (["nordjylland"], ["lokale"])
    assert "left out, for they are no fields of an event: lokale" in answer.stderr
    assert "were not told of: title, date; tell them with" in answer.stderr
