"""The figures of a report of progress, counted by the database over some days."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from mailer.campaigns.models import DOWNLOAD, REGISTRATION
from mailer.events.models import Event, EventState, RegistrationState, ReminderState
from mailer.events.reminders import PlannedReminder
from mailer.foundation.settings import TrackingMode
from mailer.reports.few import ClickedLink, ToldClicks, tell_clicks, without_few
from mailer.reports.hiding import FEWEST, REST, hide_small_groups
from mailer.reports.nesting import Kinds
from mailer.reports.progress import (
    DIMENSIONS,
    DOINGS,
    STATES,
    EventProgress,
    EventTotals,
    LetterFigures,
    Period,
    ProgressReport,
    Standing,
)
from mailer.reports.progress_counting import FIELDS, PeriodCounts, Tally
from mailer.reports.report import Dimension, Engagement, Group, Page, Reach
from mailer.tracking.models import Label, TrackingKind
from recipients.models import Region, Role, Sector

_Campaign = Row[int, str, str, bool, str, int]
_KNOWS_PEOPLE = frozenset({TrackingMode.CONSENT.value, TrackingMode.PERSONAL.value})
_AS_TOLD = (Label.PERSON, Label.MACHINE, Label.UNSURE)
"""The labels in the order of ``few.LABELS``."""
_ORDER: dict[Dimension, Sequence[str]] = {
    Dimension.REGION: list(Region),
    Dimension.SECTOR: list(Sector),
    Dimension.ROLE: list(Role),
}
_IS_DOING: Mapping[str, Callable[[Tally], bool]] = {
    "opens": lambda tally: tally.kind is TrackingKind.OPEN,
    "clicks": lambda tally: tally.kind is TrackingKind.CLICK,
    "downloads": lambda tally: tally.kind is TrackingKind.CLICK and tally.link_kind == DOWNLOAD,
    "registration_clicks": lambda tally: (
        tally.kind is TrackingKind.CLICK and tally.link_kind == REGISTRATION
    ),
    "unsubscribes": lambda tally: tally.kind is TrackingKind.UNSUBSCRIBE,
    "views": lambda tally: tally.kind is TrackingKind.VIEW,
}


def progress_report(
    db: Session,
    period: Period,
    *,
    now: datetime,
    plan: Iterable[PlannedReminder] = (),
    meeting: date | None = None,
    challenges: str | None = None,
) -> ProgressReport:
    """The figures of a period as they may be shown, small groups hidden.

    Everything is grouped by the database, in as many statements for ten recipients as for a million.

    Args:
        now: the clock people see; how events and registrations stand is told as of then.
        plan: all reminders, of which those missed in the period are told.
    """
    counts = PeriodCounts(db, period)
    tallies, campaigns = counts.tallies(), counts.campaigns()
    letters = _letters(counts, campaigns, tallies)
    clicks = _event_clicks(campaigns, tallies)
    events = _events(counts, clicks, plan, now=now)
    return ProgressReport(
        period=period,
        meeting=meeting,
        counted_at=now.astimezone(period.zone),
        invitations=_in_all([row.figures for row in letters if not row.figures.automatic]),
        automatic=_in_all([row.figures for row in letters if row.figures.automatic]),
        letters=[*_put_together(letters, automatic=False), *_put_together(letters, automatic=True)],
        by=_groups(counts, knows_people=any(row.knows_people for row in letters)),
        totals=_event_totals(events),
        events=events,
        reach=_reach(tallies),
        suppressions=counts.suppressions(),
        challenges=challenges,
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """A letter's figures, and to how many it went in all, before the period too."""

    figures: LetterFigures
    audience: int
    knows_people: bool


def _letters(
    counts: PeriodCounts, campaigns: Sequence[_Campaign], tallies: Sequence[Tally]
) -> list[_Row]:
    """Administrators' letters by campaign, others by letter; the idle are left out."""
    delivered, doers = counts.letters(), counts.doers()
    done: dict[int, list[Tally]] = {}
    for tally in tallies:
        done.setdefault(tally.campaign_id, []).append(tally)
    rows: dict[tuple[bool, str], list[_Row]] = {}
    for campaign_id, name, letter, automatic, tracking, audience in campaigns:
        figures = LetterFigures(
            letter if automatic else name,
            automatic,
            1,
            _delivery(delivered.get(campaign_id, {})),
            _engagement(
                done.get(campaign_id, ()), doers.get(campaign_id, {}), known=tracking in _KNOWS_PEOPLE
            ),
        )
        if tracking == TrackingMode.ANONYMOUS:
            told = _told_clicks(done.get(campaign_id, ()))
            engagement = without_few(figures.engagement, told, audience=audience)
            figures = replace(figures, engagement=engagement)
        if figures.delivery["letters"] or any(each.total for each in figures.engagement.values()):
            row = _Row(figures, audience, tracking in _KNOWS_PEOPLE)
            rows.setdefault((automatic, figures.name), []).append(row)
    return [_sum_rows(same) for _, same in sorted(rows.items(), key=lambda item: item[0][0])]


def _delivery(states: Mapping[str, int]) -> dict[str, int]:
    return {"letters": sum(states.values()), **{state: states.get(state, 0) for state in STATES}}


def _engagement(
    tallies: Iterable[Tally], doers: Mapping[str, tuple[int, int]], *, known: bool
) -> dict[str, Engagement]:
    engagement = {}
    for doing, is_doing in _IS_DOING.items():
        totals = _by_label(filter(is_doing, tallies))
        who, people = doers.get(doing, (0, 0))
        engagement[doing] = Engagement(
            recipients=who if known or who else None,
            total=sum(totals.values()),
            people=totals[Label.PERSON],
            machines=totals[Label.MACHINE],
            unsure=totals[Label.UNSURE],
            recipients_people=people if known or who else None,
        )
    return engagement


def _told_clicks(tallies: Iterable[Tally]) -> ToldClicks:
    """Which clicks of an anonymous letter may be told, of those in the period."""
    of_links: dict[int, list[Tally]] = {}
    for tally in filter(_IS_DOING["clicks"], tallies):
        of_links.setdefault(tally.link_number or 0, []).append(tally)
    return tell_clicks(
        {
            number: ClickedLink(same[0].link_kind, tuple(_by_label(same)[label] for label in _AS_TOLD))
            for number, same in of_links.items()
        }
    )


def _by_label(tallies: Iterable[Tally]) -> dict[Label, int]:
    totals = dict.fromkeys(Label, 0)
    for tally in tallies:
        totals[tally.label] += tally.total
    return totals


def _put_together(rows: Sequence[_Row], *, automatic: bool) -> list[LetterFigures]:
    """The letters of one sort, those to fewer than five put together as groups are (see ``hiding``)."""
    alike = [row for row in rows if row.figures.automatic is automatic]
    small = [row for row in alike if row.audience < FEWEST]
    others = sorted((row for row in alike if row.audience >= FEWEST), key=lambda row: row.audience)
    while small and others and (len(small) < 2 or sum(row.audience for row in small) < FEWEST):
        small.append(others.pop(0))
    apart = {row.figures.name for row in small}
    kept = [row.figures for row in alike if row.figures.name not in apart]
    together = _sum_figures([row.figures for row in small]) if small else None
    return [*kept, replace(together, name=REST, names=len(small))] if together else kept


def _sum_rows(rows: Sequence[_Row]) -> _Row:
    return _Row(
        _sum_figures([row.figures for row in rows]),
        sum(row.audience for row in rows),
        any(row.knows_people for row in rows),
    )


def _in_all(letters: Sequence[LetterFigures]) -> LetterFigures:
    nothing = LetterFigures("", automatic=False, campaigns=0, delivery=_delivery({}), engagement={})
    if not letters:
        return replace(nothing, engagement=_engagement((), {}, known=False))
    return replace(_sum_figures(letters), name="", names=len(letters))


def _sum_figures(letters: Sequence[LetterFigures]) -> LetterFigures:
    first = letters[0]
    return replace(
        first,
        campaigns=sum(letter.campaigns for letter in letters),
        delivery={state: sum(letter.delivery[state] for letter in letters) for state in first.delivery},
        engagement={
            doing: _sum_engagement([letter.engagement[doing] for letter in letters]) for doing in DOINGS
        },
    )


def _sum_engagement(parts: Sequence[Engagement]) -> Engagement:
    """All together; how many people there were, as far as any of the letters knows."""
    sums: dict[str, Any] = {}
    for field in fields(Engagement):
        known = [count for part in parts if (count := getattr(part, field.name)) is not None]
        sums[field.name] = sum(known) if known else None
    return Engagement(**sums)


def _groups(counts: PeriodCounts, *, knows_people: bool) -> dict[Dimension, list[Group]]:
    kinds = counts.kinds()
    groups: dict[Dimension, list[Group]] = {}
    reachable: dict[Dimension, dict[str | None, int]] = {}
    for place, dimension in enumerate(DIMENSIONS):
        sums: dict[str | None, dict[str, int]] = {}
        for kind, measured in kinds.items():
            row = sums.setdefault(kind[place], dict.fromkeys(measured, 0))
            for measure, count in measured.items():
                row[measure] += count
        reachable[dimension] = {value: row["reachable"] for value, row in sums.items()}
        groups[dimension] = [
            _group(value, sums[value], knows_people=knows_people)
            for value in sorted(sums, key=lambda value, by=dimension: _rank(by, value))  # type: ignore[misc]
        ]
    sizes = {kind: measured["audience"] for kind, measured in kinds.items()}
    return hide_small_groups(groups, Kinds(FIELDS, sizes), reachable)


def _group(value: str | None, row: Mapping[str, int], *, knows_people: bool) -> Group:
    def known(measure: str) -> int | None:
        return row[measure] if knows_people else None

    return Group(
        value=value,
        audience=row["audience"],
        sent=row["sent"],
        bounced=row["bounced"],
        opened=known("opens"),
        clicked=known("clicks"),
        downloaded=known("downloads"),
        registration_clicked=known("registration_clicks"),
        registered=None,
        clicks=known("every_click"),
    )


def _rank(dimension: Dimension, value: str | None) -> tuple[bool, int, str]:
    """The order people expect; the unknown last."""
    order = _ORDER[dimension]
    return value is None, order.index(value) if value in order else len(order), value or ""


def _events(
    counts: PeriodCounts,
    clicks: Mapping[str | None, int],
    plan: Iterable[PlannedReminder],
    *,
    now: datetime,
) -> list[EventProgress]:
    """The events, with the clicks on their links to register by."""
    period = counts.period
    today = now.astimezone(period.zone).date()
    moved, registered, asked = counts.moved(), counts.registrations(), counts.requests()
    clickers, reminders = counts.clickers(), counts.reminders()
    missed: dict[int, set[str]] = {}
    for one in plan:
        in_period = period.start <= one.due_at < period.end
        if one.state is ReminderState.MISSED and in_period and not one.moot:
            missed.setdefault(one.event_id, set()).add(one.lead)
    events = []
    for event in counts.events():
        sent, late, reminded = reminders.get(event.id, (0, 0, 0))
        events.append(
            EventProgress(
                slug=event.slug,
                title=event.title,
                date=event.date,
                time=event.time,
                place=event.place,
                region=event.region,
                state=event.state.value,
                standing=_standing(event, min(period.last, today - timedelta(days=1))),
                moved=event.id in moved,
                capacity=event.capacity,
                registration_clicks=clicks.get(event.slug, 0),
                registration_recipients=clickers.get(event.slug, 0),
                asked=asked.get(event.id, 0),
                seated=registered.get((event.id, RegistrationState.SEATED), 0),
                waiting=registered.get((event.id, RegistrationState.WAITING), 0),
                reminders_sent=sent,
                reminders_late=late,
                reminders_missed=len(missed.get(event.id, ())),
                reminded=reminded,
            )
        )
    return events


def _event_clicks(campaigns: Iterable[_Campaign], tallies: Iterable[Tally]) -> Counter[str | None]:
    """By event: clicks on the links to register by; of an anonymous letter, where they may be told."""
    clicked: dict[int, list[Tally]] = {}
    for tally in filter(_IS_DOING["clicks"], tallies):
        clicked.setdefault(tally.campaign_id, []).append(tally)
    clicks: Counter[str | None] = Counter()
    for campaign_id, _, _, _, tracking, audience in campaigns:
        done = clicked.get(campaign_id, [])
        signing = list(filter(_IS_DOING["registration_clicks"], done))
        if tracking == TrackingMode.ANONYMOUS:
            told = _told_clicks(done) if audience >= FEWEST else ToldClicks()
            untold = {tally.event_slug for tally in signing if not told.tells({tally.link_number or 0})}
            signing = [tally for tally in signing if tally.event_slug not in untold]
        for tally in signing:
            clicks[tally.event_slug] += tally.total
    return clicks


def _standing(event: Event, over: date) -> Standing:
    """Where the event stands; ``over`` is the last day whose events have taken place."""
    if event.state is EventState.CANCELLED:
        return Standing.CANCELLED
    return Standing.HELD if event.date <= over else Standing.COMING


def _event_totals(events: Sequence[EventProgress]) -> EventTotals:
    standing = [event.standing for event in events]
    sums = {
        name: sum(getattr(event, name) for event in events)
        for name in (field.name for field in fields(EventTotals))
        if name not in list(Standing)
    }
    return EventTotals(
        held=standing.count(Standing.HELD),
        coming=standing.count(Standing.COMING),
        cancelled=standing.count(Standing.CANCELLED),
        **sums,
    )


def _reach(tallies: Sequence[Tally]) -> Reach:
    """Readers beyond the recipients: the letter passed on, and visits to the public pages."""
    passed = _by_label(tally for tally in tallies if tally.kind is TrackingKind.PASS_ON)
    pages: dict[str, list[Tally]] = {}
    for tally in tallies:
        if tally.kind is TrackingKind.VISIT:
            pages.setdefault(tally.page, []).append(tally)
    visits = [
        Page(page or None, sum(n.values()), n[Label.PERSON], n[Label.MACHINE], n[Label.UNSURE])
        for page, same in pages.items()
        for n in [_by_label(same)]
    ]
    visits.sort(key=lambda page: (-page.total, page.page or ""))
    pass_on = Engagement(
        None,
        sum(passed.values()),
        passed[Label.PERSON],
        passed[Label.MACHINE],
        passed[Label.UNSURE],
        None,
    )
    return Reach(pass_on, sum(page.total for page in visits), visits)
