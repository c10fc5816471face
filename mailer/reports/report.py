"""What a report of a campaign is: figures as frozen values, and nothing of any person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from enum import StrEnum

NO_GROUPS = (
    "not broken down by what recipients are: the letter went by itself, to whom was decided by what they"
    " had done, and groups would tell who that was"
)
"""Why a report of an automatic campaign has no groups of people."""
FEW_NOT_TOLD = (
    "where fewer than five did something with an anonymous letter, or it went to fewer than five;"
    " and what would tell of these"
)
"""Why a report of an anonymous campaign leaves counts out."""


class Dimension(StrEnum):
    """What figures can be broken down by; there is none for what a person believes or belongs to."""

    ROLE = "role"
    SECTOR = "sector"
    REGION = "region"
    ORGANISATION = "organisation"
    EVENT = "event"
    LINK = "link"
    DOMAIN = "domain"


@dataclass(frozen=True, slots=True)
class About:
    """Which campaign a report is about, and how it stood when the figures were counted."""

    name: str
    letter: str
    segment: str | None
    state: str
    tracking: str
    automatic: bool
    """Nobody launched it: whom it went to was decided by what they did; it has no groups of people."""
    dated_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    counted_at: datetime
    timezone: str


@dataclass(frozen=True, slots=True)
class Engagement:
    """How often something was done, and by how many."""

    recipients: int | None
    """Distinct deliveries, of any label; None where tracking knows no person."""
    total: int | None
    """Events; people, machines and unsure add up to it. Each is None where it tells of a few."""
    people: int | None
    machines: int | None
    unsure: int | None
    recipients_people: int | None
    """Distinct deliveries with at least one event that was a person's."""


@dataclass(frozen=True, slots=True)
class EngagementFigures:
    """What was done with the letters. Downloads and registration clicks are clicks, too."""

    opens: Engagement
    clicks: Engagement
    downloads: Engagement
    registration_clicks: Engagement
    registrations: Engagement
    """Seats at the letter's events that its recipients hold, however we know; not measured, so known in
    every mode of tracking, and all of them people's."""
    unsubscribes: Engagement
    views: Engagement
    """Read in a browser, by the personal link."""


@dataclass(frozen=True, slots=True)
class SentReminder:
    """A reminder of an event that has gone or was called off."""

    lead: str
    rule: str
    state: str
    due_at: datetime
    late: bool
    audience: int
    campaign: str | None


@dataclass(frozen=True, slots=True)
class EventFigures:
    """An event that the letter invites to. A registration click is not a registration."""

    slug: str
    title: str
    date: date | None
    time: time | None
    place: str | None
    region: str | None
    clicks: int | None
    """On any link of the event; None, as whatever is counted by tracking, where it tells of a few."""
    recipients: int | None
    registration_clicks: int | None
    registration_recipients: int | None
    registered: int
    """Recipients of this campaign who are known to have a seat."""
    reminder_requests: int
    """Recipients of this campaign who asked to be reminded."""
    reminders_sent: int
    reminded: int
    """Letters of all reminders sent, to whomever."""
    reminders: Sequence[SentReminder]
    people: int | None
    """Of the clicks; people, machines and unsure add up to them."""
    machines: int | None
    unsure: int | None


@dataclass(frozen=True, slots=True)
class LinkFigures:
    """One link of the letter."""

    number: int
    key: str
    kind: str
    event: str | None
    target: str
    clicks: int | None
    """None, as its parts, where it tells of a few."""
    recipients: int | None
    people: int | None
    """Of the clicks; people, machines and unsure add up to them."""
    machines: int | None
    unsure: int | None


@dataclass(frozen=True, slots=True)
class Group:
    """One value of a dimension. What was done is counted in distinct deliveries, of any label.

    It is None where tracking knows no person, and where it would tell what a few did (see ``hiding``).
    Every recipient has every event and link in the letter, so that these groups share the campaign's
    audience.
    """

    value: str | None
    """None: the recipient is erased, or its list said nothing."""
    audience: int
    sent: int
    bounced: int
    opened: int | None
    clicked: int | None
    downloaded: int | None
    registration_clicked: int | None
    clicks: int | None
    """Events."""
    registered: int | None = field(kw_only=True)
    """Known to have a seat at an event of the letter; None also for links, by which nobody registers."""
    groups: int = field(default=1, kw_only=True)
    """Values put together in this row, each too small to be shown by itself."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What was done in one hour or on one day, of local time; events of any label."""

    start: datetime
    opens: int | None
    clicks: int | None
    registration_clicks: int | None


@dataclass(frozen=True, slots=True)
class OverTime:
    """What was done when, without gaps from the letter's date to the last thing done."""

    step: str
    """``hour`` or ``day``."""
    moments: Sequence[Moment]
    without_moment: int = 0
    """Opens and clicks left out here: nobody was known for them, and only their day was kept."""


@dataclass(frozen=True, slots=True)
class Page:
    """Visits to one public page since the letter's date, from wherever the visitor came."""

    page: str | None
    total: int
    people: int | None
    """People, machines and unsure add up to the total. Each is None where it tells of a few."""
    machines: int | None
    unsure: int | None


@dataclass(frozen=True, slots=True)
class Reach:
    """Readers beyond the recipients: nobody in particular, and never added to them.

    They may have come by the letter's own links: of an anonymous one, few are left out.
    """

    pass_on: Engagement
    visits: int
    pages: Sequence[Page]


@dataclass(frozen=True, slots=True)
class CampaignReport:
    """Everything a report of one campaign tells."""

    about: About
    delivery: Mapping[str, int]
    """The audience, and the ten states that add up to it."""
    engagement: EngagementFigures
    events: Sequence[EventFigures]
    links: Sequence[LinkFigures]
    by: Mapping[Dimension, Sequence[Group]]
    over_time: OverTime
    reach: Reach
