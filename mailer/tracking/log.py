"""Writing the event log: what somebody did, with the person only where mode and person allow it.

What is kept with nobody is not kept as an event at all: it is counted.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import BindParameter, bindparam, insert, inspect, literal_column, or_, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign, Delivery
from mailer.foundation.settings import TrackingMode
from mailer.tracking.labels import Judgement, judge_sighting
from mailer.tracking.models import TrackingCount, TrackingEvent, TrackingKind, UserAgent
from mailer.tracking.sightings import LONGEST_USER_AGENT, NOBODY, Sighting
from recipients.models import Recipient, TrackingChoice

NO_CAMPAIGN = 0
_PERSONAL_MODES = frozenset({TrackingMode.PERSONAL, TrackingMode.CONSENT})

_COLUMNS = {
    "kind": "varchar",
    "campaign_id": "integer",
    "position": "integer",
    "link_number": "integer",
    "subject": "varchar",
    "manner": "varchar",
    "agent_id": "integer",
    "network": "varchar",
    "label": "varchar",
    "reason": "varchar",
    "settled": "boolean",
    "at": "timestamptz",
}
_INSERT_MANY = text(
    f"INSERT INTO tracking_events ({', '.join(_COLUMNS)}) SELECT *"  # noqa: S608 - all of it stands here
    " FROM json_to_recordset(CAST(:rows AS json))"
    f" AS told ({', '.join(f'{name} {kind}' for name, kind in _COLUMNS.items())})"
)
"""One statement whatever the number of rows: PostgreSQL takes them in as one value."""

_Key = tuple[int, int]
_Count = tuple[int, date, TrackingKind, int, str, str, str]


def record(db: Session, sightings: Sequence[Sighting], *, zone: ZoneInfo) -> int:
    """Append to the event log, or count; return how many sightings were taken in.

    A sighting of a campaign this database does not know is left out: its token is genuine, but
    older than the database.

    Args:
        zone: in which a day begins and ends.
    """
    modes = _modes(db, {seen.campaign_id for seen in sightings if seen.campaign_id is not None})
    choices = _choices(
        db,
        {
            (seen.campaign_id, seen.position)
            for seen in sightings
            if seen.campaign_id is not None and modes.get(seen.campaign_id) in _PERSONAL_MODES
        },
    )
    personal: list[tuple[Sighting, Judgement]] = []
    counts: Counter[_Count] = Counter()
    for seen in sightings:
        if seen.campaign_id is not None and seen.campaign_id not in modes:
            continue
        judgement = judge_sighting(seen.kind, seen.manner, seen.user_agent)
        if _is_personal(seen.campaign_id, seen.position, modes, choices):
            personal.append((seen, judgement))
        else:
            counts[_count_of(seen, judgement, zone)] += 1
    _insert_events(db, personal)
    _add_counts(db, counts)
    return len(personal) + counts.total()


def _is_personal(
    campaign_id: int | None,
    position: int,
    modes: dict[int, str],
    choices: dict[_Key, TrackingChoice | None],
) -> bool:
    if campaign_id is None or (campaign_id, position) not in choices:
        return False
    choice = choices[campaign_id, position]
    match modes.get(campaign_id):
        case TrackingMode.PERSONAL:
            return choice is not TrackingChoice.OBJECTION
        case TrackingMode.CONSENT:
            return choice is TrackingChoice.CONSENT
        case _:
            return False


def _modes(db: Session, campaign_ids: Iterable[int]) -> dict[int, str]:
    wanted = sorted(campaign_ids)
    if not wanted:
        return {}
    rows = db.execute(select(Campaign.id, Campaign.tracking).where(Campaign.id.in_(wanted)))
    return {row.id: row.tracking for row in rows}


def _choices(db: Session, keys: Iterable[_Key]) -> dict[_Key, TrackingChoice | None]:
    """What the person behind each delivery said; deliveries without a person are missing."""
    positions: dict[int, list[int]] = {}
    for campaign_id, position in keys:
        if position != NOBODY:
            positions.setdefault(campaign_id, []).append(position)
    if not positions:
        return {}
    rows = db.execute(
        select(Delivery.campaign_id, Delivery.position, Recipient.tracking)
        .join(Recipient, Recipient.id == Delivery.recipient_id)
        .where(
            or_(
                *(
                    (Delivery.campaign_id == campaign_id) & Delivery.position.in_(_written_out(wanted))
                    for campaign_id, wanted in positions.items()
                )
            )
        )
    )
    return {(campaign_id, position): choice for campaign_id, position, choice in rows}


def _written_out(numbers: Sequence[int]) -> BindParameter[Sequence[int]]:
    """Numbers as they stand in the statement: thousands of parameters cost more than the question."""
    return bindparam(None, numbers, expanding=True, literal_execute=True)


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
    rows = [
        {
            "kind": seen.kind,
            "campaign_id": seen.campaign_id,
            "position": seen.position,
            "link_number": seen.link_number,
            "subject": seen.subject,
            "manner": seen.manner,
            "agent_id": agents[seen.user_agent[:LONGEST_USER_AGENT]],
            "network": seen.network,
            "label": judgement.label,
            "reason": judgement.reason,
            "settled": False,
            "at": seen.at,
        }
        for seen, judgement in personal
    ]
    if db.get_bind().dialect.name == "postgresql":
        db.execute(_INSERT_MANY, {"rows": json.dumps(rows, default=datetime.isoformat)})
    else:
        db.execute(insert(TrackingEvent), rows)


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
    return (postgresql if db.get_bind().dialect.name == "postgresql" else sqlite).insert
