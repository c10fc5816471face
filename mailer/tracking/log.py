"""Writing the event log: what somebody did, with the person only where mode and person allow it.

What is kept with nobody is not kept as an event at all: it is counted.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

from psycopg import Connection as PsycopgConnection
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    String,
    and_,
    any_,
    func,
    inspect,
    literal,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign, Delivery
from mailer.foundation.settings import TrackingMode
from mailer.tracking.labels import Judgement, judge_sighting
from mailer.tracking.models import TrackingCount, TrackingKind, UserAgent
from mailer.tracking.sightings import LONGEST_USER_AGENT, NOBODY, Sighting
from recipients.models import Recipient, TrackingChoice

NO_CAMPAIGN = 0
_ALLOWED: Mapping[str, ColumnElement[bool]] = {
    TrackingMode.PERSONAL: Recipient.tracking.is_distinct_from(TrackingChoice.OBJECTION),
    TrackingMode.CONSENT: Recipient.tracking == TrackingChoice.CONSENT,
}
"""By mode, whom it allows to be kept; the other modes allow nobody."""
_COLUMNS = (
    "kind, campaign_id, position, link_number, subject, manner, agent_id, network, label, reason,"
    " settled, at"
)
_COPY = f"COPY tracking_events ({_COLUMNS}) FROM STDIN"
_INSERT = f"INSERT INTO tracking_events ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - all of it stands here

_Count = tuple[int, date, TrackingKind, int, str, str, str]


def record(
    db: Session,
    sightings: Sequence[Sighting],
    *,
    zone: ZoneInfo,
    objecting: Collection[tuple[int | None, int]] = (),
) -> int:
    """Append to the event log, or count; return how many sightings were taken in.

    A sighting of a campaign this database does not know is left out: its token is genuine, but
    older than the database.

    Args:
        zone: in which a day begins and ends.
        objecting: campaign and position of letters whose recipients' objection is yet to be written to
            their rows; nothing is kept of them, whichever letter it is from.
    """
    modes = _modes(db, {seen.campaign_id for seen in sightings if seen.campaign_id is not None})
    people = _find_people(db, modes, sightings, objecting)
    personal: list[tuple[Sighting, Judgement]] = []
    counts: Counter[_Count] = Counter()
    for seen in sightings:
        if seen.campaign_id is not None and seen.campaign_id not in modes:
            continue
        judgement = judge_sighting(seen.kind, seen.manner, seen.user_agent)
        if seen.campaign_id is not None and seen.position in people.get(seen.campaign_id, ()):
            personal.append((seen, judgement))
        else:
            counts[_count_of(seen, judgement, zone)] += 1
    _insert_events(db, personal)
    _add_counts(db, counts)
    return len(personal) + counts.total()


def _modes(db: Session, campaign_ids: Iterable[int]) -> dict[int, str]:
    wanted = sorted(campaign_ids)
    if not wanted:
        return {}
    rows = db.execute(select(Campaign.id, Campaign.tracking).where(Campaign.id.in_(wanted)))
    return {row.id: row.tracking for row in rows}


def _find_people(
    db: Session,
    modes: Mapping[int, str],
    sightings: Iterable[Sighting],
    objecting: Collection[tuple[int | None, int]],
) -> Mapping[int, Collection[int]]:
    """By campaign, the positions behind which is somebody whom mode and choice allow to be kept."""
    positions: dict[int, set[int]] = {}
    for seen in sightings:
        campaign_id = seen.campaign_id
        if campaign_id is not None and seen.position != NOBODY and modes.get(campaign_id) in _ALLOWED:
            positions.setdefault(campaign_id, set()).add(seen.position)
    if not positions:
        return {}
    silent = _behind(db, objecting)
    rows = db.execute(
        # One text for each campaign: a row for each delivery costs more than the question.
        select(
            Delivery.campaign_id,
            func.aggregate_strings(sql_cast(Delivery.position, String), ","),
        )
        .join(Recipient, Recipient.id == Delivery.recipient_id)
        .where(
            or_(
                *(
                    and_(
                        Delivery.campaign_id == campaign_id,
                        _is_one_of(db, Delivery.position, wanted),
                        _ALLOWED[modes[campaign_id]],
                    )
                    for campaign_id, wanted in positions.items()
                )
            ),
            Recipient.id.not_in(silent) if silent else true(),
        )
        .group_by(Delivery.campaign_id)
    )
    return {campaign_id: set(map(int, found.split(","))) for campaign_id, found in rows}


def _behind(db: Session, letters: Iterable[tuple[int | None, int]]) -> Sequence[int]:
    """The ids of recipients of letters."""
    positions: dict[int, set[int]] = {}
    for campaign_id, position in letters:
        if campaign_id is not None:
            positions.setdefault(campaign_id, set()).add(position)
    if not positions:
        return []
    these = (
        and_(Delivery.campaign_id == campaign_id, _is_one_of(db, Delivery.position, wanted))
        for campaign_id, wanted in positions.items()
    )
    found = select(Delivery.recipient_id).where(or_(*these), Delivery.recipient_id.is_not(None))
    return [recipient_id for recipient_id in db.scalars(found) if recipient_id is not None]


def _is_one_of(db: Session, column: Any, numbers: Iterable[int]) -> ColumnElement[bool]:
    """True for these numbers, sent as one text: thousands of parameters cost more than the question."""
    written = ",".join(map(str, numbers))
    if _on_postgres(db):
        listed = sql_cast(literal(f"{{{written}}}", String), ARRAY(BigInteger))
        return cast("ColumnElement[bool]", column == any_(listed))
    each = func.json_each(f"[{written}]").table_valued("value")
    return cast("ColumnElement[bool]", column.in_(select(each.c.value)))


def _count_of(seen: Sighting, judgement: Judgement, zone: ZoneInfo) -> _Count:
    return (
        NO_CAMPAIGN if seen.campaign_id is None else seen.campaign_id,
        seen.at.astimezone(zone).date(),
        seen.kind,
        seen.link_number or 0,
        seen.subject or "",
        judgement.label,
        judgement.reason,
    )


def _insert_events(db: Session, personal: Sequence[tuple[Sighting, Judgement]]) -> None:
    if not personal:
        return
    agents = _agents(db, {seen.user_agent[:LONGEST_USER_AGENT] for seen, _ in personal})
    on_postgres = _on_postgres(db)
    rows = [
        (
            seen.kind.value,
            seen.campaign_id,
            seen.position,
            seen.link_number,
            seen.subject,
            seen.manner.value,
            agents[seen.user_agent[:LONGEST_USER_AGENT]],
            seen.network,
            judgement.label.value,
            judgement.reason,
            False,
            seen.at if on_postgres else _as_text(seen.at),
        )
        for seen, judgement in personal
    ]
    connection = db.connection()
    if on_postgres:
        driver = cast("PsycopgConnection", connection.connection.dbapi_connection)
        with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
            for row in rows:
                copy.write_row(row)
    else:
        connection.exec_driver_sql(_INSERT, rows)


def _as_text(moment: datetime) -> str:
    """A moment as SQLAlchemy has SQLite store it."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _agents(db: Session, texts: set[str]) -> dict[str, int]:
    """The number of each text, new ones added."""
    wanted = sorted(texts)
    known = _find_agents(db, wanted)
    missing = [each for each in wanted if each not in known]
    if missing:
        adding = _inserting(db)(UserAgent).on_conflict_do_nothing()
        db.execute(adding, [{"text": each} for each in missing])
        known |= _find_agents(db, missing)
    return known


def _find_agents(db: Session, texts: Sequence[str]) -> dict[str, int]:
    rows = db.execute(select(UserAgent.text, UserAgent.id).where(UserAgent.text.in_(texts)))
    return {row.text: row.id for row in rows}


def _add_counts(db: Session, counts: Counter[_Count]) -> None:
    """Add to what was counted before; in one order, so that no two writers wait for each other."""
    if not counts:
        return
    names = [column.name for column in inspect(TrackingCount).primary_key]
    rows: list[dict[str, Any]] = [
        {**dict(zip(names, key, strict=True)), "total": total} for key, total in sorted(counts.items())
    ]
    adding = _inserting(db)(TrackingCount)
    adding = adding.on_conflict_do_update(
        index_elements=names, set_={"total": TrackingCount.total + literal_column("excluded.total")}
    )
    db.execute(adding, rows)


def _inserting(db: Session) -> Any:
    """The database's own ``insert``, which knows conflicts."""
    return (postgresql if _on_postgres(db) else sqlite).insert


def _on_postgres(db: Session) -> bool:
    return db.get_bind().dialect.name == "postgresql"
