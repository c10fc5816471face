"""A report of progress as page, flat file, workbook and JSON."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TextIO

from mailer.rendering.errors import LetterError, LetterNotFound
from mailer.rendering.source import load_letter
from mailer.reports import danish, progress_sections
from mailer.reports.flat import Line, write_lines
from mailer.reports.page import page_environment
from mailer.reports.progress import EventTotals, LetterFigures, ProgressReport
from mailer.reports.report import Dimension, Group
from mailer.reports.small_numbers import FEW_HIDDEN
from mailer.reports.spreadsheet import NUMBER, SHARE, TEXT, Cell, Chart, Sheet, write_sheets

PAGE = "report/progress.html"
_EVENT_MEASURES = (
    "seated",
    "waiting",
    "registration_clicks",
    "registration_recipients",
    "asked",
    "reminders_sent",
    "reminders_late",
    "reminders_missed",
    "reminded",
)


def write_page(report: ProgressReport, folders: Sequence[Path]) -> str:
    """The report as one HTML page that needs nothing but itself."""
    return render(PAGE, report, folders)


def render(template: str, report: ProgressReport, folders: Sequence[Path]) -> str:
    """A template of the report's, with everything such templates tell."""
    titles = _letter_titles(report, folders)
    return (
        page_environment(folders)
        .get_template(template)
        .render(
            period=progress_sections.period_in_words(report.period),
            meeting=danish.day(report.meeting) if report.meeting else None,
            counted=danish.moment(report.counted_at),
            timezone=report.period.zone.key,
            headline=progress_sections.headline(report),
            figures=progress_sections.key_figures(report),
            notes=progress_sections.notes(report),
            letters=progress_sections.letters(report, titles),
            doings=progress_sections.doings(report),
            events=progress_sections.events(report),
            groups=progress_sections.groups(report),
            reach=progress_sections.reach(report),
            suppressions=progress_sections.suppressions(report),
            challenges=progress_sections.paragraphs(report.challenges),
        )
    )


def _letter_titles(report: ProgressReport, folders: Sequence[Path]) -> dict[str, str]:
    """What the letters that go by themselves are called; one that is gone keeps its name."""
    titles = {}
    for letter in report.letters:
        if letter.automatic:
            try:
                titles[letter.name] = load_letter(letter.name, folders).title
            except (LetterNotFound, LetterError):
                continue
    return titles


def as_data(report: ProgressReport) -> dict[str, Any]:
    """The report as one JSON object."""
    return {
        "from": report.period.first,
        "to": report.period.last,
        "meeting": report.meeting,
        "counted_at": report.counted_at,
        "timezone": report.period.zone.key,
        "invitations": _letter_data(report.invitations),
        "automatic": _letter_data(report.automatic),
        "letters": [
            {"letter": letter.name, "automatic": letter.automatic, **_letter_data(letter)}
            for letter in report.letters
        ],
        "by": {dimension.value: list(map(asdict, rows)) for dimension, rows in report.by.items()},
        "totals": asdict(report.totals),
        "events": list(map(asdict, report.events)),
        "reach": asdict(report.reach),
        "suppressions": dict(report.suppressions),
        "challenges": report.challenges,
    }


def _letter_data(letter: LetterFigures) -> dict[str, Any]:
    engagement = {doing: asdict(done) for doing, done in letter.engagement.items()}
    return {
        "campaigns": letter.campaigns,
        "delivery": dict(letter.delivery),
        "engagement": engagement,
    }


def write_flat(report: ProgressReport, stream: TextIO) -> None:
    """Write every figure as a line of CSV, under the headings of a campaign's."""
    write_lines(_lines(report), stream)


def _lines(report: ProgressReport) -> Iterator[Line]:
    for name, letter in (("invitations", report.invitations), ("automatic", report.automatic)):
        yield from _letter_lines(name, "", letter)
    for letter in report.letters:
        yield from _letter_lines("letters", letter.name, letter)
    for field in fields(EventTotals):
        yield "totals", "", "", field.name, getattr(report.totals, field.name)
    for event in report.events:
        for measure in _EVENT_MEASURES:
            yield "events", "event", event.slug, measure, getattr(event, measure)
    for dimension, groups in report.by.items():
        for group in groups:
            for field in fields(group)[1:]:
                figure = getattr(group, field.name)
                yield "by", dimension.value, group.value or "", field.name, figure
    yield "reach", "", "pass_on", "total", report.reach.pass_on.total
    yield "reach", "", "visits", "total", report.reach.visits
    for page in report.reach.pages:
        yield "reach", "page", page.page or "", "total", page.total
    for reason, count in report.suppressions.items():
        yield "suppressions", "reason", reason, "total", count


def _letter_lines(section: str, name: str, letter: LetterFigures) -> Iterator[Line]:
    dimension = "letter" if name else ""
    for state, count in letter.delivery.items():
        yield section, dimension, name, state, count
    for doing, done in letter.engagement.items():
        for field in fields(done):
            yield section, dimension, name, f"{doing}.{field.name}", getattr(done, field.name)


def write_workbook(report: ProgressReport, folders: Sequence[Path]) -> bytes:
    """The report as an Excel workbook, a sheet per part; in Danish, as it goes to the secretariats."""
    workbook = io.BytesIO()
    write_sheets(
        workbook,
        _sheets(report, _letter_titles(report, folders)),
        title=f"Statusrapport {progress_sections.period_in_words(report.period)}",
        created=report.counted_at,
    )
    return workbook.getvalue()


def _sheets(report: ProgressReport, titles: progress_sections.Titles) -> Iterator[Sheet]:
    yield _summary(report)
    yield _letters(report, titles)
    yield _doings(report)
    yield _events(report)
    for dimension, groups in report.by.items():
        yield _groups(dimension, groups)
    yield _reach(report)
    yield _challenges(report)


def _summary(report: ProgressReport) -> Sheet:
    period, mail, totals = report.period, report.invitations, report.totals
    rows: list[tuple[Cell, Cell]] = [
        ("Fra og med", period.first.isoformat()),
        ("Til og med", period.last.isoformat()),
        ("Parternes møde", report.meeting.isoformat() if report.meeting else None),
        ("Talt op", report.counted_at.isoformat(timespec="minutes")),
        ("Breve sendt", mail.delivery["letters"]),
        ("Breve modtaget af mailserveren", mail.delivery["sent"]),
        ("Breve afvist", mail.delivery["bounced"]),
        ("Breve uvist", mail.delivery["uncertain"]),
    ]
    for doing, name in progress_sections.DOINGS.items():
        done = mail.engagement[doing]
        rows.append((f"{name}: breve, mindst én gang", done.recipients))
        rows.append((f"{name}: i alt", done.total))
    rows += [
        ("Automatiske breve modtaget", report.automatic.delivery["sent"]),
        ("Møder holdt", totals.held),
        ("Møder på vej", totals.coming),
        ("Møder flyttet i perioden", totals.moved),
        ("Møder aflyst", totals.cancelled),
        ("Tilmeldte", totals.seated),
        ("På venteliste", totals.waiting),
        ("Vil mindes om et møde", totals.asked),
        ("Påmindelser sendt", totals.reminders_sent),
        ("Heraf for sent", totals.reminders_late),
        ("Påmindelser ikke sendt", totals.reminders_missed),
        ("Breve med påmindelser, mindst", totals.reminded),
        ("Brevet sendt videre, åbninger", report.reach.pass_on.total),
        ("Besøg på siderne", report.reach.visits),
    ]
    rows += [
        (f"Får ikke flere breve: {progress_sections.REASONS.get(reason, reason).lower()}", count)
        for reason, count in report.suppressions.items()
    ]
    if report.leaves_out:
        rows.append(("Tomme felter", FEW_HIDDEN))
    return Sheet("Overblik", ["Tal", "Værdi"], [TEXT, NUMBER], rows)


def _letters(report: ProgressReport, titles: progress_sections.Titles) -> Sheet:
    names = [danish.STATES[state][0] for state in list(report.invitations.delivery)[1:]]
    done = ("opens", "clicks", "downloads", "registration_clicks")
    return Sheet(
        "Breve",
        [
            "Brev",
            "Udsendelser",
            "Sendt i perioden",
            *names,
            "Åbnet",
            "Klikket",
            "Hentet",
            "Tilmelding åbnet",
        ],
        [TEXT] + [NUMBER] * (len(names) + 6),
        [
            (
                progress_sections.letter_name(letter, titles),
                letter.campaigns,
                *letter.delivery.values(),
                *[letter.engagement[doing].recipients for doing in done],
            )
            for letter in report.letters
        ],
    )


def _doings(report: ProgressReport) -> Sheet:
    return Sheet(
        "Mennesker og maskiner",
        ["Handling", "Slags", "Breve", "I alt", "Mennesker", "Maskiner", "Uvist"],
        [TEXT] * 2 + [NUMBER] * 5,
        [
            (name, sort, done.recipients, done.total, done.people, done.machines, done.unsure)
            for sort, mail in (("udsendelser", report.invitations), ("automatiske", report.automatic))
            for doing, name in progress_sections.DOINGS.items()
            for done in [mail.engagement[doing]]
        ],
    )


def _events(report: ProgressReport) -> Sheet:
    return Sheet(
        "Møder",
        [
            "Møde",
            "Dato",
            "Region",
            "Sted",
            "Hvordan det står",
            "Flyttet i perioden",
            "Pladser",
            "Tilmeldt",
            "Venteliste",
            "Klik på tilmelding, mindst",
            "Modtagere, der klikkede",
            "Vil mindes om det",
            "Påmindelser sendt",
            "Heraf for sent",
            "Ikke sendt",
            "Breve med påmindelser, mindst",
        ],
        [TEXT] * 6 + [NUMBER] * 10,
        [
            (
                event.title,
                event.date.isoformat(),
                event.region,
                event.place,
                progress_sections.STANDINGS[event.standing],
                "ja" if event.moved else "nej",
                event.capacity,
                *[getattr(event, measure) for measure in _EVENT_MEASURES],
            )
            for event in report.events
        ],
        Chart("Tilmeldte og klik på tilmelding", "bar", [7, 9]),
    )


def _groups(dimension: Dimension, groups: Sequence[Group]) -> Sheet:
    name = danish.DIMENSIONS[dimension]
    headings = [
        name,
        "Modtagere",
        "Modtaget",
        "Afvist",
        "Åbnet",
        "Klikket",
        "Hentet",
        "Tilmelding åbnet",
        "Åbnet, andel af modtaget",
        "Klikket, andel af modtaget",
    ]
    rows = [
        (
            progress_sections.group_name(dimension, group),
            group.audience,
            group.sent,
            group.bounced,
            group.opened,
            group.clicked,
            group.downloaded,
            group.registration_clicked,
            _share(group.opened, group.sent),
            _share(group.clicked, group.sent),
        )
        for group in groups
    ]
    chart = Chart(f"Åbnet og klikket efter {name.lower()}, andel af modtaget", "bar", [8, 9])
    return Sheet(f"Efter {name.lower()}", headings, [TEXT] + [NUMBER] * 7 + [SHARE] * 2, rows, chart)


def _share(part: int | None, whole: int) -> float | None:
    return part / whole if part is not None and whole else None


def _reach(report: ProgressReport) -> Sheet:
    passed = report.reach.pass_on
    rows: list[tuple[Cell, ...]] = [
        ("Brevet, sendt videre", passed.total, passed.people, passed.machines, passed.unsure)
    ]
    rows += [
        (danish.page_name(page.page), page.total, page.people, page.machines, page.unsure)
        for page in report.reach.pages
    ]
    headings = ["Side", "Besøg", "Mennesker", "Maskiner", "Uvist"]
    return Sheet("Ud over modtagerne", headings, [TEXT] + [NUMBER] * 4, rows)


def _challenges(report: ProgressReport) -> Sheet:
    told = progress_sections.paragraphs(report.challenges)
    rows = [(" ".join(lines),) for lines in told] or [("Der er ikke skrevet noget.",)]
    return Sheet("Udfordringer", ["Udfordringer"], [TEXT], rows)
