"""How events stand: what is known of them, who is registered in numbers, and who was told of changes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, select, union_all
from sqlalchemy.orm import Session

from mailer.campaigns.models import REGISTRATION, Campaign, Link
from mailer.events.catalogue import list_events
from mailer.events.changes import TOLD_FIELDS, list_history
from mailer.events.models import Event, EventChange, EventState
from mailer.events.registering import Seats, count_seats, full_events, state_of
from mailer.foundation.settings import TrackingMode
from mailer.reports.few import ClickedLink, ToldClicks, tell_clicks
from mailer.reports.hiding import FEWEST
from mailer.tracking.models import TrackingCount, TrackingEvent, TrackingKind

_EXPECTED = ("time", "place", "address", "programme_url")
"""What everybody who comes wants to know sooner or later."""
_IS_ANONYMOUS = Campaign.tracking == TrackingMode.ANONYMOUS


@dataclass(frozen=True, slots=True)
class Clicks:
    """Clicks on an event's registration links, in all letters together."""

    total: int = 0
    letters: int = 0
    """Distinct letters in which a click is known."""
    untold: bool = False
    """There may be more, in anonymous letters, which would tell of a few."""


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
    """By event: clicks on its registration links; of anonymous letters as their reports tell them."""
    clicked = (
        select(Link.event_slug, func.count().label("total"))
        .join(TrackingEvent, _link_of(TrackingEvent))
        .join(Campaign, Campaign.id == Link.campaign_id)
        .where(Link.kind == REGISTRATION, TrackingEvent.kind == TrackingKind.CLICK, ~_IS_ANONYMOUS)
        .group_by(Link.event_slug, TrackingEvent.campaign_id, TrackingEvent.position)
        .subquery()
    )
    known = select(clicked.c.event_slug, func.sum(clicked.c.total), func.count())
    nobodys = (
        select(Link.event_slug, func.sum(TrackingCount.total))
        .join(TrackingCount, _link_of(TrackingCount))
        .join(Campaign, Campaign.id == Link.campaign_id)
        .where(Link.kind == REGISTRATION, TrackingCount.kind == TrackingKind.CLICK, ~_IS_ANONYMOUS)
        .group_by(Link.event_slug)
    )
    counts: dict[str, Clicks] = {}
    for slug, total in db.execute(nobodys):
        counts[slug or ""] = Clicks(int(total))
    for slug, total, letters in db.execute(known.group_by(clicked.c.event_slug)):
        by_nobody = counts.get(slug or "", Clicks())
        counts[slug or ""] = Clicks(by_nobody.total + int(total), letters)
    for slug, told in _anonymous_clicks(db):
        before = counts.get(slug, Clicks())
        if told is None:
            counts[slug] = replace(before, untold=True)
        else:
            counts[slug] = replace(before, total=before.total + told)
    return counts


def _anonymous_clicks(db: Session) -> Iterator[tuple[str, int | None]]:
    """By anonymous letter and event: clicks on its registration links, None where they are not told."""
    counted = [
        select(log.campaign_id, log.link_number, total.label("total"))
        .join(Campaign, Campaign.id == log.campaign_id)
        .where(log.kind == TrackingKind.CLICK, _IS_ANONYMOUS)
        .group_by(log.campaign_id, log.link_number)
        for log, total in ((TrackingCount, func.sum(TrackingCount.total)), (TrackingEvent, func.count()))
    ]
    clicked = union_all(*counted).subquery()
    rows = db.execute(
        select(
            Campaign.id,
            Campaign.audience,
            clicked.c.link_number,
            Link.kind,
            Link.event_slug,
            clicked.c.total,
        )
        .join(Campaign, Campaign.id == clicked.c.campaign_id)
        .outerjoin(Link, (Link.campaign_id == Campaign.id) & (Link.number == clicked.c.link_number))
    )
    letters: dict[tuple[int, int], dict[int, ClickedLink]] = {}
    signing: dict[tuple[int, int], dict[str, set[int]]] = {}
    for campaign_id, audience, number, kind, slug, total in rows:
        letter = campaign_id, audience
        links = letters.setdefault(letter, {})
        before = sum(links[number].counts) if number in links else 0
        links[number] = ClickedLink(kind, (before + int(total), 0, 0))
        if kind == REGISTRATION:
            signing.setdefault(letter, {}).setdefault(slug or "", set()).add(number)
    for letter, events in signing.items():
        clicks = tell_clicks(letters[letter]) if letter[1] >= FEWEST else ToldClicks()
        for slug, numbers in events.items():
            total = sum(sum(letters[letter][number].counts) for number in numbers)
            yield slug, total if clicks.tells(numbers) else None


def _link_of(log: type[TrackingEvent] | type[TrackingCount]) -> ColumnElement[bool]:
    return and_(Link.campaign_id == log.campaign_id, Link.number == log.link_number)
