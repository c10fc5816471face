"""`mailer event`: what people register for, taken in, listed and filled in."""

from pathlib import Path
from typing import Any

import click
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailer.cli.errors import DONE_IN_PART
from mailer.cli.output import json_option, print_json, print_table, runtime_of, say
from mailer.events.audiences import interested_recipients
from mailer.events.catalogue import find_event, import_events, list_events, update_event
from mailer.events.errors import BadEventValue
from mailer.events.fields import FIELDS
from mailer.events.models import Event


@click.group()
def event() -> None:
    """Import, list, show, update events."""


@event.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@click.pass_context
def import_(ctx: click.Context, file: Path, as_json: bool) -> None:
    """Take in the [[event]] entries of a TOML FILE; the same file again changes nothing.

    An empty or missing field erases nothing. Bad entries are named while the rest goes in.
    """
    runtime = runtime_of(ctx)
    with runtime.database.write() as db:
        done = import_events(db, file, runtime.clock.now(), timezone=runtime.settings.timezone)
    if as_json:
        refused = [
            {"entry": bad.number, "line": bad.line, "slug": bad.slug, "reason": bad.reason}
            for bad in done.refused
        ]
        print_json(
            {
                "added": done.added,
                "updated": done.updated,
                "unchanged": done.unchanged,
                "refused": refused,
            }
        )
    else:
        say(f"{done.added} added, {done.updated} updated, {done.unchanged} unchanged")
    for bad in done.refused:
        say(f"refused: {file}: {bad}")
    if done.refused:
        ctx.exit(DONE_IN_PART)


@event.command("list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """All events, by date."""
    runtime = runtime_of(ctx)
    with runtime.database.read() as db:
        events = [_as_data(db, found) for found in list_events(db)]
    if as_json:
        print_json({"events": events})
        return
    if not events:
        say("no events yet; take some in with  mailer event import")
        return
    print_table(
        ["event", "date", "time", "region", "place", "programme", "registration", "interested"],
        [
            [
                found["slug"],
                f"{found['date']:%a %Y-%m-%d}",
                found["time"] and f"{found['time']:%H:%M}",
                found["region"],
                found["place"],
                "out" if found["programme_url"] else "not yet out",
                "open" if found["registration_url"] else "not yet open",
                found["interested"],
            ]
            for found in events
        ],
    )


@event.command()
@click.argument("slug")
@json_option
@click.pass_context
def show(ctx: click.Context, slug: str, as_json: bool) -> None:
    """One event with all that is known of it."""
    runtime = runtime_of(ctx)
    with runtime.database.read() as db:
        found = _as_data(db, find_event(db, slug))
    if as_json:
        print_json(found)
        return
    print_table(
        ["field", slug], [[field, "" if value is None else str(value)] for field, value in found.items()]
    )


@event.command()
@click.argument("slug")
@click.option("--date", "date", metavar="DAY", help="Such as 2014-03-24.")
@click.option("--time", "time", metavar="TIME", help="Local time of day, such as 09:30.")
@click.option("--place", metavar="TEXT")
@click.option("--address", metavar="TEXT")
@click.option("--programme-url", metavar="URL", help="Links in letters that have left follow.")
@click.option("--registration-url", metavar="URL", help="Links in letters that have left follow.")
@click.option("--capacity", metavar="SEATS")
@json_option
@click.pass_context
def update(ctx: click.Context, /, slug: str, as_json: bool, **given: str | None) -> None:
    """Fill in or correct an event; an empty value ("") clears what may be missing."""
    changes = {field: value for field, value in given.items() if value is not None}
    if not changes:
        raise click.UsageError("nothing to update: name at least one field, such as --place")
    runtime = runtime_of(ctx)
    try:
        with runtime.database.write() as db:
            changed = update_event(db, slug, changes, now=runtime.clock.now())
            found = _as_data(db, find_event(db, slug))
    except BadEventValue as error:
        hint = f"--{error.field.replace('_', '-')}"
        raise click.BadParameter(error.reason, ctx=ctx, param_hint=hint) from error
    if as_json:
        print_json({"changed": changed, **found})
    else:
        say(f"{slug}: {', '.join(changed)} updated" if changed else f"{slug}: as it was")


def _as_data(db: Session, found: Event) -> dict[str, Any]:
    interested = interested_recipients(found.id).subquery()
    return {
        **{field: getattr(found, field) for field in FIELDS},
        "timezone": found.timezone,
        "state": found.state,
        "sequence": found.sequence,
        "interested": db.scalar(select(func.count()).select_from(interested)),
    }
