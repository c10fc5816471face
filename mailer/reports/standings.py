"""How events stand: what is known of them, who is registered in numbers, and who was told of changes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, select, union_all
from sqlalchemy.orm import Session

from mailer.campaigns.models import REGISTRATION, Campaign, Link
from mailer.events.catalogue import list_events
from mailer.events.changes import TOLD_FIELDS, list_history
from mailer.events.models import Event, EventChange, EventState
from mailer.events.registering import Seats, count_seats, full_events, state_of
from mailer.foundation.settings import TrackingMode
from mailer.reports.few import ClickedLink, add_clicks, tell_registration_clicks
from mailer.reports.hiding import FEWEST
from mailer.tracking.models import TrackingCount, TrackingEvent, TrackingKind

_EXPECTED = ("time", "place", "address", "programme_url")
"""What everybody who comes wants to know sooner or later."""
_IS_ANONYMOUS = Campaign.tracking == TrackingMode.ANONYMOUS
_BY_HAND = Campaign.auto_submitted.is_(False)
_OF_FEW = and_(Campaign.audience.between(1, FEWEST - 1), Campaign.tracking != TrackingMode.NONE)


@dataclass(frozen=True, slots=True)
class Clicks:
    """Clicks on an event's registration links, in all letters that an administrator sent together."""

    total: int = 0
    letters: int = 0
    """Distinct letters in which a click is known."""
    untold: bool = False
    """There may be more, in letters to a few, or in anonymous ones which would tell of a few."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One event."""

    event: Event
    state: EventState
    """As everybody is told it."""
    seats: Seats
    clicks: Clicks

    @property
    def missing(self) -> tuple[str, ...]:
        """The fields that are not known yet."""
        wanted = _EXPECTED if self.event.hosted else (*_EXPECTED, "registration_url")
        return tuple(field for field in wanted if getattr(self.event, field) is None)


@dataclass(frozen=True, slots=True)
class Change:
    """One field that was changed, and who was told."""

    field: str
    old: str | None
    new: str | None
    at: datetime
    is_told: bool
    """Whether people are told of changes to that field at all."""
    told_at: datetime | None
    campaign_id: int | None
    audience: int
    """Letters that told of it."""


def event_standings(db: Session) -> list[Standing]:
    """All events, by date."""
    events = list_events(db)
    seats = count_seats(db, [event.id for event in events])
    clicks, full = _count_clicks(db), full_events(db)
    return [
        Standing(event, state_of(event, full), seats[event.id], clicks.get(event.slug, Clicks()))
        for event in events
    ]


def event_history(db: Session, event_id: int) -> list[Change]:
    """What was changed since the event was taken in, the latest first."""
    changes = [change for change, _ in list_history(db, event_id)]
    audiences = _audiences(db, changes)
    return [
        Change(
            field=change.field,
            old=change.old,
            new=change.new,
            at=change.at,
            is_told=change.field in TOLD_FIELDS,
            told_at=change.told_at,
            campaign_id=change.campaign_id,
            audience=audiences.get(change.campaign_id, 0),
        )
        for change in reversed(changes)
    ]


def _audiences(db: Session, changes: Sequence[EventChange]) -> Mapping[int | None, int]:
    told_by = {change.campaign_id for change in changes}
    rows = db.execute(select(Campaign.id, Campaign.audience).where(Campaign.id.in_(told_by)))
    return {row[0]: row[1] for row in rows}


def _count_clicks(db: Session) -> Mapping[str, Clicks]:
    """By event: clicks on its registration links, as the pages of the letters tell them.

    Letters that go by themselves are left out, as their pages tell no clicks either.
    """
    counts: dict[str, Clicks] = {}
    for slug, total in db.execute(_clicks_of_nobody()):
        counts[slug] = Clicks(int(total))
    for slug, total, letters in db.execute(_clicks_of_known()):
        counts[slug] = Clicks(counts.get(slug, Clicks()).total + int(total), letters)
    untold = db.scalars(_registration_links(Link.event_slug).where(_OF_FEW).distinct())
    for slug, told in [*[(slug, None) for slug in untold], *_anonymous_clicks(db)]:
        before = counts.get(slug, Clicks())
        counts[slug] = replace(
            before, total=before.total + (told or 0), untold=before.untold or told is None
        )
    return counts


def _registration_links(*columns: Any) -> Select[Any]:
    """Of the links to register for an event in letters that an administrator sent."""
    return (
        select(*columns)
        .select_from(Link)
        .join(Campaign, Campaign.id == Link.campaign_id)
        .where(Link.kind == REGISTRATION, Link.event_slug.is_not(None), _BY_HAND)
    )


def _clicks_of_nobody() -> Select[Any]:
    """By event, of letters in which readers may be known: clicks of those who are not."""
    return (
        _registration_links(Link.event_slug, func.sum(TrackingCount.total))
        .join(TrackingCount, _link_of(TrackingCount))
        .where(TrackingCount.kind == TrackingKind.CLICK, ~_IS_ANONYMOUS, ~_OF_FEW)
        .group_by(Link.event_slug)
    )


def _clicks_of_known() -> Select[Any]:
    """By event: clicks of known readers, and the letters they clicked in."""
    clicked = (
        _registration_links(Link.event_slug, func.count().label("total"))
        .join(TrackingEvent, _link_of(TrackingEvent))
        .where(TrackingEvent.kind == TrackingKind.CLICK, ~_IS_ANONYMOUS, ~_OF_FEW)
        .group_by(Link.event_slug, TrackingEvent.campaign_id, TrackingEvent.position)
        .subquery()
    )
    return select(clicked.c.event_slug, func.sum(clicked.c.total), func.count()).group_by(
        clicked.c.event_slug
    )


def _anonymous_clicks(db: Session) -> Iterator[tuple[str, int | None]]:
    """By anonymous letter and event: clicks on its registration links, None where they are not told."""
    letters: dict[int, dict[int, ClickedLink]] = {}
    linked = (
        select(Link.campaign_id, Link.number, Link.kind, Link.event_slug)
        .join(Campaign, Campaign.id == Link.campaign_id)
        .where(_IS_ANONYMOUS, _BY_HAND, ~_OF_FEW)
    )
    for campaign_id, number, kind, slug in db.execute(linked):
        letters.setdefault(campaign_id, {})[number] = ClickedLink(kind, (0, 0, 0), slug)
    counted = [
        select(log.campaign_id, log.link_number, total.label("total"))
        .join(Campaign, Campaign.id == log.campaign_id)
        .where(log.kind == TrackingKind.CLICK, _IS_ANONYMOUS, _BY_HAND, ~_OF_FEW)
        .group_by(log.campaign_id, log.link_number)
        for log, total in ((TrackingCount, func.sum(TrackingCount.total)), (TrackingEvent, func.count()))
    ]
    for campaign_id, link_number, total in db.execute(union_all(*counted)):
        add_clicks(letters.setdefault(campaign_id, {}), link_number, (int(total), 0, 0))
    for links in letters.values():
        yield from tell_registration_clicks(links).items()


def _link_of(log: type[TrackingEvent] | type[TrackingCount]) -> ColumnElement[bool]:
    return and_(Link.campaign_id == log.campaign_id, Link.number == log.link_number)
