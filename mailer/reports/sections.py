"""The parts of the report's page: figures with their words, charts and tables, in Danish."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from mailer.campaigns.models import DOWNLOAD, REGISTRATION
from mailer.reports import danish
from mailer.reports.charts import Bar, Column, bar_chart, column_chart, stacked_bar
from mailer.reports.danish import number, percent
from mailer.reports.few import hides_few
from mailer.reports.hiding import FEWEST
from mailer.reports.report import (
    CampaignReport,
    Dimension,
    Engagement,
    EventFigures,
    Group,
    LinkFigures,
    Moment,
    Page,
    SentReminder,
)
from mailer.reports.small_numbers import FEW_HIDDEN, people, roughly

_MOST_BARS = 12
_MOST_LINK_BARS = 8
_MOST_ROWS = 200
_FEWEST_COLUMNS = 12
_STEPS_OF_DELIVERY = 2
_OF_FEW = frozenset({"registered", "reminder_requests"})
"""Figures of an event that are not told where they are of fewer than five people."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One of the figures the page begins with."""

    label: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class Note:
    """What a figure means, and what it does not."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """What stands beside a chart; the first cell of a row is its heading."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    explanations: Sequence[str] = ()
    """One per row, where rows need one."""


@dataclass(frozen=True, slots=True)
class Legend:
    """What a colour of a chart stands for."""

    colour: str
    label: str


@dataclass(frozen=True, slots=True)
class Section:
    """A chart and the figures behind it."""

    id: str
    title: str
    text: str
    legend: Sequence[Legend]
    chart: str
    table: Table | None


@dataclass(frozen=True, slots=True)
class _Step:
    """One step on the way from letter to registration."""

    label: str
    count: int
    words: str
    colour: str


def key_figures(report: CampaignReport) -> list[Figure]:
    """The figures the page begins with; only what the letter can be measured on."""
    audience, sent = report.delivery["audience"], report.delivery["sent"]
    figures = [
        Figure("Modtagere", number(audience), "breve i udsendelsen"),
        Figure("Modtaget", number(sent), f"{percent(sent, audience)} af brevene"),
    ]
    done = report.engagement
    measured = [("Åbnet", "Åbninger", done.opens), ("Klikket", "Klik", done.clicks)]
    if _carries(report, DOWNLOAD):
        measured.append(("Materialet hentet", "Hentninger", done.downloads))
    if _carries(report, REGISTRATION):
        measured.append(("Tilmelding åbnet", "Klik på tilmelding", done.registration_clicks))
    if report.about.tracking == "none":
        measured = []
    for by_many, so_often, engagement in measured:
        if engagement.recipients is None:
            note = "talt i alt" if engagement.total is not None else FEW_HIDDEN
            figures.append(Figure(so_often, number(engagement.total), note))
        else:
            share = f"{percent(engagement.recipients, sent)} af de modtagne" if sent else ""
            figures.append(Figure(by_many, number(engagement.recipients), share))
    registered = done.registrations.recipients
    if registered:
        figures.append(Figure("Tilmeldt", number(registered), "har en plads på et møde"))
    return figures


def funnel(report: CampaignReport) -> Section:
    """The way from letter to registration; every bar is a share of the audience."""
    audience = report.delivery["audience"]
    bars = [
        Bar(step.label, step.words, [(step.count / audience if audience else 0, step.colour)])
        for step in _steps(report)
    ]
    title = "Fra brev til tilmelding" if _carries(report, REGISTRATION) else "Fra brev til klik"
    if len(bars) > _STEPS_OF_DELIVERY:
        text = "Søjlerne måles mod alle modtagere; under Modtaget er procenten af de modtagne breve."
    else:
        title = "Fra afsender til mailserver"
        text = "Videre kan vejen ikke følges her: det tælles ikke, hos hvor mange noget skete."
    chart = bar_chart("tragt-graf", title, _told(bars), bars)
    return Section("tragt", title, text, [], chart, None)


def _steps(report: CampaignReport) -> list[_Step]:
    audience, sent = report.delivery["audience"], report.delivery["sent"]
    steps = [
        _Step("Modtagere", audience, number(audience), "c-track"),
        _Step("Modtaget af mailserveren", sent, _share(sent, audience), "c-sent"),
    ]
    done = report.engagement
    further = [("Åbnet", done.opens, "c-open"), ("Klikket på et link", done.clicks, "c-click")]
    if _carries(report, DOWNLOAD):
        further.append(("Hentet materialet", done.downloads, "c-click"))
    if _carries(report, REGISTRATION):
        further.append(("Åbnet en tilmelding", done.registration_clicks, "c-register"))
    for label, engagement, colour in further:
        if engagement.recipients is not None and report.about.tracking != "none":
            who = engagement.recipients
            steps.append(_Step(label, who, _share(who, sent), colour))
    if done.registrations.recipients:
        who = done.registrations.recipients
        steps.append(_Step("Tilmeldt et møde", who, number(who), "c-register"))
    return steps


def notes(report: CampaignReport) -> list[Note]:
    """What the figures mean and do not mean, for this letter."""
    told = [
        Note(
            "Modtaget er ikke læst",
            "En mailserver har taget imod brevet. Om det ligger i indbakken eller i et spamfilter,"
            " kan ingen afsender se.",
        )
    ]
    opens = report.engagement.opens
    if opens.total:
        text = (
            "En åbning er et usynligt billede, der bliver hentet. Nogle mailprogrammer henter det,"
            " uden at nogen læser; andre viser aldrig billeder."
        )
        if opens.recipients and opens.recipients_people is not None:
            text += (
                f" Ved {number(opens.recipients_people)} af de {number(opens.recipients)} åbnede"
                " breve tyder sporene på et menneske."
            )
        told.append(Note("Åbninger er usikre", text))
    if any(event.registered for event in report.events):
        told.append(
            Note(
                "Et klik på tilmelding er ikke en tilmelding",
                "Tilmeldt er den, der har fået en plads på vores egen side eller står på en"
                " deltagerliste, vi har fået. Andre tilmeldinger kender denne rapport ikke.",
            )
        )
    elif _carries(report, REGISTRATION):
        told.append(
            Note(
                "Et klik på tilmelding er ikke en tilmelding",
                "Tilmeldingen sker på arrangørens egen side. Om den blev gjort færdig, ved denne"
                " rapport ikke.",
            )
        )
    if hides_few(report):
        told.append(
            Note(
                "Små tal er skjult",
                f"Brevet måles uden at nogen kendes. Hvor færre end {FEWEST} har gjort noget, eller hvor"
                " andre tal ville røbe det, står der en streg; også hele vejen, hvis brevet gik til"
                f" færre end {FEWEST}.",
            )
        )
    told.append(
        Note(
            "Tal, ikke personer",
            danish.TRACKING.get(report.about.tracking, "")
            + " Hovedorganisation indgår ikke i nogen opgørelse.",
        )
    )
    return told


def states(report: CampaignReport) -> Section | None:
    """Where the letters are, and what each state means; None before there are any."""
    audience = report.delivery["audience"]
    counted = [(state, report.delivery[state]) for state in danish.STATES]
    present = [(state, count) for state, count in counted if count]
    if not present:
        return None
    absent = ", ".join(danish.STATES[state][0].lower() for state, count in counted if not count)
    told = "; ".join(f"{danish.STATES[state][0]}: {number(count)}" for state, count in present)
    return Section(
        "tilstand",
        "Hvor er brevene?",
        "Hvert brev er i præcis én tilstand, og tilsammen giver de hele udsendelsen.",
        [Legend(f"s-{state}", danish.STATES[state][0]) for state, _ in present],
        stacked_bar(
            "tilstand-graf",
            "Brevene fordelt på tilstand",
            f"{told}.",
            [(count / audience, f"s-{state}") for state, count in present],
        ),
        Table(
            "Brevene fordelt på tilstand",
            ["Tilstand", "Breve", "Andel"],
            [
                [danish.STATES[state][0], number(count), percent(count, audience)]
                for state, count in present
            ],
            f"Ingen breve er i tilstanden {absent}." if absent else "",
            [danish.STATES[state][1] for state, _ in present],
        ),
    )


def over_time(report: CampaignReport) -> Section | None:
    """What was done when; None where nothing was."""
    moments, step = report.over_time.moments, report.over_time.step
    if not moments:
        return None
    signing = _carries(report, REGISTRATION)
    drawn = _widened(moments, step)
    columns = [_column(moment, drawn, step) for moment in drawn]
    highest = max(max(moment.opens or 0, moment.clicks or 0) for moment in moments)
    unit = "time" if step == "hour" else "dag"
    busiest = danish.busiest(moments, step)
    legend = [Legend("c-open", "Åbninger"), Legend("c-click", "Klik")]
    headings = ["Time" if step == "hour" else "Dag", "Åbninger", "Klik"]
    if signing:
        legend.append(Legend("c-register", "Heraf klik på tilmelding"))
        headings.append("Klik på tilmelding")
    rows = [
        [_when(moment, step), number(moment.opens), number(moment.clicks)]
        + ([number(moment.registration_clicks)] if signing else [])
        for moment in moments
        if (moment.opens, moment.clicks) != (0, 0)
    ]
    return Section(
        "forloeb",
        "Hvornår blev brevet åbnet?",
        f"{busiest} Her tæller hver åbning og hvert klik.",
        legend,
        column_chart(
            "forloeb-graf",
            f"Åbninger og klik pr. {unit}",
            f"Fra {_when(moments[0], step)} til {_when(moments[-1], step)}. {busiest}",
            columns,
            f"{number(highest)} pr. {unit}",
        ),
        Table(f"Åbninger og klik pr. {unit}", headings, rows),
    )


def _widened(moments: Sequence[Moment], step: str) -> list[Moment]:
    """At least twelve steps, so that a letter's first hours do not fill the whole drawing."""
    one = timedelta(hours=1) if step == "hour" else timedelta(days=1)
    empty = range(1, _FEWEST_COLUMNS - len(moments) + 1)
    return [*moments, *[Moment(moments[-1].start + one * nth, 0, 0, 0) for nth in empty]]


def _column(moment: Moment, moments: Sequence[Moment], step: str) -> Column:
    several_days = moments[-1].start.date() != moments[0].start.date()
    label = danish.short_moment(moment.start, step)
    if step == "hour" and several_days:
        label = f"{danish.short_moment(moment.start, 'day')} {label}"
    return Column(
        label,
        [
            (moment.opens or 0, "c-open"),
            (moment.clicks or 0, "c-click"),
            (moment.registration_clicks or 0, "c-register"),
        ],
    )


def _when(moment: Moment, step: str) -> str:
    return danish.moment(moment.start) if step == "hour" else danish.day(moment.start)


def events(report: CampaignReport) -> Section | None:
    """Interest in the events the letter invites to; None where it invites to none."""
    if not report.events:
        return None
    measure, said = _interest(report)
    counted = [(event, _drawn(event, measure)) for event in report.events]
    most = max(count for _, count in counted) or 1
    bars = [
        Bar(_event_label(event), _event_cell(event, measure), [(count / most, "c-register")])
        for event, count in counted
    ]
    columns = {
        "clicks": "Klik i alt",
        measure: said,
        "registered": "Tilmeldt",
        "reminder_requests": "Vil mindes om det",
        "reminders_sent": "Påmindelser",
    }
    if report.about.tracking == "none":
        del columns["clicks"]
    if not any(event.registered for event in report.events):
        del columns["registered"]
    return Section(
        "moeder",
        "Møderne",
        "Interessen for hvert møde, og hvor mange der vil mindes om det.",
        [Legend("c-register", said)],
        bar_chart("moeder-graf", f"Møderne: {said.lower()}", _told(bars), bars),
        Table(
            "Møderne i tal",
            ["Møde", *columns.values()],
            [
                [danish.clean(event.title), *[_event_cell(event, name) for name in columns]]
                for event in report.events
            ],
            _reminders_sent(report.events),
        ),
    )


def _event_cell(event: EventFigures, measure: str) -> str:
    count = getattr(event, measure)
    return people(count) if measure in _OF_FEW else number(count)


def _drawn(event: EventFigures, measure: str) -> int:
    """How long the bar is; that of a number which is not told has no length to measure."""
    count: int = getattr(event, measure) or 0
    return 0 if measure in _OF_FEW and count < FEWEST else count


def _interest(report: CampaignReport) -> tuple[str, str]:
    """What the interest in events is measured by, and what that is called."""
    if report.about.tracking == "none":
        return "reminder_requests", "Vil mindes om det"
    if any(event.registration_recipients is not None for event in report.events):
        return "registration_recipients", "Tilmelding åbnet"
    return "registration_clicks", "Klik på tilmelding"


def _event_label(event: EventFigures) -> str:
    name = danish.shortened(danish.clean(event.region or event.title), 24)
    return f"{name}, {danish.short_day(event.date)}" if event.date else name


def _told(bars: Sequence[Bar]) -> str:
    return "; ".join(f"{bar.label}: {bar.words}" for bar in bars) + "."


def _reminders_sent(events: Sequence[EventFigures]) -> str:
    sent = [
        f"{danish.event_name(event.slug, events)}, {danish.lead(reminder.lead)}: {_reminded(reminder)}"
        for event in events
        for reminder in event.reminders
        if reminder.state == "sent"
    ]
    return f"Påmindelser sendt: {'; '.join(sent)}." if sent else "Ingen påmindelser er sendt endnu."


def _reminded(reminder: SentReminder) -> str:
    tell = people if reminder.rule == "registered" else roughly
    return f"{tell(reminder.audience)}\u00a0breve"


def group_section(report: CampaignReport, dimension: Dimension) -> Section:
    """The letter by one property of its recipients, as shares of what was received."""
    rows = report.by[dimension]
    name = danish.DIMENSIONS[dimension]
    people = any(group.opened is not None for group in rows)
    shown = rows[:_MOST_BARS]
    bars = [_group_bar(danish.group_name(dimension, row, report), row, people=people) for row in shown]
    legend = [Legend("c-open", "Åbnet"), Legend("c-click", "Klikket")]
    plural = {"Region": "regioner", "Sektor": "sektorer", "Rolle": "roller"}.get(name, "")
    rest = len(rows) - len(shown)
    return Section(
        f"efter-{dimension.value}",
        f"Efter {name.lower()}",
        f"Grafen viser de {len(shown)} største af {number(len(rows))}." if rest else "",
        legend if people else [Legend("c-sent", "Modtaget")],
        bar_chart(
            f"{dimension.value}-graf",
            f"Brevet efter {name.lower()}" + (f": {len(rows)} {plural}" if plural else ""),
            f"{'Åbnet og klikket, af de modtagne' if people else 'Modtaget'}. {_told(bars)}",
            bars,
        ),
        _group_table(report, dimension, people=people),
    )


def _group_bar(label: str, group: Group, *, people: bool) -> Bar:
    if not people:
        words = f"{number(group.sent)} · {percent(group.sent, group.audience)}"
        return Bar(danish.shortened(label), words, [(_part(group.sent, group.audience), "c-sent")])
    return Bar(
        danish.shortened(label),
        f"{percent(group.opened, group.sent)} · {percent(group.clicked, group.sent)}",
        [
            (_part(group.opened, group.sent), "c-open"),
            (_part(group.clicked, group.sent), "c-click"),
        ],
    )


def _group_table(report: CampaignReport, dimension: Dimension, *, people: bool) -> Table:
    rows = report.by[dimension]
    headings = [danish.DIMENSIONS[dimension], "Breve", "Modtaget", "Afvist"]
    done = ["opened", "clicked"] if people else []
    headings += ["Åbnet", "Klikket"] if people else []
    if people and _carries(report, DOWNLOAD):
        headings.append("Hentet")
        done.append("downloaded")
    if people and _carries(report, REGISTRATION):
        headings.append("Tilmelding åbnet")
        done.append("registration_clicked")
    if report.engagement.registrations.total:
        headings.append("Tilmeldt")
        done.append("registered")
    left_out = len(rows) - _MOST_ROWS
    return Table(
        f"Breve og handlinger efter {danish.DIMENSIONS[dimension].lower()}",
        headings,
        [
            [
                danish.group_name(dimension, row, report),
                *[number(count) for count in (row.audience, row.sent, row.bounced)],
                *[number(getattr(row, measure)) for measure in done],
            ]
            for row in rows[:_MOST_ROWS]
        ],
        f"{number(left_out)} mindre er ikke vist her; regnearket har dem alle." if left_out > 0 else "",
    )


def links(report: CampaignReport) -> Section | None:
    """What was clicked in the letter; None where nothing can be."""
    if not report.links or report.about.tracking == "none":
        return None
    ranked = sorted(report.links, key=lambda link: (-(link.clicks or 0), link.clicks == 0, link.number))
    most = ranked[0].clicks or 1
    named = [(danish.link_name(link.key, report.events), link) for link in ranked]
    bars = [
        Bar(danish.shortened(name), number(link.clicks), [((link.clicks or 0) / most, "c-click")])
        for name, link in named[:_MOST_LINK_BARS]
    ]
    unused = ", ".join(name for name, link in named if link.clicks == 0)
    return Section(
        "links",
        "Hvad blev der klikket på?",
        "Brevets links, det mest brugte først.",
        [Legend("c-click", "Klik i alt")],
        bar_chart("links-graf", "Klik per link", _told(bars), bars),
        Table(
            "Klik per link",
            ["Link", "Klik", "Modtagere", "Mennesker", "Uvist", "Maskiner"],
            [
                [name, *map(number, (link.clicks, link.recipients, *_labels(link)))]
                for name, link in named
                if link.clicks != 0
            ],
            f"Endnu ikke brugt: {unused}." if unused else "",
        ),
    )


def labels(report: CampaignReport) -> Table | None:
    """How much of what was done was done by people; None where nothing was."""
    done = report.engagement
    kinds: Iterable[tuple[str, Engagement]] = (
        ("Åbninger", done.opens),
        ("Klik", done.clicks),
        ("Hentninger", done.downloads),
        ("Klik på tilmelding", done.registration_clicks),
        ("Læst i browser", done.views),
        ("Afmeldinger", done.unsubscribes),
    )
    rows = [
        [name, *map(number, (engagement.recipients, engagement.total, *_labels(engagement)))]
        for name, engagement in kinds
        if engagement.total != 0
    ]
    if not rows:
        return None
    headings = ["Handling", "Modtagere", "I alt", "Mennesker", "Uvist", "Maskiner"]
    return Table("Mennesker og maskiner", headings, rows)


def reach(report: CampaignReport) -> Table | None:
    """Readers beyond the recipients; None where there were none."""
    passed, pages = report.reach.pass_on, report.reach.pages
    if not (passed.total or pages):
        return None
    counted: list[tuple[str, Engagement | Page]] = [("Brevet, sendt videre", passed)]
    counted += [(danish.page_name(page.page), page) for page in pages]
    return Table(
        "Besøg uden for modtagerkredsen",
        ["Side", "Besøg", "Mennesker", "Uvist", "Maskiner"],
        [[name, *map(number, (visits.total, *_labels(visits)))] for name, visits in counted],
    )


def _labels(done: Engagement | LinkFigures | Page) -> tuple[int | None, int | None, int | None]:
    """How often people did it, somebody unsure, and machines."""
    return done.people, done.unsure, done.machines


def _carries(report: CampaignReport, kind: str) -> bool:
    return any(link.kind == kind for link in report.links)


def _share(part: int, whole: int) -> str:
    return f"{number(part)} · {percent(part, whole)}" if whole else number(part)


def _part(part: int | None, whole: int) -> float:
    return (part or 0) / whole if whole else 0.0
