"""`mailer campaign`: create, preview, test, queue, follow, hold, end and prove campaigns."""

import csv
import io
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import IO
from zoneinfo import ZoneInfo

import click
from rich.live import Live
from rich.table import Table
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailer.campaigns import ledger
from mailer.campaigns.audience import is_suppressed, matches_patterns
from mailer.campaigns.errors import NotAllowedNow
from mailer.campaigns.lifecycle import (
    cancel_campaign,
    create_campaign,
    find_campaign,
    list_campaigns,
    pause_campaign,
    resume_campaign,
)
from mailer.campaigns.models import CampaignState, UncertainPolicy
from mailer.campaigns.progress import Progress, look_at
from mailer.cli.errors import INTERRUPTED
from mailer.cli.output import (
    SCHEMA_VERSION,
    cell_text,
    confirm,
    count_of,
    json_option,
    print_json,
    print_table,
    runtime_of,
    say,
    whole_file,
    yes_option,
)
from mailer.foundation.clock import real_now
from mailer.foundation.settings import SettingsError, TrackingMode
from mailer.launch import launch_campaign, require_sending_settings
from mailer.rendering.letter import Letter
from mailer.rendering.source import load_letter
from mailer.runtime import Runtime
from mailer.sending.addressees import NOBODY, Addressee, sample_addressee
from mailer.sending.frozen import open_letter
from mailer.sending.letters import message_id_of, render_letter, write_message
from mailer.sending.preparing import prepare_letter
from mailer.sending.trial import send_trial
from mailer.sending.variants import variant_reader
from mailer.sending.writer import LetterWriter
from mailer.tasks.ring import ring
from recipients.addresses import parse_address
from recipients.cells import defuse
from recipients.errors import BadAddress, RecipientNotFound
from recipients.finding import find_recipient
from recipients.models import Recipient
from recipients.segments import find_segment, select_segment

_ENDED = {CampaignState.FINISHED, CampaignState.CANCELLED}
_LEDGER_COLUMNS = (
    "recipient",
    "state",
    "reason",
    "relay",
    "code",
    "enhanced_code",
    "attempts",
    "message_id",
    "at",
)
_LONGEST_NAME = 100
_LONGEST_BASIS = 500
_WATCH_EVERY_SECONDS = 1.0


@click.group()
def campaign() -> None:
    """Create, preview, test, queue, follow and prove campaigns."""


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


@campaign.command()
@click.argument("name")
@click.option("--as", "email", required=True, metavar="EMAIL", help="The recipient to preview it as.")
@click.option(
    "--format", "form", type=click.Choice(["text", "html", "eml"]), default="text", show_default=True
)
@click.option("-o", "output", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file.")
@json_option
@click.pass_context
def preview(
    ctx: click.Context, name: str, email: str, form: str, output: Path | None, as_json: bool
) -> None:
    """Show the letter as one recipient gets it; its links act for nobody."""
    if as_json and (form != "text" or output is not None):
        raise click.UsageError(
            "--json shows subject, text and HTML on stdout: leave --format and -o out"
        )
    runtime = runtime_of(ctx)
    with runtime.database.read() as db:
        row = find_campaign(db, name)
        if row.frozen_letter is None:
            letter = prepare_letter(runtime.letter_tools, db, row, now=runtime.clock.now())
        else:
            letter = open_letter(db, row)
        to = sample_addressee(db, find_recipient(db, email))
    rendered = render_letter(runtime.letter_tools, letter, to)
    note = letter.letter.source.preview_note
    if note:
        say(note)
    if runtime.settings.sender:
        slow = LetterWriter(runtime.letter_tools, letter).why_per_recipient(to)
        if slow:
            say(f"rendered per recipient because {slow}")
    if as_json:
        print_json({"campaign": name, "recipient": to.email, "note": note, **asdict(rendered)})
        return
    match form:
        case "html":
            data = rendered.html.encode()
        case "eml":
            _ = runtime.settings.sender_address
            data = write_message(runtime.letter_tools, letter, to, rendered).data
        case _:
            data = f"{rendered.subject}\n\n{rendered.text}".encode()
    if output is None:
        click.echo(data, nl=False)
    else:
        with whole_file(output) as file:
            file.write(data)


@campaign.command()
@click.argument("name")
@click.option("--to", "first", required=True, metavar="ADDRESS...", help="One address or several.")
@click.argument("more", metavar="", nargs=-1)
@json_option
@click.pass_context
def test(ctx: click.Context, name: str, first: str, more: tuple[str, ...], as_json: bool) -> None:
    """Send the letter, marked as a test, to a few addresses; its links act for nobody.

    A recipient gets it as they would; any other address gets it as a reader without name or office.
    """
    runtime = runtime_of(ctx)
    tools = runtime.launch_tools
    require_sending_settings(tools)
    with runtime.database.read() as db:
        row = find_campaign(db, name)
        letter = prepare_letter(tools.letters, db, row, now=runtime.clock.now())
        addressees = [_test_addressee(db, address) for address in (first, *more)]
    dispatcher = runtime.make_dispatcher()
    try:
        results = send_trial(runtime.letter_tools, dispatcher, letter, addressees, now=real_now())
    finally:
        dispatcher.close()
    shown = [
        {
            "address": result.address,
            "state": result.outcome.state,
            "code": result.outcome.code,
            "reason": result.outcome.reason,
        }
        for result in results
    ]
    if as_json:
        print_json({"campaign": name, "letters": shown})
    else:
        print_table(list(shown[0]), [list(row.values()) for row in shown])
    if any(result.outcome.state != "sent" for result in results):
        ctx.exit(3)


@campaign.command()
@click.argument("name")
@click.option("--at", "moment", metavar="TIME", help="When to begin, such as 2014-03-07T09:00.")
@yes_option
@json_option
@click.pass_context
def queue(ctx: click.Context, name: str, moment: str | None, yes: bool, as_json: bool) -> None:
    """Launch a draft: copy the letter, freeze the audience, begin to send."""
    runtime = runtime_of(ctx)
    at = _moment(runtime, moment)
    with runtime.database.read() as db:
        row = find_campaign(db, name)
        if row.state != CampaignState.DRAFT:
            raise NotAllowedNow(
                f"campaign {name!r} is {row.state}: it was queued already;"
                f" see  mailer campaign status {name}"
            )
        whom = _whom(db, row.segment, runtime.settings.allowed_patterns)
    require_sending_settings(runtime.launch_tools)
    confirm(f"Send {row.letter} to {whom}?", yes=yes)
    with runtime.database.write() as db:
        launched = launch_campaign(
            runtime.launch_tools, db, find_campaign(db, name), now=runtime.clock.now(), at=at
        )
    rung = launched.state == CampaignState.SENDING and ring(runtime.settings, [launched.campaign_id])
    if as_json:
        print_json(
            {
                "campaign": name,
                "state": launched.state,
                "audience": launched.audience,
                "rung": rung,
                "notes": launched.notes,
            }
        )
    for note in launched.notes:
        say(f"note: {note}")
    if launched.state == CampaignState.SENDING and not rung:
        say("rung: false - no Redis answered; the sweep finds the campaign within ten seconds")
    queued = count_of(launched.audience, "letter")
    say(f"{queued} queued; follow with  mailer campaign status {name} --watch")


@campaign.command()
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


@campaign.command()
@click.argument("name")
@json_option
@click.pass_context
def pause(ctx: click.Context, name: str, as_json: bool) -> None:
    """Begin no further letter; within seconds, also in batches at work."""
    runtime = runtime_of(ctx)
    with runtime.database.write() as db:
        row = find_campaign(db, name)
        pause_campaign(db, row)
    _tell(as_json, name, row.state, f"go on with  mailer campaign resume {name}")


@campaign.command()
@click.argument("name")
@yes_option
@json_option
@click.pass_context
def resume(ctx: click.Context, name: str, yes: bool, as_json: bool) -> None:
    """Let a paused campaign go on."""
    runtime = runtime_of(ctx)
    with runtime.database.read() as db:
        find_campaign(db, name)
    confirm(f"Let {name} go on sending?", yes=yes)
    with runtime.database.write() as db:
        row = find_campaign(db, name)
        resume_campaign(db, row)
    rung = ring(runtime.settings, [row.id])
    _tell(as_json, name, row.state, f"follow with  mailer campaign status {name} --watch", rung=rung)


@campaign.command()
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


@campaign.command()
@click.argument("name")
@json_option
@click.pass_context
def reconcile(ctx: click.Context, name: str, as_json: bool) -> None:
    """Prove that every recipient of the audience is in exactly one state."""
    runtime = runtime_of(ctx)
    with runtime.database.read() as db:
        proof = ledger.reconcile(db, find_campaign(db, name))
    if as_json:
        print_json({"campaign": name, **asdict(proof)})
    else:
        print_table(
            ["state", "letters"],
            [
                *[(state, count) for state, count in proof.deliveries.items() if count],
                ("audience", proof.audience),
            ],
        )
        for problem in proof.problems:
            say(f"problem: {problem}")
        say(f"ok: {_yes_no(proof.ok)}, complete: {_yes_no(proof.complete)}")
    ctx.exit(0 if proof.ok else 1)


@campaign.command(name="ledger")
@click.argument("name")
@click.option("--state", type=click.Choice(ledger.COUNTED), help="Only deliveries in this state.")
@click.option("-o", "output", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file.")
@json_option
@click.pass_context
def ledger_(
    ctx: click.Context, name: str, state: str | None, output: Path | None, as_json: bool
) -> None:
    """Write one row per delivery, as CSV."""
    runtime = runtime_of(ctx)
    with runtime.database.read() as db, _output(output) as file:
        rows = _ledger_rows(runtime, db, find_campaign(db, name).id, state)
        if as_json:
            _write_json_rows(file, name, rows)
            return
        writer = csv.writer(file)
        writer.writerow(_LEDGER_COLUMNS)
        for row in rows:
            writer.writerow(
                [defuse(value) if isinstance(value, str) else value for value in row.values()]
            )


def _whom(db: Session, segment: str | None, allowed: Sequence[str] | None) -> str:
    """``everybody, 2,000 recipients``: who gets the letter if nothing changes before it is queued."""
    chosen = select_segment(find_segment(db, segment).rule if segment else None)
    reached = select(func.count()).select_from(Recipient).where(Recipient.id.in_(chosen))
    count = db.scalar(reached.where(~is_suppressed(), matches_patterns(allowed))) or 0
    trial = " (trial mode)" if allowed is not None else ""
    return f"{f'segment {segment}' if segment else 'everybody'}, {count_of(count, 'recipient')}{trial}"


def _test_addressee(db: Session, text: str) -> Addressee:
    try:
        return sample_addressee(db, find_recipient(db, text))
    except RecipientNotFound:
        pass
    try:
        address = parse_address(text)
    except BadAddress as error:
        raise click.UsageError(f"--to {text}: {error}") from error
    reader = variant_reader(0)
    assert reader is not None
    return Addressee(NOBODY, address.email, reader, None, None)


def _ledger_rows(
    runtime: Runtime, db: Session, campaign_id: int, state: str | None
) -> Iterator[dict[str, object]]:
    for row in ledger.ledger_rows(db, campaign_id, state=state):
        yield {
            "recipient": row.recipient,
            "state": row.state,
            "reason": row.reason,
            "relay": row.relay,
            "code": row.code,
            "enhanced_code": row.enhanced_code,
            "attempts": row.attempts,
            "message_id": message_id_of(runtime.letter_tools, campaign_id, row.position),
            "at": row.at.isoformat() if row.at else None,
        }


def _write_json_rows(file: IO[str], name: str, rows: Iterator[dict[str, object]]) -> None:
    head = json.dumps({"schema_version": SCHEMA_VERSION, "campaign": name}, ensure_ascii=False)
    file.write(head[:-1] + ', "deliveries": [')
    for index, row in enumerate(rows):
        file.write((",\n" if index else "\n") + json.dumps(row, ensure_ascii=False))
    file.write("\n]}\n")


@contextmanager
def _output(path: Path | None) -> Iterator[IO[str]]:
    """Stdout, or a file for its owner's eyes that appears whole or not at all."""
    if path is None:
        yield sys.stdout
        return
    with whole_file(path) as raw, io.TextIOWrapper(raw, encoding="utf-8", newline="") as file:
        yield file


def _look(runtime: Runtime, name: str) -> Progress:
    with runtime.database.read() as db:
        return look_at(db, find_campaign(db, name), now=real_now())


def _print_status(runtime: Runtime, name: str, *, watch: bool, as_json: bool) -> None:
    """Print one look, or one a second until the campaign has ended."""
    while True:
        progress = _look(runtime, name)
        if as_json:
            print_json(asdict(progress))
        else:
            zone = runtime.settings.zone
            print_table(["", progress.campaign], _progress_rows(progress), zone=zone)
        if not watch or progress.state in _ENDED:
            return
        time.sleep(_WATCH_EVERY_SECONDS)


def _watch_live(runtime: Runtime, name: str) -> None:
    zone = runtime.settings.zone
    progress = _look(runtime, name)
    with Live(_live_table(progress, zone), auto_refresh=False) as live:
        while progress.state not in _ENDED:
            time.sleep(_WATCH_EVERY_SECONDS)
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


def _moment(runtime: Runtime, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f"--at {text}: write a time such as 2014-03-07T09:00") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=runtime.settings.zone)


def _tell(as_json: bool, name: str, state: CampaignState, hint: str, **more: object) -> None:
    if as_json:
        print_json({"campaign": name, "state": state, **more})
    say(f"campaign {name} is {state}; {hint}")


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"
