"""`mailer campaign preview | test`: the letter as somebody gets it."""

from dataclasses import asdict
from pathlib import Path

import click
from sqlalchemy.orm import Session

from mailer.campaigns.lifecycle import find_campaign
from mailer.cli.output import json_option, print_json, print_table, runtime_of, say, whole_file
from mailer.foundation.clock import real_now
from mailer.launch import require_sending_settings
from mailer.sending.addressees import NOBODY, Addressee, sample_addressee
from mailer.sending.frozen import open_letter
from mailer.sending.letters import render_letter, write_message
from mailer.sending.preparing import prepare_letter
from mailer.sending.trial import send_trial
from mailer.sending.variants import variant_reader
from mailer.sending.writer import LetterWriter
from recipients.addresses import parse_address
from recipients.errors import BadAddress, RecipientNotFound
from recipients.finding import find_recipient


@click.command()
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
    """Show the letter as one recipient gets it.

    Its links act for nobody.
    """
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
    rendered = render_letter(runtime.letter_tools, letter, to, in_browser=form == "html")
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


@click.command()
@click.argument("name")
@click.option("--to", "first", required=True, metavar="ADDRESS...", help="One address or several.")
@click.argument("more", metavar="", nargs=-1)
@json_option
@click.pass_context
def test(ctx: click.Context, name: str, first: str, more: tuple[str, ...], as_json: bool) -> None:
    """Send the letter to a few addresses, marked as a test.

    Its links act for nobody. A recipient gets it as they would; any other address gets it as a reader
    without name or office.
    """
    runtime = runtime_of(ctx)
    tools = runtime.launch_tools
    require_sending_settings(tools)
    with runtime.database.read() as db:
        row = find_campaign(db, name)
        letter = prepare_letter(tools.letters, db, row, now=runtime.clock.now())
        addressees = [_test_addressee(db, address) for address in (first, *more)]
    results = send_trial(tools.letters, tools.relays, letter, addressees, now=real_now())
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
    return Addressee(NOBODY, address.email, address.domain, reader, None, None)
