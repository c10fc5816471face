"""Whoever writes several people's objections waits for no import, and no import fails for them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from mailer.foundation.clock import Clock
from mailer.foundation.database import Database, open_database
from recipients.choices import RowHeld, choose_tracking, object_at_once
from recipients.finding import find_recipient
from recipients.importing import ImportOptions, import_files
from recipients.lists import ImportResult
from recipients.models import TrackingChoice
from tests.conftest import NOW
from tests.making import make_recipient

FIRST, SECOND = "a@x.example", "b@x.example"
LIST = f"E-mail;Navn\n{FIRST};Bo Nielsen\n{SECOND};Ib Nielsen\n"


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Database]:
    opened = open_database(postgres_url)
    yield opened
    opened.dispose()


@contextmanager
def importing(database: Database, folder: Path) -> Iterator[list[ImportResult | Exception]]:
    """An import in another thread, and at last how it ended; the block begins when it waits."""
    path = folder / "liste.csv"
    path.write_text(LIST, encoding="utf-8")
    ended: list[ImportResult | Exception] = []

    def run() -> None:
        clock = Clock(real=lambda: NOW + timedelta(days=1))
        options = ImportOptions(rejects_folder=folder)
        try:
            ended.append(import_files(database, [path], hash_key=b"key", clock=clock, options=options))
        except Exception as error:  # noqa: BLE001 - the test looks at it
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until_somebody_waits(database)
    yield ended
    thread.join(30)
    assert not thread.is_alive()


def wait_until_somebody_waits(database: Database) -> None:
    """Until a statement waits for another transaction to end."""
    asked = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with database.read() as db:
            if db.scalar(asked):
                return
        time.sleep(0.01)
    raise AssertionError("nobody waits")


def both(database: Database) -> tuple[str, str]:
    with database.write() as db:
        first, second = (make_recipient(db, address=each) for each in (FIRST, SECOND))
        return first.address_hash, second.address_hash


def words(database: Database) -> list[tuple[str | None, TrackingChoice | None]]:
    with database.read() as db:
        found = [find_recipient(db, each) for each in (FIRST, SECOND)]
    return [(each.name, each.tracking) for each in found]


def test_an_objection_is_kept_at_once_where_nobody_writes_the_row(database: Database) -> None:
    first, _ = both(database)
    with database.write() as db:
        assert object_at_once(db, first, now=NOW)
        assert not object_at_once(db, first, now=NOW)
        assert not object_at_once(db, "f" * 32, now=NOW)
    assert [word for _, word in words(database)] == [TrackingChoice.OBJECTION, None]


@pytest.mark.postgres
def test_an_objection_does_not_wait_for_a_row_that_is_being_written(postgres: Database) -> None:
    first, second = both(postgres)
    with postgres.write() as holding:
        choose_tracking(holding, first, TrackingChoice.OBJECTION, now=NOW)
        with postgres.write() as db:
            db.execute(text("SET LOCAL lock_timeout = '5s'"))
            with pytest.raises(RowHeld):
                object_at_once(db, first, now=NOW)
            assert object_at_once(db, second, now=NOW)
        holding.rollback()
    assert [word for _, word in words(postgres)] == [None, TrackingChoice.OBJECTION]


@pytest.mark.postgres
def test_objections_in_another_order_than_the_lists_take_no_import_back(
    postgres: Database, tmp_path: Path
) -> None:
    first, second = both(postgres)
    with postgres.write() as db:
        object_at_once(db, second, now=NOW)
        with importing(postgres, tmp_path) as ended:
            with pytest.raises(RowHeld):
                object_at_once(db, first, now=NOW)
            db.commit()
    (result,) = ended
    assert isinstance(result, ImportResult)
    assert result.updated == 2
    assert words(postgres) == [("Bo Nielsen", None), ("Ib Nielsen", TrackingChoice.OBJECTION)]


@pytest.mark.postgres
def test_an_import_that_a_deadlock_takes_back_is_merged_again(
    postgres: Database, tmp_path: Path
) -> None:
    """Whoever else writes several people's rows may wait; here the import is the one to give way."""
    first, second = both(postgres)
    with postgres.write() as db:
        db.execute(text("SET LOCAL deadlock_timeout = '30s'"))
        choose_tracking(db, second, TrackingChoice.OBJECTION, now=NOW)
        with importing(postgres, tmp_path) as ended:
            choose_tracking(db, first, TrackingChoice.OBJECTION, now=NOW)
            db.commit()
    (result,) = ended
    assert isinstance(result, ImportResult)
    assert (result.imported, result.updated) == (0, 2)
    objected = TrackingChoice.OBJECTION
    assert words(postgres) == [("Bo Nielsen", objected), ("Ib Nielsen", objected)]


def test_a_word_that_comes_in_late_counts_and_makes_the_row_no_older(database: Database) -> None:
    """What waited in a journal while the office took down a consent: silence wins."""
    first, second = both(database)
    later = NOW + timedelta(hours=1)
    with database.write() as db:
        choose_tracking(db, first, TrackingChoice.CONSENT, now=later)
        assert object_at_once(db, first, now=NOW)
        choose_tracking(db, second, TrackingChoice.CONSENT, now=NOW)
        assert object_at_once(db, second, now=later)
    with database.read() as db:
        found = [find_recipient(db, each) for each in (FIRST, SECOND)]
    assert [each.updated_at for each in found] == [later, later]
    assert {each.tracking for each in found} == {TrackingChoice.OBJECTION}
