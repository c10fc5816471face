"""Short transactions on both databases."""

import os
import threading
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import select, text

from mailer.foundation.database import Database, DatabaseUnavailable, open_database
from mailer.migrations.upgrading import upgrade_schema
from recipients.models import Segment


@pytest.fixture
def postgres_url(fresh_postgres_url: str) -> str:
    """These tests change more than rows."""
    return fresh_postgres_url


def add(database: Database, name: str, moment: datetime) -> None:
    with database.write() as db:
        db.add(Segment(name=name, rule="role = minister", created_at=moment))


def test_moments_come_back_in_utc(database: Database) -> None:
    local = datetime(2014, 3, 7, 9, 0, tzinfo=timezone(timedelta(hours=1)))
    add(database, "a", local)
    with database.read() as db:
        kept = db.scalars(select(Segment.created_at)).one()
    assert kept == local
    assert kept.tzinfo is UTC


def test_a_moment_without_zone_is_refused(database: Database) -> None:
    with pytest.raises(Exception, match="a moment needs its zone"):
        add(database, "a", datetime(2014, 3, 7, 9, 0))  # noqa: DTZ001


def test_an_error_undoes_the_whole_transaction(database: Database) -> None:
    def fail_half_way() -> None:
        with database.write() as db:
            db.add(Segment(name="a", rule="", created_at=datetime.now(UTC)))
            db.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    with database.read() as db:
        assert db.scalars(select(Segment)).all() == []


def test_writers_wait_for_each_other_and_none_fails(database: Database) -> None:
    threads = [
        threading.Thread(target=add, args=(database, f"s{n}", datetime.now(UTC))) for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as db:
        assert len(db.scalars(select(Segment)).all()) == 12


def test_an_unreachable_database_is_named_as_such() -> None:
    gone = open_database("postgresql+psycopg://nobody@127.0.0.1:1/none")
    with pytest.raises(DatabaseUnavailable), gone.read() as db:
        db.execute(text("SELECT 1"))


def test_a_new_database_file_and_those_beside_it_are_for_their_owner_only(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        database = open_database(f"sqlite:///{tmp_path / 'state' / 'mailer.sqlite'}")
        upgrade_schema(database)
        with database.write() as db:
            db.execute(text("SELECT 1"))
            modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "state").iterdir()}
    finally:
        os.umask(before)
    database.dispose()
    assert len(modes) == 3
    assert set(modes.values()) == {0o600}
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_a_database_whose_connections_are_all_taken_is_named_unavailable(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as taken:
        patched = taken.enter_context(monkeypatch.context())
        patched.setattr(database.engine.pool, "_timeout", 0.01)
        for _ in range(15):
            taken.enter_context(database.engine.connect())
        with pytest.raises(DatabaseUnavailable), database.read() as db:
            db.execute(text("SELECT 1"))


def test_a_line_that_is_cut_is_noticed_within_a_minute(postgres_url: str) -> None:
    database = open_database(postgres_url)
    with database.engine.connect() as connection:
        given = connection.connection.driver_connection
        assert given is not None
        told = given.info.get_parameters()
    database.dispose()

    longest = int(told["keepalives_idle"]) + int(told["keepalives_interval"]) * int(
        told["keepalives_count"]
    )
    assert longest <= 60
    assert 0 < int(told["tcp_user_timeout"]) <= 60_000
