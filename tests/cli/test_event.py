from pathlib import Path

import pytest

from mailer.foundation.settings import Settings
from tests.cli.calling import Caller

SHIPPED = str(Path(__file__).parents[2] / "templates/letters/startpakke/events.toml")


@pytest.fixture
def mailer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Caller:
    caller = Caller(settings, monkeypatch, capsys)
    caller.set("CLOCK", "2014-03-07T09:00+01:00")
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


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["show", "bornholm"], 4, "no event 'bornholm'; there are: hovedstaden"),
        (["update", "bornholm", "--place", "Rønne"], 4, "no event 'bornholm'"),
        (["update", "sjaelland"], 2, "name at least one field"),
        (["update", "sjaelland", "--time", "25:00"], 2, "--time"),
        (["update", "sjaelland", "--date", "17/6"], 2, "must be a day such as 2014-03-24"),
        (["update", "sjaelland", "--date", ""], 2, "--date: is missing"),
        (["update", "sjaelland", "--capacity", "mange"], 2, "at least 1"),
        (["update", "sjaelland", "--programme-url", "javascript:x"], 2, "--programme-url"),
    ],
)
def test_a_bad_request_changes_nothing(
    mailer: Caller, arguments: list[str], code: int, told: str
) -> None:
    mailer("event", "import", SHIPPED)
    before = mailer("event", "list", "--json").stdout
    answer = mailer("event", *arguments)
    assert answer.code == code
    assert told in answer.stderr
    assert answer.stdout == ""
    assert mailer("event", "list", "--json").stdout == before
