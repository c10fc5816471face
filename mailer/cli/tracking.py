"""`mailer tracking`: what one person did, why it is taken for whose, and judging everything anew."""

from dataclasses import asdict

import click

from mailer.campaigns.lifecycle import find_campaign
from mailer.cli.output import json_option, print_json, print_table, progress, runtime_of, say
from mailer.tracking.history import read_history
from mailer.tracking.labels import RULES_OF
from mailer.tracking.models import Label
from mailer.tracking.revising import relabel as judge_anew
from recipients.finding import find_recipient


@click.group()
def tracking() -> None:
    """What is kept of people's doings, and who is taken for a machine."""


@tracking.command()
@click.argument("campaign_name", metavar="CAMPAIGN")
@click.argument("email")
@json_option
@click.pass_context
def show(ctx: click.Context, campaign_name: str, email: str, as_json: bool) -> None:
    """Tell what is kept of what EMAIL did with the letter, and why each event has its label.

    It is personal data: for the office's administrators, to answer the person or to check a rule.
    """
    runtime = runtime_of(ctx)
    with runtime.database.read() as db:
        campaign = find_campaign(db, campaign_name)
        recipient = find_recipient(db, email)
        history = read_history(db, campaign.id, recipient.id)
    if as_json:
        print_json(
            {
                "campaign": campaign.name,
                "recipient": recipient.email,
                "tracking": campaign.tracking,
                "choice": recipient.tracking,
                "events": [asdict(event) for event in history],
            }
        )
    elif history:
        print_table(
            ["at", "what", "link", "label", "why", "user agent"],
            [
                [
                    event.at,
                    event.kind,
                    event.link_key or event.subject,
                    event.label if event.settled else f"{event.label} so far",
                    event.explained,
                    event.user_agent,
                ]
                for event in history
            ],
            zone=runtime.settings.zone,
        )
    else:
        say(f"nothing is kept of this person (tracking is {campaign.tracking})")


@tracking.command()
@click.argument("campaign_name", metavar="[CAMPAIGN]", required=False)
@json_option
@click.pass_context
def relabel(ctx: click.Context, campaign_name: str | None, as_json: bool) -> None:
    """Judge everything that is kept anew, by the rules of this version.

    Of one CAMPAIGN, or of all. Reports may show labels in between while it runs. What was only counted,
    nobody being known for it, keeps its label.
    """
    runtime = runtime_of(ctx)
    campaign_id = None
    if campaign_name is not None:
        with runtime.database.read() as db:
            campaign_id = find_campaign(db, campaign_name).id
    with progress("judging events") as tell:
        done = judge_anew(
            runtime.database,
            campaign_id,
            now=runtime.clock.now(),
            progress=lambda judged, _total: tell(judged),
        )
    if as_json:
        print_json(
            {
                "campaign": campaign_name,
                "rules": RULES_OF,
                "events": done.events,
                "before": dict(done.before),
                "after": dict(done.after),
            }
        )
        return
    print_table(
        ["label", "before", "after"],
        [[label, done.before[label], done.after[label]] for label in Label],
        title=f"{done.events:,} events by the rules of {RULES_OF}",
    )
