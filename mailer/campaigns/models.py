"""What is sent to whom, and where each letter stands."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Float, ForeignKey, Index, String, false, text
from sqlalchemy.orm import Mapped, mapped_column

from mailer.foundation.database import Base

LONGEST_NAME = 100
"""Characters of a campaign's name."""


class CampaignState(StrEnum):
    """Where one campaign stands."""

    DRAFT = "draft"
    """Made, and may still change; it has no audience yet."""
    SCHEDULED = "scheduled"
    """Launched with a time to begin that has not come."""
    SENDING = "sending"
    """Launched; its letters leave as relays allow."""
    PAUSED = "paused"
    """Held by an administrator; no new letter is begun."""
    FINISHED = "finished"
    """No delivery is pending, claimed or deferred."""
    CANCELLED = "cancelled"
    """Ended by an administrator; what had not been sent never is."""


class UncertainPolicy(StrEnum):
    """What becomes of a letter that may or may not have arrived."""

    HOLD = "hold"
    """An administrator decides."""
    RESEND = "resend"
    """It is sent once more, with the same Message-ID."""


class Campaign(Base):
    """One letter to one audience."""

    __tablename__ = "campaigns"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(LONGEST_NAME), unique=True)
    letter: Mapped[str] = mapped_column(String(100))
    """The letter's folder name."""
    segment: Mapped[str | None] = mapped_column(String(100))
    """The segment's name; None is everybody."""
    state: Mapped[CampaignState] = mapped_column(default=CampaignState.DRAFT)
    tracking: Mapped[str] = mapped_column(String(16))
    legal_basis: Mapped[str | None] = mapped_column(String(500))
    on_uncertain: Mapped[UncertainPolicy] = mapped_column(default=UncertainPolicy.HOLD)
    auto_submitted: Mapped[bool] = mapped_column(default=False)
    """Nobody pressed a button for it: reminders (RFC 3834 §5)."""
    frozen_letter: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    """The letter's source and the events' values, copied at the launch; None before it."""
    audience: Mapped[int] = mapped_column(default=0)
    batch_size: Mapped[int] = mapped_column(default=500)
    """Letters in a batch of first attempts; of a spread campaign, in a part."""
    hours: Mapped[str | None] = mapped_column(String(16))
    """The hours of the day in which letters may leave, such as ``8-16``; None is all of them."""
    workdays: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Letters leave on working days only."""
    opens_at: Mapped[datetime | None]
    """With hours or working days: letters leave from then; the clock people see."""
    closes_at: Mapped[datetime | None]
    """With hours or working days: and until then, when the next such time is looked up."""
    part_seconds: Mapped[float | None] = mapped_column(Float)
    """Of a spread campaign: between two parts, counting only the time in which letters may leave."""
    waiting_for: Mapped[str | None] = mapped_column(String(300))
    """Why a campaign in ``sending`` does not move: a relay that is gone, in words."""
    created_at: Mapped[datetime]
    queued_at: Mapped[datetime | None]
    dated_at: Mapped[datetime | None]
    """The Date of every letter and copy; the clock people see."""
    due_at: Mapped[datetime | None]
    """When a scheduled campaign begins; the clock people see."""
    started_at: Mapped[datetime | None]
    """Real time of the first claim."""
    progressed_at: Mapped[datetime | None]
    """Real time at which a batch last brought letters to an outcome."""
    finished_at: Mapped[datetime | None]
    """Real time at which nothing was left to send."""


class BatchState(StrEnum):
    """Where one batch stands."""

    READY = "ready"
    CLAIMED = "claimed"
    DONE = "done"


class Batch(Base):
    """Deliveries claimed, journalled and finalised together.

    First attempts are the range of positions ``first`` to ``last``; a retry batch has no range, its
    deliveries name it.
    """

    __tablename__ = "batches"
    __table_args__ = (
        Index(
            "ix_batches_open",
            "campaign_id",
            "state",
            "due_at",
            sqlite_where=text("state <> 'done'"),
            postgresql_where=text("state <> 'done'"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaigns.id"), index=True)
    first: Mapped[int | None]
    last: Mapped[int | None]
    state: Mapped[BatchState] = mapped_column(default=BatchState.READY)
    planned_at: Mapped[datetime | None]
    """When this part of a spread campaign is due, on the clock people see."""
    due_at: Mapped[datetime | None]
    """Real time before which it is not claimed; None while ``planned_at`` is to come."""
    fence: Mapped[int] = mapped_column(default=0)
    """Grows by one with every claim, and when a lost claim is taken over; what that hands back goes on
    with it. A worker whose fence has moved on writes nothing."""
    owner: Mapped[str | None] = mapped_column(String(64))
    """Names the claiming process's journal, below the host's state folder."""
    host: Mapped[str | None] = mapped_column(String(64))
    """Random id kept in the claiming process's state folder."""
    boot_id: Mapped[str | None] = mapped_column(String(64))
    """The kernel's boot id at the claim: after another boot, unsynced notes may be gone."""
    lease_until: Mapped[datetime | None]
    """Real time until which a silent claim is left alone."""
    versions_seen: Mapped[int | None]
    """The newest version of a recipient there was at the claim; None before it."""


class DeliveryState(StrEnum):
    """Where one letter to one recipient stands."""

    PENDING = "pending"
    """In a batch; no byte of it has been offered to a relay. Counts as claimed in a claimed batch."""
    SENT = "sent"
    """Accepted by a relay (250). Says nothing about the inbox."""
    DEFERRED = "deferred"
    """Refused for now (4xx); offered again at ``due_at``."""
    BOUNCED = "bounced"
    """Refused for good, in the dialogue or by a later bounce message."""
    COMPLAINED = "complained"
    """The recipient called it spam."""
    FAILED = "failed"
    """Could not be offered to any relay: it could not be rendered, no relay takes its address, or every
    connection was lost before the letter was taken."""
    SUPPRESSED = "suppressed"
    """Outside the trial, or suppressed after the freeze."""
    UNCERTAIN = "uncertain"
    """The final dot left and no reply was read (RFC 5321 §4.5.3.2.6): may have arrived."""
    CANCELLED = "cancelled"
    """Its campaign was cancelled first."""


class Delivery(Base):
    """One letter to one recipient, numbered 1…N without gaps within its campaign.

    There are no foreign keys: checking them, row by row, cost PostgreSQL three quarters of a freeze.
    Only the ledger writes here, and ``reconcile`` proves that what a delivery names is there. Nor does
    an index or its predicate mention ``state``, and pages are left two thirds empty, so that PostgreSQL
    writes an outcome without touching any index.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        Index(
            "ix_deliveries_batch_id",
            "batch_id",
            sqlite_where=text("batch_id IS NOT NULL"),
            postgresql_where=text("batch_id IS NOT NULL"),
        ),
        Index(
            "ix_deliveries_due_at",
            "due_at",
            sqlite_where=text("due_at IS NOT NULL"),
            postgresql_where=text("due_at IS NOT NULL"),
        ),
        {"postgresql_with": {"fillfactor": 35}},
    )

    campaign_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    recipient_id: Mapped[int | None]
    """None once the person was erased."""
    state: Mapped[DeliveryState] = mapped_column(default=DeliveryState.PENDING)
    batch_id: Mapped[int | None]
    """The retry batch it waits in; None while it belongs to its range."""
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime | None]
    """Real time of the next attempt of a deferred delivery; since when an uncertain one is so."""
    first_deferred_at: Mapped[datetime | None]
    """Real time of the first refusal; beyond 72 hours the next one is a soft bounce."""
    at: Mapped[datetime | None]
    """When it came to its state; the clock people see."""
    relay: Mapped[str | None] = mapped_column(String(255))
    code: Mapped[int | None]
    """The relay's reply code (RFC 5321 §4.2.1)."""
    enhanced_code: Mapped[str | None] = mapped_column(String(16))
    """The relay's enhanced status code (RFC 3463 §2)."""
    reason: Mapped[str | None] = mapped_column(String(300))
    """Why, in words that name no person: the relay's text with addresses removed."""


DOWNLOAD = "download"
"""The kind of a link to something one keeps."""
REGISTRATION = "registration"
"""The kind of a link to where one registers: to click it is no registration."""


class Link(Base):
    """A tracked link of a campaign; its target may be corrected or filled in after the letters left."""

    __tablename__ = "links"

    campaign_id: Mapped[int] = mapped_column(
        ForeignKey("campaigns.id"), primary_key=True, autoincrement=False
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Stands unsigned in the tracked address."""
    key: Mapped[str] = mapped_column(String(500))
    """What it is in the letter: ``pack``, ``events.registration/hovedstaden``, or a literal address."""
    kind: Mapped[str] = mapped_column(String(16))
    """``link``, ``download`` or ``registration``: what a click on it counts as."""
    event_slug: Mapped[str | None] = mapped_column(String(64))
    target: Mapped[str] = mapped_column(String(2000))


class LinkChange(Base):
    """Who led a link elsewhere, when and why; never changed."""

    __tablename__ = "link_changes"

    id: Mapped[int] = mapped_column(primary_key=True)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaigns.id"), index=True)
    number: Mapped[int]
    old_target: Mapped[str] = mapped_column(String(2000))
    new_target: Mapped[str] = mapped_column(String(2000))
    by: Mapped[str] = mapped_column(String(100))
    """The account on the machine that gave the command."""
    reason: Mapped[str | None] = mapped_column(String(300))
    at: Mapped[datetime]
    """Real time."""


class Heartbeat(Base):
    """When something that must happen again and again last did."""

    __tablename__ = "heartbeats"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    at: Mapped[datetime]
    """Real time."""
