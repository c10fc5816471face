"""Where imported rows wait: temporary tables, and the one transaction that merges them.

Rows are staged by COPY on PostgreSQL and into SQLite's temporary database, which holds no lock on the
real one; only the merge writes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, cast

from psycopg import Connection as PsycopgConnection
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Executable,
    Integer,
    MetaData,
    Select,
    String,
    Subquery,
    Table,
    Text,
    and_,
    case,
    delete,
    exists,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    type_coerce,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB

from mailer.foundation.database import UTCDateTime
from recipients.addresses import hash_address
from recipients.entries import Entry, combine_entries
from recipients.models import (
    Confederation,
    Recipient,
    RecipientSource,
    Region,
    Role,
    Sector,
    Suppression,
    SuppressionReason,
    TrackingChoice,
)
from recipients.versions import PARTICULARS, forget_unshown, keep_versions
from recipients.words import precedence

_METADATA = MetaData()


def _staged_table(name: str) -> Table:
    """A temporary table of entries; there is at most one row per address after ``combine``."""
    return Table(
        name,
        _METADATA,
        Column("ordinal", Integer, primary_key=True, autoincrement=False),
        Column("precedence", Integer, nullable=False),
        Column("address_hash", Text, nullable=False),
        *(Column(field, Boolean if field == "shared" else Text) for field in Entry._fields),
        prefixes=["TEMPORARY"],
    )


_STAGED = _staged_table("staged_recipients")
_COMBINED = _staged_table("combined_recipients")
_SOURCES = Table(
    "staged_sources",
    _METADATA,
    Column("email_key", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    prefixes=["TEMPORARY"],
)
_OLD = cast("Table", Recipient.__table__)
_ADDRESS = ("email", "email_key", "address_hash", "domain")
"""Written with a new address, and never changed."""
_MERGED = Table(
    "merged_recipients",
    _METADATA,
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("old_id", Integer),
    Column("shown_otherwise", Boolean),
    *(Column(name, Text) for name in _ADDRESS),
    *(Column(name, _OLD.c[name].type) for name in PARTICULARS),
    prefixes=["TEMPORARY"],
)
"""Every address that is new or changes, with the values it will have."""
_OLD_SOURCES = cast("Table", RecipientSource.__table__)
_AT_ONCE = 2000
_BEFORE_ENTRY = 3
"""Columns of a staged table that stand before the entry's own."""

_PLAIN: dict[Any, Any] = {
    word: word.value for kind in (Role, Sector, Confederation, Region, TrackingChoice) for word in kind
}
"""Stored words as plain text, which both drivers take fastest."""

_Row = tuple[Any, ...]


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
        self._on_postgres = connection.dialect.name == "postgresql"
        self._hash_key = hash_key
        self._staged = 0
        with connection.begin():
            _METADATA.create_all(connection, checkfirst=False)

    def add(self, entries: Iterable[Entry]) -> None:
        """Stage some rows, in the order in which they were read."""
        rows = []
        for entry in entries:
            self._staged += 1
            rows.append(self._as_row(self._staged, entry))
        with self._connection.begin():
            self._insert(_STAGED, rows)

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
            saved = self._combine_repeated()
            if self._on_postgres:
                self._connection.exec_driver_sql("ANALYZE staged_recipients, staged_sources")
        return saved

    def count(self) -> MergeCounts:
        """What the merge would do now."""
        self._connection.execute(_merge(on_postgres=self._on_postgres))
        counted = select(
            select(func.count()).select_from(_STAGED).scalar_subquery(),
            func.count().filter(_MERGED.c.old_id.is_(None)),
            func.count().filter(_MERGED.c.old_id.is_not(None)),
        ).select_from(_MERGED)
        total, imported, updated = self._connection.execute(counted).one()
        return MergeCounts(imported, updated, total - imported - updated)

    def merge(
        self, now: datetime, *, written_to: Select[int], claims: Select[int] | None
    ) -> MergeCounts:
        """Write everything staged into the real tables, within the transaction that is open.

        Args:
            written_to: ids of those who may have had a letter: what their rows said is kept.
            claims: the newest version there was at each claim; versions that no letter showed are
                forgotten. None forgets none.
        """
        counts = self.count()
        if counts.updated:
            if claims is not None:
                forget_unshown(self._connection, claims)
            changing = select(_MERGED.c.old_id).where(_MERGED.c.shown_otherwise)
            had_one = written_to.subquery().c[0]
            # Asked the other way about, SQLite would sort everybody who was ever written to.
            keep_versions(self._connection, select(had_one).where(had_one.in_(changing)), now=now)
        self._connection.execute(_upsert(now, on_postgres=self._on_postgres))
        self._connection.execute(_add_sources(on_postgres=self._on_postgres))
        return counts

    def _as_row(self, ordinal: int, entry: Entry) -> _Row:
        values = map(_PLAIN.get, entry, entry)
        hashed = hash_address(self._hash_key, entry.email_key)
        return (ordinal, precedence(entry.role), hashed, *values)

    def _insert(self, table: Table, rows: Sequence[_Row]) -> None:
        names = ", ".join(table.c.keys())
        if self._on_postgres:
            driver = cast("PsycopgConnection", self._connection.connection.dbapi_connection)
            with (
                driver.cursor() as cursor,
                cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy,
            ):
                for row in rows:
                    copy.write_row(row)
        elif rows:
            marks = ", ".join("?" * len(table.c))
            statement = f"INSERT INTO {table.name} ({names}) VALUES ({marks})"  # noqa: S608
            self._connection.exec_driver_sql(statement, list(rows))

    def _combine_repeated(self) -> int:
        keys = select(_STAGED.c.email_key).group_by(_STAGED.c.email_key)
        repeated = (
            select(_STAGED)
            .where(_STAGED.c.email_key.in_(keys.having(func.count() > 1)))
            .order_by(_STAGED.c.email_key, _STAGED.c.ordinal)
            .execution_options(yield_per=_AT_ONCE)
        )
        saved = 0
        combined = []
        rows = self._connection.execute(repeated)
        for _, group in groupby(rows, key=lambda row: row.email_key):
            same = list(group)
            saved += len(same) - 1
            entry = combine_entries([Entry(*row[_BEFORE_ENTRY:]) for row in same])
            combined.append(self._as_row(same[0].ordinal, entry))
            if len(combined) == _AT_ONCE:
                self._insert(_COMBINED, combined)
                combined = []
        self._insert(_COMBINED, combined)
        self._connection.execute(
            delete(_STAGED).where(_STAGED.c.email_key.in_(select(_COMBINED.c.email_key)))
        )
        self._connection.execute(insert(_STAGED).from_select(_STAGED.c.keys(), select(_COMBINED)))
        return saved


def _merged(*, on_postgres: bool) -> Subquery:
    """Every staged address with the values it will have, and whether the table says otherwise.

    ``shown_otherwise`` is true where a letter would show the difference, or be decided by it.

    The highest office wins; an equal or an unsaid one is a newer list of the same office, and wins
    too. What does not win fills the gaps.
    """
    new, old = _STAGED.c, _OLD.c
    places = {role.value: precedence(role) for role in Role}
    old_precedence = case(places, value=_text(old.role))
    gaining = _gains_source()
    gains_source = gaining.c.email_key.is_not(None)
    wins = or_(new.precedence <= old_precedence, new.role.is_(None))
    shared = or_(new.shared, func.coalesce(old.shared, false()), _names_differ(gains_source))

    def choose(mine: ColumnElement[Any], theirs: ColumnElement[Any]) -> ColumnElement[Any]:
        return case((wins, func.coalesce(mine, theirs)), else_=func.coalesce(theirs, mine))

    def choose_word(field: str, missing: str) -> ColumnElement[Any]:
        stored = func.nullif(_text(old[field]), missing)
        return func.coalesce(choose(new[field], stored), missing)

    values: dict[str, ColumnElement[Any]] = {
        "name": choose(new.name, old.name),
        "role": func.coalesce(
            case((new.precedence < old_precedence, new.role), else_=_text(old.role)),
            new.role,
            Role.OTHER.value,
        ),
        "sector": choose_word("sector", Sector.NONE.value),
        "organisation": choose(new.organisation, old.organisation),
        "workplace": choose(new.workplace, old.workplace),
        "confederation": choose_word("confederation", Confederation.NONE.value),
        "region": choose(new.region, _text(old.region)),
        "language": func.coalesce(choose(new.language, old.language), "da"),
        "tracking": _choose_tracking(shared),
        "shared": shared,
    }
    differs = [value.is_distinct_from(_text(old[field])) for field, value in values.items()]
    attributes, attributes_differ = _merge_attributes(wins, on_postgres=on_postgres)
    return (
        select(
            new.ordinal,
            new.email,
            new.email_key,
            new.address_hash,
            new.domain,
            *(value.label(field) for field, value in values.items()),
            attributes.label("attributes"),
            old.id.label("old_id"),
            or_(*differs, attributes_differ).label("shown_otherwise"),
            or_(*differs, attributes_differ, gains_source).label("changed"),
        )
        .select_from(
            _STAGED.outerjoin(_OLD, old.email_key == new.email_key).outerjoin(
                gaining, gaining.c.email_key == new.email_key
            )
        )
        .subquery("merged")
    )


def _choose_tracking(shared: ColumnElement[bool]) -> ColumnElement[Any]:
    """What holds of tracking: an objection, wherever it is; else what was said before; else the list.

    So no list lifts an objection, and none gives again what was taken back. Who objected to all mail
    before they stood on a list is not tracked either. For all who read at a shared address no list
    consents.
    """
    new, old = _STAGED.c, _OLD.c
    known = _text(old.tracking)
    objected = select(Suppression.address_hash).where(Suppression.reason == SuppressionReason.OBJECTED)
    objects = or_(
        new.tracking == TrackingChoice.OBJECTION.value,
        known == TrackingChoice.OBJECTION.value,
        and_(old.id.is_(None), new.address_hash.in_(objected)),
    )
    consents = new.tracking == TrackingChoice.CONSENT.value
    return case(
        (objects, TrackingChoice.OBJECTION.value),
        (and_(shared, consents), known),
        else_=func.coalesce(known, new.tracking),
    )


def _text(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """A column of stored words as the text it is, so that it compares with text."""
    return column if isinstance(column.type, Boolean) else type_coerce(column, String)


def _gains_source() -> Subquery:
    """The known addresses that now stand on a list they did not stand on."""
    keys = (
        select(_SOURCES.c.email_key)
        .join_from(_SOURCES, _OLD, _OLD.c.email_key == _SOURCES.c.email_key)
        .outerjoin(
            _OLD_SOURCES,
            and_(
                _OLD_SOURCES.c.recipient_id == _OLD.c.id,
                _OLD_SOURCES.c.source == _SOURCES.c.source,
            ),
        )
        .where(_OLD_SOURCES.c.source.is_(None))
    )
    return keys.distinct().subquery("gains_source")


def _names_differ(gains_source: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether another party's list has another name for the address: it stands for several people.

    Another name on the same party's list is a correction.
    """
    on_a_list = exists().where(_OLD_SOURCES.c.recipient_id == _OLD.c.id).correlate(_OLD)
    differ = func.lower(_STAGED.c.name) != func.lower(_OLD.c.name)
    return func.coalesce(and_(gains_source, differ, on_a_list), false())


def _merge_attributes(
    wins: ColumnElement[bool], *, on_postgres: bool
) -> tuple[ColumnElement[Any], ColumnElement[bool]]:
    """The keys of both sides, the winner's values; and whether that is anything new."""
    if on_postgres:
        nothing = sql_cast(literal("{}", Text), JSONB)
        old = func.coalesce(sql_cast(_OLD.c.attributes, JSONB), nothing)
        new = func.coalesce(sql_cast(_STAGED.c.attributes, JSONB), nothing)
        joined = case((wins, old.op("||")(new)), else_=new.op("||")(old))
        return sql_cast(joined, JSON), joined.is_distinct_from(old)
    stored = func.json(func.coalesce(type_coerce(_OLD.c.attributes, Text), "{}"))
    given = func.coalesce(_STAGED.c.attributes, "{}")
    # The stored keys stay first whoever wins, so that equal objects are equal text.
    patched = case(
        (wins, func.json_patch(stored, given)),
        else_=func.json_patch(func.json_patch(stored, given), stored),
    )
    return patched, patched.is_distinct_from(stored)


def _merge(*, on_postgres: bool) -> Executable:
    merged = _merged(on_postgres=on_postgres)
    names = _MERGED.c.keys()
    return insert(_MERGED).from_select(
        names,
        select(*(merged.c[name] for name in names)).where(
            or_(merged.c.old_id.is_(None), merged.c.changed)
        ),
    )


def _upsert(now: datetime, *, on_postgres: bool) -> Executable:
    """One statement for all: whole or not at all."""
    moment = literal(now, UTCDateTime())
    names = [*_ADDRESS, *PARTICULARS]
    dialect_insert = postgresql.insert if on_postgres else sqlite.insert
    statement = dialect_insert(_OLD).from_select(
        [*names, "created_at", "updated_at"],
        select(*(_MERGED.c[name] for name in names), moment, moment).order_by(_MERGED.c.ordinal),
    )
    new = statement.excluded
    said_meanwhile = case(
        (new.tracking == TrackingChoice.OBJECTION, new.tracking),
        else_=func.coalesce(_OLD.c.tracking, new.tracking),
    )
    newest = case((_OLD.c.updated_at > new.updated_at, _OLD.c.updated_at), else_=new.updated_at)
    return statement.on_conflict_do_update(
        index_elements=["email_key"],
        set_={name: new[name] for name in PARTICULARS}
        | {"tracking": said_meanwhile, "updated_at": newest},
    )


def _add_sources(*, on_postgres: bool) -> Executable:
    dialect_insert = postgresql.insert if on_postgres else sqlite.insert
    return (
        dialect_insert(_OLD_SOURCES)
        .from_select(
            ["recipient_id", "source"],
            select(_OLD.c.id, _SOURCES.c.source)
            .join_from(_SOURCES, _OLD, _OLD.c.email_key == _SOURCES.c.email_key)
            # SQLite reads ON CONFLICT after a bare join as the join's own condition.
            .where(_SOURCES.c.source.is_not(None)),
        )
        .on_conflict_do_nothing()
    )
