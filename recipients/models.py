"""The recipient database: people and offices, where each row came from, and who gets no more mail."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from mailer.foundation.database import Base


class Role(StrEnum):
    """What the person or office is; the order is the order of precedence, highest office first."""

    MINISTER = "minister"
    MAYOR = "borgmester"
    REGIONAL_CHAIR = "regionsformand"
    POLITICIAN = "politiker"
    UNION = "fagforening"
    UNION_REPRESENTATIVE = "tillidsrepræsentant"
    SAFETY_REPRESENTATIVE = "arbejdsmiljørepræsentant"
    EMPLOYEE_REPRESENTATIVE = "medarbejderrepræsentant"
    MANAGER = "leder"
    EMPLOYEE = "medarbejder"
    OTHER = "andet"


class Sector(StrEnum):
    """Which part of the public sector; unions have none."""

    STATE = "stat"
    REGION = "region"
    MUNICIPALITY = "kommune"
    NONE = "ingen"


class Confederation(StrEnum):
    """The employee confederation; special-category data (GDPR art. 9)."""

    FTF = "FTF"
    OAO = "OAO"
    AKADEMIKERNE = "Akademikerne"
    NONE = "ingen"


class Region(StrEnum):
    """The five regions."""

    HOVEDSTADEN = "Hovedstaden"
    SJAELLAND = "Sjælland"
    SYDDANMARK = "Syddanmark"
    MIDTJYLLAND = "Midtjylland"
    NORDJYLLAND = "Nordjylland"


class TrackingChoice(StrEnum):
    """What the person said about being tracked; NULL where nothing was ever said."""

    CONSENT = "consent"
    OBJECTION = "objection"
    UNSAID = "unsaid"
    """What was said is taken back: as if it never was, but that no list says yes in their place."""


class Particulars:
    """What a letter can show of somebody, or is decided by."""

    name: Mapped[str | None] = mapped_column(String(300))
    role: Mapped[Role] = mapped_column(default=Role.OTHER)
    sector: Mapped[Sector] = mapped_column(default=Sector.NONE)
    organisation: Mapped[str | None] = mapped_column(String(300))
    workplace: Mapped[str | None] = mapped_column(String(300))
    confederation: Mapped[Confederation] = mapped_column(default=Confederation.NONE)
    region: Mapped[Region | None]
    language: Mapped[str] = mapped_column(String(2), default="da")
    attributes: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    tracking: Mapped[TrackingChoice | None]
    shared: Mapped[bool] = mapped_column(default=False)
    """Lists give several names for the address: the office is greeted, not a name."""


class Recipient(Particulars, Base):
    """One person or office we may write to."""

    __tablename__ = "recipients"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(320))
    """Written to as given."""
    email_key: Mapped[str] = mapped_column(String(320), unique=True)
    """The case-folded form by which an address is one address."""
    address_hash: Mapped[str] = mapped_column(String(32), index=True)
    """Keyed hash of ``email_key``; suppressions know an address only by it."""
    domain: Mapped[str] = mapped_column(String(255))
    """The mail domain in ASCII (RFC 5890), lower case."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class RecipientVersion(Particulars, Base):
    """What a recipient's row said before it was changed: letters that have left showed it.

    A batch notes the newest version there is when it is claimed. Its letters showed the oldest version
    of their recipient that is newer; where there is none, the row as it is.
    """

    __tablename__ = "recipient_versions"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - SQLAlchemy's own convention

    id: Mapped[int] = mapped_column(primary_key=True)
    """In the order of the changes; never given again."""
    recipient_id: Mapped[int] = mapped_column(
        ForeignKey("recipients.id", ondelete="CASCADE"), index=True
    )
    replaced_at: Mapped[datetime]
    """When the row was changed; the clock people see."""


class RecipientSource(Base):
    """A party whose list a recipient stood on; several are possible."""

    __tablename__ = "recipient_sources"

    recipient_id: Mapped[int] = mapped_column(
        ForeignKey("recipients.id", ondelete="CASCADE"), primary_key=True
    )
    source: Mapped[str] = mapped_column(String(64), primary_key=True)


class ImportState(StrEnum):
    """Where one run of the import stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Import(Base):
    """One run of the import; while one is alive, no campaign may freeze its audience."""

    __tablename__ = "imports"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[str] = mapped_column(String(255))
    """The name of the file, without its folder."""
    source: Mapped[str | None] = mapped_column(String(64))
    state: Mapped[ImportState]
    started_at: Mapped[datetime]
    """Real time."""
    beat_at: Mapped[datetime]
    """Real time of the last sign of life; a run silent for a minute is dead."""
    counts: Mapped[dict[str, int]] = mapped_column(JSON, default=dict)


class SuppressionReason(StrEnum):
    """Why an address gets no more mail."""

    UNSUBSCRIBED = "unsubscribed"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    OBJECTED = "objected"
    MANUAL = "manual"


class SuppressionScope(StrEnum):
    """What an address gets no more of."""

    EVERYTHING = "everything"
    LETTERS = "letters"
    """Still gets the reminders it asked for, and what answers something it did."""


class Suppression(Base):
    """An address that gets no more mail, known only by its hash so that it outlives the recipient."""

    __tablename__ = "suppressions"

    address_hash: Mapped[str] = mapped_column(String(32), primary_key=True)
    reason: Mapped[SuppressionReason]
    scope: Mapped[SuppressionScope] = mapped_column(
        default=SuppressionScope.EVERYTHING, server_default=SuppressionScope.EVERYTHING.value
    )
    note: Mapped[str | None] = mapped_column(String(200))
    """What the administrator wrote; no personal data belongs here."""
    created_at: Mapped[datetime]


class Segment(Base):
    """A named rule that selects recipients."""

    __tablename__ = "segments"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    rule: Mapped[str] = mapped_column(String(2000))
    """As written: ``role in (minister, borgmester) and region = Sjælland``."""
    created_at: Mapped[datetime]
