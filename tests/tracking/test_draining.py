"""What stands in the journals comes into the database once, in order, and no line holds up another."""

import json
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy.event
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign, Delivery, DeliveryState
from mailer.foundation.database import Database, DatabaseUnavailable, open_database
from mailer.foundation.journal import Journal
from mailer.tracking import draining
from mailer.tracking.draining import (
    MOST_AT_ONCE,
    AlreadyDraining,
    Deed,
    Drainer,
    NothingTaken,
    Overtaken,
)
from mailer.tracking.journals import (
    PUT_OFF,
    SET_ASIDE,
    drainer_lives,
    find_journals,
    new_journal,
    read_progress,
    unmoved_bytes,
)
from mailer.tracking.models import TrackingCount, TrackingEvent, TrackingKind, WebJournal
from mailer.tracking.sightings import Sighting, write_line
from recipients.choices import RowHeld
from recipients.models import Recipient
from tests.conftest import NOW

VISIT = Sighting(TrackingKind.VISIT, NOW, subject="startpakke")
DEED = Sighting(TrackingKind.UNSUBSCRIBE, NOW, 1, 1, scope="everything")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of the web's journals."""
    return tmp_path / "web"


def make_drainer(database: Database, folder: Path, deed: Deed | None = None) -> Drainer:
    deeds = {} if deed is None else {TrackingKind.UNSUBSCRIBE: deed}
    return Drainer(database, folder, zone=ZoneInfo("Europe/Copenhagen"), deeds=deeds)


def write(folder: Path, *sightings: Sighting) -> Journal:
    """The journal of a process that lives, with these lines."""
    journal = Journal(new_journal(folder))
    journal.append(b"".join(write_line(seen) for seen in sightings))
    return journal


def counted(database: Database) -> int:
    with database.read() as db:
        return db.scalar(select(func.coalesce(func.sum(TrackingCount.total), 0))) or 0


def rows(database: Database) -> dict[str, int]:
    with database.read() as db:
        return {row.name: row.moved for row in db.scalars(select(WebJournal))}


def grow_old(folder: Path) -> None:
    for path in find_journals(folder):
        os.utime(path, (1, 1))


@contextmanager
def failing_commits(database: Database, *, after: bool) -> Iterator[None]:
    """Commits fail; with ``after``, once they are done: the answer is lost on the way."""

    def fail(connection: sqlalchemy.Connection) -> None:
        if after:
            connection.connection.commit()
            if database.engine.dialect.name == "sqlite":
                connection.exec_driver_sql("COMMIT")
        raise OperationalError("COMMIT", None, Exception("the line is cut"))

    sqlalchemy.event.listen(database.engine, "commit", fail)
    try:
        yield
    finally:
        sqlalchemy.event.remove(database.engine, "commit", fail)
        database.dispose()


def test_every_line_is_taken_in_once(database: Database, folder: Path) -> None:
    journal = write(folder, VISIT, VISIT)
    drainer = make_drainer(database, folder)
    assert drainer.drain() == 2
    assert drainer.drain() == 0

    journal.append(write_line(VISIT))
    assert make_drainer(database, folder).drain() == 1  # another one, who knows no more than the files

    assert counted(database) == 3
    assert rows(database) == {journal.path.name: journal.path.stat().st_size}
    assert unmoved_bytes(folder) == 0


def test_what_was_asked_for_waits_behind_nothing_that_was_only_seen(
    database: Database, folder: Path
) -> None:
    """After an outage a night's clicks lie there, older than the no."""
    seen_before: list[int] = []

    def deed(db: Session, _seen: Sighting) -> bool:
        seen_before.append(db.scalar(select(func.coalesce(func.sum(TrackingCount.total), 0))) or 0)
        return False

    drainer = make_drainer(database, folder, deed)
    write(folder, *[VISIT] * (2 * MOST_AT_ONCE))
    asked_for = Journal(new_journal(folder, of_deeds=True))
    asked_for.append(write_line(replace(DEED, at=NOW + timedelta(hours=1))))
    assert drainer.drain() == 2 * MOST_AT_ONCE + 1
    assert seen_before == [0]

    write(folder, *[VISIT] * 11 * MOST_AT_ONCE)
    assert drainer.drain() < 11 * MOST_AT_ONCE, "there is an end to a pass, and then comes the next no"
    asked_for.append(write_line(DEED))
    drainer.drain()
    assert seen_before[1] < 13 * MOST_AT_ONCE


def test_who_waits_for_a_deed_is_told_before_what_was_only_seen_is_moved(
    database: Database, folder: Path
) -> None:
    told: list[int] = []
    write(folder, *[VISIT] * 3)
    asked_for = Journal(new_journal(folder, of_deeds=True))
    asked_for.append(write_line(DEED))

    def look(_db: Session, _seen: Sighting) -> bool:
        told.append(read_progress(folder).moved.get(asked_for.path.name, 0))
        return True

    deeds = {TrackingKind.VISIT: look, TrackingKind.UNSUBSCRIBE: lambda _db, _seen: False}
    Drainer(database, folder, zone=ZoneInfo("Europe/Copenhagen"), deeds=deeds).drain()

    assert told == [len(write_line(DEED))] * 3


def test_what_is_asked_for_during_a_pass_waits_for_one_transaction_of_what_was_only_seen(
    database: Database, folder: Path
) -> None:
    done: list[TrackingKind] = []
    write(folder, *[VISIT] * (5 * MOST_AT_ONCE))
    asked_for = Journal(new_journal(folder, of_deeds=True))

    def do(_db: Session, seen: Sighting) -> bool:
        if not done:
            asked_for.append(write_line(DEED))
        done.append(seen.kind)
        return False

    deeds = {TrackingKind.VISIT: do, TrackingKind.UNSUBSCRIBE: do}
    drainer = Drainer(database, folder, zone=ZoneInfo("Europe/Copenhagen"), deeds=deeds)

    assert drainer.drain() == 5 * MOST_AT_ONCE + 1
    assert done.index(TrackingKind.UNSUBSCRIBE) == MOST_AT_ONCE


@pytest.mark.parametrize("after", [False, True])
def test_a_commit_whose_answer_is_lost_counts_nothing_twice(
    database: Database, folder: Path, after: bool
) -> None:
    write(folder, VISIT, VISIT)
    drainer = make_drainer(database, folder)
    with failing_commits(database, after=after), pytest.raises((OperationalError, DatabaseUnavailable)):
        drainer.drain()

    drainer.drain()

    assert counted(database) == 2


def test_a_line_still_being_written_waits(database: Database, folder: Path) -> None:
    journal = write(folder, VISIT)
    line = write_line(VISIT)
    with journal.path.open("ab") as file:
        file.write(line[:30])
    drainer = make_drainer(database, folder)
    assert drainer.drain() == 1

    with journal.path.open("ab") as file:
        file.write(line[30:])
    drainer.drain()

    assert counted(database) == 2


def test_a_line_cut_short_swallows_nothing_and_is_nothing(database: Database, folder: Path) -> None:
    journal = write(folder, VISIT)
    journal.append(write_line(VISIT)[:40] + b"\n" + write_line(VISIT))

    make_drainer(database, folder).drain()

    assert counted(database) == 2
    assert read_progress(folder).set_aside == 0


def test_what_cannot_be_read_is_set_aside_and_the_rest_goes_on(database: Database, folder: Path) -> None:
    journal = write(folder, VISIT)
    journal.append(b'["flew"]\n' + b"\xff\x00]\n" + write_line(VISIT))

    make_drainer(database, folder).drain()

    assert counted(database) == 2
    assert read_progress(folder).set_aside == 2
    first, _ = (folder / SET_ASIDE).read_text("utf-8").splitlines()
    assert json.loads(first) == {
        "journal": journal.path.name,
        "begins": len(write_line(VISIT)),
        "why": "unreadable",
        "line": '["flew"]',
    }


def test_what_the_database_refuses_is_set_aside_and_the_rest_goes_on(
    postgres_url: str, folder: Path
) -> None:
    database = open_database(postgres_url)
    poison = replace(VISIT, subject="x" * 65)
    write(folder, *[VISIT] * 20, poison, *[VISIT] * 20, replace(VISIT, subject="\0"), VISIT)

    drainer = make_drainer(database, folder)
    drainer.drain()
    drainer.drain()

    assert counted(database) == 41
    assert read_progress(folder).set_aside == 2
    database.dispose()


def test_a_deed_that_fails_takes_no_other_with_it(database: Database, folder: Path) -> None:
    done = []

    def do(db: Session, seen: Sighting) -> bool:
        if seen.position == 3:
            raise KeyError("a fault of ours")
        done.append(seen.position)
        return True

    with database.write() as db:
        db.add(Campaign(id=1, name="brev", letter="brev", tracking="none", created_at=NOW))
    write(folder, *[replace(DEED, position=position) for position in range(1, 6)])

    make_drainer(database, folder, do).drain()

    assert set(done) == {1, 2, 4, 5}
    assert counted(database) == 4
    assert read_progress(folder).set_aside == 1


def test_a_deed_that_changes_nothing_is_no_event(database: Database, folder: Path) -> None:
    with database.write() as db:
        db.add(Campaign(id=1, name="brev", letter="brev", tracking="none", created_at=NOW))
    write(folder, DEED, DEED)
    answers = iter([True, False])

    make_drainer(database, folder, lambda db, seen: next(answers)).drain()

    assert counted(database) == 1


def test_deeds_are_done_in_the_order_of_time_whichever_process_saw_them(
    database: Database, folder: Path
) -> None:
    done = []

    def do(db: Session, seen: Sighting) -> bool:
        done.append(seen.position)
        return False

    later = [
        replace(DEED, at=NOW + timedelta(seconds=number), position=number) for number in range(1, 7)
    ]
    write(folder, *later[::2])
    write(folder, *later[1::2])

    make_drainer(database, folder, do).drain()

    assert done == [1, 2, 3, 4, 5, 6]


def test_a_dead_process_s_journal_is_moved_and_removed(database: Database, folder: Path) -> None:
    journal = write(folder, VISIT)
    journal.append(b'["torn')
    drainer = make_drainer(database, folder)
    drainer.drain()
    grow_old(folder)
    drainer.drain()
    assert find_journals(folder) == [journal.path]  # its process lives

    journal.close()
    drainer.drain()

    assert find_journals(folder) == []
    assert rows(database) == {}
    assert counted(database) == 1


def test_a_journal_that_is_not_moved_is_never_removed(database: Database, folder: Path) -> None:
    write(folder).close()
    write(folder, VISIT).close()
    grow_old(folder)
    drainer = make_drainer(database, folder)
    with failing_commits(database, after=False), pytest.raises((OperationalError, DatabaseUnavailable)):
        drainer.drain()

    assert len(find_journals(folder)) == 2
    drainer.drain()
    assert counted(database) == 1


def test_a_folder_has_one_drainer(database: Database, folder: Path) -> None:
    assert not drainer_lives(folder)
    with draining.only_drainer(folder):
        assert drainer_lives(folder)
        with pytest.raises(AlreadyDraining):
            make_drainer(database, folder).run(lambda: True)
    assert not drainer_lives(folder)


def test_two_that_cannot_see_each_other_s_lock_count_nothing_twice(
    database: Database, folder: Path
) -> None:
    write(folder, *[VISIT] * 10)
    one, other = make_drainer(database, folder), make_drainer(database, folder)
    assert one.drain() == 10
    journal = write(folder, VISIT)
    other.drain()
    journal.append(write_line(VISIT))
    one.drain()

    with pytest.raises(Overtaken):  # it knows an older state
        other.drain()
    other.drain()

    assert counted(database) == 12


def test_told_to_stop_it_moves_what_is_there(database: Database, folder: Path) -> None:
    write(folder, *[VISIT] * 10)

    make_drainer(database, folder).run(lambda: True)

    assert counted(database) == 10


def test_it_waits_for_the_database_and_goes_on(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "LOOK_SECONDS", 0.01)
    write(folder, VISIT)
    stop = threading.Event()
    running = threading.Thread(target=make_drainer(database, folder).run, args=(stop.is_set,))

    with failing_commits(database, after=False):
        running.start()
        while read_progress(folder).trouble is None:
            assert running.is_alive()
        assert counted(database) == 0
    while counted(database) == 0:
        assert running.is_alive()
    stop.set()
    running.join()

    assert read_progress(folder).trouble is None


def test_more_than_one_transaction_s_worth_is_moved(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "MOST_AT_ONCE", 7)
    write(folder, *[VISIT] * 20)
    write(folder, *[VISIT] * 3)

    assert make_drainer(database, folder).drain() == 23
    assert counted(database) == 23


def test_while_others_are_busy_a_dead_process_s_journal_is_removed(
    database: Database, folder: Path
) -> None:
    dead = write(folder, VISIT)
    drainer = make_drainer(database, folder)
    drainer.drain()
    dead.close()
    grow_old(folder)
    busy = write(folder, VISIT)

    assert drainer.drain() == 1

    assert find_journals(folder) == [busy.path]


def test_more_journals_than_may_be_open_at_once_are_moved(database: Database, folder: Path) -> None:
    for _ in range(draining._MOST_JOURNALS + 250):
        write(folder, VISIT).close()
    drainer = make_drainer(database, folder)
    counted(database)  # a connection is there
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = len(list(Path("/proc/self/fd").iterdir())) + draining._MOST_JOURNALS + 50
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        while drainer.drain():
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    assert counted(database) == draining._MOST_JOURNALS + 250


def test_journals_with_nothing_but_a_torn_line_hold_up_no_other(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "_MOST_JOURNALS", 2)
    for _ in range(4):
        write(folder).append(b'["torn')
    grow_old(folder)
    write(folder, VISIT)

    assert make_drainer(database, folder).drain() == 1


def test_where_every_line_is_refused_they_wait(database: Database, folder: Path) -> None:
    def refuse(db: Session, seen: Sighting) -> bool:
        raise KeyError("a fault of ours")

    def do(db: Session, seen: Sighting) -> bool:
        return True

    with database.write() as db:
        db.add(Campaign(id=1, name="brev", letter="brev", tracking="none", created_at=NOW))
    write(folder, *[DEED] * 20)

    with pytest.raises(NothingTaken):
        make_drainer(database, folder, refuse).drain()
    assert not (folder / SET_ASIDE).exists()
    assert rows(database) == {}

    assert make_drainer(database, folder, do).drain() == 20
    assert counted(database) == 20


def test_what_is_no_line_s_fault_sets_none_aside(database: Database, folder: Path) -> None:
    def fail(db: Session, seen: Sighting) -> bool:
        raise RuntimeError("a fault of ours")

    write(folder, VISIT, DEED)

    with pytest.raises(RuntimeError):
        make_drainer(database, folder, fail).drain()

    assert not (folder / SET_ASIDE).exists()
    assert rows(database) == {}
    assert unmoved_bytes(folder) > 0


def test_a_line_is_not_moved_before_it_is_set_aside(database: Database, folder: Path) -> None:
    write(folder, VISIT).append(b'["flew"]\n')
    (folder / SET_ASIDE).mkdir()
    drainer = make_drainer(database, folder)
    with pytest.raises(OSError, match="directory"):
        drainer.drain()
    assert rows(database) == {}

    (folder / SET_ASIDE).rmdir()
    drainer.drain()

    assert counted(database) == 1
    assert len((folder / SET_ASIDE).read_bytes().splitlines()) == 1
    assert read_progress(folder).set_aside == 1


def test_however_long_the_outage_it_is_tried_again(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drainer, tries = make_drainer(database, folder), 0

    def fail() -> int:
        nonlocal tries
        tries += 1
        raise DatabaseUnavailable

    monkeypatch.setattr(drainer, "drain", fail)
    monkeypatch.setattr(draining, "wait", lambda pause, is_stopping: None)
    drainer.run(lambda: tries > 1100)

    assert tries > 1100


def test_what_comes_a_line_at_a_time_is_moved_together(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = write(folder, VISIT)
    drainer, pauses = make_drainer(database, folder), []

    def pause_while_a_line_comes(seconds: float, is_stopping: object) -> None:
        pauses.append(seconds)
        if len(pauses) < 3:
            journal.append(write_line(VISIT))

    monkeypatch.setattr(draining, "wait", pause_while_a_line_comes)
    drainer.run(lambda: len(pauses) > 2)

    assert pauses[:3] == [draining.LOOK_SECONDS] * 3


def test_after_a_full_transaction_the_next_begins_at_once(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "MOST_AT_ONCE", 7)
    pauses: list[float] = []
    monkeypatch.setattr(draining, "wait", lambda seconds, is_stopping: pauses.append(seconds))
    write(folder, *[VISIT] * 20)

    make_drainer(database, folder).run(lambda: bool(pauses))

    assert pauses[0] == 0.0


def test_labels_are_revised_in_a_tenth_of_the_time_at_most(database: Database, folder: Path) -> None:
    now, revised = 0.0, []

    def revise() -> None:
        nonlocal now
        revised.append(now)
        now += 3.0

    drainer = Drainer(
        *(database, folder),
        zone=ZoneInfo("Europe/Copenhagen"),
        deeds={},
        revise=revise,
        ticking=lambda: now,
    )
    for _ in range(200):
        drainer._revise_now_and_then()
        now += 0.5

    assert revised[:3] == [0.0, 30.0, 60.0]


class Rows:
    """Deeds whose rows somebody else may be writing."""

    def __init__(self, database: Database) -> None:
        with database.write() as db:
            db.add(Campaign(id=1, name="brev", letter="brev", tracking="none", created_at=NOW))
        self.held: set[int] = set()
        self.tried: list[int] = []
        self.done: list[int] = []

    def __call__(self, _db: Session, seen: Sighting) -> bool:
        self.tried.append(seen.position)
        if seen.position in self.held:
            raise RowHeld
        self.done.append(seen.position)
        return self.done.count(seen.position) == 1


def noes(*positions: int) -> list[Sighting]:
    return [replace(DEED, position=position) for position in positions]


def put_off(folder: Path) -> list[bytes]:
    path = folder / PUT_OFF
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


def test_a_deed_whose_row_is_held_holds_up_no_other(database: Database, folder: Path) -> None:
    rows_held = Rows(database)
    rows_held.held = {1, 3}
    journal = write(folder, *noes(1, 2, 3, 4), VISIT)
    drainer = make_drainer(database, folder, rows_held)

    assert drainer.drain() == 5
    assert rows_held.done == [2, 4]
    assert counted(database) == 3
    assert put_off(folder) == [write_line(seen) for seen in noes(1, 3)]
    assert unmoved_bytes(folder) == (folder / PUT_OFF).stat().st_size
    assert (folder / PUT_OFF).stat().st_mode & 0o077 == 0
    assert drainer.drain() == 0
    journal.append(write_line(replace(DEED, position=5)))
    assert drainer.drain() == 1

    rows_held.held = {3}
    drainer.drain()
    assert rows_held.done == [2, 4, 5, 1]
    assert put_off(folder) == [write_line(seen) for seen in noes(3)]
    rows_held.held = set()
    drainer.drain()

    assert rows_held.done == [2, 4, 5, 1, 3]
    assert counted(database) == 6
    assert not (folder / PUT_OFF).exists()
    assert unmoved_bytes(folder) == read_progress(folder).set_aside == 0


def test_what_one_drainer_put_off_the_next_does(database: Database, folder: Path) -> None:
    """It may have been there, waiting to take over, before anything was put off."""
    rows_held = Rows(database)
    standing_by = make_drainer(database, folder, rows_held)
    rows_held.held = {1}
    journal = write(folder, *noes(1))
    make_drainer(database, folder, rows_held).drain()

    rows_held.held = {2}
    journal.append(write_line(replace(DEED, position=2)))
    standing_by.drain()
    assert rows_held.done == [1]
    rows_held.held = set()
    standing_by.drain()

    assert rows_held.done == [1, 2]


@pytest.mark.parametrize("after", [False, True])
def test_a_deed_put_off_outlives_a_commit_that_fails(
    database: Database, folder: Path, after: bool
) -> None:
    rows_held = Rows(database)
    rows_held.held = {1}
    write(folder, *noes(1, 2))
    drainer = make_drainer(database, folder, rows_held)
    with failing_commits(database, after=after), pytest.raises((OperationalError, DatabaseUnavailable)):
        drainer.drain()
    drainer.drain()
    assert put_off(folder) == [write_line(seen) for seen in noes(1)]

    rows_held.held = set()
    with failing_commits(database, after=after), pytest.raises((OperationalError, DatabaseUnavailable)):
        drainer.drain()
    assert len(put_off(folder)) == 1
    drainer.drain()

    assert put_off(folder) == []
    assert 1 in rows_held.done


def test_asking_over_and_over_puts_off_one_line(database: Database, folder: Path) -> None:
    rows_held = Rows(database)
    rows_held.held = {1}
    journal = write(folder, *noes(1) * 50)
    drainer = make_drainer(database, folder, rows_held)
    drainer.drain()
    journal.append(write_line(DEED) * 50)
    drainer.drain()

    assert len(put_off(folder)) == 1


def test_of_many_deeds_put_off_some_are_tried_at_a_time_and_all_in_turn(
    database: Database, folder: Path
) -> None:
    most = draining._MOST_TRIED_AGAIN
    rows_held = Rows(database)
    rows_held.held = everybody = set(range(1, 2 * most + 11))
    write(folder, *noes(*everybody))
    drainer = make_drainer(database, folder, rows_held)
    drainer.drain()
    rows_held.tried.clear()

    for times in range(1, 4):
        drainer.drain()
        assert len(rows_held.tried) == times * most

    assert set(rows_held.tried) == everybody
    rows_held.held = set()
    for _ in range(3):
        drainer.drain()
    assert set(rows_held.done) == everybody
    assert put_off(folder) == []


def test_a_deed_put_off_that_is_refused_later_is_set_aside(database: Database, folder: Path) -> None:
    answers: list[Exception] = [RowHeld(), KeyError("a fault of ours"), KeyError("a fault of ours")]

    def do(_db: Session, _seen: Sighting) -> bool:
        raise answers.pop(0)

    write(folder, DEED)
    drainer = make_drainer(database, folder, do)
    drainer.drain()
    drainer.drain()

    assert put_off(folder) == []
    assert read_progress(folder).set_aside == 1
    assert json.loads((folder / SET_ASIDE).read_text("utf-8"))["journal"] == PUT_OFF


def test_a_deed_is_not_moved_before_it_is_put_off(database: Database, folder: Path) -> None:
    rows_held = Rows(database)
    rows_held.held = {1}
    write(folder, *noes(1, 2))
    (folder / "put-off.new").mkdir()
    drainer = make_drainer(database, folder, rows_held)

    with pytest.raises(OSError, match="directory"):
        drainer.drain()
    assert rows(database) == {}
    assert counted(database) == 0

    (folder / "put-off.new").rmdir()
    rows_held.done.clear()  # with the transaction
    drainer.drain()
    assert len(put_off(folder)) == 1
    assert counted(database) == 1


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (1, 3, 2, 0)])
def test_a_faulty_line_makes_nothing_kept_of_somebody_whose_deed_waits(
    database: Database, folder: Path, order: tuple[int, ...]
) -> None:
    with database.write() as db:
        campaign = Campaign(id=1, name="brev", letter="brev", tracking="personal", created_at=NOW)
        reader = Recipient(
            email="aase@eksempel.example",
            email_key="aase@eksempel.example",
            address_hash="a" * 32,
            domain="eksempel.example",
            created_at=NOW,
            updated_at=NOW,
        )
        db.add_all((campaign, reader))
        db.flush()
        delivery = {"campaign_id": 1, "recipient_id": reader.id, "state": DeliveryState.SENT}
        db.add(Delivery(position=1, **delivery))
    click = Sighting(TrackingKind.CLICK, NOW, 1, 1, link_number=1)
    held, faulty = DEED, replace(DEED, kind=TrackingKind.REMIND)
    lines = [
        replace(seen, at=NOW + timedelta(seconds=n))
        for n, seen in enumerate([(held, click, faulty, click)[place] for place in order])
    ]
    write(folder, *lines)

    def refuse(_db: Session, _seen: Sighting) -> bool:
        raise KeyError("a fault of ours")

    def wait(_db: Session, _seen: Sighting) -> bool:
        raise RowHeld

    Drainer(
        *(database, folder),
        zone=ZoneInfo("Europe/Copenhagen"),
        deeds={TrackingKind.UNSUBSCRIBE: wait, TrackingKind.REMIND: refuse},
    ).drain()

    assert len(put_off(folder)) == read_progress(folder).set_aside == 1
    assert counted(database) == 2
    with database.read() as db:
        assert db.scalars(select(TrackingEvent.kind)).all() == []


def test_what_was_asked_for_is_done_though_its_line_cannot_be_kept(
    postgres_url: str, folder: Path
) -> None:
    database, done = open_database(postgres_url), []

    def do(_db: Session, seen: Sighting) -> bool:
        done.append(seen.position)
        return True

    with database.write() as db:
        db.add(Campaign(id=1, name="brev", letter="brev", tracking="none", created_at=NOW))
    write(folder, *noes(1), replace(DEED, position=2, subject="\0"), *noes(3))
    make_drainer(database, folder, do).drain()

    assert done == [1, 2, 3]
    assert counted(database) == 2
    assert read_progress(folder).set_aside == 1
    database.dispose()


def test_what_another_version_put_off_is_set_aside_and_told(database: Database, folder: Path) -> None:
    rows_held = Rows(database)
    rows_held.held = {1}
    write(folder, *noes(1))
    unknown = [b'["object%d","2026-01-01T00:00:00+00:00",1,1,null]\n' % number for number in range(30)]
    (folder / PUT_OFF).write_bytes(b"".join(unknown))
    drainer = make_drainer(database, folder, rows_held)
    drainer.drain()
    drainer.drain()

    assert put_off(folder) == [write_line(seen) for seen in noes(1)]
    assert read_progress(folder).set_aside == 30
    aside = [json.loads(line) for line in (folder / SET_ASIDE).read_text("utf-8").splitlines()]
    assert [each["line"].encode() + b"\n" for each in aside] == unknown
    assert {(each["journal"], each["why"]) for each in aside} == {(PUT_OFF, "unreadable")}


def test_what_another_version_put_off_outlives_a_disk_that_takes_nothing(
    database: Database, folder: Path
) -> None:
    rows_held = Rows(database)
    rows_held.held = {1}
    write(folder, *noes(1))
    unknown = b'["object2"]\n'
    (folder / PUT_OFF).write_bytes(unknown)
    (folder / SET_ASIDE).mkdir()

    with pytest.raises(OSError, match="directory"):
        make_drainer(database, folder, rows_held).drain()
    assert put_off(folder) == [unknown]
