"""The figures of a report of progress, counted by the database over some days."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from typing import Any

from sqlalchemy.orm import Session

from mailer.campaigns.models import DOWNLOAD, REGISTRATION
from mailer.events.reminders import PlannedReminder
from mailer.foundation.settings import TrackingMode
from mailer.reports.few import ClickedLink, ToldClicks, is_few, tell_clicks, without_few
from mailer.reports.hiding import FEWEST, REST, hide_small_groups
from mailer.reports.nesting import Kinds
from mailer.reports.progress import (
    DIMENSIONS,
    DOINGS,
    STATES,
    LetterFigures,
    Period,
    ProgressReport,
)
from mailer.reports.progress_counting import FIELDS, PeriodCampaign, PeriodCounts, Tally
from mailer.reports.progress_events import event_progress, event_totals, round_down, sum_told
from mailer.reports.report import Dimension, Engagement, Group, Page, Reach
from mailer.tracking.models import Label, TrackingKind
from recipients.models import Region, Role, Sector, SuppressionReason

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
    events = event_progress(counts, campaigns, tallies, plan, now=now)
    return ProgressReport(
        period=period,
        meeting=meeting,
        counted_at=now.astimezone(period.zone),
        invitations=_in_all([row.figures for row in letters if not row.figures.automatic]),
        automatic=_in_all([row.figures for row in letters if row.figures.automatic]),
        letters=[*_put_together(letters, automatic=False), *_put_together(letters, automatic=True)],
        by=_groups(counts, knows_people=any(row.knows_people for row in letters)),
        totals=event_totals(events),
        events=events,
        reach=_reach(campaigns, tallies),
        suppressions=_suppressions(counts, campaigns, tallies),
        challenges=challenges,
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """A letter's figures, and to how many it went in all, before the period too."""

    figures: LetterFigures
    audience: int
    knows_people: bool


def _letters(
    counts: PeriodCounts, campaigns: Sequence[PeriodCampaign], tallies: Sequence[Tally]
) -> list[_Row]:
    """Administrators' letters by campaign, others by letter; the idle are left out."""
    delivered, doers = counts.letters(), counts.doers()
    done: dict[int, list[Tally]] = {}
    for tally in tallies:
        done.setdefault(tally.campaign_id, []).append(tally)
    rows: dict[tuple[bool, str], list[_Row]] = {}
    for campaign in campaigns:
        delivery = _delivery(delivered.get(campaign.id, {}))
        engagement = _engagement(
            done.get(campaign.id, ()),
            doers.get(campaign.id, {}),
            known=campaign.tracking in _KNOWS_PEOPLE,
        )
        row = _told_row(campaign, delivery, engagement, done.get(campaign.id, ()))
        if delivery["letters"] or any(each.total for each in row.figures.engagement.values()):
            rows.setdefault((row.figures.automatic, row.figures.name), []).append(row)
    return [_sum_rows(same) for _, same in sorted(rows.items(), key=lambda item: item[0][0])]


def _told_row(
    campaign: PeriodCampaign,
    delivery: Mapping[str, int | None],
    engagement: Mapping[str, Engagement],
    tallies: Iterable[Tally],
) -> _Row:
    """A campaign as it may be told: of anonymous and of automatic letters not everything is."""
    automatic, is_of_few = campaign.auto_submitted, is_few(campaign.audience)
    if campaign.tracking == TrackingMode.ANONYMOUS or (automatic and is_of_few):
        engagement = without_few(engagement, _told_clicks(tallies), audience=campaign.audience)
    if automatic:
        delivery = {state: round_down(delivery[state] or 0) for state in STATES}
        delivery = {"letters": sum_told(delivery.values()), **delivery}
    return _Row(
        LetterFigures(
            campaign.letter if automatic else campaign.name,
            automatic,
            0 if automatic and is_of_few else 1,
            delivery,
            engagement,
        ),
        campaign.audience,
        campaign.tracking in _KNOWS_PEOPLE,
    )


def _delivery(states: Mapping[str, int]) -> dict[str, int | None]:
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
    """Which clicks of an anonymous letter may be told, of those in the period; not link by link."""
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
        delivery={
            state: sum_told(letter.delivery[state] for letter in letters) for state in first.delivery
        },
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


def _suppressions(
    counts: PeriodCounts, campaigns: Iterable[PeriodCampaign], tallies: Iterable[Tally]
) -> dict[str, int | None]:
    """By reason, few not told; without those who unsubscribed where a letter does not tell its own."""
    by_letter: dict[int, int] = {}
    for tally in filter(_IS_DOING["unsubscribes"], tallies):
        by_letter[tally.campaign_id] = by_letter.get(tally.campaign_id, 0) + tally.total
    is_untold = any(
        is_few(campaign.audience) or is_few(by_letter[campaign.id])
        for campaign in campaigns
        if campaign.tracking == TrackingMode.ANONYMOUS and campaign.id in by_letter
    )
    hidden = {SuppressionReason.UNSUBSCRIBED.value} if is_untold else ()
    return {
        reason: None if is_few(count) else count
        for reason, count in counts.suppressions().items()
        if reason not in hidden
    }


def _reach(campaigns: Iterable[PeriodCampaign], tallies: Sequence[Tally]) -> Reach:
    """Readers beyond the recipients: the letter passed on, and visits to the public pages.

    As the reports of letters tell them: of anonymous ones, few are left out.
    """
    audiences = {
        campaign.id: campaign.audience
        for campaign in campaigns
        if campaign.tracking == TrackingMode.ANONYMOUS
    }
    passed: dict[int, list[Tally]] = {}
    pages: dict[str, list[Tally]] = {}
    for tally in tallies:
        if tally.kind is TrackingKind.PASS_ON:
            passed.setdefault(tally.campaign_id, []).append(tally)
        elif tally.kind is TrackingKind.VISIT:
            pages.setdefault(tally.page, []).append(tally)
    by_letter = [
        _as_told(_readers(same), audiences[campaign_id]) if campaign_id in audiences else _readers(same)
        for campaign_id, same in passed.items()
    ]
    by_page = {page: _readers(same) for page, same in pages.items()}
    if audiences:
        by_page = {page: _as_told(done) for page, done in by_page.items()}
    visits = [
        Page(page or None, done.total, done.people, done.machines, done.unsure)
        for page, done in by_page.items()
        if done.total is not None
    ]
    visits.sort(key=lambda page: (-page.total, page.page or ""))
    return Reach(
        _sum_engagement(by_letter or [_readers(())]), sum(page.total for page in visits), visits
    )


def _as_told(readers: Engagement, audience: int = 0) -> Engagement:
    return without_few({"": readers}, ToldClicks(), audience=audience)[""]


def _readers(tallies: Iterable[Tally]) -> Engagement:
    totals = _by_label(tallies)
    people, machines, unsure = (totals[label] for label in _AS_TOLD)
    return Engagement(None, sum(totals.values()), people, machines, unsure, None)
