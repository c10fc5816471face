"""The command line as a whole: one line for what is wrong, with the right exit code."""

import errno
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from mailer.cli.errors import describe, exit_code
from mailer.foundation.database import open_database
from mailer.foundation.settings import Settings
from tests.cli.calling import Caller


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough for how errors are told."""
    return sqlite_url


@pytest.fixture
def mailer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Caller:
    return Caller(settings, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--set", "tracking", "campaign", "list"), "--set tracking: write it as NAME=VALUE"),
        (("recipient", "list", "--limit", "0"), "see  mailer recipient list --help"),
        (("nix",), "No such command 'nix'; see  mailer --help"),
    ],
)
def test_wrong_usage_is_one_line_with_the_place_to_read_on(
    mailer: Caller, arguments: tuple[str, ...], told: str
) -> None:
    answer = mailer(*arguments)
    assert answer.code == 2
    assert answer.stderr.startswith("error: ")
    assert len(answer.stderr.splitlines()) == 1
    assert told in answer.stderr


def test_a_noun_alone_shows_its_verbs(mailer: Caller) -> None:
    answer = mailer("campaign")
    assert answer.code == 2
    assert "reconcile" in answer.stderr


def test_a_database_file_that_is_none_is_one_line(mailer: Caller, tmp_path: Path) -> None:
    (tmp_path / "text.sqlite").write_text("this is a text, and by no means a database file")
    for command in (["campaign", "list"], ["database", "check"], ["database", "upgrade"], ["init"]):
        answer = mailer("--set", f"database_url=sqlite:///{tmp_path / 'text.sqlite'}", *command)
        assert answer.code == 69
        assert "file is not a database; see  mailer doctor" in answer.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", [("campaign", "list"), ("database", "upgrade"), ("init",)])
def test_a_database_of_a_later_version_is_left_alone(
    mailer: Caller, settings: Settings, command: tuple[str, ...]
) -> None:
    database = open_database(settings.database)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    database.dispose()
    answer = mailer(*command)
    assert answer.code == 78
    assert "revision 9999, which this code" in answer.stderr.splitlines()[-1]


def test_a_state_folder_that_is_a_file_is_one_line(
    mailer: Caller, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.delenv("MAILER_DATABASE_URL")
    mailer.set("STATE_DIR", str(tmp_path / "file"))
    answer = mailer("campaign", "list")
    assert answer.code == 1
    assert answer.stderr == f"error: {tmp_path / 'file'}: File exists\n"


def test_what_the_system_refuses_is_told_in_its_words() -> None:
    refused = OSError(errno.EACCES, "Permission denied", "/var/x")
    assert (exit_code(refused), describe(refused)) == (1, "/var/x: Permission denied")
    locked = OperationalError("UPDATE …", {}, Exception("attempt to write a readonly database"))
    assert exit_code(locked) == 69
    assert describe(locked).startswith("the database cannot be used: attempt to write a readonly")
