"""Addresses that get no more mail. They are known by their hash alone, so they outlive the recipient."""

from datetime import datetime

from sqlalchemy import CursorResult, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from recipients.models import Suppression, SuppressionReason, SuppressionScope

THE_PERSONS_OWN = (
    SuppressionReason.UNSUBSCRIBED,
    SuppressionReason.COMPLAINED,
    SuppressionReason.OBJECTED,
)
"""What the person said, as opposed to what became of their address."""
LONGEST_NOTE = 200
_ALSO = "also "
"""So begins the note of an unsubscription that is not the only reason: ``also bounced``."""


def suppress(
    db: Session,
    address_hash: str,
    reason: SuppressionReason,
    *,
    now: datetime,
    scope: SuppressionScope = SuppressionScope.EVERYTHING,
    note: str | None = None,
) -> bool:
    """Let an address get no more mail, whether or not it stands in the table.

    The first reason stays, but the person's own no replaces any other: who lifts a bounce must not
    lift an unsubscription with it. Of two scopes the wider stays. Beside an unsubscription, which its
    author may take back, any other reason is remembered.

    Args:
        note: what the administrator wrote; no personal data belongs here.

    Returns:
        False if it was suppressed already, for as good a reason and as widely.
    """
    kept = _keep(db, address_hash, reason, scope, now, note)
    if kept is None:
        return True
    before = (kept.reason, kept.scope)
    if reason in THE_PERSONS_OWN and kept.reason not in THE_PERSONS_OWN:
        kept.note = _also(kept.reason, kept.note)
        kept.reason, kept.created_at = reason, now
    elif kept.reason == SuppressionReason.UNSUBSCRIBED and kept.note is None:
        if reason != SuppressionReason.UNSUBSCRIBED:
            kept.note = _also(reason, note)
        else:
            kept.note = note
    if scope == SuppressionScope.EVERYTHING:
        kept.scope = scope
    db.flush()
    return (kept.reason, kept.scope) != before


def unsubscribe(db: Session, address_hash: str, scope: SuppressionScope, *, now: datetime) -> bool:
    """Do as the person asked: of their own unsubscriptions the last one counts, wider or narrower.

    Where there is another reason, or was one before, it can only become wider.

    Args:
        now: when it was asked; what was asked later has been done already.

    Returns:
        False if nothing changed.
    """
    kept = _locked(db, address_hash)
    if kept is None or not _is_own_choice(kept):
        return suppress(db, address_hash, SuppressionReason.UNSUBSCRIBED, now=now, scope=scope)
    if kept.scope == scope or kept.created_at > now:
        return False
    kept.scope, kept.created_at = scope, now
    db.flush()
    return True


def resubscribe(db: Session, address_hash: str, *, now: datetime) -> bool:
    """Take back what the person's own unsubscription did, and nothing else.

    A bounce, a complaint, an objection or an administrator's word stays, also where the unsubscription
    had taken its place.

    Args:
        now: when it was asked; what was asked later stays.

    Returns:
        False if nothing changed.
    """
    kept = _locked(db, address_hash)
    if kept is None or kept.reason != SuppressionReason.UNSUBSCRIBED or kept.created_at > now:
        return False
    other = _read_also(kept.note)
    if other is not None:
        kept.reason, kept.note = other
    elif kept.note is None:
        db.delete(kept)
    else:
        return False
    db.flush()
    return True


def unsuppress(db: Session, address_hash: str) -> bool:
    """Let an address get mail again; False if it was not suppressed."""
    gone = db.execute(delete(Suppression).where(Suppression.address_hash == address_hash))
    assert isinstance(gone, CursorResult)
    return gone.rowcount == 1


def find_suppression(db: Session, address_hash: str) -> Suppression | None:
    """Why, how far and since when an address gets no more mail; None if it may be written to."""
    return db.get(Suppression, address_hash)


def _keep(
    db: Session,
    address_hash: str,
    reason: SuppressionReason,
    scope: SuppressionScope,
    now: datetime,
    note: str | None,
) -> Suppression | None:
    """Add the suppression; if there is one already, return it, locked, instead."""
    on_postgres = db.get_bind().dialect.name == "postgresql"
    insert = postgresql.insert if on_postgres else sqlite.insert
    adding = insert(Suppression).values(
        address_hash=address_hash, reason=reason, scope=scope, note=note, created_at=now
    )
    while True:  # it may be lifted between the two
        added = db.execute(adding.on_conflict_do_nothing().returning(Suppression.address_hash)).first()
        if added is not None:
            return None
        kept = _locked(db, address_hash)
        if kept is not None:
            return kept


def _locked(db: Session, address_hash: str) -> Suppression | None:
    return db.get(Suppression, address_hash, with_for_update=True, populate_existing=True)


def _is_own_choice(kept: Suppression) -> bool:
    return kept.reason == SuppressionReason.UNSUBSCRIBED and kept.note is None


def _also(reason: SuppressionReason, note: str | None) -> str:
    return (f"{_ALSO}{reason}: {note}" if note else f"{_ALSO}{reason}")[:LONGEST_NOTE]


def _read_also(note: str | None) -> tuple[SuppressionReason, str | None] | None:
    """The other reason that a note tells of, with its own note."""
    word, _, rest = (note or "").removeprefix(_ALSO).partition(": ")
    if not (note or "").startswith(_ALSO) or word not in list(SuppressionReason):
        return None
    return SuppressionReason(word), rest or None
