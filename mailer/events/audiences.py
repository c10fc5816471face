"""Who gets a letter about an event, by what they have done: each audience is one ``SELECT``."""

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, Select, exists, or_, select, union
from sqlalchemy.orm import InstrumentedAttribute

from mailer.campaigns.audience import is_suppressed
from mailer.campaigns.models import REGISTRATION, Campaign, Delivery, Link
from mailer.events.models import Event, Registration, RegistrationState, ReminderRequest
from mailer.foundation.settings import TrackingMode
from mailer.tracking.models import Label, TrackingEvent, TrackingKind
from recipients.models import Recipient, SuppressionScope, TrackingChoice

_COMING = (RegistrationState.SEATED, RegistrationState.WAITING)


class AudienceRule(StrEnum):
    """Who gets a reminder; whoever several of them fit gets it by the first that a letter serves."""

    REGISTERED = "registered"
    """Those who have a seat."""
    ASKED = "asked"
    """Those who asked to be reminded."""
    CLICKED = "clicked"
    """Where tracking is personal: those who clicked the event's registration link."""
    REGION = "region"
    """Those of the event's region who have done none of this."""


EVERY_RULE = frozenset(AudienceRule)


def audience_of(
    rule: AudienceRule,
    event_id: int,
    *,
    served: Collection[AudienceRule] = EVERY_RULE,
    until: datetime | None = None,
) -> Select[int]:
    """The ids of those who get a reminder by that rule, less those who may not be written to.

    Nobody is in the audiences of two rules that are served. Who waits for a seat gets no reminder; who
    has one is not told that there still are some. Who has given a seat back gets one only for what they
    did after that. Who wants no more letters gets what they asked for or registered for; a click asked
    for nothing.

    Whom a rule leaves out is taken away as a set: of ``NOT IN (SELECT …)`` PostgreSQL reads a list that
    outgrows ``work_mem`` once for each recipient, and for ``NOT EXISTS`` SQLite would need indexes on
    what is written most.

    Args:
        served: the rules that some letter serves at that lead of that event.
        until: only what was done by then counts in somebody's favour: a reminder's due moment, so that
            whoever joins later gets the next one only. None is everything so far.
    """
    seated = _registered(event_id, RegistrationState.SEATED, until=until)
    asked, clicked = _asked(event_id, until), _clicked(event_id, until)
    everybody = select(Recipient.id)
    match rule:
        case AudienceRule.REGISTERED:
            return everybody.where(Recipient.id.in_(seated), _may_get_what_it_asked_for())
        case AudienceRule.ASKED:
            waiting = _registered(event_id, RegistrationState.WAITING)
            asking = asked.except_(waiting, *([seated] if AudienceRule.REGISTERED in served else []))
            return everybody.where(Recipient.id.in_(asking), _may_get_what_it_asked_for())
        case AudienceRule.CLICKED:
            coming = _registered(event_id, *_COMING)
            clicking = clicked.except_(coming, *([asked] if AudienceRule.ASKED in served else []))
            return everybody.where(Recipient.id.in_(clicking), ~is_suppressed())
        case AudienceRule.REGION:
            region = select(Event.region).where(Event.id == event_id).scalar_subquery()
            near = everybody.where(Recipient.region == region)
            silent = near.except_(asked, clicked, _registered(event_id, *RegistrationState))
            return everybody.where(Recipient.id.in_(silent), ~is_suppressed())


def interested_recipients(event_id: int) -> Select[int]:
    """The ids of those who showed interest in an event, less those who may not be written to.

    They asked to be reminded, are registered or wait for a seat, or clicked the registration link.
    """
    everybody = select(Recipient.id)
    spoke = _asked(event_id, None).union(_registered(event_id, *_COMING))
    interested = union(
        everybody.where(Recipient.id.in_(spoke), _may_get_what_it_asked_for()),
        everybody.where(Recipient.id.in_(_clicked(event_id, None)), ~is_suppressed()),
    )
    return everybody.where(Recipient.id.in_(interested))


def _registered(
    event_id: int, *states: RegistrationState, until: datetime | None = None
) -> Select[int | None]:
    registered = select(Registration.recipient_id).where(
        Registration.event_id == event_id, Registration.state.in_(states)
    )
    return registered if until is None else registered.where(Registration.registered_at <= until)


def _asked(event_id: int, until: datetime | None) -> Select[int]:
    asked = select(ReminderRequest.recipient_id).where(
        ReminderRequest.event_id == event_id,
        ~_gave_back_since(event_id, ReminderRequest.recipient_id, ReminderRequest.asked_at),
    )
    return asked if until is None else asked.where(ReminderRequest.asked_at <= until)


def _clicked(event_id: int, until: datetime | None) -> Select[int | None]:
    """Machines' clicks count for nothing, those that may be do: one letter too many is the lesser harm.

    Nor does a click count of somebody who objects to being tracked, or who under consent gives it no
    more.
    """
    telling = select(Link.campaign_id).join(Event, Event.slug == Link.event_slug)
    telling = telling.where(Event.id == event_id, Link.kind == REGISTRATION)
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
            Link.kind == REGISTRATION,
            or_(
                Campaign.tracking == TrackingMode.PERSONAL,
                (Campaign.tracking == TrackingMode.CONSENT)
                & (Recipient.tracking == TrackingChoice.CONSENT),
            ),
            TrackingEvent.campaign_id.in_(telling),  # else SQLite reads the log of all campaigns
            TrackingEvent.kind == TrackingKind.CLICK,
            TrackingEvent.label != Label.MACHINE,
            Recipient.tracking.is_distinct_from(TrackingChoice.OBJECTION),
            ~_gave_back_since(event_id, Delivery.recipient_id, TrackingEvent.at),
        )
        .correlate(None)
    )
    return clicked if until is None else clicked.where(TrackingEvent.at <= until)


def _gave_back_since(
    event_id: int,
    recipient_id: InstrumentedAttribute[int] | InstrumentedAttribute[int | None],
    moment: InstrumentedAttribute[datetime],
) -> ColumnElement[bool]:
    """Whether that recipient has given a seat back after that moment."""
    return exists().where(
        Registration.event_id == event_id,
        Registration.recipient_id == recipient_id,
        Registration.state == RegistrationState.CANCELLED,
        Registration.changed_at >= moment,
    )


def _may_get_what_it_asked_for() -> ColumnElement[bool]:
    return ~is_suppressed(SuppressionScope.EVERYTHING)
