"""Who showed interest in an event, and may be written to about it."""

from datetime import datetime

from sqlalchemy import Select, or_, select, union

from mailer.campaigns.models import Campaign, Delivery, Link
from mailer.events.models import Event, ReminderRequest
from mailer.events.requests import gets_no_reminder
from mailer.foundation.settings import TrackingMode
from mailer.tracking.models import Label, TrackingEvent, TrackingKind
from recipients.models import Recipient, TrackingChoice


def interested_recipients(event_id: int, *, until: datetime | None = None) -> Select[int]:
    """The ids of those who asked or clicked, less those who may not be reminded.

    Machines' clicks count for nothing, those that may be do: one reminder too many is the lesser
    harm. Nor does a click count of somebody who objects to being tracked, or who under consent gives it
    no more.

    Args:
        until: only those who asked or clicked by then: a reminder's due moment, so that whoever
            joins later gets the next one only. None is everybody so far.
    """
    asked = select(ReminderRequest.recipient_id).where(ReminderRequest.event_id == event_id)
    telling = select(Link.campaign_id).join(Event, Event.slug == Link.event_slug)
    telling = telling.where(Event.id == event_id, Link.kind == "registration")
    clicked = (
        select(Delivery.recipient_id)
        .join(
            TrackingEvent,
            (TrackingEvent.campaign_id == Delivery.campaign_id)
            & (TrackingEvent.position == Delivery.position),
        )
        .join(
            Link,
            (Link.campaign_id == TrackingEvent.campaign_id) & (Link.number == TrackingEvent.link_number),
        )
        .join(Event, Event.slug == Link.event_slug)
        .join(Campaign, Campaign.id == Link.campaign_id)
        .join(Recipient, Recipient.id == Delivery.recipient_id)
        .where(
            Event.id == event_id,
            Link.kind == "registration",
            or_(
                Campaign.tracking == TrackingMode.PERSONAL,
                (Campaign.tracking == TrackingMode.CONSENT)
                & (Recipient.tracking == TrackingChoice.CONSENT),
            ),
            TrackingEvent.campaign_id.in_(telling),  # else SQLite reads the log of all campaigns
            TrackingEvent.kind == TrackingKind.CLICK,
            TrackingEvent.label != Label.MACHINE,
            Recipient.tracking.is_distinct_from(TrackingChoice.OBJECTION),
        )
    )
    if until is not None:
        asked = asked.where(ReminderRequest.asked_at <= until)
        clicked = clicked.where(TrackingEvent.at <= until)
    interested = union(asked, clicked).subquery()
    slug = select(Event.slug).where(Event.id == event_id).scalar_subquery()
    return select(Recipient.id).where(
        Recipient.id.in_(select(interested.c.recipient_id)), ~gets_no_reminder(slug)
    )
