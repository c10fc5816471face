"""`mailer campaign status`: where every letter of a campaign stands."""

import sys
import time
from dataclasses import asdict
from zoneinfo import ZoneInfo

import click
from rich.live import Live
from rich.table import Table

from mailer.campaigns.lifecycle import find_campaign
from mailer.campaigns.models import CampaignState
from mailer.campaigns.progress import Progress, look_at
from mailer.cli.errors import INTERRUPTED
from mailer.cli.output import cell_text, json_option, print_json, print_table, runtime_of, say
from mailer.foundation.clock import real_now
from mailer.runtime import Runtime

_ENDED = {CampaignState.FINISHED, CampaignState.CANCELLED}
_WATCH_EVERY_SECONDS = 1.0
_SPARING = 9
"""Looking takes a tenth of the time at most."""


@click.command()
@click.argument("name")
@click.option("--watch", is_flag=True, help="Follow until it ends.")
@json_option
@click.pass_context
def status(ctx: click.Context, name: str, watch: bool, as_json: bool) -> None:
    """Show where every letter of a campaign stands."""
    runtime = runtime_of(ctx)
    try:
        if watch and not as_json and sys.stdout.isatty():
            _watch_live(runtime, name)
        else:
            _print_status(runtime, name, watch=watch, as_json=as_json)
    except KeyboardInterrupt:
        say(f"no longer watching; {name} goes on: mailer campaign status {name} --watch")
        ctx.exit(INTERRUPTED)


def _look(runtime: Runtime, name: str) -> Progress:
    with runtime.database.read() as db:
        return look_at(
            db,
            find_campaign(db, name),
            now=real_now(),
            shown=runtime.clock.now(),
            zone=runtime.settings.zone,
        )


def _print_status(runtime: Runtime, name: str, *, watch: bool, as_json: bool) -> None:
    """Print one look, or one a second until the campaign has ended."""
    while True:
        began = time.monotonic()
        progress = _look(runtime, name)
        if as_json:
            print_json(asdict(progress))
        else:
            zone = runtime.settings.zone
            print_table(["", progress.campaign], _progress_rows(progress), zone=zone)
        if not watch or progress.state in _ENDED:
            return
        time.sleep(_pause(began))


def _pause(began: float) -> float:
    """Seconds until the next look: longer where a look costs the database a lot."""
    return max(_WATCH_EVERY_SECONDS, _SPARING * (time.monotonic() - began))


def _watch_live(runtime: Runtime, name: str) -> None:
    zone = runtime.settings.zone
    began = time.monotonic()
    progress = _look(runtime, name)
    with Live(_live_table(progress, zone), auto_refresh=False) as live:
        while progress.state not in _ENDED:
            time.sleep(_pause(began))
            began = time.monotonic()
            progress = _look(runtime, name)
            live.update(_live_table(progress, zone), refresh=True)


def _live_table(progress: Progress, zone: ZoneInfo) -> Table:
    table = Table("", progress.campaign, box=None, pad_edge=False)
    for label, value in _progress_rows(progress):
        table.add_row(label, cell_text(value, zone))
    return table


def _progress_rows(progress: Progress) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [("state", progress.state), ("audience", f"{progress.audience:,}")]
    rows += [(state, f"{count:,}") for state, count in progress.deliveries.items() if count]
    if progress.rate_per_second:
        rows.append(("letters per second", f"{progress.rate_per_second:,}"))
    if progress.waiting_for:
        rows.append(("waiting for", progress.waiting_for))
    rows += [("started", progress.started_at), ("finished", progress.finished_at)]
    return rows
