"""Sessions: who is signed in, by a random token of which only the hash is kept."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from mailer.staff.models import StaffAccount, StaffRole, StaffSession

IDLE = timedelta(minutes=30)
"""A session nobody uses ends after so long."""
LIFETIME = timedelta(hours=12)
"""And any session after so long."""
_TOKEN_BYTES = 32
_SEEN_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who is signed in."""

    account_id: int
    name: str
    role: StaffRole
    form_token: str
    """Stands in every form of this session, so that no other site can fill one in."""

    @property
    def is_admin(self) -> bool:
        """Whether they may see more than figures."""
        return self.role is StaffRole.ADMIN


def open_session(db: Session, account_id: int, *, now: datetime) -> str:
    """Begin a session; sessions whose time is up are cleared away.

    Args:
        now: real time.

    Returns:
        The token, which is kept nowhere but in the cookie.
    """
    _clear(db, now)
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    db.add(StaffSession(token_hash=_hash(token), account_id=account_id, created_at=now, seen_at=now))
    db.flush()
    return token


def find_visitor(db: Session, token: str, *, now: datetime) -> tuple[Visitor, bool] | None:
    """Who holds this token, and whether it is time to note that they were seen.

    None for a token that is unknown, made up, signed out or whose time is up.
    """
    row = db.execute(
        select(StaffSession, StaffAccount)
        .join(StaffAccount, StaffAccount.id == StaffSession.account_id)
        .where(
            StaffSession.token_hash == _hash(token),
            StaffSession.created_at > now - LIFETIME,
            StaffSession.seen_at > now - IDLE,
        )
    ).one_or_none()
    if row is None:
        return None
    session, account = row
    visitor = Visitor(account.id, account.name, account.role, form_token(token))
    return visitor, now - session.seen_at >= _SEEN_EVERY


def note_seen(db: Session, token: str, *, now: datetime) -> None:
    """Note that the session is in use; one that has ended stays ended."""
    db.execute(update(StaffSession).where(StaffSession.token_hash == _hash(token)).values(seen_at=now))


def end_session(db: Session, token: str) -> None:
    """Sign out."""
    db.execute(delete(StaffSession).where(StaffSession.token_hash == _hash(token)))


def form_token(secret: str) -> str:
    """What stands in the forms of whoever holds this secret; it tells nothing about the secret."""
    return hmac.new(secret.encode(), b"staff form", hashlib.sha256).hexdigest()


def _clear(db: Session, now: datetime) -> None:
    over = or_(StaffSession.created_at <= now - LIFETIME, StaffSession.seen_at <= now - IDLE)
    db.execute(delete(StaffSession).where(over))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
