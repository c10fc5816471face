"""The event log: what recipients and readers did, appended and never changed."""

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, false, text
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
    TRAP = "trap"
    """Followed the link that no reader can see: a machine that fetches all links of a letter."""
    RESUBSCRIBE = "resubscribe"
    """Took an unsubscription back."""
    REGISTER = "register"
    """Registered for an event on our own page."""
    WITHDRAW = "withdraw"
    """Gave a seat or a place on the waiting list back."""
    OBJECT = "object"
    """Does not want to be tracked; kept with the recipient, and counted by day without a name."""


class Label(StrEnum):
    """Who it probably was."""

    PERSON = "person"
    MACHINE = "machine"
    UNSURE = "unsure"


class Manner(StrEnum):
    """How something was asked for."""

    GET = "get"
    HEAD = "head"
    AHEAD = "ahead"
    """With a header that says it was fetched before anybody asked."""
    POST = "post"
    MAIL = "mail"
    """By a message to an address that stands in the letter."""


BY_HAND = (Manner.POST, Manner.MAIL)
"""What machines do not do that look at letters."""


class UserAgent(Base):
    """What programs said of themselves, each text once."""

    __tablename__ = "user_agents"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(300), unique=True)
    """Cut to its length; empty where nothing was said."""


class TrackingEvent(Base):
    """One thing that one delivery's reader did, or a program on the way to them.

    Only where mode and person allow it; what is nobody's is in ``TrackingCount``. Everything that the
    label was judged by stays beside it, so that it can be judged anew.
    """

    __tablename__ = "tracking_events"
    __table_args__ = (
        Index(
            "ix_tracking_events_campaign_kind", "campaign_id", "position", "kind", "label", "link_number"
        ),
        Index(
            "ix_tracking_events_unsettled",
            "at",
            sqlite_where=text("NOT settled"),
            postgresql_where=text("NOT settled"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    kind: Mapped[TrackingKind]
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaigns.id"))
    position: Mapped[int]
    """The delivery within the campaign."""
    link_number: Mapped[int | None]
    subject: Mapped[str | None] = mapped_column(String(64))
    """The event's slug, where there is one."""
    manner: Mapped[Manner] = mapped_column(default=Manner.GET, server_default=Manner.GET.value)
    agent_id: Mapped[int | None] = mapped_column(ForeignKey("user_agents.id"))
    """What the program said of itself; None for what was noted before that was kept."""
    network: Mapped[str | None] = mapped_column(String(16))
    """Stands for the reader's network that day; neither address nor day can be read out of it."""
    label: Mapped[Label]
    reason: Mapped[str] = mapped_column(String(64))
    """The rule that gave the label."""
    settled: Mapped[bool] = mapped_column(default=False, server_default=false())
    """No later event can change the label any more."""
    at: Mapped[datetime]
    """The clock people see."""


class TrackingCount(Base):
    """How often something was done on one day, by nobody in particular."""

    __tablename__ = "tracking_counts"

    campaign_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """0 for what belongs to no campaign: visits to public pages."""
    day: Mapped[date] = mapped_column(primary_key=True)
    """In the office's time zone."""
    kind: Mapped[TrackingKind] = mapped_column(primary_key=True)
    link_number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """0 where there is none."""
    subject: Mapped[str] = mapped_column(String(64), primary_key=True)
    """The event's slug or the page's name; empty where there is none."""
    label: Mapped[Label] = mapped_column(primary_key=True)
    reason: Mapped[str] = mapped_column(String(64), primary_key=True)
    total: Mapped[int]


class WebJournal(Base):
    """How far a journal of the web has been moved into the database."""

    __tablename__ = "web_journals"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    """The file's name; random, so that no two are the same."""
    moved: Mapped[int] = mapped_column(BigInteger)
    """Bytes of it that stand in the database, written in the transaction that put them there."""
    at: Mapped[datetime]
    """Real time."""
