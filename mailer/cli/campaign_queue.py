"""`mailer campaign queue`: the launch, at once or by a timetable."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TypeVar

import click
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailer.campaigns.audience import is_suppressed, matches_patterns
from mailer.campaigns.errors import LaunchRefused, NotAllowedNow
from mailer.campaigns.lifecycle import find_campaign
from mailer.campaigns.models import CampaignState
from mailer.campaigns.progress import moment_text
from mailer.campaigns.timetable import (
    BadTimetable,
    Hours,
    Span,
    Wishes,
    parse_hours,
    parse_span,
)
from mailer.cli.moments import read_moment
from mailer.cli.output import (
    confirm,
    count_of,
    json_option,
    print_json,
    progress,
    runtime_of,
    say,
    say_not_rung,
    yes_option,
)
from mailer.launch import (
    Launched,
    NotProved,
    Proof,
    ProofOutdated,
    launch_campaign,
    prepare_launch,
    prove_launch,
)
from mailer.runtime import Runtime
from mailer.sending.preflight import Looking, preflight
from mailer.tasks.ring import ring
from recipients.models import Recipient
from recipients.segments import find_segment, select_segment

_MOST_PROOFS = 3
"""Before the letter is looked at within the launch, where others have to wait for it."""
_Wish = TypeVar("_Wish")


def _reading(
    parse: Callable[[str], _Wish],
) -> Callable[[click.Context, click.Parameter, str | None], _Wish | None]:
    """An option's callback that tells what to write instead of what cannot be read."""

    def read(_ctx: click.Context, _param: click.Parameter, text: str | None) -> _Wish | None:
        try:
            return parse(text) if text is not None else None
        except BadTimetable as error:
            raise click.BadParameter(str(error)) from error

    return read


@click.command()
@click.argument("name")
@click.option(
    "--at",
    "moment",
    metavar="TIME",
    help="When to begin, such as 2014-03-07T09:00; a time that is past is now.",
)
@click.option(
    "--spread",
    "span",
    metavar="SPAN",
    callback=_reading(parse_span),
    help="Over how long the letters leave, evenly: 90m, 6h or 3d. Minutes and hours count while"
    " letters may leave; days are working days with --workdays.",
)
@click.option(
    "--hours",
    metavar="HOURS",
    callback=_reading(parse_hours),
    help="Letters leave only within these hours of the day, such as 8-16 or 8:30-16.",
)
@click.option(
    "--workdays", is_flag=True, help="Letters leave on neither weekends nor Danish public holidays."
)
@yes_option
@json_option
@click.pass_context
def queue(
    ctx: click.Context,
    name: str,
    moment: str | None,
    span: Span | None,
    hours: Hours | None,
    workdays: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Launch a draft: freeze letter and audience, begin to send.

    Refuses on what preflight calls an error. A minority whose letters cannot be written holds up nobody
    else: theirs are failed. A letter whose copies differ too much to be looked at in passing goes
    through a preflight first, unless it has been through one as it is now.

    With --spread, a part leaves about once a minute. With --hours or --workdays, letters that were
    refused for now wait for them too.
    """
    runtime = runtime_of(ctx)
    at = None if moment is None else read_moment(runtime, moment, option="--at")
    with runtime.database.read() as db:
        row = find_campaign(db, name)
        if row.state != CampaignState.DRAFT:
            raise NotAllowedNow(
                f"campaign {name!r} is {row.state}: it was queued already;"
                f" see  mailer campaign status {name}"
            )
        whom = _whom(db, row.segment, runtime.settings.allowed_patterns)
        prepare_launch(runtime.launch_tools, db, row, now=runtime.clock.now())
    confirm(f"Send {row.letter} to {whom}?", yes=yes)

    try:
        launched = _launch(runtime, name, at, Wishes(span, hours, workdays))
    except BadTimetable as error:
        raise click.UsageError(f"--spread {error}") from error
    rung = launched.state == CampaignState.SENDING and ring(runtime.settings, [launched.campaign_id])
    if as_json:
        print_json(
            {
                "campaign": name,
                "state": launched.state,
                "audience": launched.audience,
                "parts": launched.parts,
                "first_at": launched.first_at.astimezone(runtime.settings.zone),
                "last_at": launched.last_at.astimezone(runtime.settings.zone),
                "rung": rung,
                "notes": launched.notes,
            }
        )
    for note in launched.notes:
        say(f"note: {note}")
    if launched.state == CampaignState.SENDING and not rung:
        say_not_rung()
    say(f"{_plan(launched, runtime)}; follow with  mailer campaign status {name} --watch")


def _launch(runtime: Runtime, name: str, at: datetime | None, wishes: Wishes) -> Launched:
    """Launch the campaign, after a preflight where it takes one.

    Raises:
        LaunchRefused: as ``launch_campaign``, or recipients changed since the preflight.
    """
    try:
        return _prove_and_launch(runtime, name, at, wishes)
    except NotProved:
        _look_at_all(runtime, name)
    try:
        return _prove_and_launch(runtime, name, at, wishes)
    except NotProved as outdated:
        raise LaunchRefused(
            "recipients changed while their letters were looked at; not all were seen as they are now:"
            f" run  mailer campaign queue {name}  again"
        ) from outdated


def _prove_and_launch(runtime: Runtime, name: str, at: datetime | None, wishes: Wishes) -> Launched:
    """Look at the letter in a transaction that holds up nobody, and launch it if nothing changed since.

    Where something changes again and again, it is looked at within the launch.
    """
    tools, clock = runtime.launch_tools, runtime.clock

    def launch(proof: Proof | None) -> Launched:
        with runtime.database.write() as db:
            campaign = find_campaign(db, name)
            return launch_campaign(
                tools, db, campaign, now=clock.now(), at=at, wishes=wishes, proof=proof
            )

    for _ in range(_MOST_PROOFS):
        with runtime.database.snapshot() as db:
            proof = prove_launch(tools, db, find_campaign(db, name), now=clock.now())
        with suppress(ProofOutdated):
            return launch(proof)
    return launch(None)


def _look_at_all(runtime: Runtime, name: str) -> None:
    """A preflight, whose verdict the launch reads."""
    say("the letter's copies differ too much to be looked at in passing: looking at every one first")
    tools = runtime.launch_tools
    with progress("letters looked at") as done:
        preflight(
            tools.letters,
            tools.relays,
            runtime.database,
            name,
            now=runtime.clock.now(),
            looking=Looking(progress=lambda so_far, _: done(so_far)),
        )


def _plan(launched: Launched, runtime: Runtime) -> str:
    """``800,000 letters in 1,440 parts from Mon 9 March 08:00 to Wed 11 March 15:59``."""
    letters, zone = count_of(launched.audience, "letter"), runtime.settings.zone
    first = moment_text(launched.first_at, zone)
    if launched.first_at != launched.last_at:
        last = moment_text(launched.last_at, zone)
        return f"{letters} in {count_of(launched.parts, 'part')} from {first} to {last}"
    return f"{letters} queued for {first}" if _is_later(launched, runtime) else f"{letters} queued"


def _is_later(launched: Launched, runtime: Runtime) -> bool:
    return launched.first_at > runtime.clock.now()


def _whom(db: Session, segment: str | None, allowed: Sequence[str] | None) -> str:
    """``everybody, 2,000 recipients``: who gets the letter if nothing changes before it is queued."""
    chosen = select_segment(find_segment(db, segment).rule if segment else None)
    reached = select(func.count()).select_from(Recipient).where(Recipient.id.in_(chosen))
    count = db.scalar(reached.where(~is_suppressed(), matches_patterns(allowed))) or 0
    trial = " (trial mode)" if allowed is not None else ""
    return f"{f'segment {segment}' if segment else 'everybody'}, {count_of(count, 'recipient')}{trial}"
