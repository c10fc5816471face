"""Accounts of staff, their sessions, and the failures to sign in. All moments are real time."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from mailer.foundation.database import Base


class StaffRole(StrEnum):
    """What somebody may see. Nobody may change anything."""

    VIEWER = "viewer"
    """Figures of campaigns."""
    ADMIN = "admin"
    """Also why letters failed or are uncertain; never who anybody is."""


class StaffAccount(Base):
    """Somebody of the office who may sign in."""

    __tablename__ = "staff_accounts"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    """In lower case: two people are never told apart by a capital."""
    role: Mapped[StaffRole]
    password_hash: Mapped[str] = mapped_column(String(255))
    """Argon2id with its parameters and salt (RFC 9106)."""
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    """When the password was last set by hand."""
    signed_in_at: Mapped[datetime | None]


class StaffSession(Base):
    """One browser that is signed in, until it signs out or time is up."""

    __tablename__ = "staff_sessions"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    """SHA-256 of the cookie's token: whoever reads the table can sign in nowhere."""
    account_id: Mapped[int] = mapped_column(
        ForeignKey("staff_accounts.id", ondelete="CASCADE"), index=True
    )
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    """To the minute: a page that is looked at again does not write each time."""


class SignInFailures(Base):
    """How often signing in has failed of late, for one slot of names or one known browser.

    Names are not kept, since a password may be typed where a name belongs; and there are only so many
    slots, so that made-up names fill no table.
    """

    __tablename__ = "sign_in_failures"

    slot: Mapped[str] = mapped_column(String(32), primary_key=True)
    failures: Mapped[int]
    last_at: Mapped[datetime]
    wait_until: Mapped[datetime]
    """Before that moment no password is looked at."""
