"""Accounts of staff: made, changed and removed by whoever runs the service."""

import re
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailer.staff.errors import AccountExists, AccountNotFound, BadAccountName
from mailer.staff.models import StaffAccount, StaffRole, StaffSession
from mailer.staff.passwords import check_password, hash_password

LONGEST_NAME = 64
_NAME = re.compile(r"[a-zæøåäöéü0-9](?:[a-zæøåäöéü0-9@._+-]*[a-zæøåäöéü0-9])?")


def add_account(
    db: Session, name: str, role: StaffRole, password: str, *, now: datetime
) -> StaffAccount:
    """Let somebody sign in.

    Args:
        now: real time.

    Raises:
        BadAccountName, AccountExists, WeakPassword: nothing was changed.
    """
    name = account_name(name)
    check_password(name, password)
    account = StaffAccount(
        name=name, role=role, password_hash=hash_password(password), created_at=now, changed_at=now
    )
    try:
        with db.begin_nested():
            db.add(account)
    except IntegrityError as error:
        raise AccountExists(f"there is an account {name} already") from error
    return account


def list_accounts(db: Session) -> list[StaffAccount]:
    """All accounts by name."""
    return list(db.scalars(select(StaffAccount).order_by(StaffAccount.name)))


def find_account(db: Session, name: str) -> StaffAccount:
    """The account of that name, however it is spelled.

    Raises:
        AccountNotFound: there is none.
    """
    found = db.scalar(select(StaffAccount).where(StaffAccount.name == name.strip().casefold()))
    if found is None:
        raise AccountNotFound(f"there is no account {name!r}; see  mailer staff list")
    return found


def change_password(db: Session, name: str, password: str, *, now: datetime) -> int:
    """Set another password and end every session of the account.

    Returns:
        How many sessions were ended.

    Raises:
        AccountNotFound, WeakPassword: nothing was changed.
    """
    account = find_account(db, name)
    check_password(account.name, password)
    account.password_hash, account.changed_at = hash_password(password), now
    return _end_sessions(db, account)


def remove_account(db: Session, name: str) -> int:
    """Let somebody sign in no more, and end every session of the account.

    Returns:
        How many sessions were ended.

    Raises:
        AccountNotFound: nothing was changed.
    """
    account = find_account(db, name)
    ended = _end_sessions(db, account)
    db.delete(account)
    db.flush()
    return ended


def account_name(text: str) -> str:
    """The name as it is kept.

    Raises:
        BadAccountName: it cannot be one.
    """
    name = text.strip().casefold()
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        raise BadAccountName(
            f"{text!r} cannot be a name: letters, digits and @ . _ + - between them,"
            f" at most {LONGEST_NAME}"
        )
    return name


def _end_sessions(db: Session, account: StaffAccount) -> int:
    ended = db.execute(
        delete(StaffSession)
        .where(StaffSession.account_id == account.id)
        .returning(StaffSession.token_hash)
    )
    return len(ended.all())
