"""`mailer staff`: accounts from the command line."""

import io
from pathlib import Path

import pytest

from mailer.foundation.settings import Settings
from tests.cli.calling import Caller

PASSWORD = "en lang og god sætning"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """What accounts do on both databases is tested with them."""
    return sqlite_url


@pytest.fixture
def call(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Caller:
    return Caller(settings, monkeypatch, capsys)


class Input(io.TextIOWrapper):
    """Standard input with a password in it; no terminal."""

    def __init__(self, text: str) -> None:
        super().__init__(io.BytesIO(text.encode()), encoding="utf-8")


def test_a_password_comes_from_standard_input(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Input(f"{PASSWORD}\n"))

    answer = call("staff", "add", "Bodil", "--role", "admin")

    assert (answer.code, answer.stdout) == (0, "")
    assert PASSWORD not in answer.stderr
    (account,) = call("staff", "list", "--json").data["accounts"]
    assert (account["name"], account["role"], account["signed_in_at"]) == ("bodil", "admin", None)


def test_a_password_comes_from_a_file(call: Caller, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\r\nmore", encoding="utf-8")

    assert call("staff", "add", "bodil", "--role", "viewer", "--password-file", str(file)).code == 0
    assert call("staff", "passwd", "bodil", "--password-file", str(file)).code == 0
    assert call("staff", "passwd", "bodil", "--password-file", str(tmp_path / "nowhere")).code == 4


def test_a_generated_password_is_shown_once_on_stdout(call: Caller) -> None:
    answer = call("staff", "add", "bodil", "--role", "viewer", "--generate")

    assert answer.code == 0
    assert len(answer.stdout.strip()) >= 24
    assert answer.stdout.strip() not in answer.stderr
    again = call("staff", "passwd", "bodil", "--generate").stdout
    assert again != answer.stdout


def test_no_list_shows_a_password_or_its_hash(call: Caller) -> None:
    password = call("staff", "add", "bodil", "--role", "viewer", "--generate").stdout.strip()
    for answer in (call("staff", "list"), call("staff", "list", "--json")):
        assert password not in answer.stdout
        assert "argon2" not in answer.stdout


def test_exit_codes_tell_what_happened(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("staff", "add", "bodil", "--role", "viewer", "--generate").code == 0
    assert call("staff", "add", "BODIL", "--role", "viewer", "--generate").code == 5
    assert call("staff", "add", "carl", "--role", "chef", "--generate").code == 2
    assert call("staff", "add", "carl", "--generate").code == 2
    assert call("staff", "add", "carl med k", "--role", "viewer", "--generate").code == 1
    assert call("staff", "passwd", "carl", "--generate").code == 4
    assert call("staff", "remove", "carl").code == 4
    monkeypatch.setattr("sys.stdin", Input("kort\n"))
    assert call("staff", "add", "carl", "--role", "viewer").code == 1
    monkeypatch.setattr("sys.stdin", Input(""))
    assert call("staff", "add", "carl", "--role", "viewer").code == 1
    assert [each["name"] for each in call("staff", "list", "--json").data["accounts"]] == ["bodil"]
    assert call("staff", "remove", "Bodil").code == 0
    assert call("staff", "list", "--json").data["accounts"] == []
