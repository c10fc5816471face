"""What is said of the web's journals to those who watch over a machine."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mailer.foundation.journal import Journal
from mailer.tracking.draining import only_drainer
from mailer.tracking.journals import PUT_OFF, Progress, add_losses, new_journal, write_progress
from mailer.tracking.models import TrackingKind
from mailer.tracking.sightings import Sighting, write_line
from mailer.tracking.watching import find_alarms, watch_journals
from tests.conftest import NOW


def write(folder: Path, *ages: int, torn: bytes = b"") -> Path:
    """A journal with sightings so many seconds old."""
    path = new_journal(folder)
    journal = Journal(path)
    for age in ages:
        journal.append(write_line(Sighting(TrackingKind.VISIT, NOW - timedelta(seconds=age))))
    journal.append(torn)
    journal.close()
    return path


def alarms(folder: Path) -> str:
    return "\n".join(find_alarms(watch_journals(folder), now=NOW))


def test_a_folder_that_is_not_there_is_quiet(tmp_path: Path) -> None:
    watch = watch_journals(tmp_path / "web")
    assert (watch.journals, watch.unmoved_bytes, watch.oldest_unmoved) == (0, 0, None)
    assert alarms(tmp_path / "web") == ""


def test_what_is_moved_is_quiet_and_what_is_not_is_told_by_its_age(tmp_path: Path) -> None:
    path, size = write(tmp_path, 7200, 300), 0
    write(tmp_path, 100)
    watch = watch_journals(tmp_path)
    assert watch.oldest_unmoved == NOW - timedelta(hours=2)
    assert "since 120 minutes" in alarms(tmp_path)

    size = path.stat().st_size
    write_progress(tmp_path, Progress({path.name: size // 2}, 0, "the database is away"))
    assert watch_journals(tmp_path).oldest_unmoved == NOW - timedelta(seconds=300)
    assert "since 5 minutes: the database is away" in alarms(tmp_path)

    moved = {each.name: each.stat().st_size for each in tmp_path.glob("events-*.log")}
    write_progress(tmp_path, Progress(moved))
    assert watch_journals(tmp_path).unmoved_bytes == 0
    assert alarms(tmp_path) == ""


def test_a_minute_is_no_alarm_while_somebody_moves(tmp_path: Path) -> None:
    write(tmp_path, 30)
    assert "nobody moves" in alarms(tmp_path)
    with only_drainer(tmp_path):
        assert watch_journals(tmp_path).drainer_lives
        assert alarms(tmp_path) == ""


def test_an_objection_that_waits_longer_than_any_import_is_an_alarm(tmp_path: Path) -> None:
    asked = [
        Sighting(TrackingKind.OBJECT, NOW - timedelta(minutes=minutes), 1, minutes)
        for minutes in (3, 14)
    ]
    (tmp_path / PUT_OFF).write_bytes(b'["object2"]\n' + b"".join(map(write_line, asked)))
    with only_drainer(tmp_path):
        assert watch_journals(tmp_path).oldest_put_off == NOW - timedelta(minutes=14)
        assert alarms(tmp_path) == ""

        (tmp_path / PUT_OFF).write_bytes(write_line(replace(asked[1], at=NOW - timedelta(minutes=16))))
        assert "an objection to being tracked waits since 16 minutes" in alarms(tmp_path)


def test_losses_and_refused_lines_are_alarms_until_somebody_looks(tmp_path: Path) -> None:
    add_losses(tmp_path, 1200)
    write_progress(tmp_path, Progress(set_aside=3))
    assert "1,200 opens, clicks or visits were lost" in alarms(tmp_path)
    assert "3 lines" in alarms(tmp_path)
    (tmp_path / "lost").unlink()
    assert "lost" not in alarms(tmp_path)


@pytest.mark.parametrize("torn", [b'["open","2014', b"\x00\xff\n", b"a" * 200_000])
def test_what_is_torn_has_no_age_and_makes_nothing_fail(tmp_path: Path, torn: bytes) -> None:
    write(tmp_path, torn=torn)
    watch = watch_journals(tmp_path)
    assert (watch.oldest_unmoved, watch.unmoved_bytes) == (None, len(torn))
