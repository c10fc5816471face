"""What is kept of one person's doings with one letter, and why each is taken for what it is."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from mailer.campaigns.models import Delivery, Link
from mailer.tracking.models import Label, Manner, TrackingEvent, TrackingKind, UserAgent
from mailer.tracking.revising import explain
from recipients.errors import RecipientNotFound


@dataclass(frozen=True, slots=True)
class Happened:
    """One event of one letter, with the reason for its label in words."""

    at: datetime
    """The clock people see."""
    kind: TrackingKind
    link: int | None
    link_key: str | None
    subject: str | None
    manner: Manner
    user_agent: str | None
    """None where it was not kept."""
    label: Label
    reason: str
    explained: str
    settled: bool
    """No later event can change the label."""


def read_history(db: Session, campaign_id: int, recipient_id: int) -> list[Happened]:
    """Everything that is kept of what was done with this person's letter, in its order.

    Raises:
        RecipientNotFound: they have no letter of this campaign.
    """
    position = db.scalar(
        select(Delivery.position).where(
            Delivery.campaign_id == campaign_id, Delivery.recipient_id == recipient_id
        )
    )
    if position is None:
        raise RecipientNotFound("the recipient has no letter of this campaign")
    rows = db.execute(
        select(TrackingEvent, Link.key, UserAgent.text)
        .outerjoin(
            Link,
            and_(
                Link.campaign_id == TrackingEvent.campaign_id, Link.number == TrackingEvent.link_number
            ),
        )
        .outerjoin(UserAgent, UserAgent.id == TrackingEvent.agent_id)
        .where(TrackingEvent.campaign_id == campaign_id, TrackingEvent.position == position)
        .order_by(TrackingEvent.at, TrackingEvent.id)
    )
    return [
        Happened(
            at=event.at,
            kind=event.kind,
            link=event.link_number,
            link_key=key,
            subject=event.subject,
            manner=event.manner,
            user_agent=agent,
            label=event.label,
            reason=event.reason,
            explained=explain(event.reason),
            settled=event.settled,
        )
        for event, key, agent in rows
    ]
