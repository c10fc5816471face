"""Files the commands write."""

import contextlib
import os
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from mailer.cli.output import print_table, whole_file
from tests.cli.calling import Terminal


def test_a_file_appears_whole_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with whole_file(path) as file:
        file.write(b"half")
        assert not path.exists()

    assert path.read_bytes() == b"half"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_no_file_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    with whole_file(path) as file:
        file.write(b"all of it")
    reader.join(5)

    assert got == [b"all of it"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="cannot write"), whole_file(tmp_path / "no" / "out"):
        pass


def test_on_a_narrow_terminal_texts_wrap_between_words_and_nothing_else_is_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    screen = Terminal()
    with contextlib.redirect_stdout(screen):
        print_table(
            ["name", "email", "state", "at"],
            [
                [
                    "Anders Bo Christensen",
                    "anders.bo@regionh.example",
                    "waiting 12",
                    datetime(2014, 3, 10, tzinfo=UTC),
                ]
            ],
        )
    assert screen.lines() == [
        "name           email                      state       at",
        "Anders Bo      anders.bo@regionh.example  waiting 12  2014-03-10 00:00",
        "Christensen",
    ]


def test_a_table_wider_than_the_terminal_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    screen = Terminal()
    with contextlib.redirect_stdout(screen):
        print_table(["event", "at"], [["hovedstaden", "Mon 2014-03-10 09:00"]])
    assert screen.lines()[1] == "hovedstaden  Mon 2014-03-10 09:00"
