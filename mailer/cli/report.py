"""`mailer report`: how a campaign went, for screens, scripts, spreadsheets and secretariats."""

import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import click

from mailer.campaigns.lifecycle import find_campaign
from mailer.cli.output import json_option, json_text, print_table, runtime_of
from mailer.cli.report_output import choose_format, format_option, hand_out, output_option
from mailer.cli.report_progress import challenges, progress
from mailer.foundation.settings import Settings
from mailer.reports.few import hides_few
from mailer.reports.figures import count_report, tell_report
from mailer.reports.flat import write_csv
from mailer.reports.page import render_page
from mailer.reports.report import FEW_NOT_TOLD, NO_GROUPS, CampaignReport, Dimension, Group
from mailer.reports.spreadsheet import write_spreadsheet
from mailer.runtime import template_folders

_MOST_ROWS_ON_A_SCREEN = 15


def _read_dimensions(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> tuple[Dimension, ...] | None:
    if value is None:
        return None
    names = [name.strip() for name in value.split(",") if name.strip()]
    for name in names:
        if name not in list(Dimension):
            known = ", ".join(Dimension)
            raise click.BadParameter(f"there is no dimension {name!r}; choose from {known}")
    return tuple(Dimension(name) for name in dict.fromkeys(names))


@click.group()
def report() -> None:
    """How it went."""


report.add_command(progress)
report.add_command(challenges)


@report.command("campaign")
@click.argument("name")
@click.option(
    "--by",
    "dimensions",
    metavar="A,B",
    callback=_read_dimensions,
    help=f"Break the figures down by these only: {', '.join(Dimension)}. Default: all.",
)
@format_option
@json_option
@output_option
@click.pass_context
def campaign_(
    ctx: click.Context,
    name: str,
    dimensions: tuple[Dimension, ...] | None,
    form: str | None,
    as_json: bool,
    output: Path | None,
) -> None:
    """Report on the campaign NAME: delivery, opens, clicks, in all and by who and what.

    Sent is not delivered, opens are uncertain, and a click on a registration link is no registration.
    """
    form = choose_format(form, as_json=as_json, output=output)
    runtime = runtime_of(ctx)
    with runtime.database.snapshot() as db:
        counted = count_report(
            db,
            find_campaign(db, name),
            now=runtime.clock.now(),
            zone=runtime.settings.zone,
            dimensions=dimensions if dimensions is not None else tuple(Dimension),
        )
    figures = tell_report(counted)
    limit = _MOST_ROWS_ON_A_SCREEN if dimensions is None else None
    hand_out(
        form,
        output,
        show=lambda: _print_tables(figures, limit=limit),
        render=lambda form: _render(figures, form, runtime.settings),
    )


def _render(figures: CampaignReport, form: str, settings: Settings) -> bytes:
    match form:
        case "json":
            return f"{json_text(report_json(figures))}\n".encode()
        case "html":
            return render_page(figures, template_folders(settings)).encode()
        case "xlsx":
            workbook = io.BytesIO()
            write_spreadsheet(figures, workbook)
            return workbook.getvalue()
        case _:
            lines = io.StringIO(newline="")
            write_csv(figures, lines)
            return lines.getvalue().encode()


def report_json(figures: CampaignReport) -> dict[str, Any]:
    """The report as one JSON object; ``campaign`` is the campaign's name."""
    about = asdict(figures.about)
    by = {dimension.value: list(map(asdict, rows)) for dimension, rows in figures.by.items()}
    return {
        "campaign": about.pop("name"),
        **about,
        "delivery": dict(figures.delivery),
        "engagement": asdict(figures.engagement),
        "events": list(map(asdict, figures.events)),
        "links": list(map(asdict, figures.links)),
        "by": by,
        "over_time": asdict(figures.over_time),
        "reach": asdict(figures.reach),
    }


def _print_tables(figures: CampaignReport, *, limit: int | None) -> None:
    about, delivery = figures.about, figures.delivery
    title = f"{about.name}: {about.state}, letter {about.letter}, tracking {about.tracking}"
    sent = delivery["sent"]
    print_table(
        ["", "letters", "share"],
        [
            ["audience", delivery["audience"], None],
            *[
                [state, count, _percent(count, delivery["audience"])]
                for state, count in delivery.items()
                if count and state != "audience"
            ],
        ],
        title=title,
    )
    engagement = [
        (field.name.replace("_", " "), getattr(figures.engagement, field.name))
        for field in fields(figures.engagement)
    ]
    _print_part(
        "Engagement (a share of sent; opens are uncertain)",
        ["", "recipients", "share", "total", "people", "machines", "unsure"],
        [
            [name, e.recipients, _percent(e.recipients, sent), e.total, e.people, e.machines, e.unsure]
            for name, e in engagement
        ],
    )
    _print_part(
        "Events (a registration click is not a registration)",
        [
            "event",
            "date",
            "clicks",
            "registration clicks",
            "recipients",
            "registered",
            "asked",
            "reminded",
        ],
        [
            [
                event.slug,
                event.date,
                event.clicks,
                event.registration_clicks,
                event.registration_recipients,
                event.registered,
                event.reminder_requests,
                event.reminded,
            ]
            for event in figures.events
        ],
    )
    for dimension, groups in figures.by.items():
        if limit is None or dimension is not Dimension.EVENT:  # the events stand above
            _print_groups(dimension, groups, limit=limit)
    if about.automatic and set(figures.by) - {Dimension.EVENT, Dimension.LINK}:
        click.echo()
        click.echo(f"Groups: {NO_GROUPS}")
    if hides_few(figures):
        click.echo()
        click.echo(f"Not told (–): {FEW_NOT_TOLD}")
    reach = figures.reach
    if reach.pass_on.total or reach.visits:
        rows: list[list[object]] = [["letter passed on", reach.pass_on.total]]
        rows += [[page.page, page.total] for page in reach.pages]
        _print_part("Reach (anonymous, apart from recipients)", ["page", "views"], rows)


def _print_groups(dimension: Dimension, groups: Sequence[Group], *, limit: int | None) -> None:
    shown = groups if limit is None else groups[:limit]
    done = (
        *("audience", "sent", "bounced", "opened", "clicked", "downloaded"),
        *("registration_clicked", "registered"),
    )
    _print_part(
        f"By {dimension}",
        [dimension.value, *[measure.replace("_", " ") for measure in done]],
        [[group.value, *[getattr(group, measure) for measure in done]] for group in shown],
    )
    if len(shown) < len(groups):
        click.echo(f"… and {len(groups) - len(shown):,} more: --by {dimension}")


def _print_part(title: str, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    if rows:
        click.echo()
        print_table(headings, rows, title=title)


def _percent(part: int | None, whole: int) -> str | None:
    return f"{part / whole:.1%}" if part is not None and whole else None
