"""What is seen is on this machine before the answer leaves, whatever happens to disk and process."""

import asyncio
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mailer.foundation.journal import JournalHeld, take_over
from mailer.tracking.journals import add_losses, find_journals, read_losses, unmoved_bytes
from mailer.tracking.models import TrackingKind
from mailer.tracking.sightings import BadLine, Sighting, read_line, write_line
from mailer.web import recording
from mailer.web.recording import LARGEST_BYTES, LONGEST_SECONDS, NotKept, Recorder
from tests.conftest import NOW

VISIT = Sighting(TrackingKind.VISIT, NOW, subject="startpakke")
DEED = Sighting(TrackingKind.UNSUBSCRIBE, NOW, 1, 1, scope="everything")


class Ticks:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def noted(folder: Path) -> list[Sighting]:
    """All that stands in the journals and can be read."""
    found = []
    for path in find_journals(folder):
        for line in path.read_bytes().splitlines(keepends=True):
            try:
                found.append(read_line(line))
            except BadLine:
                continue
    return found


def size_of_journal(folder: Path) -> int:
    """Bytes of the only journal there is."""
    (path,) = find_journals(folder)
    return path.stat().st_size


@contextmanager
def full_disk(at: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: writes are short, then refused."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (at, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_sighting_is_in_the_journal_when_its_note_returns(tmp_path: Path) -> None:
    Recorder(tmp_path).note(VISIT)

    assert noted(tmp_path) == [VISIT]


def test_what_is_gathered_is_written_in_one_go(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    for _ in range(3):
        recorder.gather(write_line(VISIT))
    assert noted(tmp_path) == []
    assert recorder.unwritten == 3

    recorder.flush()

    assert noted(tmp_path) == [VISIT] * 3
    assert recorder.unwritten == 0


def test_nothing_is_kept_before_something_is_seen(tmp_path: Path) -> None:
    Recorder(tmp_path / "web").close()

    assert list(tmp_path.iterdir()) == []


def test_what_readers_do_is_for_the_owners_eyes(tmp_path: Path) -> None:
    Recorder(tmp_path / "web").note(VISIT)

    assert (tmp_path / "web").stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "web").iterdir())


def test_a_kill_loses_nothing_that_was_noted(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path;"
        "from tests.web.test_recording import VISIT; from mailer.web.recording import Recorder;"
        "recorder = Recorder(Path(sys.argv[1]));"
        "[recorder.note(VISIT) for _ in range(100)];"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)

    assert ended.returncode == -signal.SIGKILL
    assert noted(tmp_path) == [VISIT] * 100


def test_a_full_disk_stops_nobody_and_every_loss_is_counted(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.note(VISIT)
    length = len(write_line(VISIT))

    with full_disk(at=length * 3 + 7):
        for _ in range(5):
            recorder.note(VISIT)
        assert recorder.failing
        assert recorder.lost == read_losses(tmp_path) == 3

    recorder.note(VISIT)
    assert not recorder.failing
    assert len(noted(tmp_path)) == 4  # none of them swallowed by the one cut short


def test_of_several_lines_those_the_disk_took_whole_are_not_lost(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.note(VISIT)

    with full_disk(at=len(write_line(VISIT)) * 4 + 1):
        for _ in range(10):
            recorder.gather(write_line(VISIT))
        recorder.flush()

    assert len(noted(tmp_path)) == 4
    assert recorder.lost == 7


def test_a_disk_full_from_the_start_is_tried_again(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "web")
    (tmp_path / "web").write_text("in the way")
    recorder.note(VISIT)
    assert recorder.lost == 1

    (tmp_path / "web").unlink()
    recorder.note(VISIT)

    assert noted(tmp_path / "web") == [VISIT]
    assert recorder.lost == 1


def test_a_deed_that_cannot_be_kept_is_not_promised(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    asyncio.run(recorder.note_deed(DEED))
    assert noted(tmp_path) == [DEED]

    with full_disk(at=len(write_line(DEED)) + 5), pytest.raises(NotKept):
        asyncio.run(recorder.note_deed(DEED))

    asyncio.run(recorder.note_deed(DEED))
    assert noted(tmp_path) == [DEED, DEED]


def test_a_deed_ends_where_its_journal_does_also_after_one_that_was_cut_short(tmp_path: Path) -> None:
    """Pages wait until the drainer is past it."""
    recorder = Recorder(tmp_path)
    asyncio.run(recorder.note_deed(DEED))
    for _ in range(2):
        with full_disk(at=size_of_journal(tmp_path) + 5), pytest.raises(NotKept):
            asyncio.run(recorder.note_deed(DEED))

        place = asyncio.run(recorder.note_deed(DEED))

        assert place.ends == size_of_journal(tmp_path)


def test_an_old_or_large_journal_is_let_go_of(tmp_path: Path) -> None:
    ticks = Ticks()
    recorder = Recorder(tmp_path, ticking=ticks)
    recorder.note(VISIT)
    ticks.at += LONGEST_SECONDS
    recorder.note(VISIT)
    assert len(find_journals(tmp_path)) == 2

    for _ in range(LARGEST_BYTES // 1_000_000 + 1):
        recorder.gather(b"x" * 999_999 + b"\n")
    recorder.flush()
    recorder.note(VISIT)

    assert len(find_journals(tmp_path)) == 3


def test_the_count_of_losses_is_everybodys_and_outlives_them(tmp_path: Path) -> None:
    first, second = Recorder(tmp_path), Recorder(tmp_path)
    first.note(VISIT)
    second.note(VISIT)

    with full_disk(at=len(write_line(VISIT))):
        first.note(VISIT)
        second.note(VISIT)

    assert read_losses(tmp_path) == 2
    (tmp_path / "lost").unlink()
    with full_disk(at=len(write_line(VISIT))):
        second.note(VISIT)
    assert read_losses(tmp_path) == 1


def test_what_is_not_known_to_be_moved_is_told(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.note(VISIT)

    assert recorder.unmoved == unmoved_bytes(tmp_path) == len(write_line(VISIT))


def test_an_old_journal_is_let_go_of_though_nothing_more_is_seen(tmp_path: Path) -> None:
    ticks = Ticks()
    recorder = Recorder(tmp_path, ticking=ticks)
    recorder.note(VISIT)
    (path,) = find_journals(tmp_path)
    recorder.let_go_of_old()
    with pytest.raises(JournalHeld), take_over(path):
        pass

    ticks.at += LONGEST_SECONDS
    recorder.let_go_of_old()

    with take_over(path):
        pass
    recorder.note(VISIT)
    assert noted(tmp_path) == [VISIT] * 2


def test_nothing_is_written_to_a_journal_whose_name_may_be_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_folder: Path) -> None:
        raise OSError(5, "Input/output error")

    recorder = Recorder(tmp_path)
    with monkeypatch.context() as patching:
        patching.setattr(recording, "_sync_folder", fail)
        for _ in range(2):
            with pytest.raises(NotKept):
                asyncio.run(recorder.note_deed(DEED))
        assert find_journals(tmp_path) == []
    asyncio.run(recorder.note_deed(DEED))

    assert noted(tmp_path) == [DEED]


@pytest.mark.parametrize("damaged", [b"\0" * 20, b"garbage\n", b"-5\n", b"9" * 5000, b"1 2"])
def test_losses_are_counted_whatever_stands_in_their_place(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "lost").write_bytes(damaged)
    before = read_losses(tmp_path)

    add_losses(tmp_path, 2)

    assert before >= 0
    assert read_losses(tmp_path) >= 2
