"""Signing in: the limits, the password, and a new session, each in a short transaction."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailer.foundation.database import Database
from mailer.staff.accounts import account_name
from mailer.staff.attempts import check_wait, count_attempt, forgive, slot_of
from mailer.staff.browsers import browser_slot, mark_browser
from mailer.staff.errors import BadAccountName
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
    with database.read() as db:
        account = _find(db, name)
        slot = browser_slot(key, account, browser) or slot_of(name)
        check_wait(db, slot, now=now)
    with database.write() as db:
        count_attempt(db, slot, now=now)
    kept = account.password_hash if account else None
    if not matches(password, kept) or account is None:
        return None
    renewed = hash_password(password) if is_outdated(account.password_hash) else None
    with database.write() as db:
        now_kept = db.get(StaffAccount, account.id, with_for_update=True)
        if now_kept is None or now_kept.password_hash != kept:
            return None  # changed or removed while we looked
        forgive(db, slot)
        now_kept.signed_in_at = now
        if renewed:
            now_kept.password_hash = renewed
        if earlier:
            end_session(db, earlier)
        token = open_session(db, now_kept.id, now=now)
        return SignedIn(token, mark_browser(key, now_kept))


def _find(db: Session, name: str) -> StaffAccount | None:
    """The account of that name; what cannot be a name is not looked for: PostgreSQL takes no NUL."""
    try:
        kept = account_name(name)
    except BadAccountName:
        return None
    return db.scalar(select(StaffAccount).where(StaffAccount.name == kept))
