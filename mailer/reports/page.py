"""The report as one HTML page that needs nothing but itself: Danish, printable, drawn on our side."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from mailer.rendering.bytecode import KeptBytecode
from mailer.reports import danish, sections
from mailer.reports.report import CampaignReport, Dimension
from mailer.reports.small_numbers import NO_GROUPS, without_few_registered

TEMPLATE = "report/campaign.html"
_BYTECODE = KeptBytecode()
_SHORT = (Dimension.REGION, Dimension.SECTOR, Dimension.ROLE)
_LONG = (Dimension.ORGANISATION, Dimension.DOMAIN)


def render_page(report: CampaignReport, template_folders: Sequence[Path]) -> str:
    """The page of a campaign's report.

    Args:
        template_folders: where templates are looked for, the first one first.
    """
    about = report.about
    report = without_few_registered(report)
    return (
        page_environment(template_folders)
        .get_template(TEMPLATE)
        .render(
            name=danish.clean(about.name),
            letter=danish.clean(about.letter),
            state=danish.CAMPAIGN_STATES[about.state],
            dated=danish.day(about.dated_at) if about.dated_at else None,
            counted=danish.moment(about.counted_at),
            timezone=about.timezone,
            headline=danish.headline(report),
            lede=danish.lede(report),
            figures=sections.key_figures(report),
            funnel=sections.funnel(report),
            notes=sections.notes(report),
            states=sections.states(report),
            over_time=sections.over_time(report),
            events=sections.events(report),
            no_groups=NO_GROUPS if about.automatic else "",
            groups=[sections.group_section(report, part) for part in _SHORT if report.by.get(part)],
            long_groups=[sections.group_section(report, part) for part in _LONG if report.by.get(part)],
            links=sections.links(report),
            labels=sections.labels(report),
            reach=sections.reach(report),
        )
    )


def page_environment(template_folders: Sequence[Path]) -> Environment:
    """Jinja2 over the template folders, strict about names; values are escaped in HTML, not in text."""
    return Environment(
        loader=FileSystemLoader([str(folder) for folder in template_folders]),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=_BYTECODE,
    )
