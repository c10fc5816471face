"""`mailer event`: what people register for, taken in, listed, filled in, moved and called off."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import click
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailer.cli.errors import DONE_IN_PART
from mailer.cli.output import (
    confirm,
    count_of,
    json_option,
    print_json,
    print_table,
    runtime_of,
    say,
    say_not_rung,
    yes_option,
)
from mailer.events.audiences import interested_recipients
from mailer.events.catalogue import find_event, list_events
from mailer.events.changes import (
    list_history,
    require_takes_place,
    untold_changes,
    update_event,
)
from mailer.events.errors import BadEventValue
from mailer.events.fields import FIELDS
from mailer.events.importing import import_events
from mailer.events.models import Event, EventState
from mailer.events.registering import count_seats, full_events, state_of
from mailer.launch import require_sending_settings
from mailer.notices.changes import ToldChanges, cancel_and_tell, tell_changes
from mailer.runtime import Runtime
from mailer.tasks.ring import ring


@click.group()
def event() -> None:
    """Import, list, show, update, cancel events."""


@event.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--encoding", metavar="E", help="Of a CSV file; found by itself otherwise.")
@json_option
@click.pass_context
def import_(ctx: click.Context, file: Path, encoding: str | None, as_json: bool) -> None:
    """Take in the events of FILE; the same file again changes nothing.

    FILE is TOML with [[event]] entries, a table (.csv, .xlsx, .ods) or a calendar (.ics). An empty or
    missing field erases nothing. Bad entries are named while the rest goes in.
    """
    runtime = runtime_of(ctx)
    with runtime.database.write() as db:
        done = import_events(
            db,
            file,
            runtime.clock.now(),
            timezone=runtime.settings.timezone,
            encoding=encoding,
            public_url=runtime.settings.public_url,
        )
        full = full_events(db)
        touched = [_as_data(db, find_event(db, slug), full) for slug in (*done.added, *done.updated)]
    if as_json:
        refused = [
            {"entry": bad.number, "line": bad.line, "slug": bad.slug, "reason": bad.reason}
            for bad in done.refused
        ]
        print_json(
            {
                "added": len(done.added),
                "updated": len(done.updated),
                "unchanged": done.unchanged,
                "refused": refused,
                "changed": done.updated,
                "left_out": done.left_out,
                "held_back": done.held_back,
            }
        )
    else:
        say(f"{len(done.added)} added, {len(done.updated)} updated, {done.unchanged} unchanged")
    if done.left_out:
        say(f"left out, for they are no fields of an event: {', '.join(done.left_out)}")
    for bad in done.refused:
        say(f"refused: {file}: {bad}")
    if done.held_back:
        letters = count_of(done.held_back, "letter")
        say(f"{letters} about events as they were had not left and will not")
    for data in touched:
        _note_two_pages(data)
        _note_untold(data)
    if done.refused:
        ctx.exit(DONE_IN_PART)


@event.command("list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """All events, by date."""
    runtime = runtime_of(ctx)
    with runtime.database.read() as db:
        full = full_events(db)
        events = [_as_data(db, found, full) for found in list_events(db)]
    if as_json:
        print_json({"events": events})
        return
    if not events:
        say("no events yet; take some in with  mailer event import")
        return
    print_table(
        [
            *("event", "state", "date", "time", "region", "place", "programme", "registration"),
            *("interested", "registered", "waiting"),
        ],
        [
            [
                found["slug"],
                found["state"],
                f"{found['date']:%a %Y-%m-%d}",
                found["time"] and f"{found['time']:%H:%M}",
                found["region"],
                found["place"],
                "out" if found["programme_url"] else "not yet out",
                _registration(found),
                found["interested"],
                found["registered"],
                found["waiting"],
            ]
            for found in events
        ],
    )


@event.command()
@click.argument("slug")
@json_option
@click.pass_context
def show(ctx: click.Context, slug: str, as_json: bool) -> None:
    """One event with all that is known of it, and what has changed since it was taken in."""
    runtime = runtime_of(ctx)
    with runtime.database.read() as db:
        found = find_event(db, slug)
        data = _as_data(db, found, full_events(db))
        history = [
            {
                "field": change.field,
                "old": change.old,
                "new": change.new,
                "at": change.at.astimezone(runtime.settings.zone),
                "told_at": change.told_at and change.told_at.astimezone(runtime.settings.zone),
                "campaign": campaign,
            }
            for change, campaign in list_history(db, found.id)
        ]
    if as_json:
        print_json({**data, "history": history})
        return
    print_table(["field", slug], [[field, _shown(value)] for field, value in data.items()])
    if history:
        click.echo()
        print_table(
            ["changed (local)", "field", "from", "to", "told (local)", "by campaign"],
            [
                [one["at"], one["field"], one["old"], one["new"], one["told_at"], one["campaign"]]
                for one in history
            ],
        )


@event.command()
@click.argument("slug")
@click.option("--title", metavar="TEXT")
@click.option("--date", "date", metavar="DAY", help="Such as 2014-03-24.")
@click.option("--time", "time", metavar="TIME", help="Local time of day, such as 09:30.")
@click.option("--place", metavar="TEXT")
@click.option("--address", metavar="TEXT")
@click.option("--region", metavar="REGION")
@click.option("--programme-url", metavar="URL", help="Links in letters that have left follow.")
@click.option("--registration-url", metavar="URL", help="Links in letters that have left follow.")
@click.option("--capacity", metavar="SEATS", help="More seats let those who wait move up.")
@click.option("--hosted/--not-hosted", default=None, help="Whether people register on our own page.")
@click.option(
    "--reminders",
    metavar="TEXT",
    help='Which it gets, such as "14 days, 7 days: vi-ses, 2 hours", or none; "" for the usual ones.',
)
@click.option(
    "--state",
    type=click.Choice(["open", "full"]),
    help="full: there are no more seats. open: there are; it takes place as planned after all.",
)
@click.option("--notify", is_flag=True, help="Tell those who showed interest what has changed.")
@yes_option
@json_option
@click.pass_context
def update(
    ctx: click.Context,
    /,
    slug: str,
    state: str | None,
    notify: bool,
    yes: bool,
    as_json: bool,
    **given: str | bool | None,
) -> None:
    """Fill in or correct an event; an empty value ("") clears what may be missing.

    With --notify, everybody who asked, registered or clicked is told by letter, once, of all that has
    changed since they were last told; without any field, of that alone.
    """
    changes = {field: value for field, value in given.items() if value is not None}
    if not changes and state is None and not notify:
        raise click.UsageError("nothing to update: name at least one field, such as --place")
    runtime = runtime_of(ctx)
    if notify:
        with runtime.database.read() as db:
            found = find_event(db, slug)
            if changes.get("place") and found.place and found.address and "address" not in changes:
                raise click.UsageError(
                    f"the address is still that of {found.place}:"
                    ' give --address too, "" if it is not known'
                )
            interested = _count_interested(db, found)
        require_sending_settings(runtime.launch_tools)
        confirm(f"Tell {count_of(interested, 'recipient')} what has changed about {slug}?", yes=yes)
    now = runtime.clock.now()
    told = None
    try:
        with runtime.database.write() as db:
            done = update_event(db, slug, changes, now=now, state=EventState(state) if state else None)
            if notify:
                told = tell_changes(runtime.launch_tools, db, slug, now=now)
            data = _as_data(db, find_event(db, slug), full_events(db))
    except BadEventValue as error:
        hint = f"--{error.field.replace('_', '-')}"
        raise click.BadParameter(error.reason, ctx=ctx, param_hint=hint) from error
    rung = _ring(runtime, told)
    if as_json:
        moved = {"changed": done.changed, "moved_up": done.moved_up, "held_back": done.held_back}
        print_json({**moved, **_told_as_data(told), "rung": rung, **data})
    elif changes or state:
        fields = ", ".join(done.changed)
        now_is = f"; it is now {data['state']}" if "state" in done.changed else ""
        say(f"{slug}: {fields} updated{now_is}" if fields else f"{slug}: as it was")
    if done.moved_up:
        say(f"{count_of(done.moved_up, 'recipient')} moved up from the waiting list")
    _say_held_back(done.held_back)
    if notify:
        _say_told(told, slug)
    if {"hosted", "registration_url"}.intersection(done.changed):
        _note_two_pages(data)
    _note_untold(data)
    _say_rung(told, rung=rung)


@event.command()
@click.argument("slug")
@click.option("--no-notify", is_flag=True, help="Tell nobody.")
@yes_option
@json_option
@click.pass_context
def cancel(ctx: click.Context, slug: str, no_notify: bool, yes: bool, as_json: bool) -> None:
    """Call an event off, with its reminders, and tell everybody who showed interest.

    Registrations stay as they are, so that it is known who had meant to come.
    """
    runtime = runtime_of(ctx)
    with runtime.database.read() as db:
        found = find_event(db, slug)
        require_takes_place(found)
        interested = _count_interested(db, found)
    if not no_notify:
        require_sending_settings(runtime.launch_tools)
    whom = "nobody" if no_notify else count_of(interested, "recipient")
    confirm(f"Cancel {slug} ({found.date}) and tell {whom}?", yes=yes)
    done = cancel_and_tell(
        runtime.launch_tools, runtime.database, slug, now=runtime.clock.now(), tell=not no_notify
    )
    rung = _ring(runtime, done.told)
    with runtime.database.read() as db:
        data = _as_data(db, find_event(db, slug), full_events(db))
    if as_json:
        print_json(
            {
                "cancelled_reminders": done.reminders,
                "held_back": done.held_back,
                **_told_as_data(done.told),
                "rung": rung,
                **data,
            }
        )
    say(f"{slug} is cancelled, with {count_of(done.reminders, 'reminder')}")
    _say_held_back(done.held_back)
    if not no_notify:
        _say_told(done.told, slug)
    _note_untold(data)
    _say_rung(done.told, rung=rung)


def _as_data(db: Session, found: Event, full: Collection[int]) -> dict[str, Any]:
    seats = count_seats(db, [found.id])[found.id]
    _, untold = untold_changes(db, found)
    return {
        **{field: getattr(found, field) for field in FIELDS},
        "timezone": found.timezone,
        "state": state_of(found, full),
        "sequence": found.sequence,
        "interested": _count_interested(db, found),
        "registered": seats.seated,
        "waiting": seats.waiting,
        "untold": [one.field for one in untold],
    }


def _count_interested(db: Session, found: Event) -> int:
    interested = interested_recipients(found.id).subquery()
    return db.scalar(select(func.count()).select_from(interested)) or 0


def _registration(found: dict[str, Any]) -> str:
    if found["hosted"]:
        return "here"
    return "open" if found["registration_url"] else "not yet open"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(value)
    return "" if value is None else str(value)


def _ring(runtime: Runtime, told: ToldChanges | None) -> bool:
    if told is None or told.campaign_id is None:
        return False
    return ring(runtime.settings, [told.campaign_id])


def _told_as_data(told: ToldChanges | None) -> dict[str, Any]:
    return {
        "told": [one.field for one in told.differences] if told else [],
        "campaign": told.campaign_name if told else None,
        "audience": told.audience if told else 0,
    }


def _say_told(told: ToldChanges | None, slug: str) -> None:
    if told is None:
        say(f"{slug}: there was nothing to tell")
    elif told.campaign_name is None:
        say(f"{slug}: nobody has shown interest, so nobody was told")
    else:
        say(
            f"{slug}: {count_of(told.audience, 'recipient')} told as campaign {told.campaign_name};"
            f" follow with  mailer campaign status {told.campaign_name} --watch"
        )


def _say_held_back(letters: int) -> None:
    if letters:
        say(f"{count_of(letters, 'letter')} about it as it was had not left and will not")


def _say_rung(told: ToldChanges | None, *, rung: bool) -> None:
    if told is not None and told.campaign_id is not None and not rung:
        say_not_rung()


def _note_two_pages(data: dict[str, Any]) -> None:
    if data["hosted"] and data["registration_url"]:
        say(
            f"note: {data['slug']} is hosted, so people register on our own page, and not at"
            " registration_url"
        )


def _note_untold(data: dict[str, Any]) -> None:
    if data["untold"] and data["interested"]:
        say(
            f"note: {count_of(data['interested'], 'recipient')} showed interest in {data['slug']} and"
            f" were not told of: {', '.join(data['untold'])}; tell them with"
            f"  mailer event update {data['slug']} --notify"
        )
