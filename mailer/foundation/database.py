"""One way to the database, SQLite or PostgreSQL: the metadata, the engine, and short transactions."""

import enum
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    DateTime,
    Dialect,
    Engine,
    Enum,
    MetaData,
    TypeDecorator,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

_BUSY_TIMEOUT_MS = 30_000
_LINE_IS_CUT = {
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""When libpq gives up a peer whose machine answers no more: after some 30 s; without, after hours."""
_CONFLICTS = frozenset({"40001", "40P01"})
"""SQLSTATE of a serialization failure and of a deadlock (PostgreSQL, appendix A)."""


class DatabaseUnavailable(Exception):
    """The database cannot be reached; nothing was changed."""


class UTCDateTime(TypeDecorator[datetime]):
    """An aware moment, stored and returned in UTC on every database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive moments; SQLite, which has no zones, gets UTC without one."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs its zone")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the moment in UTC."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """The one metadata; names of constraints are fixed so that migrations can speak of them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own convention
        datetime: UTCDateTime,
        enum.Enum: Enum(
            enum.Enum,
            native_enum=False,
            length=32,
            values_callable=lambda kind: [member.value for member in kind],
        ),
    }


@dataclass(frozen=True, slots=True)
class Database:
    """Short transactions on one engine."""

    engine: Engine
    _writing: sessionmaker[Session]
    _reading: sessionmaker[Session]

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction that may write: committed at the end, rolled back on any error.

        Raises:
            DatabaseUnavailable: the database cannot be reached; nothing was changed.
        """
        with _named_errors(), self._writing.begin() as db:
            yield db

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One transaction that only reads; on SQLite it never waits for a writer.

        Raises:
            DatabaseUnavailable: the database cannot be reached.
        """
        with _named_errors(), self._reading() as db:
            yield db

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """As ``read``, and every query sees the same moment (as SQLite's readers do anyway).

        Raises:
            DatabaseUnavailable: the database cannot be reached.
        """
        with self.read() as db:
            if self.engine.dialect.name == "postgresql":
                db.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            yield db

    @contextmanager
    def own_connection(self) -> Iterator[Connection]:
        """A connection closed for good at the end: its temporary tables go with it.

        Its transactions take SQLite's write lock only inside ``begin_write``.

        Raises:
            DatabaseUnavailable: the database cannot be reached; open transactions were rolled back.
        """
        with _named_errors(), self.engine.connect() as connection:
            connection.detach()
            connection.execution_options(mailer_reads_only=True)
            yield connection

    def dispose(self) -> None:
        """Close the pooled connections; a forked child calls this before its first query."""
        self.engine.dispose()


@contextmanager
def begin_write(connection: Connection) -> Iterator[None]:
    """One writing transaction on a connection of one's own: committed, or rolled back on any error."""
    connection.execution_options(mailer_reads_only=False)
    try:
        with connection.begin():
            yield
    finally:
        connection.execution_options(mailer_reads_only=True)


def is_conflict(error: DBAPIError) -> bool:
    """Whether transactions were in each other's way: the same again may well succeed."""
    return getattr(error.orig, "sqlstate", None) in _CONFLICTS


@contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        if error.connection_invalidated or error.statement is None:
            raise DatabaseUnavailable(str(error.orig).strip().splitlines()[0]) from error
        raise
    except PoolTimeout as error:  # others hold all connections: the database hangs, or is overrun
        raise DatabaseUnavailable("no connection became free") from error


def open_database(url: str) -> Database:
    """Make the engine for a URL; nothing is connected yet."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database and parsed.database != ":memory:":
            _make_private(Path(parsed.database))
        engine = create_engine(
            parsed,
            json_serializer=_write_json,
            hide_parameters=True,  # they hold personal data, and errors are logged
            connect_args={"timeout": _BUSY_TIMEOUT_MS / 1000},
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        engine = create_engine(
            parsed,
            json_serializer=_write_json,
            hide_parameters=True,  # they hold personal data, and errors are logged
            pool_pre_ping=True,
            connect_args={"connect_timeout": 5, "options": "-c timezone=utc", **_LINE_IS_CUT},
        )
    reading = engine.execution_options(mailer_reads_only=True)
    return Database(
        engine,
        sessionmaker(engine, expire_on_commit=False),
        sessionmaker(reading, expire_on_commit=False),
    )


def _make_private(path: Path) -> None:
    """Make the file for its owner only: it holds personal data, and SQLite asks the umask alone.

    Files SQLite puts beside it take its mode.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(OSError):  # it is there already, or SQLite says why it cannot be
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _write_json(value: object) -> str:
    """Letters stay letters: SQLite compares the keys of a JSON path as they are written."""
    return json.dumps(value, ensure_ascii=False)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we begin ourselves: see _begin_sqlite
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # a claim must be durable before the first byte leaves
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA temp_store=FILE")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at once, so that a transaction never fails half-way for want of it."""
    reads_only = connection.get_execution_options().get("mailer_reads_only", False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")
