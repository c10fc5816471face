"""What a report of progress is: mail, events and reach over some days, as frozen values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from mailer.campaigns.timetable import resolve_local
from mailer.reports.report import Dimension, Engagement, Group, Reach

STATES = (
    "sent",
    "bounced",
    "complained",
    "deferred",
    "pending",
    "uncertain",
    "failed",
    "suppressed",
    "cancelled",
)
"""Where a letter may stand; one in a batch at work is pending here."""
DOINGS = ("opens", "clicks", "downloads", "registration_clicks", "unsubscribes", "views")
"""What readers may do with a letter."""
DIMENSIONS = (Dimension.REGION, Dimension.SECTOR, Dimension.ROLE)
"""What the recipients of the period are told by."""


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days, from the first to the last, where people plan."""

    first: date
    last: date
    zone: ZoneInfo

    @property
    def start(self) -> datetime:
        """The moment the first day begins."""
        return resolve_local(self.first, time(), self.zone)

    @property
    def end(self) -> datetime:
        """The moment the last day is over."""
        return resolve_local(self.last + timedelta(days=1), time(), self.zone)


@dataclass(frozen=True, slots=True)
class LetterFigures:
    """One letter in the period: a campaign, or all campaigns of a letter that goes by itself."""

    name: str
    """The campaign's, or the letter's where it goes by itself."""
    automatic: bool
    """Reminders and all else that nobody pressed a button for."""
    campaigns: int
    delivery: Mapping[str, int]
    """Letters that came to their state in the period: ``letters``, and the states that add up to it."""
    engagement: Mapping[str, Engagement]
    """By ``DOINGS``: what was done in the period, also with letters that left before it."""
    names: int = 1
    """Letters put together in this row, each to too few to be shown by itself."""


class Standing(StrEnum):
    """Where an event stands on the day the figures are counted."""

    HELD = "held"
    COMING = "coming"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class EventProgress:
    """An event that took place or changed in the period, or is to come."""

    slug: str
    title: str
    date: date
    time: time | None
    place: str | None
    region: str | None
    state: str
    standing: Standing
    moved: bool
    """Its date, time or place was changed to another in the period."""
    capacity: int | None
    registration_clicks: int
    """In the period, of any label. A click is no registration."""
    registration_recipients: int
    """Distinct recipients behind those clicks, as far as tracking knows."""
    asked: int
    """Who asked in the period to be reminded."""
    seated: int
    """Known to be registered by the period's end, as it stands when counted."""
    waiting: int
    reminders_sent: int
    """That went to anybody in the period; what goes at one lead is one reminder."""
    reminders_late: int
    """Of those sent."""
    reminders_missed: int
    """That should have gone in the period and could have."""
    reminded: int
    """Letters of the reminders sent."""


@dataclass(frozen=True, slots=True)
class EventTotals:
    """All events of the period together."""

    held: int
    coming: int
    moved: int
    cancelled: int
    registration_clicks: int
    asked: int
    seated: int
    waiting: int
    reminders_sent: int
    reminders_late: int
    reminders_missed: int
    reminded: int


@dataclass(frozen=True, slots=True)
class ProgressReport:
    """Everything a report of progress tells."""

    period: Period
    meeting: date | None
    """The meeting it is for; None after the last that is planned."""
    counted_at: datetime
    invitations: LetterFigures
    """All letters that an administrator sent, together."""
    automatic: LetterFigures
    """All letters that went by themselves, together."""
    letters: Sequence[LetterFigures]
    by: Mapping[Dimension, Sequence[Group]]
    """Recipients of the administrator's letters; what was done is counted in distinct recipients."""
    totals: EventTotals
    events: Sequence[EventProgress]
    reach: Reach
    suppressions: Mapping[str, int]
    """Addresses that get no more mail since a day of the period, by reason."""
    challenges: str | None
    """What staff wrote; paragraphs are parted by an empty line."""
