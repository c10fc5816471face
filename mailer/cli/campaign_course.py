"""`mailer campaign pause | resume | cancel | resend`: a campaign held, let go on, ended, sent again."""

import click

from mailer.campaigns.lifecycle import (
    cancel_campaign,
    find_campaign,
    pause_campaign,
    resume_campaign,
)
from mailer.campaigns.models import CampaignState, DeliveryState
from mailer.campaigns.planning import plan_anew
from mailer.campaigns.resending import RESENDABLE, count_resendable
from mailer.campaigns.resending import resend as offer_again
from mailer.cli.output import (
    confirm,
    count_of,
    json_option,
    print_json,
    runtime_of,
    say,
    yes_option,
)
from mailer.foundation.clock import real_now
from mailer.tasks.ring import ring


@click.command()
@click.argument("name")
@json_option
@click.pass_context
def pause(ctx: click.Context, name: str, as_json: bool) -> None:
    """Begin no further letter, also in batches at work.

    Those at work stop within seconds.
    """
    runtime = runtime_of(ctx)
    with runtime.database.write() as db:
        row = find_campaign(db, name)
        pause_campaign(db, row)
    _tell(as_json, name, row.state, f"go on with  mailer campaign resume {name}")


@click.command()
@click.argument("name")
@yes_option
@json_option
@click.pass_context
def resume(ctx: click.Context, name: str, yes: bool, as_json: bool) -> None:
    """Let a paused campaign go on.

    The parts of a spread campaign that came due meanwhile do not leave all at once: what is left is
    planned from now on, as far apart as before.
    """
    runtime = runtime_of(ctx)
    with runtime.database.read() as db:
        find_campaign(db, name)
    confirm(f"Let {name} go on sending?", yes=yes)
    with runtime.database.write() as db:
        row = find_campaign(db, name)
        resume_campaign(db, row)
        plan_anew(db, row, now=runtime.clock.now(), zone=runtime.settings.zone)
    rung = ring(runtime.settings, [row.id])
    _tell(as_json, name, row.state, f"follow with  mailer campaign status {name} --watch", rung=rung)


@click.command()
@click.argument("name")
@yes_option
@json_option
@click.pass_context
def cancel(ctx: click.Context, name: str, yes: bool, as_json: bool) -> None:
    """End a campaign for good; what has not been sent never is."""
    runtime = runtime_of(ctx)
    with runtime.database.read() as db:
        find_campaign(db, name)
    confirm(f"End {name} for good?", yes=yes)
    with runtime.database.write() as db:
        row = find_campaign(db, name)
        count = cancel_campaign(db, row, now=runtime.clock.now(), real_now=real_now())
    _tell(as_json, name, row.state, f"{count_of(count, 'letter')} will not be sent", cancelled=count)


@click.command()
@click.argument("name")
@click.option(
    "--state",
    type=click.Choice([*map(str, RESENDABLE)]),
    required=True,
    help="Which letters: refused for now, refused for good, not offered, or of unknown fate.",
)
@yes_option
@json_option
@click.pass_context
def resend(ctx: click.Context, name: str, state: str, yes: bool, as_json: bool) -> None:
    """Offer letters once more; a finished campaign goes on sending.

    Left out is who gets no more mail by now: unsubscribed, suppressed after a bounce, erased.
    """
    runtime = runtime_of(ctx)
    which = DeliveryState(state)
    with runtime.database.read() as db:
        found = count_resendable(db, find_campaign(db, name), which)
    if found.letters:
        confirm(_question(name, which, found.letters, found.left_out), yes=yes)
    with runtime.database.write() as db:
        row = find_campaign(db, name)
        count = offer_again(db, row, which, now=real_now())
    rung = bool(count) and row.state == CampaignState.SENDING and ring(runtime.settings, [row.id])
    if as_json:
        print_json(
            {
                "campaign": name,
                "state": row.state,
                "resent": count,
                "left_out": found.left_out,
                "rung": rung,
            }
        )
    left_out = f"; {found.left_out:,} left out: no more mail to them" if found.left_out else ""
    if not count:
        say(f"no letter of {name} is {state} and could be sent once more{left_out}")
        return
    hint = f"follow with  mailer campaign status {name} --watch"
    if row.state == CampaignState.PAUSED:
        hint = f"they leave when  mailer campaign resume {name}"
    say(f"{count_of(count, 'letter')} will be sent once more{left_out}; {hint}")


def _question(name: str, state: DeliveryState, letters: int, left_out: int) -> str:
    what = f"Offer {count_of(letters, 'letter')} of {name} once more"
    if left_out:
        what += f" ({left_out:,} more are left out: no more mail to them)"
    if state == DeliveryState.UNCERTAIN:
        return f"{what}? {letters:,} may get the letter twice."
    return f"{what}?"


def _tell(as_json: bool, name: str, state: CampaignState, hint: str, **more: object) -> None:
    if as_json:
        print_json({"campaign": name, "state": state, **more})
    say(f"campaign {name} is {state}; {hint}")
