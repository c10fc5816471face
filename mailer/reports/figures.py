"""The figures of a campaign, counted by the database: what every report is made from."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from mailer.campaigns.account import count_states
from mailer.campaigns.models import DOWNLOAD, REGISTRATION, Campaign, Link
from mailer.events.models import ReminderState
from mailer.foundation.settings import TrackingMode
from mailer.reports.counting import (
    DONE,
    MEASURED,
    PERSONAL_FIELDS,
    Clickers,
    Day,
    Hour,
    Registered,
    Tally,
    count_clickers,
    count_days,
    count_groups,
    count_hours,
    count_reachable,
    count_registered,
    count_requests,
    count_visits,
    events_of,
    links_of,
    reminders_of,
    tally_events,
)
from mailer.reports.few import (
    LABELS,
    ClickedLink,
    ToldClicks,
    hide_few,
    is_few,
    tell_clicks,
    told_labels,
    without_few,
)
from mailer.reports.hiding import Reachable, hide_small_groups
from mailer.reports.nesting import NO_KINDS, Kinds, find_kinds
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
from mailer.tracking.targets import clicks_by_link
from recipients.models import Region, Role, Sector

DENMARK = ZoneInfo("Europe/Copenhagen")
_BY_HOUR_UP_TO = timedelta(days=3)
_KNOWS_PEOPLE = frozenset({TrackingMode.CONSENT.value, TrackingMode.PERSONAL.value})
_PERSONAL = tuple(Dimension(field) for field in PERSONAL_FIELDS)
_ORDER: dict[str, Sequence[str]] = {"role": list(Role), "sector": list(Sector), "region": list(Region)}


@dataclass(frozen=True, slots=True)
class _Scope:
    """What the parts of one report share."""

    db: Session
    campaign: Campaign
    zone: ZoneInfo
    knows_people: bool
    links: Sequence[Link]
    tallies: Sequence[Tally]

    def known(self, deliveries: int) -> int | None:
        """Distinct deliveries; None where they are nought because nobody was to be known."""
        return deliveries if self.knows_people or deliveries else None

    def numbers(self, kind: str) -> frozenset[int]:
        """The links of that kind."""
        return frozenset(link.number for link in self.links if link.kind == kind)

    def clicks(self, numbers: Collection[int]) -> list[Tally]:
        """The clicks on these links."""
        return [
            tally
            for tally in self.of_kind(TrackingKind.CLICK)
            if tally.link_number is not None and tally.link_number in numbers
        ]

    def of_kind(self, kind: TrackingKind) -> list[Tally]:
        """The events of that kind."""
        return [tally for tally in self.tallies if tally.kind is kind]


@dataclass(frozen=True, slots=True)
class CountedReport:
    """What was counted of a campaign, and what it takes to hide what tells of a few; not to be shown."""

    report: CampaignReport
    kinds: Kinds
    reachable: Reachable
    dimensions: Sequence[Dimension]
    """What to break the figures down by."""


def count_report(
    db: Session,
    campaign: Campaign,
    *,
    now: datetime,
    zone: ZoneInfo = DENMARK,
    dimensions: Iterable[Dimension] = tuple(Dimension),
) -> CountedReport:
    """Count what a report of a campaign is made from; ``tell_report`` makes it.

    A letter that goes by itself has no groups of people: its audience is those who did something, and
    groups of those who asked, clicked or registered, laid beside one another, tell who it was.

    Args:
        zone: whose days and hours the figures over time are by.
        dimensions: what to break the figures down by; what is hidden does not depend on it.
    """
    wanted = tuple(dict.fromkeys(dimensions))
    if campaign.auto_submitted:
        told = [dimension for dimension in wanted if dimension not in _PERSONAL]
        counted = count_campaign(db, campaign, now=now, zone=zone, dimensions=told)
        return CountedReport(counted, NO_KINDS, {}, wanted)
    personal = _PERSONAL if set(_PERSONAL) & set(wanted) else ()
    counted = count_campaign(db, campaign, now=now, zone=zone, dimensions=(*wanted, *personal))
    if not personal:
        return CountedReport(counted, NO_KINDS, {}, wanted)
    kinds = find_kinds(db, campaign.id, PERSONAL_FIELDS)
    return CountedReport(counted, kinds, _count_reachable(db, campaign), wanted)


def tell_report(counted: CountedReport) -> CampaignReport:
    """The report as it may be shown, small groups and what tells of a few hidden.

    It asks no database, and may take seconds where there are hundreds of groups: no session should be
    open meanwhile.
    """
    by = dict(counted.report.by)
    groups = {dimension: by[dimension] for dimension in _PERSONAL if dimension in by}
    if groups:
        by |= hide_small_groups(groups, counted.kinds, counted.reachable)
    told = {dimension: by.get(dimension, ()) for dimension in counted.dimensions}
    return hide_few(_without_few_beyond(replace(counted.report, by=told)))


def _without_few_beyond(report: CampaignReport) -> CampaignReport:
    """Of an anonymous letter: no few readers beyond the recipients, who may have come by its own links.

    A page that is left out was looked at by nobody or by few.
    """
    if report.about.tracking != TrackingMode.ANONYMOUS:
        return report
    passed_on = {"pass_on": report.reach.pass_on}
    shown = without_few(passed_on, ToldClicks(), audience=report.delivery["audience"])
    pages = [_told_page(page) for page in report.reach.pages if not is_few(page.total)]
    return replace(report, reach=Reach(shown["pass_on"], sum(page.total for page in pages), pages))


def _told_page(page: Page) -> Page:
    told = told_labels([(page.people or 0, page.machines or 0, page.unsure or 0)])
    untold: dict[str, Any] = {label: None for label in LABELS if label not in told}
    return replace(page, **untold)


def _count_reachable(db: Session, campaign: Campaign) -> Reachable:
    counted: dict[Dimension, dict[str | None, int]] = {dimension: {} for dimension in _PERSONAL}
    for field, value, total in count_reachable(db, campaign.id, campaign.tracking, PERSONAL_FIELDS):
        counted[Dimension(field)][value] = total
    return counted


def link_clicks(db: Session, campaign: Campaign) -> Mapping[int, int | None]:
    """How often each link was followed, by its number, as the report tells it; few may be left out."""
    if campaign.tracking != TrackingMode.ANONYMOUS:
        return clicks_by_link(db, campaign.id)
    kinds = {link.number: link.kind for link in links_of(db, campaign.id)}
    counts = {number: dict.fromkeys(Label, 0) for number in kinds}
    for tally in tally_events(db, campaign.id):
        if tally.kind is TrackingKind.CLICK:
            number = tally.link_number if tally.link_number in kinds else None
            counts.setdefault(number or 0, dict.fromkeys(Label, 0))[tally.label] += tally.total
    clicked = {
        number: ClickedLink(kinds.get(number), (n[Label.PERSON], n[Label.MACHINE], n[Label.UNSURE]))
        for number, n in counts.items()
    }
    told = ToldClicks() if is_few(campaign.audience) else tell_clicks(clicked)
    return {number: sum(counts[number].values()) if told.tells({number}) else None for number in kinds}


def count_campaign(
    db: Session,
    campaign: Campaign,
    *,
    now: datetime,
    zone: ZoneInfo = DENMARK,
    dimensions: Iterable[Dimension] = tuple(Dimension),
) -> CampaignReport:
    """Count the figures of a campaign, a reminder's as well as any other's; small groups are told.

    Everything is grouped by the database, in as many statements for ten recipients as for a million.

    Args:
        zone: whose days and hours the figures over time are by.
        dimensions: what to break the figures down by.
    """
    scope = _Scope(
        db,
        campaign,
        zone,
        campaign.tracking in _KNOWS_PEOPLE,
        links_of(db, campaign.id),
        tally_events(db, campaign.id),
    )
    wanted = tuple(dict.fromkeys(dimensions))
    delivery = {"audience": campaign.audience, **count_states(db, campaign.id)}
    distinct, groups = _count_groups(scope, wanted)
    registered = count_registered(db, campaign.id)
    engagement = _engagement(scope, distinct, registered)
    clickers = count_clickers(db, campaign.id)
    links, events = _links(scope, clickers), _events(scope, clickers, registered)
    everybody = Group(
        None,
        delivery["audience"],
        delivery["sent"],
        delivery["bounced"],
        engagement.opens.recipients,
        clicked=scope.known(0),
        downloaded=scope.known(0),
        registration_clicked=scope.known(0),
        registered=None,
        clicks=0,
    )
    if Dimension.LINK in wanted:
        groups[Dimension.LINK] = [_link_group(everybody, link) for link in links]
    if Dimension.EVENT in wanted:
        groups[Dimension.EVENT] = [_event_group(everybody, event) for event in events]
    return CampaignReport(
        _about(campaign, now, zone),
        delivery,
        engagement,
        events,
        links,
        groups,
        _over_time(
            count_hours(db, campaign.id, scope.numbers(REGISTRATION)),
            count_days(db, campaign.id, scope.numbers(REGISTRATION)),
            campaign.dated_at,
            zone,
        ),
        _reach(scope),
    )


def _about(campaign: Campaign, now: datetime, zone: ZoneInfo) -> About:
    return About(
        name=campaign.name,
        letter=campaign.letter,
        segment=campaign.segment,
        state=campaign.state.value,
        tracking=campaign.tracking,
        automatic=campaign.auto_submitted,
        dated_at=_local(campaign.dated_at, zone),
        started_at=_local(campaign.started_at, zone),
        finished_at=_local(campaign.finished_at, zone),
        counted_at=now.astimezone(zone),
        timezone=zone.key,
    )


def _local(moment: datetime | None, zone: ZoneInfo) -> datetime | None:
    return moment.astimezone(zone) if moment else None


def _engagement(scope: _Scope, distinct: Mapping[str, int], registered: Registered) -> EngagementFigures:
    tallies = {
        "opened": scope.of_kind(TrackingKind.OPEN),
        "clicked": scope.of_kind(TrackingKind.CLICK),
        "downloaded": scope.clicks(scope.numbers(DOWNLOAD)),
        "registration_clicked": scope.clicks(scope.numbers(REGISTRATION)),
        "unsubscribed": scope.of_kind(TrackingKind.UNSUBSCRIBE),
        "viewed": scope.of_kind(TrackingKind.VIEW),
    }
    opens, clicks, downloads, registration_clicks, unsubscribes, views = (
        _counted(tallies[act], scope.known(distinct[act]), scope.known(distinct[f"{act}_by_people"]))
        for act in DONE
    )
    seats, who = sum(registered.events.values()), registered.recipients
    return EngagementFigures(
        opens=opens,
        clicks=clicks,
        downloads=downloads,
        registration_clicks=registration_clicks,
        registrations=Engagement(who, seats, seats, 0, 0, who),
        unsubscribes=unsubscribes,
        views=views,
    )


def _counted(
    tallies: Iterable[Tally], recipients: int | None, recipients_people: int | None
) -> Engagement:
    totals = dict.fromkeys(Label, 0)
    for tally in tallies:
        totals[tally.label] += tally.total
    return Engagement(
        recipients,
        sum(totals.values()),
        totals[Label.PERSON],
        totals[Label.MACHINE],
        totals[Label.UNSURE],
        recipients_people,
    )


def _by_label(tallies: Iterable[Tally]) -> dict[str, int | None]:
    counted = _counted(tallies, None, None)
    return {"people": counted.people, "machines": counted.machines, "unsure": counted.unsure}


def _links(scope: _Scope, clickers: Clickers) -> list[LinkFigures]:
    return [
        LinkFigures(
            number=link.number,
            key=link.key,
            kind=link.kind,
            event=link.event_slug,
            target=link.target,
            clicks=_total(scope.clicks({link.number})),
            recipients=scope.known(clickers.links.get(link.number, 0)),
            **_by_label(scope.clicks({link.number})),
        )
        for link in scope.links
    ]


def _total(tallies: Iterable[Tally]) -> int:
    return sum(tally.total for tally in tallies)


def _events(scope: _Scope, clickers: Clickers, registered: Registered) -> list[EventFigures]:
    known = events_of(scope.db, scope.campaign.id)
    requests = count_requests(scope.db, scope.campaign.id)
    reminders = _reminders(scope)
    registrations = scope.numbers(REGISTRATION)
    numbers: dict[str, set[int]] = {}
    for link in scope.links:
        if link.event_slug:
            numbers.setdefault(link.event_slug, set()).add(link.number)
    figures = []
    for slug, links in numbers.items():
        event = known.get(slug)
        gone = reminders.get(event.id, []) if event else []
        sent = [reminder for reminder in gone if reminder.state == ReminderState.SENT]
        figures.append(
            EventFigures(
                slug=slug,
                title=event.title if event else slug,
                date=event.date if event else None,
                time=event.time if event else None,
                place=event.place if event else None,
                region=event.region if event else None,
                clicks=_total(scope.clicks(links)),
                recipients=scope.known(clickers.events.get(slug, 0)),
                registration_clicks=_total(scope.clicks(links & registrations)),
                registration_recipients=scope.known(clickers.registrations.get(slug, 0)),
                registered=registered.events.get(slug, 0),
                reminder_requests=requests.get(event.id, 0) if event else 0,
                reminders_sent=len(sent),
                reminded=sum(reminder.audience for reminder in sent),
                reminders=gone,
                **_by_label(scope.clicks(links)),
            )
        )
    return sorted(figures, key=lambda event: (event.date is None, event.date or date.min, event.slug))


def _reminders(scope: _Scope) -> dict[int, list[SentReminder]]:
    """The stored reminders by the ids of their events."""
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
    return reminders


def _count_groups(
    scope: _Scope, dimensions: Sequence[Dimension]
) -> tuple[dict[str, int], dict[Dimension, Sequence[Group]]]:
    """What was done in all, in distinct deliveries, and the groups by what recipients are."""
    rows: dict[str, list[Group]] = {
        dimension.value: [] for dimension in dimensions if dimension.value in PERSONAL_FIELDS
    }
    distinct: dict[str, int] = {}
    for field, value, counts in count_groups(
        scope.db,
        scope.campaign.id,
        list(rows),
        downloads=scope.numbers(DOWNLOAD),
        registrations=scope.numbers(REGISTRATION),
    ):
        if field is None:
            distinct = counts
            continue
        sizes = (counts["audience"], counts["sent"], counts["bounced"])
        done = [scope.known(counts[measure]) for measure in MEASURED]
        rows[field].append(Group(value, *sizes, *done, registered=counts["registered"]))
    groups: dict[Dimension, Sequence[Group]] = {
        dimension: sorted(rows.get(dimension.value, []), key=_in_order(dimension))
        for dimension in dimensions
    }
    return distinct, groups


def _link_group(everybody: Group, link: LinkFigures) -> Group:
    counted = replace(everybody, value=link.key, clicked=link.recipients, clicks=link.clicks)
    match link.kind:
        case "download":
            return replace(counted, downloaded=link.recipients)
        case "registration":
            return replace(counted, registration_clicked=link.recipients)
    return counted


def _event_group(everybody: Group, event: EventFigures) -> Group:
    return replace(
        everybody,
        value=event.slug,
        clicked=event.recipients,
        registration_clicked=event.registration_recipients,
        registered=event.registered,
        clicks=event.clicks,
    )


def _in_order(dimension: Dimension) -> Callable[[Group], tuple[bool, int, str]]:
    """The order people expect: offices and regions as listed, others by size; the unknown last."""
    order = _ORDER.get(dimension.value)

    def key(group: Group) -> tuple[bool, int, str]:
        value = group.value or ""
        rank = order.index(value) if order and value in order else -group.audience
        return group.value is None, rank, value

    return key


def _over_time(
    hours: Sequence[Hour], days: Sequence[Day], dated_at: datetime | None, zone: ZoneInfo
) -> OverTime:
    """By hour where most moments are known and the span is short, else by day.

    What has a day and no moment is left out of the hours, and said to be.
    """
    if not hours and not days:
        return OverTime("hour", [])
    known, unknown = (sum(each.total for each in some) for some in (hours, days))
    starts = [hour.start for hour in hours]
    day_starts = [_midnight(day.day, zone) for day in days]
    dated = [_whole_hour(dated_at)] if dated_at else []
    by_hour = known > unknown and max(starts) - min([*starts, *dated]) < _BY_HOUR_UP_TO
    if by_hour:
        step, first, last = "hour", min([*starts, *dated]), max(starts)
    else:
        step, first, last = "day", min([*starts, *day_starts, *dated]), max([*starts, *day_starts])
    counts = {start: [0, 0, 0] for start in _starts(first, last, step, zone)}
    for hour in hours:
        start = hour.start if by_hour else _local_midnight(hour.start, zone=zone)
        _add(counts[start], hour)
    for day, start in zip(days, day_starts, strict=True):
        if not by_hour:
            _add(counts[start], day)
    return OverTime(
        step,
        [Moment(start.astimezone(zone), *columns) for start, columns in counts.items()],
        unknown if by_hour else 0,
    )


def _add(columns: list[int], counted: Hour | Day) -> None:
    """Add to opens, clicks and registration clicks."""
    if counted.kind is TrackingKind.OPEN:
        columns[0] += counted.total
    else:
        columns[1] += counted.total
        columns[2] += counted.total if counted.registration else 0


def _starts(first: datetime, last: datetime, step: str, zone: ZoneInfo) -> Iterable[datetime]:
    """When the hours or local days from first to last begin, in UTC: no hour comes twice there."""
    if step == "hour":
        count = int((last - first) / timedelta(hours=1))
        return [first + timedelta(hours=n) for n in range(count + 1)]
    begin, end = first.astimezone(zone).date(), last.astimezone(zone).date()
    days = [begin + timedelta(days=n) for n in range((end - begin).days + 1)]
    return [_midnight(day, zone) for day in days]


def _local_midnight(moment: datetime, *, zone: ZoneInfo) -> datetime:
    return _midnight(moment.astimezone(zone).date(), zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


def _whole_hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _reach(scope: _Scope) -> Reach:
    passed_on = _counted(scope.of_kind(TrackingKind.PASS_ON), None, None)
    since = (scope.campaign.dated_at or scope.campaign.created_at).astimezone(scope.zone).date()
    pages: dict[str | None, dict[Label, int]] = {}
    for page, label, total in count_visits(scope.db, scope.campaign.id, since=since):
        pages.setdefault(page or None, dict.fromkeys(Label, 0))[label] += int(total)
    visits = [
        Page(page, sum(n.values()), n[Label.PERSON], n[Label.MACHINE], n[Label.UNSURE])
        for page, n in pages.items()
    ]
    visits.sort(key=lambda page: (-page.total, page.page or ""))
    return Reach(
        passed_on,
        sum(page.total for page in visits),
        visits,
    )
