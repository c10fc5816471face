"""How far a campaign is, how fast it goes, and what it waits for, in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailer.campaigns.account import CLAIMED, count_states
from mailer.campaigns.batches import often_broken_off
from mailer.campaigns.ledger import is_deferred
from mailer.campaigns.models import Batch, BatchState, Campaign, CampaignState, Delivery
from mailer.campaigns.planning import is_waiting_part, timetable_of

UNCLAIMED_AFTER = timedelta(seconds=30)
"""A ready batch that nobody takes for so long lacks a worker."""

_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class Waiting(StrEnum):
    """What a campaign may wait for, as far as programs tell it apart."""

    RELAY = "relay"
    """A relay that can be used, or one that can take what is left."""
    PACE = "pace"
    """Domains take few letters at a time."""
    WORKER = "worker"
    """Letters are ready and nobody takes them."""
    FAULT = "fault"
    """The work on some letters breaks off again and again."""
    RETRY = "retry"
    """What is left was refused for now."""
    TIMETABLE = "timetable"
    """Its hours, a working day, its next part."""
    RESUME = "resume"
    """It is paused."""
    OTHER = "other"


_BEGINNINGS = {
    "relay ": Waiting.RELAY,
    "no relay ": Waiting.RELAY,
    "another relay": Waiting.RELAY,
    "the pace ": Waiting.PACE,
    "a worker": Waiting.WORKER,
    "somebody to mend a fault": Waiting.FAULT,
    "letters that were refused": Waiting.RETRY,
    "its ": Waiting.TIMETABLE,
    "a working day": Waiting.TIMETABLE,
    "the next part": Waiting.TIMETABLE,
    "somebody to resume it": Waiting.RESUME,
}
"""How what a campaign waits for is told, here and by the batch."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One look at a campaign."""

    campaign: str
    state: CampaignState
    audience: int
    deliveries: Mapping[str, int]
    waiting_for: str | None
    rate_per_second: float | None
    """Letters that came to an outcome, per second of real time since the first claim."""
    started_at: datetime | None
    finished_at: datetime | None


def look_at(
    db: Session, campaign: Campaign, *, now: datetime, shown: datetime, zone: ZoneInfo
) -> Progress:
    """Where the campaign stands.

    Args:
        now: real time.
        shown: the clock people see.
        zone: in which moments are told.
    """
    counts = count_states(db, campaign.id)
    return Progress(
        campaign=campaign.name,
        state=campaign.state,
        audience=campaign.audience,
        deliveries=counts,
        waiting_for=waiting_for(db, campaign, counts, now=now, shown=shown, zone=zone),
        rate_per_second=_rate(campaign, counts, now=now),
        started_at=campaign.started_at,
        finished_at=campaign.finished_at,
    )


def moment_text(moment: datetime, zone: ZoneInfo) -> str:
    """``Mon 9 March 08:00``: a moment as the office's clock shows it."""
    local = moment.astimezone(zone)
    return f"{_DAYS[local.weekday()]} {local.day} {_MONTHS[local.month - 1]} {local:%H:%M}"


def kind_of(told: str) -> Waiting:
    """The kind of what a campaign is told to wait for."""
    kinds = (kind for begins, kind in _BEGINNINGS.items() if told.startswith(begins))
    return next(kinds, Waiting.OTHER)


def waiting_for(
    db: Session,
    campaign: Campaign,
    counts: Mapping[str, int],
    *,
    now: datetime,
    shown: datetime,
    zone: ZoneInfo,
) -> str | None:
    """What a campaign waits for, in words; None for one that waits for nothing.

    Args:
        counts: letters pending, deferred and claimed, by that name; of these it only counts whether
            there are any.
        now: real time.
        shown: the clock people see.
        zone: in which moments are told.
    """
    match campaign.state:
        case CampaignState.SCHEDULED if campaign.due_at:
            return f"its time, {moment_text(campaign.due_at, zone)}"
        case CampaignState.PAUSED:
            return "somebody to resume it"
        case CampaignState.SENDING if not counts[CLAIMED]:
            return (
                _closed(campaign, shown, zone)
                or campaign.waiting_for
                or _broken_off(db, campaign)
                or _waiting_in_queue(db, campaign, counts, now=now, zone=zone)
            )
        case CampaignState.SENDING:
            return campaign.waiting_for or _broken_off(db, campaign)
        case _:
            return None


def _closed(campaign: Campaign, shown: datetime, zone: ZoneInfo) -> str | None:
    """The hours and days at which its letters leave, while it is none of them."""
    timetable = timetable_of(campaign, zone)
    if timetable.is_always:
        return None
    window = timetable.window_at(shown)
    if window.opens <= shown:
        return None
    when = f"its hours, {timetable}" if timetable.hours else "a working day"
    return f"{when}: it goes on {moment_text(window.opens, zone)}"


def _broken_off(db: Session, campaign: Campaign) -> str | None:
    """That workers die of its letters, or of the same fault."""
    times = often_broken_off(db).get(campaign.id)
    if times is None:
        return None
    return f"somebody to mend a fault: the work on some letters has broken off {times} times"


def _waiting_in_queue(
    db: Session, campaign: Campaign, counts: Mapping[str, int], *, now: datetime, zone: ZoneInfo
) -> str | None:
    ours = Batch.campaign_id == campaign.id
    if counts["pending"]:
        oldest = db.scalar(select(func.min(Batch.due_at)).where(ours, Batch.state == BatchState.READY))
        if oldest is not None and now - oldest > UNCLAIMED_AFTER:
            return "a worker: letters are ready and nobody takes them (is  mailer up  running?)"
        part = db.scalar(select(func.min(Batch.planned_at)).where(ours, is_waiting_part()))
        if oldest is None and part is not None:
            return f"the next part, {moment_text(part, zone)}"
        return None
    if counts["deferred"]:
        due = db.scalar(
            select(func.min(Delivery.due_at)).where(Delivery.campaign_id == campaign.id, is_deferred())
        )
        when = f"at {due.astimezone(zone):%H:%M:%S}" if due else "soon"
        return f"letters that were refused for now; the next attempt is {when}"
    return None


def _rate(campaign: Campaign, counts: Mapping[str, int], *, now: datetime) -> float | None:
    if campaign.started_at is None:
        return None
    seconds = ((campaign.finished_at or now) - campaign.started_at).total_seconds()
    done = campaign.audience - counts["pending"] - counts[CLAIMED] - counts["suppressed"]
    return round(done / seconds, 1) if seconds > 0 else None
