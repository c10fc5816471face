"""The figures of a campaign, counted by the database: what every report is made from."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from mailer.campaigns.ledger import count_states
from mailer.campaigns.models import Campaign
from mailer.foundation.settings import TrackingMode
from mailer.reports.counting import (
    DOWNLOAD,
    PERSONAL_FIELDS,
    REGISTRATION,
    Hour,
    Tally,
    count_distinct,
    count_event_clicks,
    count_groups,
    count_hours,
    count_links,
    count_requests,
    count_visits,
    events_of,
    reminders_of,
    tally_events,
)
from mailer.reports.report import (
    About,
    CampaignReport,
    Dimension,
    Engagement,
    EngagementFigures,
    EventFigures,
    Group,
    LinkFigures,
    Moment,
    OverTime,
    Page,
    Reach,
    SentReminder,
)
from mailer.tracking.models import Label, TrackingKind
from recipients.models import Region, Role, Sector

DENMARK = ZoneInfo("Europe/Copenhagen")
_BY_HOUR_UP_TO = timedelta(days=3)
_KNOWS_PEOPLE = frozenset({TrackingMode.CONSENT.value, TrackingMode.PERSONAL.value})
_MEASURES: dict[str, Callable[[Tally], bool]] = {
    "opened": lambda tally: tally.kind is TrackingKind.OPEN,
    "clicked": lambda tally: tally.kind is TrackingKind.CLICK,
    "downloaded": lambda tally: tally.kind is TrackingKind.CLICK and tally.link_kind == DOWNLOAD,
    "registration_clicked": lambda tally: (
        tally.kind is TrackingKind.CLICK and tally.link_kind == REGISTRATION
    ),
    "unsubscribed": lambda tally: tally.kind is TrackingKind.UNSUBSCRIBE,
    "viewed": lambda tally: tally.kind is TrackingKind.VIEW,
}
_ORDER: dict[str, Sequence[str]] = {"role": list(Role), "sector": list(Sector), "region": list(Region)}


@dataclass(frozen=True, slots=True)
class _Scope:
    """What the parts of one report share."""

    db: Session
    campaign: Campaign
    zone: ZoneInfo
    knows_people: bool
    delivery: Mapping[str, int]
    tallies: Sequence[Tally]
    distinct: Mapping[str, int]

    def known(self, deliveries: int) -> int | None:
        """Distinct deliveries; None where they are nought because nobody was to be known."""
        return deliveries if self.knows_people or deliveries else None


def campaign_report(
    db: Session,
    campaign: Campaign,
    *,
    now: datetime,
    zone: ZoneInfo = DENMARK,
    dimensions: Iterable[Dimension] = tuple(Dimension),
) -> CampaignReport:
    """Count the figures of a campaign, a reminder's as well as any other's.

    Everything is grouped by the database, in as many statements for ten recipients as for a million.

    Args:
        zone: whose days and hours the figures over time are by.
        dimensions: what to break the figures down by.
    """
    delivery = {"audience": campaign.audience, **count_states(db, campaign.id)}
    scope = _Scope(
        db,
        campaign,
        zone,
        campaign.tracking in _KNOWS_PEOPLE,
        delivery,
        tally_events(db, campaign.id),
        count_distinct(db, campaign.id),
    )
    engagement = EngagementFigures(*[_engagement(scope, measure) for measure in _MEASURES])
    links, events = _links(scope), _events(scope)
    return CampaignReport(
        _about(campaign, now, zone),
        delivery,
        engagement,
        events,
        links,
        _groups(scope, links, events, engagement, list(dict.fromkeys(dimensions))),
        _over_time(count_hours(db, campaign.id), campaign.dated_at, zone),
        _reach(scope),
    )


def _about(campaign: Campaign, now: datetime, zone: ZoneInfo) -> About:
    return About(
        name=campaign.name,
        letter=campaign.letter,
        segment=campaign.segment,
        state=campaign.state.value,
        tracking=campaign.tracking,
        dated_at=_local(campaign.dated_at, zone),
        started_at=_local(campaign.started_at, zone),
        finished_at=_local(campaign.finished_at, zone),
        counted_at=now.astimezone(zone),
        timezone=zone.key,
    )


def _local(moment: datetime | None, zone: ZoneInfo) -> datetime | None:
    return moment.astimezone(zone) if moment else None


def _engagement(scope: _Scope, measure: str) -> Engagement:
    counts = _labels([tally for tally in scope.tallies if _MEASURES[measure](tally)])
    return Engagement(
        scope.known(scope.distinct[measure]),
        sum(counts),
        *counts,
        scope.known(scope.distinct[f"{measure}_by_people"]),
    )


def _labels(tallies: Iterable[Tally]) -> tuple[int, int, int]:
    """Events of people, of machines, and unsure ones."""
    totals = dict.fromkeys(Label, 0)
    for tally in tallies:
        totals[tally.label] += tally.total
    return totals[Label.PERSON], totals[Label.MACHINE], totals[Label.UNSURE]


def _links(scope: _Scope) -> list[LinkFigures]:
    return [
        LinkFigures(number, key, kind, event, target, clicks, scope.known(who))
        for number, key, kind, event, target, clicks, who in count_links(scope.db, scope.campaign.id)
    ]


def _events(scope: _Scope) -> list[EventFigures]:
    clicks = count_event_clicks(scope.db, scope.campaign.id)
    known = events_of(scope.db, scope.campaign.id)
    requests = count_requests(scope.db, scope.campaign.id)
    reminders: dict[int, list[SentReminder]] = {}
    for reminder, name in reminders_of(scope.db, scope.campaign.id):
        reminders.setdefault(reminder.event_id, []).append(
            SentReminder(
                lead=reminder.lead,
                rule=reminder.rule,
                state=reminder.state.value,
                due_at=reminder.due_at.astimezone(scope.zone),
                late=reminder.late,
                audience=reminder.audience,
                campaign=name,
            )
        )
    figures = []
    for slug, (total, who, signing, signers) in clicks.items():
        event = known.get(slug)
        gone = reminders.get(event.id, []) if event else []
        sent = [reminder for reminder in gone if reminder.state == "sent"]
        figures.append(
            EventFigures(
                slug=slug,
                title=event.title if event else slug,
                date=event.date if event else None,
                time=event.time if event else None,
                place=event.place if event else None,
                region=event.region if event else None,
                clicks=total,
                recipients=scope.known(who),
                registration_clicks=signing,
                registration_recipients=scope.known(signers),
                reminder_requests=requests.get(event.id, 0) if event else 0,
                reminders_sent=len(sent),
                reminded=sum(reminder.audience for reminder in sent),
                reminders=gone,
            )
        )
    return sorted(figures, key=lambda event: (event.date is None, event.date or date.min, event.slug))


def _groups(
    scope: _Scope,
    links: Sequence[LinkFigures],
    events: Sequence[EventFigures],
    engagement: EngagementFigures,
    dimensions: Sequence[Dimension],
) -> dict[Dimension, Sequence[Group]]:
    personal: dict[str, list[Group]] = {
        dimension.value: [] for dimension in dimensions if dimension.value in PERSONAL_FIELDS
    }
    for field, value, counts in count_groups(scope.db, scope.campaign.id, list(personal)):
        done = [scope.known(count) for count in counts[3:]]
        personal[field].append(Group(value, *counts[:3], *done))
    groups: dict[Dimension, Sequence[Group]] = {
        dimension: sorted(personal.get(dimension.value, []), key=_in_order(dimension))
        for dimension in dimensions
    }
    everybody = (scope.campaign.audience, scope.delivery["sent"], scope.delivery["bounced"])
    opened = engagement.opens.recipients
    if Dimension.LINK in groups:
        groups[Dimension.LINK] = [
            Group(
                link.key,
                *everybody,
                opened,
                link.recipients,
                link.recipients if link.kind == DOWNLOAD else scope.known(0),
                link.recipients if link.kind == REGISTRATION else scope.known(0),
                link.clicks,
            )
            for link in links
        ]
    if Dimension.EVENT in groups:
        groups[Dimension.EVENT] = [
            Group(
                event.slug,
                *everybody,
                opened,
                event.recipients,
                scope.known(0),
                event.registration_recipients,
                event.clicks,
            )
            for event in events
        ]
    return groups


def _in_order(dimension: Dimension) -> Callable[[Group], tuple[bool, int, str]]:
    """The order people expect: offices and regions as listed, others by size; the unknown last."""
    order = _ORDER.get(dimension.value)

    def key(group: Group) -> tuple[bool, int, str]:
        value = group.value or ""
        rank = order.index(value) if order and value in order else -group.audience
        return group.value is None, rank, value

    return key


def _over_time(hours: Sequence[Hour], dated_at: datetime | None, zone: ZoneInfo) -> OverTime:
    if not hours:
        return OverTime("hour", [])
    starts = [hour.start for hour in hours]
    first = min([*starts, *([_whole_hour(dated_at)] if dated_at else [])])
    last = max(starts)
    step = "hour" if last - first < _BY_HOUR_UP_TO else "day"
    start_of = _whole_hour if step == "hour" else partial(_local_midnight, zone=zone)
    counts = {start: [0, 0, 0] for start in _starts(first, last, step, zone)}
    for hour in hours:
        columns = counts[start_of(hour.start)]
        if hour.kind is TrackingKind.OPEN:
            columns[0] += hour.total
        else:
            columns[1] += hour.total
            columns[2] += hour.total if hour.link_kind == REGISTRATION else 0
    return OverTime(
        step, [Moment(start.astimezone(zone), *columns) for start, columns in counts.items()]
    )


def _starts(first: datetime, last: datetime, step: str, zone: ZoneInfo) -> Iterable[datetime]:
    """When the hours or local days from first to last begin, in UTC: no hour comes twice there."""
    if step == "hour":
        count = int((last - first) / timedelta(hours=1))
        return [first + timedelta(hours=n) for n in range(count + 1)]
    begin, end = first.astimezone(zone).date(), last.astimezone(zone).date()
    days = [begin + timedelta(days=n) for n in range((end - begin).days + 1)]
    return [datetime.combine(day, time(), tzinfo=zone).astimezone(UTC) for day in days]


def _local_midnight(moment: datetime, *, zone: ZoneInfo) -> datetime:
    local = moment.astimezone(zone)
    return datetime.combine(local.date(), time(), tzinfo=zone).astimezone(UTC)


def _whole_hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _reach(scope: _Scope) -> Reach:
    passed_on = _labels([tally for tally in scope.tallies if tally.kind is TrackingKind.PASS_ON])
    since = scope.campaign.dated_at or scope.campaign.created_at
    pages: dict[str | None, dict[Label, int]] = {}
    for page, label, total in count_visits(scope.db, scope.campaign.id, since=since):
        pages.setdefault(page, dict.fromkeys(Label, 0))[label] += total
    visits = [
        Page(page, sum(n.values()), n[Label.PERSON], n[Label.MACHINE], n[Label.UNSURE])
        for page, n in pages.items()
    ]
    visits.sort(key=lambda page: (-page.total, page.page or ""))
    return Reach(
        Engagement(None, sum(passed_on), *passed_on, None),
        sum(page.total for page in visits),
        visits,
    )
