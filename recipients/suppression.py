"""Addresses that get no more mail. They are known by their hash alone, so they outlive the recipient."""

from datetime import datetime

from sqlalchemy import CursorResult, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from recipients.models import Suppression, SuppressionReason, SuppressionScope

_GRAVITY = (
    SuppressionReason.OBJECTED,
    SuppressionReason.COMPLAINED,
    SuppressionReason.UNSUBSCRIBED,
    SuppressionReason.MANUAL,
    SuppressionReason.BOUNCED,
)
"""Reasons that only the office lifts, the gravest first; an unsubscription is then one with a note."""
_HIDDEN_BY_THE_WEBS = (SuppressionReason.MANUAL, SuppressionReason.BOUNCED)
"""What is no word of the person's stands behind an unsubscription on the web, in its note."""
LONGEST_NOTE = 200
_ALSO = "also "
"""So begins the note of an unsubscription that is not the only reason: ``also bounced``."""

_Other = tuple[SuppressionReason, str | None]
"""A reason that only the office lifts, with its note."""


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

    Of several reasons the gravest is kept, whichever came first: an objection, a complaint, an
    unsubscription that the office wrote down, the office's own words, a bounce. An unsubscription
    without a note is the web's, which its author may take back; it is kept beside a bounce or the
    office's words and gives way to the other three. Of two scopes the wider stays.

    Args:
        now: when it happened; of the web's unsubscriptions the last moment is kept, of any other reason
            the first.
        note: what the administrator wrote; no personal data belongs here.

    Returns:
        False if it was suppressed already, for as good a reason and as widely.
    """
    kept = _keep(db, address_hash, reason, scope, now, note)
    if kept is None:
        return True
    before = (kept.reason, kept.scope)
    on_web, other = _read(kept)
    if reason == SuppressionReason.UNSUBSCRIBED and note is None:
        _add_the_webs(kept, on_web, other, now)
    else:
        _add_another(kept, on_web, other, (reason, note), now)
    if scope == SuppressionScope.EVERYTHING:
        kept.scope = scope
    db.flush()
    return (kept.reason, kept.scope) != before


def unsubscribe(db: Session, address_hash: str, scope: SuppressionScope, *, now: datetime) -> bool:
    """Do as the person asked: of their own unsubscriptions the last one counts, wider or narrower.

    Where there is another reason, or was one before, it can only become wider. Asking again is a new
    moment: taking back what was asked before it lifts nothing.

    Args:
        now: when it was asked; what was asked later has been done already.

    Returns:
        False if nothing changed but the moment.
    """
    kept = _locked(db, address_hash)
    if kept is None or _read(kept) != (True, None):
        return suppress(db, address_hash, SuppressionReason.UNSUBSCRIBED, now=now, scope=scope)
    if kept.created_at > now:
        return False
    changed = kept.scope != scope
    kept.scope, kept.created_at = scope, now
    db.flush()
    return changed


def resubscribe(db: Session, address_hash: str, *, now: datetime) -> bool:
    """Take back what the person's own unsubscription did, and nothing else.

    A bounce, a complaint, an objection or an administrator's word stays, also where the unsubscription
    had taken its place. What comes late is judged by its moment; only an unsubscription that comes
    after its own withdrawal stays, for no trace is kept of who was once suppressed.

    Args:
        now: when it was asked; what was asked later stays.

    Returns:
        False if nothing changed.
    """
    kept = _locked(db, address_hash)
    if kept is None or kept.created_at > now:
        return False
    on_web, other = _read(kept)
    if not on_web:
        return False
    if other is None:
        db.delete(kept)
    else:
        kept.reason, kept.note = other
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


def _read(kept: Suppression) -> tuple[bool, _Other | None]:
    """Whether the person unsubscribed on the web, and the other reason there is."""
    if kept.reason != SuppressionReason.UNSUBSCRIBED:
        return False, (kept.reason, kept.note)
    if kept.note is None:
        return True, None
    other = _read_also(kept.note)
    return (True, other) if other is not None else (False, (kept.reason, kept.note))


def _add_the_webs(kept: Suppression, on_web: bool, other: _Other | None, now: datetime) -> None:
    if on_web:
        kept.created_at = max(kept.created_at, now)
    elif other is not None and other[0] in _HIDDEN_BY_THE_WEBS:
        kept.reason, kept.note, kept.created_at = SuppressionReason.UNSUBSCRIBED, _also(*other), now


def _add_another(
    kept: Suppression, on_web: bool, other: _Other | None, new: _Other, now: datetime
) -> None:
    gravest = _graver(other, new)
    if on_web and gravest[0] in _HIDDEN_BY_THE_WEBS:
        kept.note = _also(*gravest)
        return
    if gravest[0] == new[0]:
        is_known = not on_web and other is not None and other[0] == new[0]
        kept.created_at = min(kept.created_at, now) if is_known else now
    kept.reason, kept.note = gravest


def _graver(one: _Other | None, two: _Other) -> _Other:
    """The graver of two reasons; of the same twice the first note."""
    if one is None or _GRAVITY.index(two[0]) < _GRAVITY.index(one[0]):
        return two
    return (one[0], two[1]) if one[0] == two[0] and one[1] is None else one


def _also(reason: SuppressionReason, note: str | None) -> str:
    return (f"{_ALSO}{reason}: {note}" if note else f"{_ALSO}{reason}")[:LONGEST_NOTE]


def _read_also(note: str) -> _Other | None:
    """The other reason that a note tells of, with its own note."""
    word, _, rest = note.removeprefix(_ALSO).partition(": ")
    if not note.startswith(_ALSO) or word not in list(SuppressionReason):
        return None
    return SuppressionReason(word), rest or None
