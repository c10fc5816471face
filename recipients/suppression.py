"""Addresses that get no more mail. They are known by their hash alone, so they outlive the recipient.

A no that was said on the web bears the mark of the visit it was said in. Only whoever has that mark can
change it or take it back; every other no stands on beside it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import CursorResult, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from recipients.choices import choose_tracking
from recipients.models import Suppression, SuppressionReason, SuppressionScope, TrackingChoice

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
"""So begins in the note of an unsubscription what is not its only reason: ``also bounced``."""
_MARKED = "undo "
"""So begins the note of an unsubscription on the web: ``undo 0a1b2c3d4e=letters 5f6g=everything``."""
_ENTRY = re.compile(r"(\w*)=(letters|everything)")
_NOTE = re.compile(rf"{_MARKED}((?:\w*=(?:letters|everything)(?: |$))+)((?:{_ALSO}.*)?)", re.DOTALL)
_UNMARKED = ""
"""The mark of a no that nobody can take back on the web: one by mail, or one of many."""
_MOST_MARKS = 3
"""So many noes are kept apart; of more the oldest are for the office to lift."""

_Other = tuple[SuppressionReason, str | None]
"""A reason that only the office lifts, with its note."""


@dataclass(slots=True)
class _Standing:
    """What keeps an address from getting mail."""

    web: dict[str, SuppressionScope]
    """The person's own unsubscriptions by mark, in the order in which they came in."""
    other: _Other | None


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
    without a note is the person's own, by mail or on the web; it is kept beside a bounce or the
    office's words and gives way to the other three. Of two scopes the wider stays. Who objects to mail
    objects to being tracked, too; lifting the suppression does not lift that.

    Args:
        now: when it happened; of the web's unsubscriptions the last moment is kept, of any other reason
            the first.
        note: what the administrator wrote; no personal data belongs here.

    Returns:
        False if it was suppressed already, for as good a reason and as widely.
    """
    if reason is SuppressionReason.OBJECTED:
        choose_tracking(db, address_hash, TrackingChoice.OBJECTION, now=now)
    kept = _keep(db, address_hash, reason, scope, now, note)
    if kept is None:
        return True
    before = (kept.reason, kept.scope)
    if reason == SuppressionReason.UNSUBSCRIBED and note is None:
        _add_the_webs(kept, _UNMARKED, scope, now)
    else:
        _add_another(kept, (reason, note), now)
        kept.scope = _widest((kept.scope, scope))
    db.flush()
    return (kept.reason, kept.scope) != before


def unsubscribe(
    db: Session,
    address_hash: str,
    scope: SuppressionScope,
    *,
    now: datetime,
    mark: str = _UNMARKED,
) -> bool:
    """Do as the person asked: of what they said in one visit the last counts, wider or narrower.

    What was said otherwise, or is another reason, it can only make wider. Asking again is a new moment:
    taking back what was asked before it lifts nothing.

    Args:
        now: when it was asked; what was asked later has been done already.
        mark: of the visit in which it was asked; without one nobody takes it back on the web.

    Returns:
        False if nothing changed but the moment.
    """
    note = _write({mark: scope}, None)
    kept = _keep(db, address_hash, SuppressionReason.UNSUBSCRIBED, scope, now, note)
    if kept is None:
        return True
    before = (kept.reason, kept.scope)
    _add_the_webs(kept, mark, scope, now)
    db.flush()
    return (kept.reason, kept.scope) != before


def resubscribe(db: Session, address_hash: str, *, now: datetime, mark: str) -> bool:
    """Take back what was said in one visit, and nothing else.

    What was said before or after it in another stays; so does a bounce, a complaint, an objection or an
    administrator's word, also where the unsubscription had taken its place. What comes late is judged by
    its moment; only an unsubscription that comes after its own withdrawal stays, for no trace is kept of
    who was once suppressed.

    Args:
        now: when it was asked; what was asked later stays.
        mark: of the visit.

    Returns:
        False if as much is kept from the address as before.
    """
    kept = _locked(db, address_hash)
    if kept is None or kept.created_at > now:
        return False
    standing = _read(kept)
    if mark == _UNMARKED or standing.web.pop(mark, None) is None:
        return False
    before = (kept.reason, kept.scope)
    if standing.web:
        kept.note = _write(standing.web, standing.other)
        if standing.other is None:
            kept.scope = _widest(standing.web.values())
    elif standing.other is None:
        db.delete(kept)
    else:
        kept.reason, kept.note = standing.other
    db.flush()
    return not standing.web or (kept.reason, kept.scope) != before


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


def _read(kept: Suppression) -> _Standing:
    """What a row tells of; one with a note that is not ours to read is the office's."""
    note = kept.note or ""
    if kept.reason != SuppressionReason.UNSUBSCRIBED:
        return _Standing({}, (kept.reason, kept.note))
    if not note:
        return _Standing({_UNMARKED: kept.scope}, None)
    marked = _NOTE.fullmatch(note)
    if marked is None:
        other = _read_also(note)
        return _Standing({_UNMARKED: kept.scope} if other else {}, other or (kept.reason, kept.note))
    web = {mark: SuppressionScope(scope) for mark, scope in _ENTRY.findall(marked[1])}
    return _Standing(web, _read_also(marked[2]))


def _write(web: dict[str, SuppressionScope], other: _Other | None) -> str | None:
    """The note of a row with these noes and the other reason, if there is one."""
    parts = [f"{mark}={scope}" for mark, scope in web.items()] if set(web) != {_UNMARKED} else []
    marked = _MARKED + " ".join(parts) if parts else ""
    also = _also(*other) if other is not None else ""
    return f"{marked} {also}".strip()[:LONGEST_NOTE] or None


def _add_the_webs(kept: Suppression, mark: str, scope: SuppressionScope, now: datetime) -> None:
    standing = _read(kept)
    web, other = standing.web, standing.other
    if other is not None and other[0] not in _HIDDEN_BY_THE_WEBS:
        kept.scope = _widest((kept.scope, scope))
        return
    if mark in web and (mark == _UNMARKED or kept.created_at > now):
        is_overtaken = mark != _UNMARKED and len(web) == 1  # by a later word of the same visit
        scope = web[mark] if is_overtaken else _widest((web[mark], scope))
    kept.created_at = max(kept.created_at, now) if web else now
    web[mark] = scope
    while len(web) > _MOST_MARKS:
        oldest = next(each for each in web if each not in {mark, _UNMARKED})
        scopes = [web.pop(oldest), *([web[_UNMARKED]] if _UNMARKED in web else [])]
        web[_UNMARKED] = _widest(scopes)
    kept.reason, kept.note = SuppressionReason.UNSUBSCRIBED, _write(web, other)
    kept.scope = _widest(web.values()) if other is None else _widest((kept.scope, scope))


def _add_another(kept: Suppression, new: _Other, now: datetime) -> None:
    standing = _read(kept)
    other = standing.other
    gravest = _graver(other, new)
    if standing.web and gravest[0] in _HIDDEN_BY_THE_WEBS:
        kept.note = _write(standing.web, gravest)
        return
    if gravest[0] == new[0]:
        is_known = not standing.web and other is not None and other[0] == new[0]
        kept.created_at = min(kept.created_at, now) if is_known else now
    kept.reason, kept.note = gravest


def _graver(one: _Other | None, two: _Other) -> _Other:
    """The graver of two reasons; of the same twice the first note."""
    if one is None or _GRAVITY.index(two[0]) < _GRAVITY.index(one[0]):
        return two
    return (one[0], two[1]) if one[0] == two[0] and one[1] is None else one


def _widest(scopes: Iterable[SuppressionScope]) -> SuppressionScope:
    """Everything, if any of them is."""
    everything = SuppressionScope.EVERYTHING
    return everything if everything in scopes else SuppressionScope.LETTERS


def _also(reason: SuppressionReason, note: str | None) -> str:
    return (f"{_ALSO}{reason}: {note}" if note else f"{_ALSO}{reason}")[:LONGEST_NOTE]


def _read_also(note: str) -> _Other | None:
    """The other reason that a note tells of, with its own note."""
    word, _, rest = note.removeprefix(_ALSO).partition(": ")
    if not note.startswith(_ALSO) or word not in list(SuppressionReason):
        return None
    return SuppressionReason(word), rest or None
