"""A file that is made anew is ours alone."""

import os
from pathlib import Path

import pytest

from mailer.foundation.files import create_new, is_stream


def test_a_link_planted_under_the_name_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    planted = tmp_path / "liste.csv"
    planted.symlink_to(victim)

    os.close(create_new(planted))

    assert victim.read_text() == "kept"
    assert not planted.is_symlink()
    assert planted.stat().st_mode & 0o777 == 0o600


def test_a_file_somebody_else_prepared_and_can_read_is_not_written_to(tmp_path: Path) -> None:
    prepared = tmp_path / "liste.csv"
    prepared.touch(mode=0o666)
    with prepared.open("rb") as theirs:
        with os.fdopen(create_new(prepared), "w") as ours:
            ours.write("hemmeligt")
        assert theirs.read() == b""


def test_where_no_file_can_be_made_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        create_new(tmp_path / "nowhere" / "liste.csv")


def test_devices_and_pipes_are_no_files_to_be_replaced(tmp_path: Path) -> None:
    file, link, pipe = (tmp_path / name for name in ("file", "link", "pipe"))
    file.touch()
    link.symlink_to(file)
    os.mkfifo(pipe)

    assert all(map(is_stream, (pipe, Path("/dev/null"), Path("/dev/stdout"), Path("/proc/self/fd/1"))))
    assert not any(map(is_stream, (file, link, tmp_path / "new")))
