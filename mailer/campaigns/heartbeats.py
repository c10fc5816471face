"""When something that must happen again and again last did, whichever process did it."""

from contextlib import suppress
from datetime import datetime, timedelta

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailer.campaigns.models import Heartbeat

SWEEP = "sweep"
"""The sending sweep: proves that scheduler, Redis and a worker work together."""


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
