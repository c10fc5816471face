"""`mailer stop --all`: the emergency brake."""

import click

from mailer.campaigns.lifecycle import pause_all
from mailer.cli.output import json_option, print_json, runtime_of, say


@click.command()
@click.option("--all", "everything", is_flag=True, help="Every campaign.")
@json_option
@click.pass_context
def stop(ctx: click.Context, everything: bool, as_json: bool) -> None:
    """Pause every campaign that is sending or scheduled; no question is asked.

    Letters at work stop within seconds. Redis is not needed. Each campaign goes on with
    mailer campaign resume NAME, one by one.
    """
    if not everything:
        raise click.UsageError(
            "write  mailer stop --all  to pause every campaign, or  mailer campaign pause NAME  for one"
        )
    runtime = runtime_of(ctx)
    with runtime.database.write() as db:
        paused = pause_all(db)
    if as_json:
        print_json({"paused": paused})
    for name in paused:
        say(f"paused: {name}; go on with  mailer campaign resume {name}")
    if not paused:
        say("no campaign was sending or scheduled")
