"""Events that change: filled in, corrected, moved, called off; what each was before is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time

from sqlalchemy import case, exists, func, select, update
from sqlalchemy.orm import Session

from mailer.campaigns.errors import NotAllowedNow
from mailer.campaigns.lifecycle import cancel_campaign
from mailer.campaigns.linking import retarget
from mailer.campaigns.models import Campaign, CampaignState, Delivery, DeliveryState, Link
from mailer.events.audiences import interested_recipients
from mailer.events.catalogue import link_targets, lock_event
from mailer.events.errors import BadEventValue
from mailer.events.fields import read_field
from mailer.events.models import Event, EventChange, EventState, Registration, RegistrationState
from mailer.events.outcomes import call_off_reminders, restore_reminders
from mailer.events.policy import ReminderPolicy
from mailer.events.registering import fill_seats
from mailer.foundation.clock import real_now

STATE = "state"
TOLD_FIELDS = ("title", "date", "time", "place", "address", "programme_url", "registration_url", STATE)
"""What people are told of, in the order in which it is told; the rest is the office's own business."""

_IN_CALENDAR = frozenset({"title", "date", "time", "place", "address", "programme_url"})
"""Fields that stand in calendar files: a change of one is a new revision there."""
_WHEN_AND_WHERE = frozenset({"date", "time", "place", "address"})
_ABOUT_SEATS = frozenset({"capacity", "hosted", STATE})
_NEVER_LEFT = (DeliveryState.CANCELLED, DeliveryState.SUPPRESSED, DeliveryState.FAILED)
_BELIEVED = case(
    (Registration.state == RegistrationState.CANCELLED, RegistrationState.SEATED.value), else_=None
)
"""What somebody thinks of their registration as long as the letter about it has not come."""
_CLEARED: Mapping[str, object] = {"hosted": False}
"""What an empty value stands for where a field cannot be without one."""


@dataclass(frozen=True, slots=True)
class EventUpdate:
    """What became of an event that was updated."""

    changed: tuple[str, ...]
    """The fields that really changed, ``state`` among them."""
    moved_up: int
    """How many who waited got a seat by it."""
    held_back: int = 0
    """How many letters about it as it was had not left, and never will."""


@dataclass(frozen=True, slots=True)
class CalledOff:
    """What an event that was cancelled took with it."""

    reminders: int
    """How many were still to come."""
    held_back: int
    """How many letters about it had not left, and never will."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What became of one field over several changes, as ``EventChange`` keeps it."""

    field: str
    old: str | None
    new: str | None


def update_event(
    db: Session,
    slug: str,
    changes: Mapping[str, object],
    *,
    now: datetime,
    state: EventState | None = None,
) -> EventUpdate:
    """Fill in or correct an event; links in letters that have left follow.

    An event is moved when its date, time, place or address becomes another than the one first known.
    Letters about another date that have not left are held back.

    Args:
        changes: field → new value, as a person writes it or in the field's type; an empty value
            clears a field that may be missing.
        now: the clock people see.
        state: ``FULL`` until somebody says ``OPEN``. ``OPEN`` for an event that has moved says that
            this was a correction; for one that was cancelled, that it takes place after all.

    Raises:
        EventNotFound: there is no such event.
        BadEventValue: a value does not fit its field; nothing was changed.
    """
    event = lock_event(db, slug)
    if "slug" in changes:
        raise BadEventValue("slug", "cannot be changed: addresses in letters carry it")
    values = {field: read_field(field, value) for field, value in changes.items()}
    for field, value in values.items():
        if value is None and field in _CLEARED:
            values[field] = _CLEARED[field]
    return apply_changes(db, event, values, now=now, state=state)


def cancel_event(db: Session, slug: str, policy: ReminderPolicy, *, now: datetime) -> CalledOff:
    """Call an event off, with what was still to be sent of it; registrations stay as they are.

    Args:
        now: the clock people see.

    Raises:
        EventNotFound: there is no such event.
        NotAllowedNow: it was cancelled before; nothing was changed.
        AlreadySent: a reminder went this moment; the transaction must be rolled back, and may be tried
            again.
    """
    event = lock_event(db, slug)
    require_takes_place(event)
    reminders = call_off_reminders(db, event, policy, now=now)
    done = apply_changes(db, event, {}, now=now, state=EventState.CANCELLED)
    return CalledOff(len(reminders), done.held_back)


def require_takes_place(event: Event) -> None:
    """Return if the event is not cancelled.

    Raises:
        NotAllowedNow: it is.
    """
    if event.state is EventState.CANCELLED:
        raise NotAllowedNow(f"{event.slug} was cancelled already; see  mailer event show {event.slug}")


def apply_changes(
    db: Session,
    event: Event,
    values: Mapping[str, object],
    *,
    now: datetime,
    state: EventState | None = None,
) -> EventUpdate:
    """Set the values that differ, in one revision, and note what was there before.

    Args:
        event: locked by this transaction.
        values: in the types the event keeps.
    """
    before = {field: getattr(event, field) for field in values if getattr(event, field) != values[field]}
    targets = link_targets(event)
    told_at = None if _has_readers(db, event) else now
    for field, old in before.items():
        setattr(event, field, values[field])
        _note(db, event, field, old, now=now, told_at=told_at)
    if "date" in before:
        event.moved_at = now
    was = event.state
    if state is not None or _WHEN_AND_WHERE & before.keys():
        event.state = _state_after(db, event, state)
    if event.state is not was:
        before[STATE] = was
        _note(db, event, STATE, was, now=now, told_at=told_at)
        if was is EventState.CANCELLED:
            restore_reminders(db, event)
    if before:
        event.updated_at = now
    takes_place_or_not = (was is EventState.CANCELLED) != (event.state is EventState.CANCELLED)
    if takes_place_or_not or _IN_CALENDAR & before.keys():
        event.sequence += 1
    _retarget_links(db, event, targets)
    db.flush()
    held_back = _hold_back(db, event, now=now) if takes_place_or_not or "date" in before else 0
    moved_up = fill_seats(db, event, now=now) if event.hosted and _ABOUT_SEATS & before.keys() else 0
    return EventUpdate(tuple(before), moved_up, held_back)


def list_history(db: Session, event_id: int) -> list[tuple[EventChange, str | None]]:
    """What changed since the event was taken in, oldest first, with the campaign that told of it."""
    rows = db.execute(
        select(EventChange, Campaign.name)
        .outerjoin(Campaign, Campaign.id == EventChange.campaign_id)
        .where(EventChange.event_id == event_id)
        .order_by(EventChange.id)
    )
    return [(change, name) for change, name in rows]


def untold_changes(db: Session, event: Event) -> tuple[list[EventChange], list[Difference]]:
    """The changes nobody was told of yet, and what has become different by them.

    What was changed back is no difference. Nobody need hear more of an event that is known to be
    cancelled, or where else one could register for one that is hosted here.
    """
    rows = list(
        db.scalars(
            select(EventChange)
            .where(
                EventChange.event_id == event.id,
                EventChange.told_at.is_(None),
                EventChange.field.in_(TOLD_FIELDS),
            )
            .order_by(EventChange.id)
        )
    )
    differences = _merge(rows)
    if event.hosted:
        differences = [one for one in differences if one.field != "registration_url"]
    if event.state is EventState.CANCELLED and STATE not in [one.field for one in differences]:
        differences = []
    return rows, differences


def _merge(rows: Sequence[EventChange]) -> list[Difference]:
    """First old and last new value of each field, where they differ.

    That an event has moved is told by what changed, so that moved is open here.
    """
    merged: dict[str, Difference] = {}
    for row in rows:
        first = merged.get(row.field)
        merged[row.field] = Difference(row.field, first.old if first else row.old, row.new)
    differences = []
    for field in TOLD_FIELDS:
        one = merged.get(field)
        if one is not None and field == STATE:
            one = Difference(
                field, *("open" if said == "moved" else said for said in (one.old, one.new))
            )
        if one is not None and one.old != one.new:
            differences.append(one)
    return differences


def _hold_back(db: Session, event: Event, *, now: datetime) -> int:
    """End the campaigns an event caused while it was as it no longer is; return how many letters.

    What nobody read is told anew: a change none of whose letters has left, and to whomever it concerns
    what became of their registration.
    """
    unfinished = (
        select(Campaign)
        .where(
            Campaign.auto_submitted,
            Campaign.state.in_([CampaignState.SCHEDULED, CampaignState.SENDING, CampaignState.PAUSED]),
            Campaign.frozen_letter["event_slug"].as_string() == event.slug,
        )
        .order_by(Campaign.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    campaigns = db.scalars(unfinished).all()
    if not campaigns:
        return 0
    held_back = sum(cancel_campaign(db, one, now=now, real_now=real_now()) for one in campaigns)
    ids = [one.id for one in campaigns]
    has_left = exists().where(
        Delivery.campaign_id == EventChange.campaign_id, Delivery.state.not_in(_NEVER_LEFT)
    )
    db.execute(
        update(EventChange)
        .where(EventChange.campaign_id.in_(ids), ~has_left)
        .values(told_at=None, campaign_id=None)
    )
    unread = (
        select(Delivery.recipient_id)
        .join(Campaign, Campaign.id == Delivery.campaign_id)
        .where(
            Campaign.id.in_(ids),
            Campaign.frozen_letter["manifest"]["kind"].as_string() == "confirmation",
            Delivery.state == DeliveryState.CANCELLED,
        )
    )
    db.execute(
        update(Registration)
        .where(Registration.event_id == event.id, Registration.recipient_id.in_(unread))
        .values(told=_BELIEVED)
    )
    return held_back


def _has_readers(db: Session, event: Event) -> bool:
    """Whether anybody has shown interest: nobody else knows how it was, and need hear of a change."""
    return db.scalar(interested_recipients(event.id).limit(1)) is not None


def _note(
    db: Session, event: Event, field: str, old: object, *, now: datetime, told_at: datetime | None
) -> None:
    db.add(
        EventChange(
            event_id=event.id,
            field=field,
            old=_as_text(old),
            new=_as_text(getattr(event, field)),
            at=now,
            told_at=told_at,
        )
    )


def _as_text(value: object) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case date() | time():
            return value.isoformat()
        case _:
            return str(value)


def _state_after(db: Session, event: Event, said: EventState | None) -> EventState:
    """Full and cancelled is what somebody says; whether an event has moved shows in its history."""
    if said in {EventState.FULL, EventState.CANCELLED}:
        return said
    if said is None and event.state in {EventState.FULL, EventState.CANCELLED}:
        return event.state
    if said is EventState.OPEN and event.state is EventState.MOVED:
        return EventState.OPEN
    return EventState.MOVED if _has_moved(db, event) else EventState.OPEN


def _has_moved(db: Session, event: Event) -> bool:
    """Whether it is at another date, time or place than first known, or last said to be as planned."""
    as_planned = (
        select(func.coalesce(func.max(EventChange.id), 0))
        .where(
            EventChange.event_id == event.id,
            EventChange.field == STATE,
            EventChange.new == EventState.OPEN,
        )
        .scalar_subquery()
    )
    known = db.execute(
        select(EventChange.field, EventChange.old)
        .where(
            EventChange.event_id == event.id,
            EventChange.id > as_planned,
            EventChange.field.in_(_WHEN_AND_WHERE),
            EventChange.old.is_not(None),
        )
        .order_by(EventChange.id.desc())
    )
    first = {row.field: row.old for row in known}
    return any(_as_text(getattr(event, field)) not in {None, old} for field, old in first.items())


def _retarget_links(db: Session, event: Event, before: Mapping[str, str]) -> None:
    """Point the links of all letters, sent ones too, where the event now says, on record.

    A link that somebody led elsewhere by hand stays where it is.
    """
    page = f"/events/{event.slug}"
    for key, target in link_targets(event).items():
        if before[key] == target:
            continue
        following = select(Link).where(
            Link.event_slug == event.slug,
            Link.key == f"events.{key}/{event.slug}",
            Link.target.in_([before[key], page]),
        )
        for link in db.scalars(following).all():
            retarget(db, link, target, reason=f"{key} of {event.slug}", now=real_now())
