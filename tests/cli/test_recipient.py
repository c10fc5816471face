from pathlib import Path

import pytest

from mailer.foundation.settings import Settings
from tests.cli.calling import Caller

LISTE = (
    "E-mail;Navn;Stilling;Kommune;Region;Nr\n"
    "borgmester@sorø.example;Åse Holm;Borgmester;Sorø;Region Sjælland;1\n"
    "tr@aarhus.example;Bo;TR;Aarhus;Midtjylland;2\n"
)


@pytest.fixture
def mailer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Caller:
    caller = Caller(settings, monkeypatch, capsys)
    caller.set("CLOCK", "2014-03-07T09:00+01:00")
    return caller


@pytest.fixture
def liste(tmp_path: Path) -> str:
    path = tmp_path / "liste.csv"
    path.write_bytes(LISTE.encode("cp1252"))
    return str(path)


def test_import_counts_every_row(mailer: Caller, liste: str) -> None:
    answer = mailer("recipient", "import", liste, "--source", "KL", "--json")

    assert answer.code == 0
    assert answer.data.pop("seconds") >= 0
    assert answer.data | {"seconds": 0} == {
        "schema_version": 1,
        "rows": 2,
        "imported": 2,
        "updated": 0,
        "unchanged": 0,
        "duplicates": 0,
        "rejected": 0,
        "rejects_file": None,
        "seconds": 0,
        "dry_run": False,
    }


def test_refused_rows_end_with_3_and_are_named_without_their_content(
    mailer: Caller, settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "liste.csv"
    path.write_text(f"{LISTE}hemmelig@skole.test;Ib;;;;3\n")

    answer = mailer("recipient", "import", str(path), "--json")

    assert answer.code == 3
    assert (answer.data["rejected"], answer.data["imported"]) == (1, 2)
    rejects = Path(answer.data["rejects_file"])
    assert rejects.parent == settings.state_dir / "rejects"
    assert "hemmelig@skole.test" in rejects.read_text()
    assert "liste.csv, line 4: " in answer.stderr
    assert "hemmelig" not in answer.stderr


def test_duplicates_alone_are_no_reason_to_complain(mailer: Caller, tmp_path: Path) -> None:
    path = tmp_path / "liste.csv"
    path.write_text("E-mail\na@x.example\nA@x.example\n")

    assert mailer("recipient", "import", str(path)).code == 0


def test_a_yes_that_may_be_to_something_else_is_told_of_once(mailer: Caller, tmp_path: Path) -> None:
    path = tmp_path / "liste.csv"
    path.write_text("E-mail;Samtykke\na@x.example;ja\nb@x.example;ja\nc@x.example;nej\n")

    told = mailer("recipient", "import", str(path), "--json")
    assert told.code == 0
    assert told.stderr.count("--map tracking=Samtykke") == 1
    said = [mailer("recipient", "show", f"{name}@x.example", "--json").data for name in "abc"]
    assert [each["tracking"] for each in said] == [None, None, "objection"]
    assert said[0]["attributes"] == {"Samtykke": "ja"}

    mapped = mailer("recipient", "import", str(path), "--map", "tracking=Samtykke", "--json")
    assert "--map" not in mapped.stderr
    assert mailer("recipient", "show", "a@x.example", "--json").data["tracking"] == "consent"


def test_import_of_what_is_no_list_says_why(mailer: Caller, tmp_path: Path) -> None:
    path = tmp_path / "liste.csv"
    path.write_text("Navn;Mobil\nÅse;1\n")

    missing = mailer("recipient", "import", str(tmp_path / "mangler.csv"))
    assert (missing.code, missing.stderr.count("\n")) == (4, 1)
    unusable = mailer("recipient", "import", str(path))
    assert unusable.code == 1
    assert "the headings are: Navn, Mobil" in unusable.stderr
    assert mailer("recipient", "import", str(path), "--map", "email=Mobil").code == 3
    assert mailer("recipient", "import", str(path), "--map", "mail=Mobil").code == 2
    assert mailer("recipient", "import", str(path), "--encoding", "volapyk").code == 2
    assert mailer("recipient", "import").code == 2


def test_show_tells_the_fields_and_the_suppression(mailer: Caller, liste: str) -> None:
    mailer("recipient", "import", liste, "--source", "KL")

    shown = mailer("recipient", "show", "Borgmester@SORØ.example", "--json").data

    assert shown["email"] == "borgmester@sorø.example"
    assert (shown["role"], shown["sector"], shown["region"]) == ("borgmester", "kommune", "Sjælland")
    assert (shown["organisation"], shown["source"]) == ("Sorø Kommune", ["KL"])
    assert (shown["attributes"], shown["suppressed"]) == ({"Nr": "1"}, False)
    assert shown["suppressed_scope"] is None
    assert "Åse Holm" in mailer("recipient", "show", "borgmester@sorø.example").stdout
    unknown = mailer("recipient", "show", "ingen@x.example")
    assert (unknown.code, unknown.stderr) == (4, "error: no recipient has that address\n")


def test_suppress_and_unsuppress(mailer: Caller, liste: str) -> None:
    mailer("recipient", "import", liste)

    assert mailer("recipient", "suppress", "TR@aarhus.example", "--reason", "ringede").code == 0
    shown = mailer("recipient", "show", "tr@aarhus.example", "--json").data
    assert shown["suppressed"] == "manual"
    again = mailer("recipient", "suppress", "tr@aarhus.example", "--reason", "bounced", "--json")
    assert again.data == {
        "schema_version": 1,
        "suppressed": "manual",
        "suppressed_scope": "everything",
        "tracking": None,
        "changed": False,
    }
    assert mailer("recipient", "unsuppress", "tr@aarhus.example").code == 0
    assert mailer("recipient", "show", "tr@aarhus.example", "--json").data["suppressed"] is False

    unknown = mailer("recipient", "suppress", "ny@x.example", "--reason", "Objected", "--json")
    assert (unknown.data["suppressed"], unknown.data["changed"]) == ("objected", True)
    assert mailer("recipient", "suppress", "ikke-en-adresse", "--reason", "x").code == 2
    assert mailer("recipient", "suppress", "a@x.example").code == 2


def test_letters_alone_can_be_suppressed_and_later_everything(mailer: Caller, liste: str) -> None:
    mailer("recipient", "import", liste)
    call = ("recipient", "suppress", "tr@aarhus.example", "--reason", "unsubscribed")

    narrow = mailer(*call, "--only", "letters")
    assert "only the reminders it asks for" in narrow.stderr
    shown = mailer("recipient", "show", "tr@aarhus.example", "--json").data
    assert (shown["suppressed"], shown["suppressed_scope"]) == ("unsubscribed", "letters")
    assert mailer(*call, "--json").data["suppressed_scope"] == "everything"
    assert mailer(*call, "--only", "letters", "--json").data["suppressed_scope"] == "everything"
    assert mailer(*call, "--only", "reminders").code == 2


def test_list_takes_a_rule_or_a_segment(mailer: Caller, liste: str) -> None:
    mailer("recipient", "import", liste)
    rule = "role in (minister, borgmester) and region = Sjælland"
    assert mailer("segment", "create", "øst", "--where", rule).code == 0

    by_segment = mailer("recipient", "list", "--segment", "øst", "--json").data
    by_rule = mailer("recipient", "list", "--where", "role = TR", "--json").data
    first = mailer("recipient", "list", "--limit", "1")

    assert [each["email"] for each in by_segment["recipients"]] == ["borgmester@sorø.example"]
    assert [each["email"] for each in by_rule["recipients"]] == ["tr@aarhus.example"]
    assert "1 of 2" in first.stderr
    assert mailer("recipient", "list", "--where", "rolle = TR").code == 1
    assert mailer("recipient", "list", "--where", "role = TR", "--segment", "øst").code == 2


def test_segments_are_listed_and_counted(mailer: Caller, liste: str) -> None:
    mailer("recipient", "import", liste)
    mailer("recipient", "suppress", "tr@aarhus.example", "--reason", "x")
    mailer("segment", "create", "alle", "--where", "email != nobody@x.example")

    assert mailer("segment", "count", "alle", "--json").data == {
        "schema_version": 1,
        "segment": "alle",
        "rule": "email != nobody@x.example",
        "recipients": 2,
        "suppressed": 1,
    }
    listed = mailer("segment", "list", "--json").data["segments"]
    assert [each["segment"] for each in listed] == ["alle"]
    assert mailer("segment", "count", "nogen").code == 4
    assert mailer("segment", "create", "alle", "--where", "role = TR").code == 5
    assert mailer("segment", "create", "x", "--where", "role = konge").code == 1


def test_a_word_about_tracking_is_kept_and_shown(mailer: Caller, liste: str) -> None:
    mailer("recipient", "import", liste)
    assert mailer("recipient", "show", "tr@aarhus.example", "--json").data["tracking"] is None

    for word, changed in (
        ("consent", True),
        ("objection", True),
        ("objection", False),
        ("unsaid", True),
    ):
        answer = mailer("recipient", "tracking", "TR@Aarhus.example", word, "--json")
        assert answer.code == 0
        assert answer.data == {"schema_version": 1, "tracking": word, "changed": changed}
        assert mailer("recipient", "show", "tr@aarhus.example", "--json").data["tracking"] == word

    assert mailer("recipient", "show", "borgmester@sorø.example", "--json").data["tracking"] is None
    told = mailer("recipient", "tracking", "tr@aarhus.example", "objection")
    assert (told.stdout, told.stderr) == (
        "",
        "objection: no letter tracks it, also none that has left\n",
    )
    assert "objection" in mailer("recipient", "show", "tr@aarhus.example").stdout


def test_what_was_said_about_tracking_needs_a_recipient_and_a_word(mailer: Caller, liste: str) -> None:
    mailer("recipient", "import", liste)

    unknown = mailer("recipient", "tracking", "ingen@x.example", "consent")
    assert (unknown.code, unknown.stderr) == (4, "error: no recipient has that address\n")
    assert mailer("recipient", "tracking", "ikke-en-adresse", "consent").code == 4
    assert mailer("recipient", "tracking", "tr@aarhus.example", "CONSENT").code == 2
    assert mailer("recipient", "tracking", "tr@aarhus.example", "").code == 2
    assert mailer("recipient", "tracking", "tr@aarhus.example").code == 2
    assert mailer("recipient", "show", "tr@aarhus.example", "--json").data["tracking"] is None


def test_who_objects_to_mail_objects_to_tracking_and_a_list_cannot_lift_it(
    mailer: Caller, liste: str, tmp_path: Path
) -> None:
    consents = tmp_path / "samtykke.csv"
    consents.write_text("Mail;Må vi?\ntr@aarhus.example;ja\n", encoding="utf-8")
    mailer("recipient", "import", liste)
    assert mailer("recipient", "import", str(consents), "--map", "tracking=Må vi?").code == 0
    assert mailer("recipient", "show", "tr@aarhus.example", "--json").data["tracking"] == "consent"

    told = mailer("recipient", "suppress", "tr@aarhus.example", "--reason", "objected")
    assert "it objects to tracking, too" in told.stderr
    again = mailer("recipient", "suppress", "tr@aarhus.example", "--reason", "objected", "--json")
    assert (again.data["tracking"], again.data["changed"]) == ("objection", False)
    mailer("recipient", "unsuppress", "tr@aarhus.example")
    mailer("recipient", "import", str(consents), "--map", "tracking=Må vi?")

    shown = mailer("recipient", "show", "tr@aarhus.example", "--json").data
    assert (shown["suppressed"], shown["tracking"]) == (False, "objection")
    stranger = mailer("recipient", "suppress", "ny@x.example", "--reason", "objected", "--json")
    assert (stranger.data["suppressed"], stranger.data["tracking"]) == ("objected", None)
