"""What people register for, who registered or asked to be reminded, and which reminders have gone."""

from datetime import date, datetime, time
from enum import StrEnum

from sqlalchemy import ForeignKey, String, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from mailer.foundation.database import Base


class EventState(StrEnum):
    """Whether an event takes place."""

    OPEN = "open"
    MOVED = "moved"
    """Takes place, at another date, time or place than was known before."""
    FULL = "full"
    """Takes place; whoever keeps the list of those registered has said that there are no more seats."""
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
    hosted: Mapped[bool] = mapped_column(default=False, server_default=false())
    """People register on a page of ours; ``registration_url`` is then of no account."""
    reminders: Mapped[str | None] = mapped_column(String(500))
    """Which reminders it gets and with which letter, such as ``14 days, 1 day: vi-ses, 2 hours``;
    ``none`` is none at all. Where nothing stands here, the letters' own leads hold."""
    state: Mapped[EventState] = mapped_column(default=EventState.OPEN)
    moved_at: Mapped[datetime | None]
    """When its date was last changed to another; what was due before then is not made up for."""
    sequence: Mapped[int] = mapped_column(default=0)
    """Grows with every change that a calendar must hear of (RFC 5545 §3.8.7.4)."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class EventChange(Base):
    """One field of an event that was changed after the event was taken in."""

    __tablename__ = "event_changes"

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id"), index=True)
    field: Mapped[str] = mapped_column(String(32))
    """A field of the event, or ``state``."""
    old: Mapped[str | None] = mapped_column(String(2000))
    """As one writes it, dates and times in ISO 8601; None where nothing was known."""
    new: Mapped[str | None] = mapped_column(String(2000))
    at: Mapped[datetime]
    told_at: Mapped[datetime | None]
    """When those who showed interest were told of it by letter; None: they were not."""
    campaign_id: Mapped[int | None] = mapped_column(ForeignKey("campaigns.id"))
    """The letter that told of it; None also where nobody had shown interest."""


class RegistrationState(StrEnum):
    """Whether somebody comes."""

    SEATED = "seated"
    WAITING = "waiting"
    """All seats were taken; moves up when one is given back."""
    CANCELLED = "cancelled"


class RegistrationSource(StrEnum):
    """How we know."""

    HOSTED = "hosted"
    """They registered on our page, or cancelled with us."""
    LIST = "list"
    """They stood on an attendance list that was imported."""


class Registration(Base):
    """One person's registration for one event; a cancelled one stays, so that it can be told."""

    __tablename__ = "registrations"
    __table_args__ = (
        UniqueConstraint("event_id", "recipient_id"),
        UniqueConstraint("event_id", "email_key"),
        UniqueConstraint("event_id", "number"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id"))
    recipient_id: Mapped[int | None] = mapped_column(
        ForeignKey("recipients.id", ondelete="CASCADE"), index=True
    )
    """None for somebody on an attendance list whom no list of recipients has; they get no mail."""
    email: Mapped[str | None] = mapped_column(String(320))
    """As the attendance list wrote it; None where the recipient's row has it."""
    email_key: Mapped[str | None] = mapped_column(String(320))
    """The address as recipients' addresses are compared; None where the recipient's row has it."""
    name: Mapped[str | None] = mapped_column(String(300))
    """As the attendance list wrote it."""
    organisation: Mapped[str | None] = mapped_column(String(300))
    """As the attendance list wrote it."""
    state: Mapped[RegistrationState]
    source: Mapped[RegistrationSource]
    number: Mapped[int]
    """The order of signing up within the event; whoever signs up again goes to the end."""
    registered_at: Mapped[datetime]
    """The clock people see."""
    changed_at: Mapped[datetime]
    told: Mapped[RegistrationState | None]
    """The state they were last told of by letter; None before the first. On a list: nobody is told."""


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
    """A reminder that has gone or was called off: once per event, lead, rule and date of the event."""

    __tablename__ = "reminders"
    __table_args__ = (UniqueConstraint("event_id", "lead", "rule", "event_date"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id"))
    lead: Mapped[str] = mapped_column(String(16))
    """``14 days``, ``7 days``, ``1 day``, ``2 hours``."""
    rule: Mapped[str] = mapped_column(String(32))
    """Who gets it: an ``AudienceRule``."""
    event_date: Mapped[date]
    """The event's date when it went: an event that has moved is reminded of anew."""
    state: Mapped[ReminderState]
    due_at: Mapped[datetime]
    late: Mapped[bool] = mapped_column(default=False)
    audience: Mapped[int] = mapped_column(default=0)
    campaign_id: Mapped[int | None] = mapped_column(ForeignKey("campaigns.id"))
    at: Mapped[datetime]
