"""What shows that an uncertain letter arrived after all: its reader did something with it."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailer.campaigns.ledger import settle_uncertain
from mailer.tracking.models import TrackingEvent, TrackingKind

READ_BY_SOMEBODY = "something in the letter was opened"
_DEEDS = (
    TrackingKind.OPEN,
    TrackingKind.CLICK,
    TrackingKind.VIEW,
    TrackingKind.REMIND,
    TrackingKind.UNSUBSCRIBE,
    TrackingKind.TRAP,
)


def settle_by_tracking(db: Session, *, now: datetime) -> int:
    """Mark uncertain letters as sent of which the event log knows; return how many.

    A machine that fetched a link shows as well as a person that the letter is in a mailbox. Costs
    nothing while no letter is uncertain; doing it twice does no harm.

    Args:
        now: the clock people see.
    """
    read = select(TrackingEvent.campaign_id, TrackingEvent.position).where(
        TrackingEvent.kind.in_(_DEEDS)
    )
    return settle_uncertain(db, read, evidence=READ_BY_SOMEBODY, now=now)
