"""Addresses that get no more mail. They are known by their hash alone, so they outlive the recipient."""

from datetime import datetime

from sqlalchemy import CursorResult, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from recipients.models import Suppression, SuppressionReason

THE_PERSONS_OWN = (
    SuppressionReason.UNSUBSCRIBED,
    SuppressionReason.COMPLAINED,
    SuppressionReason.OBJECTED,
)
"""What the person said, as opposed to what became of their address."""


def suppress(
    db: Session,
    address_hash: str,
    reason: SuppressionReason,
    *,
    now: datetime,
    note: str | None = None,
) -> bool:
    """Let an address get no more mail, whether or not it stands in the table.

    The first reason stays, but the person's own no replaces any other: who lifts a bounce must not
    lift an unsubscription with it.

    Args:
        note: what the administrator wrote; no personal data belongs here.

    Returns:
        False if it was suppressed already, for as good a reason.
    """
    on_postgres = db.get_bind().dialect.name == "postgresql"
    insert = postgresql.insert if on_postgres else sqlite.insert
    told = {"reason": reason, "note": note, "created_at": now}
    adding = insert(Suppression).values(address_hash=address_hash, **told)
    if reason in THE_PERSONS_OWN:
        adding = adding.on_conflict_do_update(
            index_elements=[Suppression.address_hash],
            set_=told,
            where=Suppression.reason.not_in(THE_PERSONS_OWN),
        )
    else:
        adding = adding.on_conflict_do_nothing()
    return db.execute(adding.returning(Suppression.address_hash)).first() is not None


def unsuppress(db: Session, address_hash: str) -> bool:
    """Let an address get mail again; False if it was not suppressed."""
    gone = db.execute(delete(Suppression).where(Suppression.address_hash == address_hash))
    assert isinstance(gone, CursorResult)
    return gone.rowcount == 1


def find_suppression(db: Session, address_hash: str) -> Suppression | None:
    """Why and since when an address gets no more mail; None if it may be written to."""
    return db.get(Suppression, address_hash)
