"""`mailer reminder`: what is due when, to how many, and why not."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import click

from mailer.campaigns.timetable import resolve_local
from mailer.cli.output import (
    confirm,
    count_of,
    json_option,
    print_json,
    print_table,
    runtime_of,
    say,
    yes_option,
)
from mailer.events.models import Reminder, ReminderState
from mailer.events.reminders import (
    PlannedReminder,
    list_sent,
    plan_reminders,
    reminder_letters,
)
from mailer.notices.reminders import LaunchedReminder, launch_due_reminders
from mailer.runtime import Runtime, template_folders
from mailer.tasks.ring import ring

now_option = click.option(
    "--now",
    "moment",
    metavar="TIME",
    help="As if it were this moment: ISO 8601, local time unless it has an offset.",
)


@click.group()
def reminder() -> None:
    """What is due when, and to how many."""


@reminder.command()
@now_option
@json_option
@click.pass_context
def plan(ctx: click.Context, moment: str | None, as_json: bool) -> None:
    """Every reminder of every event: when, to how many, with which letter, and why not if not."""
    runtime = runtime_of(ctx)
    now = _read_moment(runtime, moment)
    planned = _plan(runtime, now)
    if as_json:
        print_json({"now": now, "reminders": [_as_data(one) for one in planned]})
        return
    print_table(
        ["event", "lead", "when (local)", "to", "letter", "state", "why not"],
        [
            [
                one.event_slug,
                one.lead,
                f"{one.local_time:%a %Y-%m-%d %H:%M}",
                one.audience,
                one.letter,
                _state(one.state, late=one.late),
                one.reason,
            ]
            for one in planned
        ],
    )
    _tell_holes(planned)


@reminder.command("list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """The reminders that have gone, and when."""
    runtime = runtime_of(ctx)
    zone = runtime.settings.zone
    with runtime.database.read() as db:
        sent = list_sent(db)
    if as_json:
        rows = [_sent_as_data(row, slug, name, zone) for row, slug, name in sent]
        print_json({"reminders": rows})
        return
    print_table(
        ["event", "lead", "was due (local)", "went (local)", "to", "state", "campaign"],
        [
            [
                slug,
                row.lead,
                row.due_at.astimezone(zone),
                row.at.astimezone(zone),
                row.audience,
                _state(row.state, late=row.late),
                name,
            ]
            for row, slug, name in sent
        ],
    )


@reminder.command()
@now_option
@yes_option
@json_option
@click.pass_context
def run(ctx: click.Context, moment: str | None, yes: bool, as_json: bool) -> None:
    """Send what is due: the scheduler's tick by hand. A reminder that has gone never goes again."""
    runtime = runtime_of(ctx)
    now = _read_moment(runtime, moment)
    due = [one for one in _plan(runtime, now) if one.state is ReminderState.DUE]
    recipients = sum(one.audience for one in due)
    if due:
        what = f"{count_of(len(due), 'reminder')} to {count_of(recipients, 'recipient')}"
        confirm(f"Send {what}?", yes=yes)
    launched = launch_due_reminders(runtime.launch_tools, runtime.database, now=now)
    campaigns = [one.campaign_id for one in launched if one.campaign_id is not None]
    rung = bool(campaigns) and ring(runtime.settings, campaigns)
    if as_json:
        sent = [_launched_as_data(one) for one in launched]
        print_json({"now": now, "reminders": sent, "rung": rung})
        return
    for one in launched:
        late = ", late" if one.late else ""
        campaign = f" as campaign {one.campaign_name}" if one.campaign_name else ""
        say(f"{one.event_slug}, {one.lead} before: to {one.audience}{late}{campaign}")
    if not launched:
        say("nothing is due")
    elif campaigns and not rung:
        say("rung: false - Redis cannot be reached; the next sweep finds the letters")


def _read_moment(runtime: Runtime, text: str | None) -> datetime:
    """The moment a person named, in UTC; the clock's if none was."""
    if text is None:
        return runtime.clock.now()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(
            f"must look like 2014-03-21T09:00 or 2014-03-21T09:00+01:00, not {text!r}",
            param_hint="--now",
        ) from error
    if moment.tzinfo is None:
        return resolve_local(moment.date(), moment.time(), runtime.settings.zone)
    return moment


def _plan(runtime: Runtime, now: datetime) -> list[PlannedReminder]:
    letters = reminder_letters(template_folders(runtime.settings))
    with runtime.database.read() as db:
        return plan_reminders(
            db,
            letters,
            now=now,
            zone=runtime.settings.zone,
            grace=timedelta(hours=runtime.settings.reminder_grace_hours),
        )


def _tell_holes(planned: Sequence[PlannedReminder]) -> None:
    """Say which commands would let the blocked reminders go."""
    lacking: dict[str, dict[str, None]] = {}
    for one in planned:
        if one.state is ReminderState.BLOCKED:
            lacking.setdefault(one.event_slug, {}).update(dict.fromkeys(one.lacking))
    for slug, fields in lacking.items():
        options = " ".join(f"--{field.replace('_', '-')} …" for field in fields)
        say(f"blocked until known: mailer event update {slug} {options}")


def _state(state: ReminderState, *, late: bool) -> str:
    return f"{state}, late" if late else str(state)


def _as_data(one: PlannedReminder) -> dict[str, Any]:
    return {
        "event": one.event_slug,
        "lead": one.lead,
        "rule": one.rule,
        "due_at": one.due_at,
        "local_time": one.local_time,
        "audience": one.audience,
        "state": one.state,
        "late": one.late,
        "reason": one.reason,
        "letter": one.letter,
        "campaign_id": one.campaign_id,
    }


def _sent_as_data(row: Reminder, slug: str, campaign: str | None, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "event": slug,
        "lead": row.lead,
        "rule": row.rule,
        "due_at": row.due_at,
        "local_time": row.due_at.astimezone(zone),
        "audience": row.audience,
        "state": row.state,
        "late": row.late,
        "campaign": campaign,
        "at": row.at,
    }


def _launched_as_data(one: LaunchedReminder) -> dict[str, Any]:
    return {
        "event": one.event_slug,
        "lead": one.lead,
        "campaign": one.campaign_name,
        "audience": one.audience,
        "late": one.late,
    }
