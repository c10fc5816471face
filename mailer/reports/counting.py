"""The SQL behind the figures: every statement groups in the database and returns few rows."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import (
    CTE,
    Row,
    Select,
    String,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    null,
    select,
    union_all,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import GenericFunction

from mailer.campaigns.models import REGISTRATION, Campaign, Delivery, DeliveryState, Link
from mailer.events.models import Event, Registration, RegistrationState, Reminder, ReminderRequest
from mailer.foundation.settings import TrackingMode
from mailer.tracking.log import NO_CAMPAIGN
from mailer.tracking.models import Label, TrackingCount, TrackingEvent, TrackingKind
from recipients.models import Recipient, TrackingChoice

PERSONAL_FIELDS = ("role", "sector", "region", "organisation", "domain")
"""What recipients may be grouped by; the confederation never (GDPR art. 9)."""
MEASURED = ("opened", "clicked", "downloaded", "registration_clicked", "clicks")
"""What tracking tells per group: of deliveries, and last of the clicks themselves."""
GROUPED = ("audience", "sent", "bounced", *MEASURED, "registered")
"""What is counted per group."""
DONE = ("opened", "clicked", "downloaded", "registration_clicked", "unsubscribed", "viewed")
"""What a delivery's reader may have done."""
_HOUR = "%Y-%m-%d %H"


class _hour_of(GenericFunction[str]):  # noqa: N801 - the name of a function
    """The hour of UTC as ``2014-03-07 08``: one cheap cut of the text where moments are text."""

    type = String()
    inherit_cache = True


@compiles(_hour_of, "sqlite")
def _cut_hour(element: _hour_of, compiler: SQLCompiler, **options: Any) -> str:
    return f"substr({compiler.process(element.clauses, **options)}, 1, 13)"


@compiles(_hour_of, "postgresql")
def _format_hour(element: _hour_of, compiler: SQLCompiler, **options: Any) -> str:
    moment = compiler.process(element.clauses, **options)
    return f"to_char({moment} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24')"


@dataclass(frozen=True, slots=True)
class Tally:
    """How many events of one kind, link and label there are."""

    kind: TrackingKind
    link_number: int | None
    label: Label
    total: int


@dataclass(frozen=True, slots=True)
class Hour:
    """How many events of one kind there are in one hour."""

    start: datetime
    kind: TrackingKind
    registration: bool
    total: int


@dataclass(frozen=True, slots=True)
class Day:
    """How many events of one kind there were on one day, in the office's time zone."""

    day: date
    kind: TrackingKind
    registration: bool
    total: int


@dataclass(frozen=True, slots=True)
class Registered:
    """How many of a campaign's recipients have a seat: anywhere, and per event."""

    recipients: int
    events: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Clickers:
    """How many deliveries somebody clicked in: per link, per event, per event's registration."""

    links: Mapping[int, int]
    events: Mapping[str, int]
    registrations: Mapping[str, int]


def links_of(db: Session, campaign_id: int) -> Sequence[Link]:
    """The links of a campaign's letter."""
    wanted = select(Link).where(Link.campaign_id == campaign_id).order_by(Link.number)
    return db.scalars(wanted).all()


def tally_events(db: Session, campaign_id: int) -> list[Tally]:
    """What was done with the letters, by known people and by nobody, per kind, link and label."""
    by = (TrackingEvent.kind, TrackingEvent.link_number, TrackingEvent.label)
    known = select(*by, func.count()).where(TrackingEvent.campaign_id == campaign_id).group_by(*by)
    by_nobody = (TrackingCount.kind, TrackingCount.link_number, TrackingCount.label)
    nobodys = (
        select(*by_nobody, func.sum(TrackingCount.total))
        .where(TrackingCount.campaign_id == campaign_id)
        .group_by(*by_nobody)
    )
    return [
        Tally(kind, link_number or None, label, int(total))
        for counted in (known, nobodys)
        for kind, link_number, label, total in db.execute(counted)
    ]


def count_clickers(db: Session, campaign_id: int) -> Clickers:
    """Distinct deliveries in which each link was clicked, and any link of each event."""
    clicked = (
        select(TrackingEvent.link_number, TrackingEvent.position)
        .where(TrackingEvent.campaign_id == campaign_id, TrackingEvent.kind == TrackingKind.CLICK)
        .group_by(TrackingEvent.position, TrackingEvent.link_number)  # nearly as the index has them
        .cte("clicked")
    )
    of_link = and_(Link.campaign_id == campaign_id, Link.number == clicked.c.link_number)
    who = func.count(clicked.c.position.distinct())
    by_event = select(literal("events"), null(), Link.event_slug, who).join(clicked, of_link)
    by_link = select(literal("links"), clicked.c.link_number, cast(null(), String), func.count())
    statement = union_all(
        by_link.group_by(clicked.c.link_number),
        by_event.where(Link.event_slug.is_not(None)).group_by(Link.event_slug),
        by_event.with_only_columns(literal("registrations"), null(), Link.event_slug, who)
        .where(Link.event_slug.is_not(None), Link.kind == REGISTRATION)
        .group_by(Link.event_slug),
    )
    counts: dict[str, dict[Any, int]] = {"links": {}, "events": {}, "registrations": {}}
    for part, number, slug, total in db.execute(statement):
        counts[part][slug if number is None else number] = total
    return Clickers(**counts)


def count_groups(
    db: Session,
    campaign_id: int,
    fields: Sequence[str],
    *,
    downloads: Collection[int],
    registrations: Collection[int],
) -> Iterator[tuple[str | None, str | None, dict[str, int]]]:
    """Deliveries and what was done with them: in all, and by each of the recipient's fields.

    One statement for everything: what was done is gathered per delivery once, then per combination of
    the fields, and only that is grouped by each. An erased recipient, or one without the field,
    counts under None.

    Args:
        downloads: numbers of the links that count as downloads.
        registrations: numbers of the links that count as registration clicks.

    Yields:
        Field, value and the counts of ``GROUPED``; first, with no field, those of ``DONE``, each also
        as ``..._by_people``.
    """
    acts = _acts(campaign_id, downloads, registrations)
    done = [*DONE, *[f"{act}_by_people" for act in DONE]]
    totals = [func.coalesce(func.sum(acts.c[act]), 0) for act in done]
    legs = [select(cast(null(), String), cast(null(), String), *totals)]
    if fields:
        cells = _cells(campaign_id, acts, fields)
        sums = [func.sum(cells.c[measure]) for measure in GROUPED]
        padding = [literal(0) for _ in done[len(sums) :]]
        legs += [
            select(literal(field), cells.c[field], *sums, *padding).group_by(cells.c[field])
            for field in fields
        ]
    for field, value, *counts in db.execute(union_all(*legs)):
        names = GROUPED if field else done
        yield field, value, {name: int(n) for name, n in zip(names, counts, strict=False)}


def count_reachable(
    db: Session, campaign_id: int, tracking: str, fields: Sequence[str]
) -> Iterator[tuple[str, str | None, int]]:
    """Sent letters whose reader may be known, by each field: under consent, of those who said yes.

    In every other mode they are of those who did not object. Fields with no such letter are left out.
    """
    may_be_known = (
        Recipient.tracking == TrackingChoice.CONSENT
        if tracking == TrackingMode.CONSENT
        else Recipient.tracking.is_distinct_from(TrackingChoice.OBJECTION)
    )
    columns = {field: getattr(Recipient, field) for field in fields}
    counted = (
        select(
            *[cast(column, String).label(field) for field, column in columns.items()],
            func.count().label("letters"),
        )
        .select_from(Delivery)
        .outerjoin(Recipient, Recipient.id == Delivery.recipient_id)
        .where(Delivery.campaign_id == campaign_id, Delivery.state == DeliveryState.SENT, may_be_known)
        .group_by(*columns.values())
        .cte("reachable")
    )
    legs = [
        select(literal(field), counted.c[field], func.sum(counted.c.letters)).group_by(counted.c[field])
        for field in fields
    ]
    for field, value, total in db.execute(union_all(*legs)):
        yield field, value, int(total)


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


def count_registered(db: Session, campaign_id: int) -> Registered:
    """The campaign's recipients who are known to have a seat at the events that the letter told of."""
    seats = (
        _seats(campaign_id)
        .add_columns(Event.slug)
        .join(
            Delivery,
            and_(
                Delivery.recipient_id == Registration.recipient_id,
                Delivery.campaign_id == campaign_id,
            ),
        )
        .cte("seats")
    )
    statement = union_all(
        select(cast(null(), String), func.count(seats.c.recipient_id.distinct())),
        select(seats.c.slug, func.count()).group_by(seats.c.slug),
    )
    recipients, events = 0, {}
    for slug, total in db.execute(statement):
        if slug is None:
            recipients = total
        else:
            events[slug] = total
    return Registered(recipients, events)


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


def count_hours(db: Session, campaign_id: int, registrations: Collection[int]) -> list[Hour]:
    """Opens and clicks per hour of UTC, the finest that any local day or hour needs."""
    by = (
        _hour_of(TrackingEvent.at),
        TrackingEvent.kind,
        case((_on(registrations), 1), else_=0),
    )
    counted = (
        select(by[0].label("hour"), by[1], by[2].label("signing"), func.count())
        .where(
            TrackingEvent.campaign_id == campaign_id,
            TrackingEvent.kind.in_([TrackingKind.OPEN, TrackingKind.CLICK]),
        )
        .group_by("hour", by[1], "signing")
    )
    return [
        Hour(datetime.strptime(hour, _HOUR).replace(tzinfo=UTC), kind, bool(signing), total)
        for hour, kind, signing, total in db.execute(counted)
    ]


def count_days(db: Session, campaign_id: int, registrations: Collection[int]) -> list[Day]:
    """Opens and clicks that nobody was known for, per day: their moments are not kept."""
    signing = case(
        (TrackingCount.link_number.in_(sorted(registrations)) if registrations else false(), 1), else_=0
    )
    counted = (
        select(
            TrackingCount.day,
            TrackingCount.kind,
            signing.label("signing"),
            func.sum(TrackingCount.total),
        )
        .where(
            TrackingCount.campaign_id == campaign_id,
            TrackingCount.kind.in_([TrackingKind.OPEN, TrackingKind.CLICK]),
        )
        .group_by(TrackingCount.day, TrackingCount.kind, "signing")
    )
    return [Day(day, kind, bool(on), int(total)) for day, kind, on, total in db.execute(counted)]


def count_visits(db: Session, campaign_id: int, *, since: date) -> Sequence[Row[str, Label, int]]:
    """Visits to public pages since that day, by page and label; those of other campaigns left out."""
    return db.execute(
        select(TrackingCount.subject, TrackingCount.label, func.sum(TrackingCount.total))
        .where(
            TrackingCount.kind == TrackingKind.VISIT,
            TrackingCount.campaign_id.in_([campaign_id, NO_CAMPAIGN]),
            TrackingCount.day >= since,
        )
        .group_by(TrackingCount.subject, TrackingCount.label)
    ).all()


def _acts(campaign_id: int, downloads: Collection[int], registrations: Collection[int]) -> CTE:
    """One row per delivery that anybody did anything with: what was done, as 1 or 0, and clicks."""
    clicked = TrackingEvent.kind == TrackingKind.CLICK
    done = {
        "opened": TrackingEvent.kind == TrackingKind.OPEN,
        "clicked": clicked,
        "downloaded": and_(clicked, _on(downloads)),
        "registration_clicked": and_(clicked, _on(registrations)),
        "unsubscribed": TrackingEvent.kind == TrackingKind.UNSUBSCRIBE,
        "viewed": TrackingEvent.kind == TrackingKind.VIEW,
    }
    by_person = TrackingEvent.label == Label.PERSON
    return (
        select(
            TrackingEvent.position,
            *[_any(act).label(name) for name, act in done.items()],
            *[_any(and_(act, by_person)).label(f"{name}_by_people") for name, act in done.items()],
            func.sum(case((clicked, 1), else_=0)).label("clicks"),
        )
        .where(TrackingEvent.campaign_id == campaign_id)
        .group_by(TrackingEvent.position)
        .cte("acts")
    )


def _cells(campaign_id: int, acts: CTE, fields: Sequence[str]) -> CTE:
    """One row per combination of the recipients' fields: the counts of ``GROUPED``."""
    values = [cast(getattr(Recipient, field), String).label(field) for field in fields]
    done = [func.coalesce(func.sum(acts.c[act]), 0).label(act) for act in MEASURED]
    registered = _seats(campaign_id).distinct().cte("registered")
    return (
        select(
            *values,
            func.count().label("audience"),
            _how_many(Delivery.state == DeliveryState.SENT).label("sent"),
            _how_many(Delivery.state == DeliveryState.BOUNCED).label("bounced"),
            *done,
            func.count(registered.c.recipient_id).label("registered"),
        )
        .select_from(Delivery)
        .outerjoin(Recipient, Recipient.id == Delivery.recipient_id)
        .outerjoin(registered, registered.c.recipient_id == Delivery.recipient_id)
        .outerjoin(acts, acts.c.position == Delivery.position)
        .where(Delivery.campaign_id == campaign_id)
        .group_by(*[getattr(Recipient, field) for field in fields])
        .cte("cells")
    )


def _seats(campaign_id: int) -> Select[int | None]:
    """Whose seats there are at the events that the letter told of, one row per seat."""
    told = select(Link.event_slug).where(Link.campaign_id == campaign_id)
    return (
        select(Registration.recipient_id)
        .join(Event, Event.id == Registration.event_id)
        .where(Event.slug.in_(told), Registration.state == RegistrationState.SEATED)
    )


def _on(links: Collection[int]) -> ColumnElement[bool]:
    return TrackingEvent.link_number.in_(sorted(links)) if links else false()


def _any(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.max(case((condition, 1), else_=0))


def _how_many(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))
