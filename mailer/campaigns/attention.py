"""What about campaigns wants somebody's attention, in calm words."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from mailer.campaigns.batches import often_broken_off
from mailer.campaigns.ledger import is_uncertain
from mailer.campaigns.models import Batch, BatchState, Campaign, CampaignState, Delivery
from mailer.campaigns.planning import is_open

_STILL = timedelta(minutes=10)
_OVERDUE_LEASE = timedelta(seconds=30)
"""The sweep, which comes every ten seconds, has had its chances by then."""
_UNENDED = (CampaignState.SCHEDULED, CampaignState.SENDING, CampaignState.PAUSED)


class Trouble(StrEnum):
    """What may be wrong with campaigns."""

    UNCERTAIN = "uncertain"
    """Too many letters of a campaign may or may not have arrived."""
    STILL = "still"
    """A campaign is sending, and nothing has moved for a while."""
    LOST = "lost"
    """Workers hold batches and give no sign of life."""
    BROKEN = "broken"
    """The work on the same letters of a campaign breaks off again and again."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One thing that wants somebody's attention; as text, a line for the command line."""

    trouble: Trouble
    campaign: str | None
    """None where it is not one campaign's."""
    count: int | None
    """Letters, minutes, batches or times; None for a campaign of which nothing has moved yet."""

    def __str__(self) -> str:
        """The line."""
        match self.trouble:
            case Trouble.UNCERTAIN:
                return (
                    f"{self.campaign}: {self.count:,} letters are uncertain; see"
                    f"  mailer campaign ledger {self.campaign} --state uncertain"
                )
            case Trouble.STILL:
                since = "yet" if self.count is None else f"for {self.count} minutes"
                return f"{self.campaign}: is sending, and nothing has moved {since}"
            case Trouble.LOST:
                return f"{self.count} batches are claimed by workers that give no sign of life"
            case Trouble.BROKEN:
                return (
                    f"{self.campaign}: the work on some letters has broken off {self.count} times;"
                    " the log of the workers says why"
                )


def unended_campaigns(db: Session) -> list[Campaign]:
    """Campaigns that are launched and neither finished nor cancelled, oldest first."""
    unended = select(Campaign).where(Campaign.state.in_(_UNENDED)).order_by(Campaign.id)
    return list(db.scalars(unended))


def find_alarms(db: Session, *, now: datetime, shown: datetime, uncertain_alarm: int) -> Iterator[Alarm]:
    """What is wrong with campaigns.

    Args:
        now: real time.
        shown: the clock people see.
        uncertain_alarm: so many uncertain letters of a campaign are too many.
    """
    for name, count in _uncertain(db).items():
        if count >= uncertain_alarm:
            yield Alarm(Trouble.UNCERTAIN, name, count)
    for name, last in _still(db, now=now, shown=shown).items():
        yield Alarm(Trouble.STILL, name, _minutes(now - last) if last else None)
    often = often_broken_off(db)
    for campaign in unended_campaigns(db) if often else ():
        if campaign.id in often:
            yield Alarm(Trouble.BROKEN, campaign.name, often[campaign.id])
    lost = db.scalar(
        select(func.count())
        .select_from(Batch)
        .where(Batch.state == BatchState.CLAIMED, Batch.lease_until < now - _OVERDUE_LEASE)
    )
    if lost:
        yield Alarm(Trouble.LOST, None, lost)


def _uncertain(db: Session) -> Mapping[str, int]:
    rows = db.execute(
        select(Campaign.name, func.count())
        .join(Delivery, Delivery.campaign_id == Campaign.id)
        .where(is_uncertain())
        .group_by(Campaign.name)
        .order_by(Campaign.name)
    )
    return {row[0]: row[1] for row in rows}


def _still(db: Session, *, now: datetime, shown: datetime) -> Mapping[str, datetime | None]:
    """Campaigns whose letters might leave and have not for a while, and when the last did."""
    last = func.coalesce(Campaign.progressed_at, Campaign.started_at)
    oldest = func.min(Batch.due_at)
    rows = db.execute(
        select(Campaign.name, last)
        .join(Batch, Batch.campaign_id == Campaign.id)
        .where(
            Campaign.state == CampaignState.SENDING,
            is_open(shown),
            Batch.state != BatchState.DONE,
            Batch.due_at.is_not(None),
            or_(last.is_(None), last < now - _STILL),
        )
        .group_by(Campaign.name, Campaign.waiting_for, last)
        .having(or_(Campaign.waiting_for.is_not(None), oldest < now - _STILL))
        .order_by(Campaign.name)
    )
    return {row[0]: row[1] for row in rows}


def _minutes(length: timedelta) -> int:
    return int(length.total_seconds() // 60)
