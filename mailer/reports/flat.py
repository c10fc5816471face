"""The report as one flat CSV file: a line per figure, for programs and for pivot tables."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any, TextIO

from mailer.reports.report import CampaignReport
from recipients.cells import defuse

HEADINGS = ("section", "dimension", "value", "measure", "figure")
_LABELS = ("people", "machines", "unsure")
_EVENT_MEASURES = (
    "clicks",
    "recipients",
    "registration_clicks",
    "registration_recipients",
    "registered",
    "reminder_requests",
    "reminders_sent",
    "reminded",
    *_LABELS,
)

Line = tuple[str, str, str, str, int | None]


def write_csv(report: CampaignReport, stream: TextIO) -> None:
    """Write every figure of the report; no cell can be taken for a formula."""
    write_lines(_lines(report), stream)


def write_lines(lines: Iterable[Line], stream: TextIO) -> None:
    """Write a line per figure under the headings; no cell can be taken for a formula."""
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(HEADINGS)
    for *words, figure in lines:
        writer.writerow([*[defuse(str(word)) for word in words], "" if figure is None else figure])


def _lines(report: CampaignReport) -> Iterator[Line]:
    for state, count in report.delivery.items():
        yield "delivery", "", "", state, count
    for kind in fields(report.engagement):
        engagement = getattr(report.engagement, kind.name)
        yield from _measured("engagement", "", kind.name, engagement, _names(engagement))
    for event in report.events:
        yield from _measured("events", "event", event.slug, event, _EVENT_MEASURES)
    for link in report.links:
        yield from _measured("links", "link", link.key, link, ("clicks", "recipients", *_LABELS))
    for dimension, groups in report.by.items():
        for group in groups:
            yield from _measured("by", dimension.value, group.value or "", group, _names(group)[1:])
    for moment in report.over_time.moments:
        start = moment.start.isoformat(timespec="minutes")
        yield from _measured("over_time", report.over_time.step, start, moment, _names(moment)[1:])
    yield from _measured("reach", "", "pass_on", report.reach.pass_on, ("total", *_LABELS))
    yield "reach", "", "visits", "total", report.reach.visits
    for page in report.reach.pages:
        yield from _measured("reach", "page", page.page or "", page, ("total", *_LABELS))


def _measured(
    section: str, dimension: str, value: str, figures: object, measures: Iterable[str]
) -> Iterator[Line]:
    for measure in measures:
        yield section, dimension, value, measure, getattr(figures, measure)


def _names(figures: Any) -> list[str]:
    return [column.name for column in fields(figures)]
