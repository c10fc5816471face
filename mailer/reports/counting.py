"""The SQL behind the figures: every statement groups in the database and returns few rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import (
    CTE,
    Row,
    String,
    and_,
    case,
    cast,
    extract,
    func,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from mailer.campaigns.models import Campaign, Delivery, DeliveryState, Link
from mailer.events.models import Event, Reminder, ReminderRequest
from mailer.tracking.models import Label, TrackingEvent, TrackingKind
from recipients.models import Recipient

PERSONAL_FIELDS = ("role", "sector", "region", "organisation", "domain")
"""What recipients may be grouped by; the confederation never (GDPR art. 9)."""
DOWNLOAD = "download"
REGISTRATION = "registration"

_CLICKED = TrackingEvent.kind == TrackingKind.CLICK
_LINK_OF_EVENT = and_(
    Link.campaign_id == TrackingEvent.campaign_id, Link.number == TrackingEvent.link_number
)


@dataclass(frozen=True, slots=True)
class Tally:
    """How many events of one kind and label there are."""

    kind: TrackingKind
    link_kind: str | None
    label: Label
    total: int


@dataclass(frozen=True, slots=True)
class Hour:
    """How many events of one kind there are in one hour."""

    start: datetime
    kind: TrackingKind
    link_kind: str | None
    total: int


def tally_events(db: Session, campaign_id: int) -> list[Tally]:
    """The campaign's tracking events by kind, kind of link and label."""
    counted = (
        select(TrackingEvent.kind, Link.kind, TrackingEvent.label, func.count())
        .outerjoin(Link, _LINK_OF_EVENT)
        .where(TrackingEvent.campaign_id == campaign_id)
        .group_by(TrackingEvent.kind, Link.kind, TrackingEvent.label)
    )
    return [Tally(*row) for row in db.execute(counted)]


def count_distinct(db: Session, campaign_id: int) -> dict[str, int]:
    """How many deliveries somebody opened, clicked and so on, by the names of ``_acts``."""
    acts = _acts(campaign_id)
    sums = [func.coalesce(func.sum(act), 0).label(act.key) for act in acts.c if act.key != "position"]
    row = db.execute(select(*sums)).one()
    return {name: int(total) for name, total in row._mapping.items()}  # noqa: SLF001 - documented


def count_groups(
    db: Session, campaign_id: int, fields: Sequence[str]
) -> Iterator[tuple[str, str | None, tuple[int, ...]]]:
    """Deliveries and what was done with them, by each of the fields of a recipient.

    One statement for all fields: what was done is gathered per delivery once and then grouped. An
    erased recipient, or one without the field, counts under None.

    Yields:
        Field, value, and audience, sent, bounced, opened, clicked, downloaded, registration
        clicked, clicks.
    """
    if not fields:
        return
    facts = _facts(campaign_id, fields)
    measured = [
        func.count(),
        func.sum(case((facts.c.state == DeliveryState.SENT.value, 1), else_=0)),
        func.sum(case((facts.c.state == DeliveryState.BOUNCED.value, 1), else_=0)),
        *[func.sum(facts.c[act]) for act in ("opened", "clicked", "downloaded")],
        func.sum(facts.c.registration_clicked),
        func.sum(facts.c.clicks),
    ]
    grouped = [
        select(literal(field), facts.c[field], *measured).group_by(facts.c[field]) for field in fields
    ]
    for field, value, *counts in db.execute(union_all(*grouped)):
        yield field, value, tuple(int(count) for count in counts)


def count_links(
    db: Session, campaign_id: int
) -> Sequence[Row[int, str, str, str | None, str, int, int]]:
    """Every link with number, key, kind, event, target, clicks and distinct deliveries."""
    columns = (Link.number, Link.key, Link.kind, Link.event_slug, Link.target)
    who = TrackingEvent.position.distinct()
    counted = select(*columns, func.count(TrackingEvent.id), func.count(who))
    return db.execute(
        counted.select_from(Link)
        .outerjoin(TrackingEvent, and_(_LINK_OF_EVENT, _CLICKED))
        .where(Link.campaign_id == campaign_id)
        .group_by(*columns)
        .order_by(Link.number)
    ).all()


def count_event_clicks(db: Session, campaign_id: int) -> dict[str, tuple[int, int, int, int]]:
    """Per event: clicks and distinct deliveries, on all its links and on registration alone."""
    registration = Link.kind == REGISTRATION
    counted = (
        select(
            Link.event_slug,
            func.count(TrackingEvent.id),
            func.count(TrackingEvent.position.distinct()),
            func.count(case((registration, TrackingEvent.id))),
            func.count(case((registration, TrackingEvent.position)).distinct()),
        )
        .select_from(Link)
        .outerjoin(TrackingEvent, and_(_LINK_OF_EVENT, _CLICKED))
        .where(Link.campaign_id == campaign_id, Link.event_slug.is_not(None))
        .group_by(Link.event_slug)
    )
    return {
        slug: (clicks, who, signing, signers)
        for slug, clicks, who, signing, signers in db.execute(counted)
        if slug
    }


def events_of(db: Session, campaign_id: int) -> dict[str, Event]:
    """The events that the letter has links for and the catalogue knows."""
    slugs = select(Link.event_slug).where(Link.campaign_id == campaign_id)
    return {event.slug: event for event in db.scalars(select(Event).where(Event.slug.in_(slugs)))}


def count_requests(db: Session, campaign_id: int) -> dict[int, int]:
    """Per event: how many of the campaign's recipients asked to be reminded of it."""
    counted = (
        select(ReminderRequest.event_id, func.count())
        .join(
            Delivery,
            and_(
                Delivery.recipient_id == ReminderRequest.recipient_id,
                Delivery.campaign_id == campaign_id,
            ),
        )
        .group_by(ReminderRequest.event_id)
    )
    return {row[0]: row[1] for row in db.execute(counted)}


def reminders_of(db: Session, campaign_id: int) -> Sequence[Row[Reminder, str]]:
    """The stored reminders of the letter's events, each with the name of its own campaign."""
    slugs = select(Link.event_slug).where(Link.campaign_id == campaign_id)
    return db.execute(
        select(Reminder, Campaign.name)
        .join(Event, Event.id == Reminder.event_id)
        .outerjoin(Campaign, Campaign.id == Reminder.campaign_id)
        .where(Event.slug.in_(slugs))
        .order_by(Reminder.due_at, Reminder.id)
    ).all()


def count_hours(db: Session, campaign_id: int) -> list[Hour]:
    """Opens and clicks per hour of UTC, the finest that any local day or hour needs."""
    parts = [extract(part, TrackingEvent.at) for part in ("year", "month", "day", "hour")]
    counted = (
        select(*parts, TrackingEvent.kind, Link.kind, func.count())
        .outerjoin(Link, _LINK_OF_EVENT)
        .where(
            TrackingEvent.campaign_id == campaign_id,
            TrackingEvent.kind.in_([TrackingKind.OPEN, TrackingKind.CLICK]),
        )
        .group_by(*parts, TrackingEvent.kind, Link.kind)
    )
    hours = []
    for *parts_of_start, kind, link_kind, total in db.execute(counted).tuples():
        year, month, day, hour = (int(part) for part in parts_of_start)
        hours.append(Hour(datetime(year, month, day, hour, tzinfo=UTC), kind, link_kind, total))
    return hours


def count_visits(
    db: Session, campaign_id: int, *, since: datetime
) -> Sequence[Row[str | None, Label, int]]:
    """Visits to public pages since then, by page and label; those of other campaigns left out."""
    return db.execute(
        select(TrackingEvent.subject, TrackingEvent.label, func.count())
        .where(
            TrackingEvent.kind == TrackingKind.VISIT,
            or_(TrackingEvent.campaign_id == campaign_id, TrackingEvent.campaign_id.is_(None)),
            TrackingEvent.at >= since,
        )
        .group_by(TrackingEvent.subject, TrackingEvent.label)
    ).all()


def _acts(campaign_id: int) -> CTE:
    """One row per delivery that anybody did anything with: what was done, as 1 or 0."""
    by_person = TrackingEvent.label == Label.PERSON
    opened = TrackingEvent.kind == TrackingKind.OPEN
    downloaded = and_(_CLICKED, Link.kind == DOWNLOAD)
    registered = and_(_CLICKED, Link.kind == REGISTRATION)
    unsubscribed = TrackingEvent.kind == TrackingKind.UNSUBSCRIBE
    viewed = TrackingEvent.kind == TrackingKind.VIEW
    return (
        select(
            TrackingEvent.position,
            _any(opened).label("opened"),
            _any(_CLICKED).label("clicked"),
            _any(downloaded).label("downloaded"),
            _any(registered).label("registration_clicked"),
            _any(unsubscribed).label("unsubscribed"),
            _any(viewed).label("viewed"),
            _any(and_(opened, by_person)).label("opened_by_people"),
            _any(and_(_CLICKED, by_person)).label("clicked_by_people"),
            _any(and_(downloaded, by_person)).label("downloaded_by_people"),
            _any(and_(registered, by_person)).label("registration_clicked_by_people"),
            _any(and_(unsubscribed, by_person)).label("unsubscribed_by_people"),
            _any(and_(viewed, by_person)).label("viewed_by_people"),
            func.sum(case((_CLICKED, 1), else_=0)).label("clicks"),
        )
        .outerjoin(Link, _LINK_OF_EVENT)
        .where(TrackingEvent.campaign_id == campaign_id, TrackingEvent.position.is_not(None))
        .group_by(TrackingEvent.position)
        .cte("acts")
    )


def _facts(campaign_id: int, fields: Sequence[str]) -> CTE:
    """One row per delivery: its state, the recipient's fields, and what was done with it."""
    acts = _acts(campaign_id)
    done = ("opened", "clicked", "downloaded", "registration_clicked", "clicks")
    return (
        select(
            cast(Delivery.state, String).label("state"),
            *[cast(getattr(Recipient, field), String).label(field) for field in fields],
            *[func.coalesce(acts.c[act], 0).label(act) for act in done],
        )
        .outerjoin(Recipient, Recipient.id == Delivery.recipient_id)
        .outerjoin(acts, acts.c.position == Delivery.position)
        .where(Delivery.campaign_id == campaign_id)
        .cte("facts")
    )


def _any(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.max(case((condition, 1), else_=0))
