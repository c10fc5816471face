"""When something that must happen again and again last did, whichever process did it."""

from contextlib import suppress
from datetime import datetime, timedelta

from sqlalchemy import CursorResult, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailer.campaigns.models import Heartbeat

SWEEP = "sweep"
"""The sending sweep: proves that scheduler, Redis and a worker work together."""
TICK_LEASE = "tick"
"""Whoever looks last for what is due by date, such as reminders, holds it for a while."""
TICKED = "ticked"
"""All that was due by date has been started."""
TICK_LATE = timedelta(minutes=5)
"""It should be so every minute: after this time somebody is told."""
POLL_LEASE = "poll"
"""Whoever reads the mailboxes that bounces come back to holds it."""
POLLED = "polled"
"""All of these mailboxes could be read."""


def note_heartbeat(db: Session, name: str, *, now: datetime) -> timedelta | None:
    """Note that it happens now; return how long ago it last did, None if it never had.

    Args:
        now: real time.
    """
    last = last_heartbeat(db, name)
    if last is not None:
        db.execute(update(Heartbeat).where(Heartbeat.name == name).values(at=now))
        return now - last
    with suppress(IntegrityError), db.begin_nested():  # of two first ones at once, either will do
        db.execute(insert(Heartbeat).values(name=name, at=now))
    return None


def last_heartbeat(db: Session, name: str) -> datetime | None:
    """The real moment at which it last happened; None if it never did."""
    return db.scalar(select(Heartbeat.at).where(Heartbeat.name == name))


def take_lease(db: Session, name: str, *, now: datetime, length: timedelta) -> bool:
    """Whether the caller may do it: nobody else has begun within the length of the lease.

    Whoever took it need not give it back: if they are killed, the next to come after its end takes it.

    Args:
        now: real time.
    """
    free = or_(Heartbeat.at <= now - length, Heartbeat.at > now + length)  # or a clock was put back
    taken = db.execute(update(Heartbeat).where(Heartbeat.name == name, free).values(at=now))
    assert isinstance(taken, CursorResult)
    if taken.rowcount == 1:
        return True
    if last_heartbeat(db, name) is not None:
        return False
    try:
        with db.begin_nested():
            db.execute(insert(Heartbeat).values(name=name, at=now))
    except IntegrityError:
        return False
    return True


def give_back_lease(db: Session, name: str, *, now: datetime, length: timedelta) -> None:
    """Let the next one take the lease at once; for whoever took it and is through.

    Args:
        now: real time.
        length: for which it was taken.
    """
    db.execute(update(Heartbeat).where(Heartbeat.name == name).values(at=now - length))
