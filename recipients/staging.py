"""Where imported rows wait: temporary tables, and the one transaction that merges them.

Rows are staged by COPY on PostgreSQL and into SQLite's temporary database, which holds no lock on the
real one; only the merge writes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from psycopg import Connection as PsycopgConnection
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    CursorResult,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    Text,
    and_,
    case,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
)
from sqlalchemy import type_coerce as as_type
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB

from mailer.foundation.database import UTCDateTime
from recipients.addresses import hash_address
from recipients.entries import Entry, combine_entries
from recipients.models import (
    Confederation,
    Recipient,
    RecipientSource,
    Role,
    Sector,
)
from recipients.words import precedence

_METADATA = MetaData()
_STAGED = Table(
    "staged_recipients",
    _METADATA,
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("precedence", Integer, nullable=False),
    Column("address_hash", String, nullable=False),
    *(
        Column(field, Boolean if field == "shared" else Text)
        for field in Entry._fields
    ),
    prefixes=["TEMPORARY"],
)
_SOURCES = Table(
    "staged_sources",
    _METADATA,
    Column("email_key", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    prefixes=["TEMPORARY"],
)
_OLD: Any = Recipient.__table__
_OLD_SOURCES: Any = RecipientSource.__table__
_GROUPS_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class MergeCounts:
    """What becomes of the distinct addresses of an import."""

    imported: int
    updated: int
    unchanged: int


class Staging:
    """The temporary tables of one import, on a connection of its own."""

    def __init__(self, connection: Connection, hash_key: bytes) -> None:
        self._connection = connection
        self._hash_key = hash_key
        self._staged = 0
        with connection.begin():
            _METADATA.create_all(connection, checkfirst=False)

    def add(self, entries: Sequence[Entry]) -> None:
        """Stage some rows, in the order in which they were read."""
        with self._connection.begin():
            self._insert(list(self._number(entries)))

    def combine(self) -> int:
        """Make one row of the several rows of one address; return how many rows that saved."""
        with self._connection.begin():
            self._connection.execute(
                insert(_SOURCES).from_select(
                    ["email_key", "source"],
                    select(_STAGED.c.email_key, _STAGED.c.source)
                    .where(_STAGED.c.source.is_not(None))
                    .distinct(),
                )
            )
            saved = sum(self._combine(group) for group in self._repeated())
            if self._connection.dialect.name == "postgresql":
                self._connection.exec_driver_sql("ANALYZE staged_recipients")
                self._connection.exec_driver_sql("ANALYZE staged_sources")
        return saved

    def count(self) -> MergeCounts:
        """What the merge would do now."""
        merged = _merged(self._connection.dialect.name)
        found = self._connection.execute(
            select(
                func.count(),
                func.count().filter(merged.c.old_id.is_(None)),
                func.count().filter(and_(merged.c.old_id.is_not(None), merged.c.changed)),
            ).select_from(merged)
        ).one()
        total, imported, updated = found
        return MergeCounts(imported, updated, total - imported - updated)

    def merge(self, now: datetime) -> MergeCounts:
        """Write everything staged into the real tables, inside the transaction that is open."""
        counts = self.count()
        dialect = self._connection.dialect.name
        self._connection.execute(_upsert(dialect, now))
        self._connection.execute(_add_sources(dialect))
        return counts

    def _number(self, entries: Iterable[Entry]) -> Iterator[tuple[Any, ...]]:
        for entry in entries:
            self._staged += 1
            hashed = hash_address(self._hash_key, entry.email_key)
            yield (self._staged, precedence(entry.role), hashed, *entry)

    def _insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        names = ", ".join(_STAGED.c.keys())
        if self._connection.dialect.name == "postgresql":
            driver = self._connection.connection.driver_connection
            assert isinstance(driver, PsycopgConnection)
            with (
                driver.cursor() as cursor,
                cursor.copy(f"COPY staged_recipients ({names}) FROM STDIN") as copy,
            ):
                for row in rows:
                    copy.write_row(row)
        elif rows:
            marks = ", ".join("?" * len(_STAGED.c))
            self._connection.exec_driver_sql(
                f"INSERT INTO staged_recipients ({names}) VALUES ({marks})",  # noqa: S608
                list(rows),
            )

    def _repeated(self) -> Iterator[list[list[Any]]]:
        ...
