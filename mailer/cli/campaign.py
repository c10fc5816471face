"""`mailer campaign`: create and list campaigns; the other verbs have files of their own."""

import click

from mailer.campaigns.lifecycle import create_campaign, list_campaigns
from mailer.campaigns.models import UncertainPolicy
from mailer.cli.campaign_course import cancel, pause, resend, resume
from mailer.cli.campaign_ledger import ledger, reconcile
from mailer.cli.campaign_letter import preview, test
from mailer.cli.campaign_link import link
from mailer.cli.campaign_queue import queue
from mailer.cli.campaign_status import status
from mailer.cli.output import json_option, print_json, print_table, runtime_of, say
from mailer.cli.preflight import preflight
from mailer.foundation.settings import SettingsError, TrackingMode
from mailer.rendering.letter import Letter
from mailer.rendering.source import load_letter
from recipients.segments import find_segment

_LONGEST_NAME = 100
_LONGEST_BASIS = 500
_VERBS = (
    preview,
    test,
    preflight,
    queue,
    status,
    pause,
    resume,
    cancel,
    resend,
    reconcile,
    ledger,
    link,
)


@click.group()
def campaign() -> None:
    """Create, preview, test, queue, follow and prove campaigns."""


for _verb in _VERBS:
    campaign.add_command(_verb)


def _read_name(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if value != value.strip() or not 0 < len(value) <= _LONGEST_NAME or not value.isprintable():
        raise click.BadParameter(
            f"must be one line of 1 to {_LONGEST_NAME} characters, without spaces around it"
        )
    return value


@campaign.command()
@click.argument("name", callback=_read_name)
@click.option("--letter", required=True, help="The letter's name, such as startpakke.")
@click.option("--segment", help="Who gets it (default: everybody).")
@click.option(
    "--tracking", type=click.Choice([mode.value for mode in TrackingMode]), help="Beats the setting."
)
@click.option("--legal-basis", help="Why personal tracking is lawful; kept with the campaign.")
@click.option(
    "--on-uncertain",
    type=click.Choice([*map(str, UncertainPolicy)]),
    default=UncertainPolicy.HOLD.value,
    show_default=True,
    help="What becomes of a letter that may or may not have arrived.",
)
@json_option
@click.pass_context
def create(
    ctx: click.Context,
    name: str,
    letter: str,
    segment: str | None,
    tracking: str | None,
    legal_basis: str | None,
    on_uncertain: str,
    as_json: bool,
) -> None:
    """Make a draft; nothing is sent yet."""
    runtime = runtime_of(ctx)
    mode = tracking or runtime.settings.tracking
    if mode is None:
        raise SettingsError(
            "no tracking mode: add --tracking none|anonymous|consent|personal, or set MAILER_TRACKING"
        )
    if mode == TrackingMode.PERSONAL and not legal_basis:
        raise click.UsageError(
            "personal tracking needs --legal-basis TEXT, which is kept with the campaign"
        )
    if legal_basis and len(legal_basis) > _LONGEST_BASIS:
        raise click.UsageError(f"--legal-basis: longer than {_LONGEST_BASIS} characters")
    Letter(load_letter(letter, runtime.letter_tools.folders))
    with runtime.database.write() as db:
        if segment is not None:
            find_segment(db, segment)
        made = create_campaign(
            db,
            name,
            letter=letter,
            segment=segment,
            tracking=TrackingMode(mode).value,
            legal_basis=legal_basis,
            now=runtime.clock.now(),
            on_uncertain=UncertainPolicy(on_uncertain),
        )
    if as_json:
        print_json({"campaign": name, "state": made.state, "letter": letter, "tracking": made.tracking})
        return
    say(f"campaign {name} is a draft; see it with  mailer campaign preview {name} --as EMAIL")


@campaign.command(name="list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List all campaigns, newest first."""
    runtime = runtime_of(ctx)
    with runtime.database.read() as db:
        rows = list_campaigns(db)
        shown = [
            {
                "campaign": row.name,
                "letter": row.letter,
                "segment": row.segment,
                "state": row.state,
                "tracking": row.tracking,
                "audience": row.audience,
                "queued_at": row.queued_at,
            }
            for row in rows
        ]
    if as_json:
        print_json({"campaigns": shown})
    elif shown:
        rows_shown = [list(row.values()) for row in shown]
        print_table(list(shown[0]), rows_shown, zone=runtime.settings.zone)
    else:
        say("no campaigns yet; make one with  mailer campaign create")
