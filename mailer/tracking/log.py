"""Writing the event log: what somebody did, with the person only where mode and person allow it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select, tuple_
from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign, Delivery
from mailer.foundation.settings import TrackingMode
from mailer.tracking.labels import Judgement
from mailer.tracking.models import TrackingEvent, TrackingKind
from recipients.models import Recipient, TrackingChoice

NOBODY = 0
"""The position in tokens of campaigns that know no person."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """Something that somebody did, as the web saw it; ``record`` decides if the person is kept."""

    kind: TrackingKind
    at: datetime
    judgement: Judgement
    campaign_id: int | None = None
    position: int = NOBODY
    link_number: int | None = None
    subject: str | None = None


def record(db: Session, sightings: Sequence[Sighting]) -> int:
    """Append to the event log; return how many were.

    A sighting of a campaign this database does not know is left out: its token is genuine, but
    older than the database.
    """
    modes = _modes(db, {seen.campaign_id for seen in sightings if seen.campaign_id is not None})
    kept = [s for s in sightings if s.campaign_id is None or s.campaign_id in modes]
    choices = _choices(db, {(s.campaign_id, s.position) for s in kept if s.campaign_id is not None})
    rows = [
        {
            "kind": seen.kind,
            "campaign_id": seen.campaign_id,
            "position": _kept_position(seen.campaign_id, seen.position, modes, choices),
            "link_number": seen.link_number,
            "subject": seen.subject,
            "label": seen.judgement.label,
            "reason": seen.judgement.reason,
            "at": seen.at,
        }
        for seen in kept
    ]
    if rows:
        db.execute(insert(TrackingEvent), rows)
    return len(rows)


def personal_position(db: Session, campaign_id: int, position: int) -> int | None:
    """The position if what this person does may be kept with the person, else None.

    The campaign's mode decides, and what the person said: in mode ``consent`` only a yes makes it
    personal, and an objection counts in every mode. An erased person has no position.
    """
    key = (campaign_id, position)
    return _kept_position(*key, _modes(db, {campaign_id}), _choices(db, {key}))


def _kept_position(
    campaign_id: int | None,
    position: int,
    modes: dict[int, str],
    choices: dict[tuple[int, int], TrackingChoice | None],
) -> int | None:
    if campaign_id is None or (campaign_id, position) not in choices:
        return None
    choice = choices[campaign_id, position]
    match modes.get(campaign_id):
        case TrackingMode.PERSONAL:
            allowed = choice is not TrackingChoice.OBJECTION
        case TrackingMode.CONSENT:
            allowed = choice is TrackingChoice.CONSENT
        case _:
            allowed = False
    return position if allowed else None


def _modes(db: Session, campaign_ids: Iterable[int]) -> dict[int, str]:
    wanted = select(Campaign.id, Campaign.tracking).where(Campaign.id.in_(campaign_ids))
    return {row.id: row.tracking for row in db.execute(wanted)}


def _choices(
    db: Session, keys: Iterable[tuple[int, int]]
) -> dict[tuple[int, int], TrackingChoice | None]:
    """What the person behind each delivery said; deliveries without a person are missing."""
    wanted = [key for key in keys if key[1] != NOBODY]
    if not wanted:
        return {}
    rows = db.execute(
        select(Delivery.campaign_id, Delivery.position, Recipient.tracking)
        .join(Recipient, Recipient.id == Delivery.recipient_id)
        .where(tuple_(Delivery.campaign_id, Delivery.position).in_(wanted))
    )
    return {(campaign_id, position): choice for campaign_id, position, choice in rows}
