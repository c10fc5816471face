"""The report as one flat CSV file: a line per figure, for programs and for pivot tables."""

import csv
from collections.abc import Iterator
from dataclasses import fields
from typing import TextIO

from mailer.reports.report import CampaignReport, EventFigures
from recipients.cells import defuse

HEADINGS = ("section", "dimension", "value", "measure", "figure")
_EVENT_MEASURES = (
    "clicks",
    "recipients",
    "registration_clicks",
    "registration_recipients",
    "reminder_requests",
    "reminders_sent",
    "reminded",
)

Line = tuple[str, str, str, str, int | None]


def write_csv(report: CampaignReport, stream: TextIO) -> None:
    """Write every figure of the report; no cell can be taken for a formula."""
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(HEADINGS)
    for *words, figure in _lines(report):
        writer.writerow([*[defuse(str(word)) for word in words], "" if figure is None else figure])


def _lines(report: CampaignReport) -> Iterator[Line]:
    for state, count in report.delivery.items():
        yield "delivery", "", "", state, count
    for kind in fields(report.engagement):
        engagement = getattr(report.engagement, kind.name)
        for measure in fields(engagement):
            yield "engagement", "", kind.name, measure.name, getattr(engagement, measure.name)
    for event in report.events:
        yield from _event_lines(event)
    for link in report.links:
        yield "links", "link", link.key, "clicks", link.clicks
        yield "links", "link", link.key, "recipients", link.recipients
    for dimension, groups in report.by.items():
        for group in groups:
            for measure in fields(group)[1:]:
                figure = getattr(group, measure.name)
                yield "by", dimension.value, group.value or "", measure.name, figure
    for moment in report.over_time.moments:
        start = moment.start.isoformat(timespec="minutes")
        for name in ("opens", "clicks", "registration_clicks"):
            yield "over_time", report.over_time.step, start, name, getattr(moment, name)
    yield "reach", "", "pass_on", "total", report.reach.pass_on.total
    yield "reach", "", "visits", "total", report.reach.visits
    for page in report.reach.pages:
        yield "reach", "page", page.page or "", "total", page.total


def _event_lines(event: EventFigures) -> Iterator[Line]:
    for measure in _EVENT_MEASURES:
        yield "events", "event", event.slug, measure, getattr(event, measure)
