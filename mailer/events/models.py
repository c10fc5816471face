"""What people register for, who asked to be reminded of it, and which reminders have gone."""

from datetime import date, datetime, time
from enum import StrEnum

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from mailer.foundation.database import Base


class EventState(StrEnum):
    """Whether an event takes place."""

    OPEN = "open"
    CANCELLED = "cancelled"


class Event(Base):
    """Something in the real world that people register for; much of it may still be missing.

    Date and time are local wall time in ``timezone``, as people planned them.
    """

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(String(64), unique=True)
    title: Mapped[str] = mapped_column(String(300))
    date: Mapped[date]
    time: Mapped[time | None]
    timezone: Mapped[str] = mapped_column(String(64), default="Europe/Copenhagen")
    place: Mapped[str | None] = mapped_column(String(300))
    address: Mapped[str | None] = mapped_column(String(300))
    region: Mapped[str | None] = mapped_column(String(32))
    programme_url: Mapped[str | None] = mapped_column(String(2000))
    registration_url: Mapped[str | None] = mapped_column(String(2000))
    capacity: Mapped[int | None]
    state: Mapped[EventState] = mapped_column(default=EventState.OPEN)
    sequence: Mapped[int] = mapped_column(default=0)
    """Grows with every change that a calendar must hear of (RFC 5545 §3.8.7.4)."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ReminderRequest(Base):
    """Somebody asked to be reminded of an event."""

    __tablename__ = "reminder_requests"

    event_id: Mapped[int] = mapped_column(ForeignKey("events.id"), primary_key=True)
    recipient_id: Mapped[int] = mapped_column(
        ForeignKey("recipients.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    asked_at: Mapped[datetime]


class ReminderState(StrEnum):
    """Where a reminder stands; ``sent`` and ``cancelled`` are stored, the others derived from now."""

    PLANNED = "planned"
    DUE = "due"
    BLOCKED = "blocked"
    """Its text needs something the event lacks."""
    MISSED = "missed"
    """Found only after its grace time; never sent."""
    SENT = "sent"
    CANCELLED = "cancelled"


class Reminder(Base):
    """A reminder that has gone or was called off: once per event, lead and rule."""

    __tablename__ = "reminders"
    __table_args__ = (UniqueConstraint("event_id", "lead", "rule"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id"))
    lead: Mapped[str] = mapped_column(String(16))
    """``14 days``, ``7 days``, ``1 day``."""
    rule: Mapped[str] = mapped_column(String(32))
    """Who gets it: ``interested`` are those who asked and, where tracking is personal, those who
    clicked the event's registration link."""
    state: Mapped[ReminderState]
    due_at: Mapped[datetime]
    late: Mapped[bool] = mapped_column(default=False)
    audience: Mapped[int] = mapped_column(default=0)
    campaign_id: Mapped[int | None] = mapped_column(ForeignKey("campaigns.id"))
    at: Mapped[datetime]
