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
FEW_LEFT_OUT = (
    "Not told (–): one to four people, and what would tell of these. Clicks on registration are those in"
    " letters that an administrator sent; there may be more where a + stands. Letters that went by"
    " themselves, reminders among them, are rounded down campaign by campaign."
)
"""What a report of progress leaves out, and why."""
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
    """Those of them to fewer than five that went by themselves are not counted."""
    delivery: Mapping[str, int | None]
    """Letters that came to their state in the period: ``letters``, and the states that add up to it.

    Of letters that go by themselves each campaign's are rounded down, to None where none are left.
    """
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
    registration_clicks: int | None
    """In the period, of any label, in letters that an administrator sent; None where none are told.

    A click is no registration.
    """
    registration_recipients: int | None
    """Distinct recipients behind those clicks; None where tracking knows none, or they are not told."""
    clicks_untold: bool
    """There may be more clicks, left out since they would tell of a few."""
    asked: int | None
    """Who asked in the period to be reminded; None, as of those who follow, is one to four."""
    seated: int | None
    """Known to be registered by the period's end, as it stands when counted."""
    waiting: int | None
    reminders_sent: int
    """That went to anybody in the period; what goes at one lead is one reminder."""
    reminders_late: int
    """Of those sent."""
    reminders_missed: int
    """That should have gone in the period and could have."""
    reminded: int | None
    """Letters of the reminders sent, each reminder's rounded down; None where none are left."""


@dataclass(frozen=True, slots=True)
class EventTotals:
    """All events of the period together.

    Clicks and letters of reminders are those that are told of the events. Of people there is no sum
    where those of any event are not told.
    """

    held: int
    coming: int
    moved: int
    cancelled: int
    registration_clicks: int | None
    asked: int | None
    seated: int | None
    waiting: int | None
    reminders_sent: int
    reminders_late: int
    reminders_missed: int
    reminded: int | None


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
    suppressions: Mapping[str, int | None]
    """Addresses that get no more mail since a day of the period, by reason; None is one to four.

    Who unsubscribed is left out where somebody did by an anonymous letter that does not tell it.
    """
    challenges: str | None
    """What staff wrote; paragraphs are parted by an empty line."""

    @property
    def leaves_out(self) -> bool:
        """Whether anything is left out since it would tell of a few."""
        measures = ("registration_clicks", "asked", "seated", "waiting", "reminded")
        letters = (self.invitations, self.automatic, *self.letters)
        return (
            any(event.clicks_untold for event in self.events)
            or any(getattr(event, name) is None for event in self.events for name in measures)
            or None in self.suppressions.values()
            or any(None in letter.delivery.values() for letter in letters)
            or any(done.total is None for letter in letters for done in letter.engagement.values())
        )
