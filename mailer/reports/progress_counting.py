"""The SQL behind a report of progress: all letters and events at once, in few statements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Row,
    String,
    and_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import Session

from mailer.campaigns.models import DOWNLOAD, REGISTRATION, Campaign, Delivery, DeliveryState, Link
from mailer.events.models import (
    Event,
    EventChange,
    EventState,
    Registration,
    RegistrationState,
    Reminder,
    ReminderRequest,
    ReminderState,
)
from mailer.foundation.settings import TrackingMode
from mailer.reports.hiding import FEWEST
from mailer.reports.progress import DIMENSIONS, DOINGS, Period
from mailer.tracking.models import Label, TrackingCount, TrackingEvent, TrackingKind
from recipients.models import Recipient, Suppression, TrackingChoice

FIELDS = tuple(dimension.value for dimension in DIMENSIONS)
MEASURES = (
    "audience",
    "reachable",
    "sent",
    "bounced",
    "opens",
    "clicks",
    "downloads",
    "registration_clicks",
)
"""What is counted of each kind of recipients, each recipient once; the clicks themselves come after."""
_MOVING = ("date", "time", "place", "address")
_COUNTED = (
    TrackingKind.OPEN,
    TrackingKind.CLICK,
    TrackingKind.UNSUBSCRIBE,
    TrackingKind.VIEW,
    TrackingKind.PASS_ON,
    TrackingKind.VISIT,
)


@dataclass(frozen=True, slots=True)
class Tally:
    """How often something was done in the period."""

    campaign_id: int
    kind: TrackingKind
    link_number: int | None
    link_kind: str | None
    event_slug: str | None
    page: str
    label: Label
    total: int


@dataclass(frozen=True, slots=True)
class PeriodCampaign:
    """A campaign of the period, or from before it."""

    id: int
    name: str
    letter: str
    auto_submitted: bool
    tracking: str
    audience: int


class PeriodCounts:
    """Counts what happened in a period; every statement groups in the database and returns few rows."""

    def __init__(self, db: Session, period: Period) -> None:
        """Nothing is counted yet."""
        self._db, self.period = db, period

    def campaigns(self) -> list[PeriodCampaign]:
        """Every campaign that had begun by the period's end."""
        columns = (
            Campaign.id,
            Campaign.name,
            Campaign.letter,
            Campaign.auto_submitted,
            Campaign.tracking,
            Campaign.audience,
        )
        begun = select(*columns).where(Campaign.dated_at < self.period.end).order_by(Campaign.id)
        return [PeriodCampaign(*row) for row in self._db.execute(begun)]

    def links(self) -> Sequence[Row[int, int, str, str | None]]:
        """The links of letters that administrators sent, where what a few did with one is not told."""
        columns = (Link.campaign_id, Link.number, Link.kind, Link.event_slug)
        of_few = and_(Campaign.audience.between(1, FEWEST - 1), Campaign.tracking != TrackingMode.NONE)
        return self._db.execute(
            select(*columns)
            .join(Campaign, Campaign.id == Link.campaign_id)
            .where(
                Campaign.dated_at < self.period.end,
                Campaign.auto_submitted.is_(False),
                or_(Campaign.tracking == TrackingMode.ANONYMOUS, of_few),
            )
        ).all()

    def letters(self) -> dict[int, dict[str, int]]:
        """By campaign and state: the letters that came to their state in the period."""
        counted = (
            select(Delivery.campaign_id, Delivery.state, func.count())
            .where(self._within(Delivery.at))
            .group_by(Delivery.campaign_id, Delivery.state)
        )
        letters: dict[int, dict[str, int]] = {}
        for campaign_id, state, count in self._db.execute(counted):
            letters.setdefault(campaign_id, {})[state.value] = count
        return letters

    def tallies(self) -> list[Tally]:
        """What was done, by known people and by nobody, with letters and on public pages."""
        by = (
            TrackingEvent.campaign_id,
            TrackingEvent.kind,
            TrackingEvent.link_number,
            Link.kind,
            Link.event_slug,
        )
        known = (
            select(*by, literal("").label("page"), TrackingEvent.label, func.count())
            .outerjoin(Link, self._link_of(TrackingEvent))
            .where(self._within(TrackingEvent.at), TrackingEvent.kind.in_(_COUNTED))
            .group_by(*by, TrackingEvent.label)
        )
        page = case((TrackingCount.kind == TrackingKind.VISIT, TrackingCount.subject), else_="")
        by_nobody = (
            TrackingCount.campaign_id,
            TrackingCount.kind,
            TrackingCount.link_number,
            Link.kind,
            Link.event_slug,
        )
        nobodys = (
            select(*by_nobody, page.label("page"), TrackingCount.label, func.sum(TrackingCount.total))
            .outerjoin(Link, self._link_of(TrackingCount))
            .where(
                TrackingCount.day.between(self.period.first, self.period.last),
                TrackingCount.kind.in_(_COUNTED),
            )
            .group_by(*by_nobody, "page", TrackingCount.label)
        )
        counted = self._db.execute(union_all(known, nobodys))
        return [
            Tally(campaign_id, kind, number, link_kind, slug, name, label, int(total))
            for campaign_id, kind, number, link_kind, slug, name, label, total in counted
        ]

    def doers(self) -> dict[int, dict[str, tuple[int, int]]]:
        """By campaign and doing: distinct letters, of any label and by people."""
        acts = self._acts
        names = [name for doing in DOINGS for name in (doing, f"{doing}_by_people")]
        counted = select(acts.c.campaign_id, *[func.sum(acts.c[name]) for name in names])
        doers = {}
        for campaign_id, *counts in self._db.execute(counted.group_by(acts.c.campaign_id)):
            numbers = [int(count) for count in counts]
            doers[campaign_id] = dict(
                zip(DOINGS, zip(numbers[::2], numbers[1::2], strict=True), strict=True)
            )
        return doers

    def kinds(self) -> dict[tuple[str | None, ...], Mapping[str, int]]:
        """By region, sector and role together: recipients of administrators' letters, by ``MEASURES``.

        One row per kind of recipients. Who got several letters counts once.
        """
        acts = self._acts
        done = MEASURES[4:]
        sent = Delivery.state == DeliveryState.SENT
        may_be_known = or_(
            and_(
                Campaign.tracking == TrackingMode.CONSENT,
                Recipient.tracking == TrackingChoice.CONSENT,
            ),
            and_(
                Campaign.tracking == TrackingMode.PERSONAL,
                Recipient.tracking.is_distinct_from(TrackingChoice.OBJECTION),
            ),
        )
        fields = [cast(getattr(Recipient, field), String).label(field) for field in FIELDS]
        people = (
            select(
                *fields,
                Recipient.id,
                _any(and_(sent, may_be_known)).label("reachable"),
                _any(sent).label("sent"),
                _any(Delivery.state == DeliveryState.BOUNCED).label("bounced"),
                *[func.max(func.coalesce(acts.c[doing], 0)).label(doing) for doing in done],
                func.sum(func.coalesce(acts.c.every_click, 0)).label("every_click"),
            )
            .join(Delivery, Delivery.recipient_id == Recipient.id)
            .join(Campaign, Campaign.id == Delivery.campaign_id)
            .outerjoin(
                acts,
                and_(acts.c.campaign_id == Delivery.campaign_id, acts.c.position == Delivery.position),
            )
            .where(self._within(Delivery.at), Campaign.auto_submitted.is_(False))
            .group_by(Recipient.id, *[getattr(Recipient, field) for field in FIELDS])
            .cte("people")
        )
        sums = [func.sum(people.c[measure]) for measure in (*MEASURES[1:], "every_click")]
        by = [people.c[field] for field in FIELDS]
        width = len(FIELDS)
        return {
            tuple(row[:width]): dict(zip((*MEASURES, "every_click"), map(int, row[width:]), strict=True))
            for row in self._db.execute(select(*by, func.count(), *sums).group_by(*by))
        }

    def events(self) -> Sequence[Event]:
        """The events of the period and those to come, and those that changed in it, by date."""
        changed = select(EventChange.event_id).where(self._within(EventChange.at))
        told = or_(Event.date >= self.period.first, Event.id.in_(changed))
        return self._db.scalars(select(Event).where(told).order_by(Event.date, Event.slug)).all()

    def moved(self) -> set[int]:
        """The events that ended the period at another date, time or place than first known in it.

        What was changed before an event was said to be open, as planned, is no move.
        """
        changes = (
            select(EventChange.event_id, EventChange.field, EventChange.old, EventChange.new)
            .where(self._within(EventChange.at), EventChange.field.in_((*_MOVING, "state")))
            .order_by(EventChange.id)
        )
        first: dict[int, dict[str, str]] = {}
        last: dict[tuple[int, str], str | None] = {}
        for event_id, field, old, new in self._db.execute(changes):
            if field == "state":
                if new == EventState.OPEN:
                    first.pop(event_id, None)
                continue
            last[event_id, field] = new
            if old is not None:
                first.setdefault(event_id, {}).setdefault(field, old)
        return {
            event_id
            for event_id, known in first.items()
            if any(last[event_id, field] not in {None, old} for field, old in known.items())
        }

    def registrations(self) -> dict[tuple[int, RegistrationState], int]:
        """By event and state: who had signed up by the period's end, as it stands now."""
        counted = (
            select(Registration.event_id, Registration.state, func.count())
            .where(Registration.registered_at < self.period.end)
            .group_by(Registration.event_id, Registration.state)
        )
        return {(event_id, state): count for event_id, state, count in self._db.execute(counted)}

    def requests(self) -> dict[int, int]:
        """By event: who asked to be reminded."""
        counted = (
            select(ReminderRequest.event_id, func.count())
            .where(self._within(ReminderRequest.asked_at))
            .group_by(ReminderRequest.event_id)
        )
        return {row[0]: row[1] for row in self._db.execute(counted)}

    def clickers(self) -> dict[str | None, int]:
        """By event: distinct recipients who clicked a registration link.

        In letters that administrators sent to five or more, and whose readers may be known.
        """
        counted = (
            select(Link.event_slug, func.count(Delivery.recipient_id.distinct()))
            .select_from(TrackingEvent)
            .join(Link, self._link_of(TrackingEvent))
            .join(Campaign, Campaign.id == TrackingEvent.campaign_id)
            .join(
                Delivery,
                and_(
                    Delivery.campaign_id == TrackingEvent.campaign_id,
                    Delivery.position == TrackingEvent.position,
                ),
            )
            .where(
                Campaign.auto_submitted.is_(False),
                Campaign.audience >= FEWEST,
                Campaign.tracking != TrackingMode.ANONYMOUS,
                self._within(TrackingEvent.at),
                TrackingEvent.kind == TrackingKind.CLICK,
                Link.kind == REGISTRATION,
            )
            .group_by(Link.event_slug)
        )
        return {row[0]: row[1] for row in self._db.execute(counted)}

    def reminders(self) -> dict[int, dict[tuple[str, date], list[tuple[bool, int]]]]:
        """By event and by lead: what went to anybody, each whether late and to how many.

        What goes at one lead is one reminder, however many kinds of recipients get it.
        """
        went = select(
            Reminder.event_id, Reminder.lead, Reminder.event_date, Reminder.late, Reminder.audience
        ).where(self._within(Reminder.at), Reminder.state == ReminderState.SENT, Reminder.audience > 0)
        reminders: dict[int, dict[tuple[str, date], list[tuple[bool, int]]]] = {}
        for event_id, lead, day, late, audience in self._db.execute(went):
            reminders.setdefault(event_id, {}).setdefault((lead, day), []).append((late, audience))
        return reminders

    def suppressions(self) -> dict[str, int]:
        """By reason: addresses that get no more mail since a day of the period."""
        counted = (
            select(Suppression.reason, func.count())
            .where(self._within(Suppression.created_at))
            .group_by(Suppression.reason)
        )
        return {reason.value: count for reason, count in self._db.execute(counted)}

    @cached_property
    def _acts(self) -> CTE:
        """One row per letter that anybody did anything with: what was done, as 1 or 0, and clicks."""
        clicked = TrackingEvent.kind == TrackingKind.CLICK
        done = {
            "opens": TrackingEvent.kind == TrackingKind.OPEN,
            "clicks": clicked,
            "downloads": and_(clicked, Link.kind == DOWNLOAD),
            "registration_clicks": and_(clicked, Link.kind == REGISTRATION),
            "unsubscribes": TrackingEvent.kind == TrackingKind.UNSUBSCRIBE,
            "views": TrackingEvent.kind == TrackingKind.VIEW,
        }
        by_person = TrackingEvent.label == Label.PERSON
        return (
            select(
                TrackingEvent.campaign_id,
                TrackingEvent.position,
                *[_any(act).label(doing) for doing, act in done.items()],
                *[_any(and_(act, by_person)).label(f"{doing}_by_people") for doing, act in done.items()],
                func.sum(case((clicked, 1), else_=0)).label("every_click"),
            )
            .outerjoin(Link, self._link_of(TrackingEvent))
            .where(self._within(TrackingEvent.at))
            .group_by(TrackingEvent.campaign_id, TrackingEvent.position)
            .cte("acts")
        )

    def _within(self, moment: Any) -> ColumnElement[bool]:
        return and_(moment >= self.period.start, moment < self.period.end)

    @staticmethod
    def _link_of(log: type[TrackingEvent] | type[TrackingCount]) -> ColumnElement[bool]:
        return and_(Link.campaign_id == log.campaign_id, Link.number == log.link_number)


def _any(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.max(case((condition, 1), else_=0))
