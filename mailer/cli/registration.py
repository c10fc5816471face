"""`mailer registration`: who comes, from our own page and from other people's attendance lists."""

import io
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from mailer.cli.errors import DONE_IN_PART
from mailer.cli.lists import FieldOfHeading, encoding_option, rejects_option, tell_import
from mailer.cli.output import (
    confirm,
    json_option,
    print_json,
    print_table,
    progress,
    runtime_of,
    say,
    whole_file,
    yes_option,
)
from mailer.events.attendance import AttendanceResult, import_attendance
from mailer.events.attendees import Attendee, find_registration, list_attendees
from mailer.events.catalogue import find_event
from mailer.events.models import RegistrationSource, RegistrationState
from mailer.events.registering import cancel_registration, register
from mailer.foundation.files import is_stream
from mailer.reports.door_list import write_door_csv, write_door_workbook
from recipients.columns import Column
from recipients.finding import find_recipient
from recipients.importing import ImportOptions

FORMATS = ("csv", "xlsx")
_STATUS = "status"
_FIELDS = (
    Column.EMAIL,
    Column.NAME,
    Column.FIRST_NAME,
    Column.LAST_NAME,
    Column.ORGANISATION,
    Column.MUNICIPALITY,
    Column.WORKPLACE,
    _STATUS,
)
_HAS = {
    RegistrationState.SEATED: "has a seat",
    RegistrationState.WAITING: "is on the waiting list",
    RegistrationState.CANCELLED: "has cancelled",
}
_state_option = click.option(
    "--state",
    type=click.Choice([state.value for state in RegistrationState]),
    help="Only those in this state.",
)


@click.group()
def registration() -> None:
    """Who comes: import attendance lists, list, export, add, cancel."""


@registration.command("import")
@click.argument("slug")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--map",
    "mapping",
    multiple=True,
    type=FieldOfHeading(_FIELDS),
    help="Which heading a field stands under, such as --map status=Svar.",
)
@encoding_option
@rejects_option
@click.option("--dry-run", is_flag=True, help="Read and count; change nothing.")
@click.option("--replace", is_flag=True, help="Take off who was on an earlier list and is not on this.")
@yes_option
@json_option
@click.pass_context
def import_(
    ctx: click.Context,
    slug: str,
    file: Path,
    mapping: tuple[tuple[str, str], ...],
    encoding: str | None,
    rejects: Path | None,
    dry_run: bool,
    replace: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Import the attendance list of an event.

    FILE (CSV, XLSX, ODS) is what somebody else's registration form gives out. Whose address a
    recipient has is registered as that recipient; the others are counted and get no mail. A status
    column (tilmeldt, venteliste, afmeldt) is followed; without one, everybody on the list has a seat.
    Whoever registered or cancelled here stays as they are. The same list again changes nothing. Exit
    code 3 if some rows were refused: they stand in the rejects file.
    """
    runtime = runtime_of(ctx)
    headings = dict(mapping)
    state_heading = headings.pop(_STATUS, None)

    def agree(count: int) -> None:
        confirm(
            f"{_people(count)} of earlier lists, not on this one, will be taken off. Go on?", yes=yes
        )

    with progress("rows read") as report:
        result = import_attendance(
            runtime.database,
            slug,
            file,
            clock=runtime.clock,
            options=ImportOptions(
                mapping={Column(field): heading for field, heading in headings.items()},
                encoding=encoding,
                rejects=rejects,
                rejects_folder=runtime.settings.state_dir / "rejects",
                dry_run=dry_run,
            ),
            state_heading=state_heading,
            replace=replace,
            agree=agree,
            report=report,
        )
    _tell_notes(result, replace=replace, dry_run=dry_run)
    more = {"hosted": result.hosted, "taken_off": result.taken_off, "event": slug}
    tell_import(result, as_json=as_json, dry_run=dry_run, **more)
    if result.rejected:
        ctx.exit(DONE_IN_PART)


def _tell_notes(result: AttendanceResult, *, replace: bool, dry_run: bool) -> None:
    if result.hosted:
        lines = ", ".join(map(str, result.hosted_lines))
        more = " and others" if result.hosted > len(result.hosted_lines) else ""
        say(f"left as they are, for they registered or cancelled here: line {lines}{more}")
    if replace and result.rejected:
        say("nobody was taken off: the refused rows may be theirs; correct them in the whole list")
    elif result.taken_off:
        say(f"{_people(result.taken_off)} {'would be' if dry_run else 'were'} taken off")


@registration.command("list")
@click.argument("slug")
@_state_option
@json_option
@click.pass_context
def list_(ctx: click.Context, slug: str, state: str | None, as_json: bool) -> None:
    """List who has a seat, who waits, who cancelled."""
    runtime = runtime_of(ctx)
    with runtime.database.read() as db:
        everybody = list_attendees(db, find_event(db, slug))
    zone = runtime.settings.zone
    counts = {each.value: sum(a.state is each for a in everybody) for each in RegistrationState}
    shown = [each for each in everybody if state in {None, each.state}]
    if as_json:
        print_json({"event": slug, **counts, "registrations": [_as_data(each, zone) for each in shown]})
        return
    if shown:
        print_table(
            ["name", "organisation", "email", "state", "source", "registered at"],
            [
                [
                    each.name,
                    each.organisation,
                    each.email,
                    each.state if each.place is None else f"{each.state} {each.place}",
                    each.source,
                    each.registered_at,
                ]
                for each in shown
            ],
            zone=zone,
        )
    say(f"{slug}: " + ", ".join(f"{count:,} {word}" for word, count in counts.items()))


@registration.command()
@click.argument("slug")
@_state_option
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="Default: as the ending of FILE says; without FILE csv.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write to FILE, for its owner alone, which is there whole or not at all.",
)
@click.pass_context
def export(
    ctx: click.Context, slug: str, state: str | None, form: str | None, output: Path | None
) -> None:
    """Write the door list of an event.

    It holds personal data: it is for those who receive people there.
    """
    form = form or _form_of(output)
    if form == "xlsx" and output is None and sys.stdout.isatty():
        raise click.UsageError("a workbook does not go on a screen: add -o FILE.xlsx")
    runtime = runtime_of(ctx)
    with runtime.database.read() as db:
        event = find_event(db, slug)
        attendees = [each for each in list_attendees(db, event) if state in {None, each.state}]
    content = _render(attendees, form, runtime.settings.zone, title=event.title, now=runtime.clock.now())
    if output is None:
        click.echo(content, nl=False)
        return
    with whole_file(output) as file:
        file.write(content)


@registration.command()
@click.argument("slug")
@click.argument("email")
@json_option
@click.pass_context
def add(ctx: click.Context, slug: str, email: str, as_json: bool) -> None:
    """Register a recipient, as our own page would.

    For somebody who rings up. Who finds no free seat goes to the end of the waiting list. A letter
    confirms it.
    """
    runtime = runtime_of(ctx)
    now = runtime.clock.now()
    with runtime.database.write() as db:
        made = register(db, slug, find_recipient(db, email).id, now=now)
    changed = made.registered_at == now
    if as_json:
        print_json({"event": slug, "state": made.state, "source": made.source, "changed": changed})
    elif changed:
        say(f"{slug}: registered, {_HAS[made.state]}; a letter confirms it within minutes")
    else:
        say(f"{slug}: was registered already, {_HAS[made.state]}")


@registration.command()
@click.argument("slug")
@click.argument("email")
@yes_option
@json_option
@click.pass_context
def cancel(ctx: click.Context, slug: str, email: str, yes: bool, as_json: bool) -> None:
    """Cancel a registration; who waits first moves up."""
    runtime = runtime_of(ctx)
    with runtime.database.read() as db:
        found = find_registration(db, find_event(db, slug), email)
    if changed := found.state is not RegistrationState.CANCELLED:
        confirm(f"This person {_HAS[found.state]}. Cancel the registration for {slug}?", yes=yes)
    with runtime.database.write() as db:
        found = find_registration(db, find_event(db, slug), email)
        next_one = cancel_registration(db, found, now=runtime.clock.now())
    if as_json:
        moved_up = 0 if next_one is None else 1
        print_json({"event": slug, "state": found.state, "changed": changed, "moved_up": moved_up})
        return
    say(f"{slug}: cancelled" if changed else f"{slug}: was cancelled already")
    if next_one is not None:
        say("1 person moved up from the waiting list; a letter says so within minutes")
    if changed and found.source is RegistrationSource.LIST:
        say("it came from an attendance list: the next list that has this person registers them again")


def _form_of(output: Path | None) -> str:
    """The format that the ending of a file names; a CSV where it goes to no file.

    Raises:
        click.UsageError: the ending names none.
    """
    if output is None or is_stream(output):
        return "csv"
    ending = output.suffix.lstrip(".").lower()
    if ending not in FORMATS:
        raise click.UsageError(
            f"{output}: the ending is none of .csv, .xlsx: change it, or add --format"
        )
    return ending


def _render(
    attendees: Sequence[Attendee], form: str, zone: ZoneInfo, *, title: str, now: datetime
) -> bytes:
    if form == "xlsx":
        workbook = io.BytesIO()
        write_door_workbook(attendees, workbook, zone, title=title, now=now)
        return workbook.getvalue()
    lines = io.StringIO(newline="")
    write_door_csv(attendees, lines, zone)
    return lines.getvalue().encode("utf-8-sig")


def _as_data(attendee: Attendee, zone: ZoneInfo) -> dict[str, Any]:
    return {**asdict(attendee), "registered_at": attendee.registered_at.astimezone(zone)}


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count:,} people"
