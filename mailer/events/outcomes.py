"""What became of reminders: each goes or is called off once, whoever tries."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Select, delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign, Delivery
from mailer.events.errors import AlreadySent
from mailer.events.models import Event, Reminder, ReminderState
from mailer.events.policy import ReminderPolicy
from mailer.events.reminders import PlannedReminder, derive_reminders, is_late

_STILL_TO_COME = frozenset({ReminderState.PLANNED, ReminderState.DUE, ReminderState.BLOCKED})


def store_outcome(
    db: Session,
    planned: PlannedReminder,
    state: ReminderState,
    *,
    now: datetime,
    campaign_id: int | None = None,
    audience: int = 0,
) -> Reminder:
    """Remember that a reminder has gone or was called off; of two who try at once, one succeeds.

    Args:
        state: ``sent`` or ``cancelled``.
        campaign_id: the campaign it went as; None if there was nobody to send it to.

    Raises:
        AlreadySent: it has gone, or was called off, before; the caller's transaction must be rolled
            back.
    """
    reminder = Reminder(
        event_id=planned.event_id,
        lead=planned.lead,
        rule=planned.rule,
        event_date=planned.event_date,
        state=state,
        due_at=planned.due_at,
        late=state is ReminderState.SENT and is_late(planned.due_at, now),
        audience=audience,
        campaign_id=campaign_id,
        at=now,
    )
    try:
        with db.begin_nested():
            db.add(reminder)
    except IntegrityError as error:
        raise AlreadySent(
            f"the reminder {planned.lead} before {planned.event_slug} ({planned.rule}) has gone before"
        ) from error
    return reminder


def call_off_reminders(
    db: Session, event: Event, policy: ReminderPolicy, *, now: datetime
) -> list[Reminder]:
    """Store that the reminders of an event that still might go never will.

    Args:
        event: before its state says that it does not take place.
    """
    plan = derive_reminders(db, policy, now=now)
    return [
        store_outcome(db, planned, ReminderState.CANCELLED, now=now)
        for planned in plan
        if planned.event_id == event.id and planned.state in _STILL_TO_COME
    ]


def restore_reminders(db: Session, event: Event) -> None:
    """Forget that reminders of an event were called off, now that it takes place after all."""
    db.execute(
        delete(Reminder).where(Reminder.event_id == event.id, Reminder.state == ReminderState.CANCELLED)
    )


def reminded_since(planned: PlannedReminder) -> Select[int | None]:
    """The ids of those who got a reminder of the event that was due at the same moment, or later."""
    return (
        select(Delivery.recipient_id)
        .join(Reminder, Reminder.campaign_id == Delivery.campaign_id)
        .where(
            Reminder.event_id == planned.event_id,
            Reminder.event_date == planned.event_date,
            Reminder.due_at >= planned.due_at,
        )
    )


def name_campaigns(db: Session) -> Mapping[int | None, str]:
    """The names of the campaigns as which reminders went, by their ids."""
    rows = db.execute(
        select(Campaign.id, Campaign.name).join(Reminder, Reminder.campaign_id == Campaign.id)
    )
    return {row[0]: row[1] for row in rows}
