"""The report as an Excel workbook to keep: one sheet per part, with charts, and never a formula."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import xlsxwriter

from mailer.reports.danish import clean
from mailer.reports.few import hides_few
from mailer.reports.report import FEW_NOT_TOLD, NO_GROUPS, CampaignReport, Dimension, Engagement

Cell = str | int | float | None
NUMBER, SHARE, TEXT = "#,##0", "0.0%", "@"
_LABELS = ("By people", "By machines", "Unsure")
_WIDEST, _NARROWEST = 60, 9
_MOST_ROWS = 1_048_000  # Excel's 1,048,576, less room for a heading
_MOST_BARS = 30
_OF_THE_LETTER = frozenset({Dimension.EVENT, Dimension.LINK})
_INK, _PETROL, _MIST, _RUST = "#17242B", "#1B6478", "#86B5BF", "#B0562C"


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of some columns of its sheet against the first."""

    title: str
    kind: str
    """``bar`` or ``column``."""
    columns: Sequence[int]


@dataclass(frozen=True, slots=True)
class Sheet:
    """One sheet: headings, rows, the number format of each column, perhaps a chart."""

    name: str
    headings: Sequence[str]
    formats: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    chart: Chart | None = None


def write_spreadsheet(report: CampaignReport, target: Path | BinaryIO) -> None:
    """Write the workbook; values that look like formulas or addresses stay text."""
    title = f"{report.about.name}: campaign report"
    write_sheets(target, _sheets(report), title=title, created=report.about.counted_at)


def write_sheets(
    target: Path | BinaryIO, sheets: Iterable[Sheet], *, title: str, created: datetime
) -> None:
    """Write a workbook of these sheets; no text in it becomes a formula, a number or a link."""
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    with xlsxwriter.Workbook(target, options) as workbook:
        workbook.set_properties({"title": clean(title), "created": created.replace(tzinfo=None)})
        for sheet in sheets:
            _write(workbook, sheet)


def _sheets(report: CampaignReport) -> Iterator[Sheet]:
    yield _summary(report)
    yield _delivery(report)
    yield _engagement(report)
    yield _over_time(report)
    yield _events(report)
    yield _links(report)
    for dimension in report.by:
        if dimension in _OF_THE_LETTER or not report.about.automatic:
            yield _groups(report, dimension)
    yield _reach(report)


def _summary(report: CampaignReport) -> Sheet:
    about = report.about
    sent = report.delivery["sent"]
    done = report.engagement
    rows: list[tuple[Cell, Cell, Cell]] = [
        ("Campaign", about.name, None),
        ("Letter", about.letter, None),
        ("State", about.state, None),
        ("Tracking", about.tracking, None),
        ("Counted at", about.counted_at.isoformat(timespec="minutes"), None),
        ("Recipients", report.delivery["audience"], None),
        ("Sent (accepted by the mail server)", sent, _share(sent, report.delivery["audience"])),
    ]
    for label, engagement in (
        ("Opened (uncertain)", done.opens),
        ("Clicked", done.clicks),
        ("Downloaded", done.downloads),
        ("Registration clicked (not the same as registered)", done.registration_clicks),
        ("Registered for an event, as far as is known", done.registrations),
        ("Unsubscribed", done.unsubscribes),
    ):
        who = engagement.recipients
        rows.append((label, who, None if who is None else _share(who, sent)))
    if hides_few(report):
        rows.append(("Left empty", FEW_NOT_TOLD, None))
    if report.about.automatic:
        rows.append(("Groups", NO_GROUPS, None))
    return Sheet("Summary", ["Figure", "Value", "Share"], [TEXT, NUMBER, SHARE], rows)


def _delivery(report: CampaignReport) -> Sheet:
    audience = report.delivery["audience"]
    rows = [
        (state, count, _share(count, audience))
        for state, count in report.delivery.items()
        if state != "audience"
    ]
    chart = Chart("Deliveries by state", "bar", [1])
    headings = ["State", "Deliveries", "Share of the audience"]
    return Sheet("Delivery", headings, [TEXT, NUMBER, SHARE], rows, chart)


def _engagement(report: CampaignReport) -> Sheet:
    done = report.engagement
    kinds: Sequence[tuple[str, Engagement]] = (
        ("Opens", done.opens),
        ("Clicks", done.clicks),
        ("Downloads", done.downloads),
        ("Registration clicks", done.registration_clicks),
        ("Registrations", done.registrations),
        ("Unsubscribes", done.unsubscribes),
        ("Views in a browser", done.views),
    )
    return Sheet(
        "Engagement",
        ["What", "Recipients", "Total events", *_LABELS],
        [TEXT] + [NUMBER] * 5,
        [(name, e.recipients, e.total, e.people, e.machines, e.unsure) for name, e in kinds],
    )


def _over_time(report: CampaignReport) -> Sheet:
    step = report.over_time.step
    rows = [
        (
            moment.start.strftime("%Y-%m-%d %H:%M" if step == "hour" else "%Y-%m-%d"),
            moment.opens,
            moment.clicks,
            moment.registration_clicks,
        )
        for moment in report.over_time.moments
    ]
    return Sheet(
        "Over time",
        [f"{step.capitalize()} ({report.about.timezone})", "Opens", "Clicks", "Registration clicks"],
        [TEXT] + [NUMBER] * 3,
        rows,
        Chart(f"Opens and clicks per {step}", "column", [1, 2, 3]),
    )


def _events(report: CampaignReport) -> Sheet:
    return Sheet(
        "Events",
        [
            "Event",
            "Title",
            "Date",
            "Region",
            "Clicks",
            "Recipients who clicked",
            "Registration clicks",
            "Recipients who clicked registration",
            "Registered",
            "Asked for a reminder",
            "Reminders sent",
            "Reminder letters",
            *[f"Clicks {label[0].lower()}{label[1:]}" for label in _LABELS],
        ],
        [TEXT] * 4 + [NUMBER] * 11,
        [
            (
                event.slug,
                event.title,
                event.date.isoformat() if event.date else None,
                event.region,
                event.clicks,
                event.recipients,
                event.registration_clicks,
                event.registration_recipients,
                event.registered,
                event.reminder_requests,
                event.reminders_sent,
                event.reminded,
                event.people,
                event.machines,
                event.unsure,
            )
            for event in report.events
        ],
        Chart("Interest in the events", "bar", [4, 6]),
    )


def _links(report: CampaignReport) -> Sheet:
    return Sheet(
        "Links",
        ["Link", "Kind", "Event", "Clicks", "Recipients", *_LABELS, "Leads to"],
        [TEXT] * 3 + [NUMBER] * 5 + [TEXT],
        [
            (
                link.key,
                link.kind,
                link.event,
                link.clicks,
                link.recipients,
                link.people,
                link.machines,
                link.unsure,
                link.target,
            )
            for link in report.links
        ],
        Chart("Clicks per link", "bar", [3]),
    )


def _groups(report: CampaignReport, dimension: Dimension) -> Sheet:
    headings = [
        dimension.value.capitalize(),
        "Audience",
        "Sent",
        "Bounced",
        "Opened",
        "Clicked",
        "Downloaded",
        "Registration clicked",
        "Opened, share of sent",
        "Clicked, share of sent",
        "Clicks",
        "Registered",
    ]
    rows = [
        (
            "(not stated)" if group.value is None else group.value,
            group.audience,
            group.sent,
            group.bounced,
            group.opened,
            group.clicked,
            group.downloaded,
            group.registration_clicked,
            None if group.opened is None else _share(group.opened, group.sent),
            None if group.clicked is None else _share(group.clicked, group.sent),
            group.clicks,
            group.registered,
        )
        for group in report.by[dimension][:_MOST_ROWS]
    ]
    formats = [TEXT] + [NUMBER] * 7 + [SHARE] * 2 + [NUMBER] * 2
    chart = Chart(f"Opened and clicked by {dimension.value}, share of sent", "bar", [8, 9])
    return Sheet(f"By {dimension.value}", headings, formats, rows, chart)


def _reach(report: CampaignReport) -> Sheet:
    passed = report.reach.pass_on
    rows: list[tuple[Cell, ...]] = [
        ("Letter passed on", passed.total, passed.people, passed.machines, passed.unsure)
    ]
    rows += [
        (page.page or "(other pages)", page.total, page.people, page.machines, page.unsure)
        for page in report.reach.pages
    ]
    headings = ["Page", "Views", *_LABELS]
    return Sheet("Reach (anonymous)", headings, [TEXT] + [NUMBER] * 4, rows)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _write(workbook: Any, sheet: Sheet) -> None:
    page = workbook.add_worksheet(sheet.name)
    head = workbook.add_format(
        {
            "bold": True,
            "font_color": "#FFFFFF",
            "bg_color": _PETROL,
            "valign": "vcenter",
            "text_wrap": True,
        }
    )
    styles = {style: workbook.add_format({"num_format": style}) for style in set(sheet.formats)}
    for column, heading in enumerate(sheet.headings):
        longest = max([len(str(row[column] or "")) for row in sheet.rows] or [0])
        wide = max(longest, -(-len(heading) // 2), _NARROWEST) + 2
        page.set_column(column, column, min(wide, _WIDEST))
    page.set_row(0, 32)
    page.write_row(0, 0, sheet.headings, head)
    for number, row in enumerate(sheet.rows, start=1):
        for column, value in enumerate(row):
            style = styles[sheet.formats[column]]
            if isinstance(value, str):
                page.write_string(number, column, clean(value), style)
            elif value is not None:
                page.write_number(number, column, value, style)
    page.freeze_panes(1, 1)
    page.set_landscape()
    page.fit_to_pages(1, 0)
    page.repeat_rows(0)
    if sheet.rows:
        page.autofilter(0, 0, len(sheet.rows), len(sheet.headings) - 1)
        if sheet.chart:
            _add_chart(workbook, page, sheet, sheet.chart)


def _add_chart(workbook: Any, page: Any, sheet: Sheet, chart: Chart) -> None:
    drawing = workbook.add_chart({"type": chart.kind})
    last = len(sheet.rows) if chart.kind == "column" else min(len(sheet.rows), _MOST_BARS)
    for column, colour in zip(chart.columns, (_MIST, _PETROL, _RUST), strict=False):
        drawing.add_series(
            {
                "name": [sheet.name, 0, column],
                "categories": [sheet.name, 1, 0, last, 0],
                "values": [sheet.name, 1, column, last, column],
                "fill": {"color": _PETROL if len(chart.columns) == 1 else colour},
                "gap": 60,
            }
        )
    drawing.set_title({"name": chart.title, "name_font": {"size": 12, "color": _INK}})
    drawing.set_legend({"none": True} if len(chart.columns) == 1 else {"position": "bottom"})
    if chart.kind == "bar":
        drawing.set_y_axis({"reverse": True})
    drawing.set_x_axis({"major_gridlines": {"visible": False}})
    drawing.set_size({"width": 720, "height": 160 + 26 * min(last, _MOST_BARS)})
    page.insert_chart(1, len(sheet.headings) + 1, drawing)
