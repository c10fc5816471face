"""Signing in: the limits, the password, and a new session, each in a short transaction."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from mailer.foundation.database import Database
from mailer.staff.attempts import count_attempt, forgive, slot_of
from mailer.staff.browsers import browser_slot, mark_browser
from mailer.staff.models import StaffAccount
from mailer.staff.passwords import hash_password, is_outdated, matches
from mailer.staff.sessions import end_session, open_session


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What a browser gets when its password was right."""

    token: str
    """Of the session; new with every signing in."""
    browser: str
    """By which the browser is known from now on."""


def sign_in(
    database: Database,
    name: str,
    password: str,
    *,
    browser: str | None,
    earlier: str | None,
    key: bytes,
    now: datetime,
) -> SignedIn | None:
    """Open a session, or None: whether it was the name or the password is not told, nor can be timed.

    Args:
        browser: the cookie of a browser that signed in before.
        earlier: the token the browser came with; that session ends.
        key: signs the browsers' cookies.
        now: real time.

    Raises:
        TooManyAttempts: the password was not looked at.
    """
    with database.write() as db:
        account = db.scalar(select(StaffAccount).where(StaffAccount.name == name.strip().casefold()))
        known = browser_slot(key, account, browser)
        slot = known or slot_of(name)
        count_attempt(db, slot, stranger=known is None, now=now)
    kept = account.password_hash if account else None
    if not matches(password, kept) or account is None:
        return None
    renewed = hash_password(password) if is_outdated(account.password_hash) else None
    with database.write() as db:
        now_kept = db.get(StaffAccount, account.id)
        if now_kept is None or now_kept.password_hash != kept:
            return None  # changed or removed while we looked
        forgive(db, slot, stranger=known is None)
        now_kept.signed_in_at = now
        if renewed:
            now_kept.password_hash = renewed
        if earlier:
            end_session(db, earlier)
        token = open_session(db, now_kept.id, now=now)
        return SignedIn(token, mark_browser(key, now_kept))
