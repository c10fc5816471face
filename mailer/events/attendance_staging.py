"""Where the rows of an attendance list wait, and the statements that make registrations of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    CursorResult,
    Insert,
    Integer,
    MetaData,
    String,
    Subquery,
    Table,
    Update,
    and_,
    case,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from mailer.events.attendance_rows import Attendance
from mailer.events.matching import link_registrations
from mailer.events.models import Registration, RegistrationSource, RegistrationState
from mailer.events.registering import lock_seats
from mailer.foundation.database import UTCDateTime, begin_write
from recipients.models import Recipient

_OLD = cast("Table", Registration.__table__)
_RECIPIENTS = cast("Table", Recipient.__table__)
_METADATA = MetaData()
_STAGED = Table(
    "staged_registrations",
    _METADATA,
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("line", Integer, nullable=False),
    Column("email", String, nullable=False),
    Column("email_key", String, nullable=False, index=True),
    Column("name", String),
    Column("organisation", String),
    Column("state", _OLD.c.state.type, nullable=False),
    prefixes=["TEMPORARY"],
)
_NEW, _CHANGED, _HOSTED = "new", "changed", "hosted"
_SHOWN_LINES = 5


@dataclass(frozen=True, slots=True)
class MergeOutcome:
    """What becomes of the distinct addresses of a list, and of those on earlier lists only."""

    counts: Mapping[str, int]
    """How many are new, changed, the same, or registered or cancelled here."""
    hosted_lines: Sequence[int] = ()
    """The first few lines of those who registered or cancelled here."""
    taken_off: int = 0

    @property
    def imported(self) -> int:
        """How many were not registered in any state before."""
        return self.counts.get(_NEW, 0)

    @property
    def updated(self) -> int:
        """How many stand otherwise than an earlier list had them."""
        return self.counts.get(_CHANGED, 0)

    @property
    def hosted(self) -> int:
        """How many registered or cancelled here, which no list changes."""
        return self.counts.get(_HOSTED, 0)

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values())


class AttendanceStaging:
    """The temporary table of one list, on a connection of its own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._staged = 0
        with connection.begin():
            _METADATA.create_all(connection, checkfirst=False)

    def add(self, rows: Sequence[Attendance]) -> None:
        """Stage some rows, in the order in which they were read."""
        staged = [
            {"ordinal": ordinal, **row._asdict()}
            for ordinal, row in enumerate(rows, start=self._staged + 1)
        ]
        self._staged += len(staged)
        if staged:
            with self._connection.begin():
                self._connection.execute(insert(_STAGED), staged)

    def merge(self, event_id: int, *, now: datetime, replace: bool, dry_run: bool) -> MergeOutcome:
        """Make registrations of everything staged, in one transaction.

        Args:
            replace: those on earlier lists and not on this one are taken off.
            dry_run: do the same and take it all back.
        """
        with begin_write(self._connection), self._connection.begin_nested() as attempt:
            with Session(self._connection) as db, db.begin():
                lock_seats(db, event_id)
                link_registrations(db, event_id)
            outcome = self._write(event_id, now, replace=replace)
            if dry_run:
                attempt.rollback()
        return outcome

    def _write(self, event_id: int, now: datetime, *, replace: bool) -> MergeOutcome:
        merged = _merged(event_id)
        kinds = select(merged.c.kind, func.count()).group_by(merged.c.kind)
        hosted = select(merged.c.line).where(merged.c.kind == _HOSTED).order_by(merged.c.line)
        run = self._connection.execute
        counts: dict[str, int] = dict(run(kinds).all())
        lines = run(hosted.limit(_SHOWN_LINES)).scalars().all()
        run(_update(merged, self._last_number(event_id), now))
        run(_insert(merged, event_id, self._last_number(event_id), now))
        taken_off = 0
        if replace:
            gone = run(_take_off(event_id, now))
            assert isinstance(gone, CursorResult)
            taken_off = gone.rowcount
        return MergeOutcome(counts, lines, taken_off)

    def _last_number(self, event_id: int) -> int:
        last = select(func.max(_OLD.c.number)).where(_OLD.c.event_id == event_id)
        return self._connection.scalar(last) or 0


def _merged(event_id: int) -> Subquery:
    """Every address of the list, its first row, with the values it will have and what that means."""
    new, known, unknown = _STAGED.c, _OLD.alias("known"), _OLD.alias("unknown")
    first = select(func.min(new.ordinal)).group_by(new.email_key)

    def old(field: str) -> ColumnElement[Any]:
        return func.coalesce(known.c[field], unknown.c[field])

    name = func.coalesce(new.name, old("name"))
    organisation = func.coalesce(new.organisation, old("organisation"))
    moves = new.state != old("state")
    differs = or_(
        moves,
        name.is_distinct_from(old("name")),
        organisation.is_distinct_from(old("organisation")),
    )
    kind = case(
        (old("id").is_(None), _NEW),
        (old("source") == RegistrationSource.HOSTED, _HOSTED),
        (differs, _CHANGED),
        else_="same",
    )
    returns = and_(kind == _CHANGED, moves, old("state") == RegistrationState.CANCELLED)
    return (
        select(
            new.line,
            new.email,
            new.email_key,
            name.label("name"),
            organisation.label("organisation"),
            new.state,
            _RECIPIENTS.c.id.label("recipient_id"),
            old("id").label("old_id"),
            kind.label("kind"),
            moves.label("moves"),
            returns.label("returns"),
            func.row_number().over(partition_by=(kind, returns), order_by=new.ordinal).label("place"),
        )
        .select_from(
            _STAGED.outerjoin(_RECIPIENTS, _RECIPIENTS.c.email_key == new.email_key)
            .outerjoin(
                known,
                and_(known.c.event_id == event_id, known.c.recipient_id == _RECIPIENTS.c.id),
            )
            .outerjoin(
                unknown,
                and_(unknown.c.event_id == event_id, unknown.c.email_key == new.email_key),
            )
        )
        .where(new.ordinal.in_(first))
        .subquery("merged")
    )


def _update(merged: Subquery, last: int, now: datetime) -> Update:
    """Change those an earlier list had otherwise; whoever had cancelled goes to the end."""
    moment = literal(now, UTCDateTime())
    new = merged.c
    return (
        update(_OLD)
        .where(_OLD.c.id == new.old_id, new.kind == _CHANGED)
        .values(
            name=new.name,
            organisation=new.organisation,
            state=new.state,
            number=case((new.returns, new.place + last), else_=_OLD.c.number),
            registered_at=case((new.returns, moment), else_=_OLD.c.registered_at),
            changed_at=case((new.moves, moment), else_=_OLD.c.changed_at),
        )
    )


def _insert(merged: Subquery, event_id: int, last: int, now: datetime) -> Insert:
    """Add those nobody had; what a recipient's own row has is not kept twice."""
    moment = literal(now, UTCDateTime())
    new = merged.c
    unknown = new.recipient_id.is_(None)
    values: dict[str, ColumnElement[Any]] = {
        "event_id": literal(event_id),
        "recipient_id": new.recipient_id,
        "email": case((unknown, new.email)),
        "email_key": case((unknown, new.email_key)),
        "name": new.name,
        "organisation": new.organisation,
        "state": new.state,
        "source": literal(RegistrationSource.LIST, _OLD.c.source.type),
        "number": new.place + last,
        "registered_at": moment,
        "changed_at": moment,
    }
    return insert(_OLD).from_select(list(values), select(*values.values()).where(new.kind == _NEW))


def _take_off(event_id: int, now: datetime) -> Update:
    """Cancel what earlier lists had and this one has not."""
    of_recipient = select(_RECIPIENTS.c.email_key).where(_RECIPIENTS.c.id == _OLD.c.recipient_id)
    key = func.coalesce(of_recipient.scalar_subquery(), _OLD.c.email_key)
    return (
        update(_OLD)
        .where(
            _OLD.c.event_id == event_id,
            _OLD.c.source == RegistrationSource.LIST,
            _OLD.c.state != RegistrationState.CANCELLED,
            key.not_in(select(_STAGED.c.email_key)),
        )
        .values(state=RegistrationState.CANCELLED, changed_at=now)
    )
