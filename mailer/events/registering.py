"""Registering for a hosted event: seats in the order of signing up, and a waiting list that moves up."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session, load_only

from mailer.events.catalogue import find_event, takes_place
from mailer.events.errors import RegistrationClosed
from mailer.events.models import (
    Event,
    EventState,
    Registration,
    RegistrationSource,
    RegistrationState,
)

_IN_LINE = ("id", "event_id", "recipient_id", "state", "source", "number", "registered_at", "changed_at")
"""What is read and written here: the drainer may read no name of anybody."""
_in_line = load_only(*(getattr(Registration, name) for name in _IN_LINE))


@dataclass(frozen=True, slots=True)
class Seats:
    """How many registrations of one event stand where."""

    seated: int = 0
    waiting: int = 0
    cancelled: int = 0


def register(db: Session, slug: str, recipient_id: int, *, now: datetime) -> Registration:
    """Give somebody a seat, or a place at the end of the waiting list.

    Whoever is registered already stays where they are; whoever had cancelled goes to the end.

    Args:
        now: when they said so; whoever cancelled later stays cancelled.

    Raises:
        EventNotFound: there is no such event.
        RegistrationClosed: it is not hosted, cancelled or over; nothing was changed.
    """
    event = lock_seats(db, find_event(db, slug).id)
    if why := _why_closed(event, now):
        raise RegistrationClosed(f"nobody can register for {slug!r}: {why}")
    registration = find_registration(db, event.id, recipient_id)
    line = {
        "state": RegistrationState.WAITING,
        "source": RegistrationSource.HOSTED,
        "number": _next_number(db, event.id),
        "registered_at": now,
        "changed_at": now,
    }
    if registration is None:  # a session's own insert would name every column
        new = insert(Registration).values(event_id=event.id, recipient_id=recipient_id, **line)
        added = db.scalar(new.returning(Registration.id))
        registration = db.get_one(Registration, added, options=[_in_line])
    elif registration.state is RegistrationState.CANCELLED and registration.changed_at <= now:
        for name, value in line.items():
            setattr(registration, name, value)
        db.flush()
    else:
        return registration
    _move_up(db, event, free_seats(event, _count_seated(db, event.id)), now=now)
    return registration


def cancel_registration(
    db: Session, registration: Registration, *, now: datetime
) -> Registration | None:
    """Give a seat, or a place on the waiting list, back; once more changes nothing.

    Args:
        now: when they said so; whoever signed up later stays where they are.

    Returns:
        Who got the seat: the first that waited. None if no seat came free, nobody waited, or the event
        does not take place any more.
    """
    event = lock_seats(db, registration.event_id)
    db.refresh(registration, _IN_LINE)
    had = registration.state
    if had is RegistrationState.CANCELLED or registration.registered_at > now:
        return None
    registration.state, registration.changed_at = RegistrationState.CANCELLED, now
    if event.hosted:  # said here, where they can register again: no attendance list changes it
        registration.source = RegistrationSource.HOSTED
    db.flush()
    if had is not RegistrationState.SEATED or not takes_place(event, now):
        return None
    left = event.capacity is None or _count_seated(db, event.id) < event.capacity
    return next(iter(_move_up(db, event, int(left), now=now)), None)


def fill_seats(db: Session, event: Event, *, now: datetime) -> int:
    """Move up as many of the waiting as there are free seats; return how many did.

    To be called when seats came free without anybody cancelling: the event's capacity has grown, or it
    is not full any more.
    """
    db.flush()
    event = lock_seats(db, event.id)
    if not takes_place(event, now):
        return 0
    return len(_move_up(db, event, free_seats(event, _count_seated(db, event.id)), now=now))


def find_registration(db: Session, event_id: int, recipient_id: int) -> Registration | None:
    """Somebody's registration for an event, be it cancelled."""
    return db.scalar(
        select(Registration)
        .where(Registration.event_id == event_id, Registration.recipient_id == recipient_id)
        .options(_in_line)
        .execution_options(populate_existing=True)
    )


def count_seats(db: Session, event_ids: Collection[int]) -> Mapping[int, Seats]:
    """How registrations stand, for each of these events."""
    counted: dict[int, dict[str, int]] = {event_id: {} for event_id in event_ids}
    rows = db.execute(
        select(Registration.event_id, Registration.state, func.count())
        .where(Registration.event_id.in_(counted))
        .group_by(Registration.event_id, Registration.state)
    )
    for event_id, state, total in rows:
        counted[event_id][state.value] = total
    return {event_id: Seats(**totals) for event_id, totals in counted.items()}


def full_events(db: Session) -> frozenset[int]:
    """The ids of events at which nobody more gets a seat: staff said so, or all of ours are taken."""
    said = select(Event.id).where(Event.state == EventState.FULL)
    taken = (
        select(Event.id)
        .join(Registration, Registration.event_id == Event.id)
        .where(Event.hosted, Registration.state == RegistrationState.SEATED)
        .group_by(Event.id, Event.capacity)
        .having(func.count() >= Event.capacity)
    )
    return frozenset(db.scalars(said.union(taken)))


def state_of(event: Event, full: Collection[int]) -> EventState:
    """The state of an event as everybody is told it: full also where all of our own seats are taken.

    Args:
        full: as ``full_events`` gives it.
    """
    is_full = event.id in full and event.state is not EventState.CANCELLED
    return EventState.FULL if is_full else event.state


def free_seats(event: Event, seated: int) -> int | None:
    """How many more can have a seat, with so many seated; None is no limit."""
    if event.state is EventState.FULL:
        return 0
    return None if event.capacity is None else max(0, event.capacity - seated)


def lock_seats(db: Session, event_id: int) -> Event:
    """The event as it stands, its seats in nobody else's hands until this transaction ends.

    The lock is on the event's row, so that nobody who may only read can take it, as they could one by
    name. It keeps no row from referring to the event. On SQLite whoever may write is alone already.
    """
    return db.get_one(Event, event_id, populate_existing=True, with_for_update={"key_share": True})


def _why_closed(event: Event, now: datetime) -> str | None:
    """Why nobody can register; None: everybody can."""
    if not event.hosted:
        return "registration is not on our own page"
    if event.state is EventState.CANCELLED:
        return "the event is cancelled"
    return None if takes_place(event, now) else "the event is over"


def _next_number(db: Session, event_id: int) -> int:
    last = db.scalar(select(func.max(Registration.number)).where(Registration.event_id == event_id))
    return (last or 0) + 1


def _count_seated(db: Session, event_id: int) -> int:
    counting = select(func.count()).where(
        Registration.event_id == event_id, Registration.state == RegistrationState.SEATED
    )
    return db.scalar(counting) or 0


def _move_up(db: Session, event: Event, most: int | None, *, now: datetime) -> list[Registration]:
    """Seat the first of those who wait, in the order of signing up."""
    if most == 0:
        return []
    waiting = (
        select(Registration)
        .where(
            Registration.event_id == event.id,
            Registration.state == RegistrationState.WAITING,
            Registration.source == RegistrationSource.HOSTED,  # who waits elsewhere gets a seat there
        )
        .order_by(Registration.number)
        .limit(most)
        .options(_in_line)
        .execution_options(populate_existing=True)
    )
    moved = list(db.scalars(waiting))
    for registration in moved:
        registration.state, registration.changed_at = RegistrationState.SEATED, now
    db.flush()
    return moved
