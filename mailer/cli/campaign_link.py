"""`mailer campaign link list | retarget`: where links lead, corrected after the letters have left."""

from typing import Any

import click

from mailer.campaigns.lifecycle import find_campaign
from mailer.campaigns.linking import LONGEST_REASON, list_changes, list_links, pick_link
from mailer.campaigns.linking import retarget as lead_elsewhere
from mailer.campaigns.models import LinkChange
from mailer.cli.output import json_option, print_json, print_table, runtime_of, say
from mailer.foundation.clock import real_now
from mailer.foundation.settings import TrackingMode
from mailer.reports.figures import link_clicks
from mailer.reports.report import FEW_NOT_TOLD
from mailer.tracking.targets import BadTarget, check_target


@click.group()
def link() -> None:
    """Show where a campaign's links lead, and lead one elsewhere."""


@link.command("list")
@click.argument("name")
@json_option
@click.pass_context
def list_(ctx: click.Context, name: str, as_json: bool) -> None:
    """List the campaign's links and how often each was followed, by people and machines.

    Of an anonymous letter, what fewer than five did is not told.
    """
    runtime = runtime_of(ctx)
    with runtime.database.read() as db:
        campaign = find_campaign(db, name)
        links = list_links(db, campaign)
        clicks = link_clicks(db, campaign)
        changes = [_as_data(change) for change in list_changes(db, campaign)]
    shown = [
        {
            "number": each.number,
            "key": each.key,
            "kind": each.kind,
            "event": each.event_slug,
            "target": each.target,
            "clicks": clicks.get(each.number, 0),
        }
        for each in links
    ]
    if as_json:
        print_json({"campaign": name, "links": shown, "changes": changes})
        return
    print_table(list(shown[0]), [list(row.values()) for row in shown])
    if any(row["clicks"] is None for row in shown):
        click.echo(f"Not told (–): {FEW_NOT_TOLD}")
    if changes:
        click.echo()
        rows = [[row[field] for field in _SHOWN] for row in changes]
        print_table(_SHOWN, rows, title="changed since the launch", zone=runtime.settings.zone)


@link.command()
@click.argument("name")
@click.argument("wanted", metavar="LINK")
@click.argument("url")
@click.option("--reason", metavar="TEXT", help="Why; kept with the change.")
@json_option
@click.pass_context
def retarget(
    ctx: click.Context, name: str, wanted: str, url: str, reason: str | None, as_json: bool
) -> None:
    """Lead LINK, its number or key, to URL from now on, also in letters that have left.

    Every web process follows within five seconds. Who did it, when and why is kept.
    """
    if reason is not None and not (0 < len(reason) <= LONGEST_REASON and reason.isprintable()):
        raise click.UsageError(f"--reason: must be one line of 1 to {LONGEST_REASON} characters")
    runtime = runtime_of(ctx)
    with runtime.database.write() as db:
        campaign = find_campaign(db, name)
        chosen = pick_link(list_links(db, campaign), wanted)
        try:
            target = check_target(runtime.settings.public_url, url)
        except BadTarget as error:
            raise click.BadParameter(str(error), ctx=ctx, param_hint="URL") from error
        change = lead_elsewhere(db, chosen, target, reason=reason, now=real_now())
        told = None if change is None else _as_data(change)
    if as_json:
        shown = {"number": chosen.number, "key": chosen.key, "target": target}
        print_json({"campaign": name, "link": shown, "changed": told is not None, "change": told})
    if told is None:
        say(f"link {chosen.number} of {name} leads there already")
        return
    say(f"link {chosen.number} of {name} ({chosen.key}) led to  {told['old_target']}")
    say(f"and leads to  {told['new_target']}  within five seconds")
    if campaign.tracking == TrackingMode.NONE:
        say("letters of this campaign carry plain addresses: only their pages in a browser follow")


_SHOWN = ["number", "old_target", "new_target", "by", "reason", "at"]


def _as_data(change: LinkChange) -> dict[str, Any]:
    return {field: getattr(change, field) for field in _SHOWN}
