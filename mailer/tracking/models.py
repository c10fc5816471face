"""The event log: what recipients and readers did, appended and never changed."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from mailer.foundation.database import Base


class TrackingKind(StrEnum):
    """What somebody did."""

    OPEN = "open"
    CLICK = "click"
    UNSUBSCRIBE = "unsubscribe"
    VIEW = "view"
    """Read the letter in a browser, by the personal link."""
    PASS_ON = "pass_on"  # noqa: S105 - it is no password
    """Opened the letter that was passed on; nobody's in particular."""
    REMIND = "remind"
    """Asked to be reminded of an event."""
    VISIT = "visit"
    """Opened a public page; reach, counted apart from recipients."""


class Label(StrEnum):
    """Who it probably was."""

    PERSON = "person"
    MACHINE = "machine"
    UNSURE = "unsure"


class TrackingEvent(Base):
    """One thing that somebody did; without a position it is nobody's in particular."""

    __tablename__ = "tracking_events"
    __table_args__ = (Index("ix_tracking_events_campaign_kind", "campaign_id", "kind", "position"),)

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    kind: Mapped[TrackingKind]
    campaign_id: Mapped[int | None] = mapped_column(ForeignKey("campaigns.id"))
    position: Mapped[int | None]
    """The delivery within the campaign; None where tracking is anonymous or nobody is known."""
    link_number: Mapped[int | None]
    subject: Mapped[str | None] = mapped_column(String(64))
    """The event's slug or the page's name, where there is one."""
    label: Mapped[Label]
    reason: Mapped[str] = mapped_column(String(64))
    """The rule that gave the label."""
    at: Mapped[datetime]
    """The clock people see."""
