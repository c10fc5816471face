"""Messages in files: whatever lies there, each is read once, bounded, and nothing is changed."""

import io
import os
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest

from mailer.feedback.inbox import (
    LARGEST_BYTES,
    RawMessage,
    Unread,
    cut_messages,
    printable,
    read_paths,
)
from recipients.errors import InputNotFound

ONE, TWO = b"Subject: one\n\nbody\n", b"Subject: two\n\nbody\n"


def read(*paths: Path | str, stdin: bytes = b"") -> list[RawMessage | Unread]:
    return list(read_paths([Path(path) for path in paths], stdin=io.BytesIO(stdin)))


def names(messages: Sequence[RawMessage | Unread]) -> list[str]:
    return [Path(message.path).name for message in messages]


def test_a_file_is_one_message_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "x.eml").write_bytes(ONE)

    assert read(tmp_path / "x.eml") == [RawMessage(str(tmp_path / "x.eml"), ONE)]


def test_an_mbox_is_cut_at_its_separators_alone(tmp_path: Path) -> None:
    mbox = (
        b"From a@b.example Fri Mar  7 09:00:00 2014\n" + ONE + b"From here on it is body\n"
        b">From is quoted\n>>From twice\n\n"
        b"From c@d.example Fri Mar  7 09:00:00 2014\n" + TWO
    )
    (tmp_path / "mbox").write_bytes(mbox)
    first, second = read(tmp_path / "mbox")

    assert names([first, second]) == ["mbox", "mbox#2"]
    assert isinstance(first, RawMessage)
    assert first.data == ONE + b"From here on it is body\nFrom is quoted\n>From twice\n\n"
    assert second == RawMessage(f"{tmp_path / 'mbox'}#2", TWO)


@pytest.mark.parametrize("data", [ONE, b"From a@b.example\r\n" + ONE, b"From x\n" + ONE + b"\nFrom y\n"])
def test_standard_input_may_be_either(data: bytes) -> None:
    assert names(read("-", stdin=data))[0] == "-"


def test_nothing_is_no_message() -> None:
    assert read("-") == []
    assert read("/dev/null") == []


def test_a_maildir_is_read_from_new_and_cur_and_left_as_it_is(tmp_path: Path) -> None:
    for folder, name in (
        ("new", "1.host"),
        ("cur", "2.host:2,S"),
        ("tmp", "3.host"),
        ("cur", ".hidden"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_bytes(ONE)
    before = sorted(tmp_path.rglob("*"))

    assert names(read(tmp_path)) == ["1.host", "2.host:2,S"]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_gives_its_eml_files_in_order(tmp_path: Path) -> None:
    for name in ("b.eml", "a.EML", "notes.txt", ".c.eml"):
        (tmp_path / name).write_bytes(ONE)

    assert names(read(tmp_path)) == ["a.EML", "b.eml"]


@pytest.mark.parametrize("folder", [".", "new"])
def test_links_pipes_and_folders_in_a_folder_are_no_messages(tmp_path: Path, folder: str) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"Subject: not for us\n\n")
    inbox = tmp_path / "inbox" / folder
    inbox.mkdir(parents=True)
    (inbox / "1.eml").symlink_to(secret)
    (inbox / "2.eml").symlink_to("../../../../../../../etc/passwd")
    os.mkfifo(inbox / "3.eml")
    (inbox / "4.eml").mkdir()
    (inbox / "5.eml").write_bytes(ONE)
    found = read(tmp_path / "inbox")

    assert [type(each) for each in found] == [Unread, Unread, Unread, Unread, RawMessage]


def test_names_cannot_speak_to_a_terminal(tmp_path: Path) -> None:
    for name in (b"\x1b[2J\n\r.eml", b"\xff\xc2\x9b31m.eml", "\u202egpj.eml".encode()):
        (tmp_path / os.fsdecode(name)).write_bytes(ONE)
    found = read(tmp_path)

    assert len(found) == 3
    assert all(each.path.isprintable() for each in found)
    assert printable("a\ud800b") == "a\N{REPLACEMENT CHARACTER}b"


def test_a_path_that_is_not_there_is_told_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.eml").write_bytes(ONE)
    with pytest.raises(InputNotFound):
        read_paths([tmp_path / "x.eml", tmp_path / "y.eml"], stdin=io.BytesIO())


@pytest.mark.parametrize("separator", [b"", b"From x\n"])
@pytest.mark.parametrize("line", [b"x" * 76 + b"\n", b"x" * 1_000_000])
def test_no_more_is_kept_of_a_message_than_any_report_needs(separator: bytes, line: bytes) -> None:
    size = 40 * LARGEST_BYTES
    endless = separator + line * (size // len(line))
    tracemalloc.start()
    try:
        kept = [len(message) for message in cut_messages(io.BytesIO(endless))]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept == [LARGEST_BYTES]
    assert peak < 5 * LARGEST_BYTES + len(endless)  # the bytes given are shared or copied once


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_may_end_in_any_way(end: bytes) -> None:
    def ended(data: bytes) -> bytes:
        return data.replace(b"\n", end)

    one = b"Subject: one\n\n" + b"a line of the body\n" * 8000 + b">From is quoted\n\n"
    for messages in ([TWO], [one, TWO], [one] * 5):
        mbox = b"".join(b"From a@b.example Fri Mar  7 09:00:00 2014\n" + each for each in messages)
        found = list(cut_messages(io.BytesIO(ended(mbox))))
        assert found == [ended(each.replace(b">From", b"From")) for each in messages]
