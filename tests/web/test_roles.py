"""Under the public role every page works and nothing can be written; the drainer can do its work."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from sqlalchemy import make_url, select, text, update
from sqlalchemy.event import listen, remove
from sqlalchemy.exc import ProgrammingError

from mailer.campaigns.models import Batch, Campaign, CampaignState, Delivery, DeliveryState
from mailer.events.models import Event, Registration, RegistrationState
from mailer.foundation.clock import Clock
from mailer.foundation.database import Database, open_database
from mailer.roles import DRAINER_READS, DRAINER_WRITES, PUBLIC_READS, BadRoleName, write_grants
from mailer.runtime import Runtime
from mailer.schema import metadata
from mailer.tracking.journals import find_journals
from mailer.tracking.models import TrackingKind
from mailer.web.draining import open_drainer
from tests.campaigns.making import sending
from tests.conftest import NOW
from tests.web.conftest import Mailing, Reader, drain_once, draining, open_reader, stamp_in

pytestmark = pytest.mark.postgres


@pytest.fixture
def postgres_url(fresh_postgres_url: str) -> str:
    """These tests change more than rows."""
    return fresh_postgres_url


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """SQLite has no roles."""
    return postgres_url


@pytest.fixture
def roles(database: Database, database_url: str) -> Iterator[tuple[str, str]]:
    """A public role and a drainer's, with the grants that the command prints."""
    mark = os.urandom(4).hex()
    public, drain = f"public_{mark}", f"drain_{mark}"
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as owner:
        for role in (public, drain):
            owner.execute(text(f'CREATE ROLE "{role}" LOGIN'))
        for _ in range(2):  # again is harmless
            owner.exec_driver_sql(write_grants(public=public, drain=drain))
    yield public, drain
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as owner:
        for role in (public, drain):
            owner.execute(text(f'DROP OWNED BY "{role}"'))
            owner.execute(text(f'DROP ROLE "{role}"'))


@pytest.fixture
def as_public(roles: tuple[str, str], database_url: str) -> Iterator[Database]:
    opened = open_as(database_url, roles[0])
    yield opened
    opened.dispose()


@pytest.fixture
def as_drainer(roles: tuple[str, str], database_url: str) -> Iterator[Database]:
    opened = open_as(database_url, roles[1])
    yield opened
    opened.dispose()


@pytest.fixture
def reader(runtime: Runtime, mailing: Mailing, as_public: Database) -> Iterator[Reader]:
    """A reader of a process that has the public role."""
    mailing.freeze_letter(about="midtjylland")
    with runtime.database.write() as db:
        sending(db, 1, name="under way")
        parted = Batch.campaign_id == sending(db, 1, name="in parts").id
        db.execute(update(Batch).where(parted).values(due_at=None, planned_at=NOW))
        db.execute(update(Event).where(Event.slug == "midtjylland").values(hosted=True, capacity=1))
    moments = count()
    clock = Clock(real=lambda: NOW + timedelta(microseconds=next(moments)))
    with open_reader(replace(runtime, database=as_public, clock=clock)) as opened:
        yield opened


def open_as(url: str, role: str) -> Database:
    opened = open_database(make_url(url).set(username=role).render_as_string(hide_password=False))
    with opened.read() as db:
        assert db.scalar(text("SELECT current_user")) == role
    return opened


def refused(database: Database, statement: str) -> bool:
    try:
        with database.write() as db:
            db.execute(text("SET TRANSACTION READ WRITE"))
            db.execute(text(statement))
    except ProgrammingError as error:
        return "permission denied" in str(error)
    return False


def see_every_page(reader: Reader, mailing: Mailing) -> None:
    """Open whatever there is to open, and post what can be posted."""
    assert reader.get(mailing.path("click", 2)).status_code == 302
    for path in (
        "/",
        "/startpakke",
        "/startpakke.pdf",
        "/principper",
        "/events",
        "/events/midtjylland",
        "/events/midtjylland.ics",
        "/events.ics",
        "/health",
        "/health/ready",
        "/metrics",
        mailing.path("open_pixel"),
        mailing.path("unsubscribe"),
        mailing.path("view"),
        mailing.path("pass_on"),
        mailing.path("remind", "midtjylland"),
        mailing.path("register", "midtjylland"),
        mailing.path("attend", "midtjylland"),
    ):
        assert reader.get(path).status_code == 200, path
    assert "mailer_database_up 1.0" in reader.get("/metrics").text
    assert reader.get("/health/ready").json()["schema"] == "current"
    assert reader.post(mailing.path("remind", "midtjylland")).status_code == 200
    assert reader.post(mailing.path("unsubscribe"), data={"choice": "everything"}).status_code == 200


def test_every_page_works_under_the_public_role(reader: Reader, mailing: Mailing) -> None:
    see_every_page(reader, mailing)


def test_the_public_role_reads_no_column_that_no_page_needs(
    reader: Reader, mailing: Mailing, runtime: Runtime, as_public: Database, roles: tuple[str, str]
) -> None:
    """Without any one column that is granted, some statement of some page is refused."""
    with statements_of(as_public) as statements, draining(runtime):
        see_every_page(reader, mailing)
        for place in (1, 2):
            assert reader.post(mailing.path("register", "midtjylland", position=place)).is_success
            assert reader.get(mailing.path("attend", "midtjylland", position=place)).is_success
        with runtime.database.write() as db:
            db.execute(update(Campaign).values(state=CampaignState.SENDING))
            db.execute(update(Delivery).values(state=DeliveryState.PENDING))
        assert reader.get("/metrics").is_success

    def is_missed() -> bool:
        return not all(may_read(as_public, *asked) for asked in statements.items())

    role, unmissed = roles[0], []
    with runtime.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as owner:
        for name, granted in PUBLIC_READS.items():
            columns = granted or known_columns(name)
            for column in columns:
                owner.exec_driver_sql(f'REVOKE SELECT ON {name} FROM "{role}"')
                if others := ", ".join(other for other in columns if other != column):
                    owner.exec_driver_sql(f'GRANT SELECT ({others}) ON {name} TO "{role}"')
                if not is_missed():
                    unmissed.append(f"{name}.{column}")
            owner.exec_driver_sql(write_grants(public=role, drain=None))
    assert unmissed == []
    assert not is_missed()


def known_columns(table: str) -> Sequence[str]:
    return ("version_num",) if table == "alembic_version" else metadata.tables[table].columns.keys()


def may_read(database: Database, statement: str, parameters: Any) -> bool:
    try:
        with database.read() as db:
            db.connection().exec_driver_sql(f"EXPLAIN {statement}", parameters)
    except ProgrammingError as error:
        if "permission denied" in str(error):
            return False
        raise
    return True


@contextmanager
def statements_of(database: Database) -> Iterator[dict[str, Any]]:
    """What is asked of a database in the block, each statement once."""
    asked: dict[str, Any] = {}

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        if statement.startswith("SELECT"):
            asked[statement] = parameters

    listen(database.engine, "before_cursor_execute", note)
    yield asked
    remove(database.engine, "before_cursor_execute", note)


def test_seats_are_taken_and_given_back_under_both_roles(
    reader: Reader, mailing: Mailing, runtime: Runtime, as_drainer: Database
) -> None:
    first, second = (mailing.path("register", "midtjylland", position=place) for place in (1, 2))
    seat = mailing.path("attend", "midtjylland")
    with draining(replace(runtime, database=as_drainer)):
        assert "Du har en plads" in reader.post(first).text
        assert "You are number 1 in line" in reader.post(second).text
        assert "Du er meldt fra" in reader.post(seat, data={"choice": "give_back"}).text
        assert "Du er nummer 1 i køen" in reader.post(seat, data={"choice": "undo"}).text
        assert "We have your registration" in reader.post(second).text
    with runtime.database.read() as db:
        states = db.scalars(select(Registration.state).order_by(Registration.number)).all()
    assert states == [RegistrationState.SEATED, RegistrationState.WAITING]


def test_nothing_the_public_role_holds_keeps_people_from_registering(
    reader: Reader, mailing: Mailing, runtime: Runtime, as_public: Database, as_drainer: Database
) -> None:
    with runtime.database.read() as db:
        event_id = db.scalar(select(Event.id).where(Event.slug == "midtjylland"))
    for clause in ("FOR UPDATE", "FOR NO KEY UPDATE", "FOR SHARE", "FOR KEY SHARE"):
        assert refused(as_public, f"SELECT id FROM events {clause}")
    with as_public.read() as holding:
        holding.execute(text("SELECT pg_advisory_lock(24231, :event)"), {"event": event_id})
        holding.execute(text("SELECT * FROM events"))
        holding.execute(text("SELECT registered_at FROM registrations"))
        with draining(replace(runtime, database=as_drainer)):
            assert "Du har en plads" in reader.post(mailing.path("register", "midtjylland")).text
        holding.execute(text("SELECT pg_advisory_unlock_all()"))


def test_what_readers_asked_for_is_done_under_the_drainers_role(
    reader: Reader, mailing: Mailing, runtime: Runtime, as_drainer: Database
) -> None:
    drained = replace(runtime, database=as_drainer)
    reader.get(mailing.path("click", 2))
    reader.get(mailing.path("open_pixel"))
    reader.get("/startpakke")
    reader.post(mailing.path("remind", "midtjylland"))
    reader.post(mailing.path("remind", "midtjylland"), data={"choice": "undo"})
    said = reader.post(mailing.path("unsubscribe"), data={"choice": "letters"})
    undo = {"choice": "undo", "stamp": stamp_in(said)}
    reader.post(mailing.path("unsubscribe"), data=undo)
    reader.post(mailing.path("unsubscribe", position=2), data={"choice": "object"})
    reader.post(mailing.path("unsubscribe"), data={"List-Unsubscribe": "One-Click"})
    assert drain_once(drained) == 9
    open_drainer(drained)._revise()
    assert mailing.suppressed() is not None
    assert [event.kind for event in mailing.seen(TrackingKind.CLICK)] == [TrackingKind.CLICK]

    reader.site.recorder.close()
    for journal in find_journals(runtime.settings.state_dir / "web"):
        os.utime(journal, (0, 0))
    drain_once(drained)
    assert find_journals(runtime.settings.state_dir / "web") == []


def test_the_public_role_writes_nothing(as_public: Database, mailing: Mailing) -> None:
    for table in metadata.tables:
        column = next(iter(metadata.tables[table].columns)).name
        assert refused(as_public, f"INSERT INTO {table} DEFAULT VALUES")
        assert refused(as_public, f"UPDATE {table} SET {column} = NULL")
        assert refused(as_public, f"DELETE FROM {table}")
        assert refused(as_public, f"TRUNCATE {table}")
        assert refused(as_public, f"LOCK TABLE {table} IN EXCLUSIVE MODE")
    assert refused(as_public, "CREATE TABLE mine (id integer)")


def test_the_public_role_reads_what_pages_show_and_nothing_else(
    as_public: Database, mailing: Mailing
) -> None:
    for name, table in metadata.tables.items():
        for column in table.columns:
            statement = f'SELECT "{column.name}" FROM {name} LIMIT 1'
            if name in PUBLIC_READS and column.name in (PUBLIC_READS[name] or table.columns):
                with as_public.read() as db:
                    db.execute(text(statement))
            else:
                assert refused(as_public, statement), (name, column.name)
    for statement in (
        "SELECT email FROM recipients",
        "SELECT email_key FROM recipients",
        "SELECT address_hash FROM recipients",
        "SELECT * FROM recipients",
        "SELECT * FROM suppressions",
        "SELECT * FROM tracking_events",
        "SELECT reason FROM deliveries",
        "SELECT recipient_id FROM registrations",
    ):
        assert refused(as_public, statement)


def test_the_drainer_reads_no_name_and_writes_no_delivery(
    as_drainer: Database, mailing: Mailing
) -> None:
    for column in ("email", "email_key", "name", "workplace", "attributes", "*"):
        assert refused(as_drainer, f"SELECT {column} FROM recipients")
    for table in metadata.tables.keys() - DRAINER_WRITES.keys():
        column = next(iter(metadata.tables[table].columns)).name
        assert refused(as_drainer, f"INSERT INTO {table} DEFAULT VALUES")
        assert refused(as_drainer, f"UPDATE {table} SET {column} = NULL")
        assert refused(as_drainer, f"DELETE FROM {table}")
    for table in ("tracking_events", "tracking_counts", "registrations"):
        assert refused(as_drainer, f"DELETE FROM {table}")
    for column in ("email", "email_key", "name", "organisation", "told", "*"):
        assert refused(as_drainer, f"SELECT {column} FROM registrations")
    for column in ("told", "recipient_id", "event_id"):
        assert refused(as_drainer, f"UPDATE registrations SET {column} = NULL")
    for column in ("email", "email_key", "name", "organisation", "told"):
        assert refused(as_drainer, f"INSERT INTO registrations ({column}) VALUES (NULL)")
    for column in metadata.tables["recipients"].columns:
        if column.name not in {"tracking", "updated_at"}:
            assert refused(as_drainer, f"UPDATE recipients SET {column.name} = NULL")
    assert refused(as_drainer, "INSERT INTO recipients DEFAULT VALUES")
    assert refused(as_drainer, "DELETE FROM recipients")
    for column in metadata.tables["events"].columns:
        if column.name != "updated_at":
            assert refused(as_drainer, f"UPDATE events SET {column.name} = NULL")
    assert refused(as_drainer, "INSERT INTO events DEFAULT VALUES")
    assert refused(as_drainer, "DELETE FROM events")


def test_every_grant_names_what_there_is() -> None:
    for grants in (PUBLIC_READS, DRAINER_READS):
        for table, columns in grants.items():
            if table != "alembic_version":
                assert not set(columns) - set(metadata.tables[table].columns.keys())
    assert not DRAINER_WRITES.keys() - metadata.tables.keys()


@pytest.mark.parametrize("name", ["", "a b", 'a"; DROP TABLE x; --', "Å", "a" * 64, "1a", "a\n"])
def test_a_role_has_a_plain_name(name: str) -> None:
    if name:
        with pytest.raises(BadRoleName):
            write_grants(public=name, drain=None)
        with pytest.raises(BadRoleName):
            write_grants(public="x", drain=name)


def test_one_role_cannot_be_both() -> None:
    with pytest.raises(BadRoleName, match="may write nothing"):
        write_grants(public="mailer", drain="mailer")
