"""What the staff pages show: figures put into words and tables, in Danish."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from mailer.campaigns.account import Reconciliation
from mailer.campaigns.models import CampaignState
from mailer.reports import danish, sections
from mailer.reports.few import hides_few
from mailer.reports.hiding import FEWEST
from mailer.reports.reasons import Reason
from mailer.reports.report import CampaignReport, Dimension
from mailer.reports.sections import Figure, Section, Table
from mailer.reports.small_numbers import roughly, without_few_registered
from mailer.web.staff.figures import Line, Look, Overview
from mailer.web.staff.words import Words, alarm, pace, waiting

_SHOWN_GROUPS = 25
_SHORT = (Dimension.ROLE, Dimension.SECTOR, Dimension.REGION)
_LONG = (Dimension.ORGANISATION, Dimension.DOMAIN)
_OUT = ("sent", "bounced", "complained", "failed", "suppressed", "uncertain", "cancelled")
"""States in which nothing more happens to a letter by itself."""


@dataclass(frozen=True, slots=True)
class Row:
    """One campaign in the list."""

    path: str
    name: str
    letter: str
    state: str
    is_live: bool
    audience: str
    sent: str
    done: int
    """Of a thousand."""
    waiting: Words | None
    begun: str


@dataclass(frozen=True, slots=True)
class OverviewView:
    """All campaigns."""

    rows: Sequence[Row]
    alarms: Sequence[str]
    is_live: bool


@dataclass(frozen=True, slots=True)
class ProofView:
    """Whether every letter is accounted for."""

    title: str
    text: str
    is_good: bool
    problems: Sequence[str]


@dataclass(frozen=True, slots=True)
class CampaignView:
    """One campaign."""

    id: int
    name: str
    eyebrow: str
    headline: str
    lede: str
    state: str
    is_live: bool
    audience: int
    done: int
    """Letters to which nothing more happens by itself."""
    done_words: str
    pace: str
    waiting: Words | None
    alarms: Sequence[str]
    proof: ProofView | None
    figures: Sequence[Figure]
    too_few: bool
    """The whole audience is too small a group for what its people did to be shown."""
    hides_few: bool
    """Counts of an anonymous letter are left out."""
    funnel: Section | None
    labels: Table | None
    states: Section | None
    states_total: str
    over_time: Section | None
    events: Section | None
    links: Section | None
    groups: Sequence[Section]
    long_groups: Sequence[Section]
    reach: Table | None
    counted: str
    groups_counted: str


def view_overview(overview: Overview, reminder_alarms: int, zone: ZoneInfo) -> OverviewView:
    """The list of campaigns.

    Args:
        reminder_alarms: how many reminders want somebody's attention.
    """
    told_of = [alarm(each, overview.letters.get(each.campaign or "")) for each in overview.alarms]
    alarms = list(dict.fromkeys(told_of))
    live = any(line.progress.state is CampaignState.SENDING for line in overview.lines)
    if overview.sweep_is_late and overview.is_sending:
        alarms.append("Afsendelsen er gået i stå: der er ikke set efter breve i over et minut.")
    if overview.unread_journals:
        alarms.append(
            f"{danish.number(overview.unread_journals)} journaler fra afsendere, der er væk, er"
            " endnu ikke skrevet ind."
        )
    if reminder_alarms:
        told = (
            "1 påmindelse" if reminder_alarms == 1 else f"{danish.number(reminder_alarms)} påmindelser"
        )
        alarms.append(f"{told} kræver opmærksomhed; se under Påmindelser.")
    return OverviewView([_row(line, zone) for line in overview.lines], alarms, live)


def view_campaign(
    look: Look,
    groups: CampaignReport | None,
    proof: Reconciliation | None,
    zone: ZoneInfo,
) -> CampaignView:
    """One campaign; nothing about what people did where they are too few."""
    report, progress = without_few_registered(look.report), look.progress
    groups = without_few_registered(groups) if groups else None
    about = report.about
    audience = report.delivery["audience"]
    done = sum(report.delivery[state] for state in _OUT)
    too_few = 0 < audience < FEWEST
    shown = _without_deeds(report) if too_few else report
    dated = f", dateret {danish.day(about.dated_at)}" if about.dated_at else ""
    by = groups.by if groups else {}
    return CampaignView(
        id=look.id,
        name=danish.clean(about.name),
        eyebrow=f"Brevet »{danish.clean(about.letter)}«{dated}",
        headline="" if too_few else danish.headline(report),
        lede="" if too_few else danish.lede(report),
        state=danish.CAMPAIGN_STATES[about.state],
        is_live=look.is_live,
        audience=audience,
        done=done,
        done_words=(
            f"{danish.number(done)} af {danish.letters(audience)} er færdige"
            f" ({danish.percent(done, audience)})"
        ),
        pace=pace(progress.rate_per_second) if look.is_live else "",
        waiting=waiting(progress.waiting_for),
        alarms=[alarm(each) for each in look.alarms],
        proof=_proof(proof) if proof and audience else None,
        figures=sections.key_figures(shown),
        too_few=too_few,
        hides_few=not too_few and hides_few(report),
        funnel=sections.funnel(shown) if audience else None,
        labels=None if too_few else sections.labels(report),
        states=sections.states(report),
        states_total=danish.number(audience),
        over_time=None if too_few else sections.over_time(report),
        events=None if too_few else sections.events(report),
        links=None if too_few else sections.links(report),
        groups=[_group_section(groups, part) for part in _SHORT if groups and by.get(part)],
        long_groups=[_group_section(groups, part) for part in _LONG if groups and by.get(part)],
        reach=None if too_few else sections.reach(report),
        counted=_clock(about.counted_at, zone),
        groups_counted=_clock(groups.about.counted_at, zone) if groups else "",
    )


@dataclass(frozen=True, slots=True)
class AutomaticView:
    """One campaign that nobody launched: where its letters are, in round numbers, and no more."""

    id: int
    name: str
    eyebrow: str
    state: str
    is_live: bool
    audience: str
    states: Sequence[tuple[str, str, str]]
    """What each state is called and means, and how many letters are in it."""
    waiting: Words | None
    alarms: Sequence[str]
    proof: ProofView | None
    counted: str


def view_automatic(look: Look, proof: Reconciliation | None, zone: ZoneInfo) -> AutomaticView:
    """A reminder, or the news of an event.

    To how many it went, subtracted from how many asked, clicked or live in the region, tells how many
    have registered; so no number of it is told by which that could be worked out.
    """
    about, audience = look.report.about, look.report.delivery["audience"]
    dated = f", dateret {danish.day(about.dated_at)}" if about.dated_at else ""
    shown = _proof(proof) if proof and audience else None
    return AutomaticView(
        id=look.id,
        name=danish.clean(about.name),
        eyebrow=f"Brevet »{danish.clean(about.letter)}«{dated}",
        state=danish.CAMPAIGN_STATES[about.state],
        is_live=look.is_live,
        audience=roughly(audience),
        states=[
            (*danish.STATES[state], roughly(look.report.delivery[state]))
            for state in danish.STATES
            if look.report.delivery[state]
        ],
        waiting=waiting(look.progress.waiting_for),
        alarms=list(dict.fromkeys(alarm(each, each.campaign and about.letter) for each in look.alarms)),
        proof=replace(shown, problems=[]) if shown else None,
        counted=_clock(about.counted_at, zone),
    )


def _without_deeds(report: CampaignReport) -> CampaignReport:
    """The report as if nobody were known to have done anything."""
    done = report.engagement
    nobody = replace(done.registrations, recipients=None, total=0)
    return replace(
        report,
        about=replace(report.about, tracking="none"),
        engagement=replace(done, registrations=nobody),
    )


@dataclass(frozen=True, slots=True)
class ReasonRow:
    """Why so many letters did not get through."""

    text: str
    state: str
    code: str
    relay: str
    letters: str


def view_reasons(reasons: Sequence[Reason]) -> list[ReasonRow]:
    """The reasons, the most frequent first."""
    return [
        ReasonRow(
            danish.clean(each.reason or "andet"),
            danish.STATES[each.state][0],
            " ".join(filter(None, [str(each.code or ""), each.enhanced_code])) or "–",
            danish.clean(each.relay or "–"),
            danish.number(each.letters),
        )
        for each in reasons
    ]


def _row(line: Line, zone: ZoneInfo) -> Row:
    progress = line.progress
    counts = progress.deliveries
    done = sum(counts[state] for state in _OUT)
    begun = progress.started_at
    return Row(
        path=f"/staff/campaigns/{line.id}",
        name=danish.clean(progress.campaign),
        letter=danish.clean(line.letter),
        state=danish.CAMPAIGN_STATES[progress.state],
        is_live=progress.state is CampaignState.SENDING,
        audience=danish.number(progress.audience),
        sent=danish.number(counts["sent"]),
        done=1000 * done // progress.audience if progress.audience else 0,
        waiting=waiting(progress.waiting_for),
        begun=danish.day(begun.astimezone(zone)) if begun else "–",
    )


def _proof(proof: Reconciliation) -> ProofView:
    if not proof.ok:
        return ProofView(
            "Regnskabet stemmer ikke",
            "Tallene modsiger hinanden. Det skal den, der driver tjenesten, se på.",
            is_good=False,
            problems=[danish.clean(problem) for problem in proof.problems],
        )
    if proof.complete:
        text = "Hver modtager er i præcis én tilstand, og intet brev mangler at blive prøvet."
    else:
        text = "Hver modtager er i præcis én tilstand. Der er breve, der endnu ikke er færdige."
    return ProofView("Regnskabet stemmer", text, is_good=True, problems=[])


def _group_section(report: CampaignReport, dimension: Dimension) -> Section:
    """The largest groups; a page is read, and the report has them all."""
    rows = report.by[dimension]
    if len(rows) <= _SHOWN_GROUPS:
        return sections.group_section(report, dimension)
    largest = sorted(rows, key=lambda row: -row.audience)[:_SHOWN_GROUPS]
    section = sections.group_section(replace(report, by={**report.by, dimension: largest}), dimension)
    note = f"De {_SHOWN_GROUPS} største af {danish.number(len(rows))}; rapporten har dem alle."
    table = replace(section.table, note=note) if section.table else None
    return replace(section, text=note, table=table)


def _clock(moment: datetime, zone: ZoneInfo) -> str:
    local = moment.astimezone(zone)
    return f"{danish.day(local)} kl. {local.hour}.{local.minute:02}.{local.second:02}"
