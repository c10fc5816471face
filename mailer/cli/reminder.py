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
from mailer.events.alarms import remedy_of
from mailer.events.audiences import AudienceRule
from mailer.events.letters import find_letter_faults, reminder_letters
from mailer.events.models import Reminder, ReminderState
from mailer.events.outcomes import list_outcomes
from mailer.events.reminders import ALL_SEATS_TAKEN, PlannedReminder, plan_reminders
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
    """Every reminder of every event: when, to how many, and why not if not; --json has the letters."""
    runtime = runtime_of(ctx)
    now = _read_moment(runtime, moment)
    planned = _plan(runtime, now)
    if as_json:
        print_json({"now": now, "reminders": [_as_data(one) for one in planned]})
        return
    rules = [rule for rule in AudienceRule if any(one.rule is rule for one in planned)]
    print_table(
        ["event", "lead", "when (local)", *rules, "state"],
        [_row(group, rules) for group in _alike(planned)],
    )
    _tell_holes(planned)
    for fault in find_letter_faults(template_folders(runtime.settings)):
        say(fault)


@reminder.command("list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """The reminders that have gone or were called off, and when."""
    runtime = runtime_of(ctx)
    zone = runtime.settings.zone
    with runtime.database.read() as db:
        sent = list_outcomes(db)
    if as_json:
        rows = [_outcome_as_data(row, slug, name, zone) for row, slug, name in sent]
        print_json({"reminders": rows})
        return
    print_table(
        ["event", "on", "lead", "rule", "was due (local)", "went (local)", "to", "state", "campaign"],
        [
            [
                slug,
                row.event_date,
                row.lead,
                row.rule,
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
    due = _find_due(runtime, now)
    if due:
        reminders = count_of(len({(one.event_slug, one.lead) for one in due}), "reminder")
        what = f"{reminders} to {count_of(sum(one.audience for one in due), 'recipient')}"
        confirm(f"Send {what}?", yes=yes)
    tried = launch_due_reminders(runtime.launch_tools, runtime.database, now=now)
    launched = [one for one in tried if one.audience]
    campaigns = [one.campaign_id for one in tried if one.campaign_id is not None]
    rung = bool(campaigns) and ring(runtime.settings, campaigns)
    if as_json:
        print_json({"now": now, "reminders": [_launched_as_data(one) for one in launched], "rung": rung})
    else:
        for one in launched:
            late = ", late" if one.late else ""
            what = f"{one.event_slug}, {one.lead} before, {one.rule}: to {one.audience}{late}"
            say(f"{what} as campaign {one.campaign_name}")
        if not launched:
            say("nobody is to be reminded" if due else "nothing is due")
        elif not rung:
            say("rung: false - Redis cannot be reached; the next sweep finds the letters")
    stuck = _find_due(runtime, now) if due else []
    if stuck:
        raise click.ClickException(f"{count_of(len(stuck), 'reminder')} could not go: see the log above")


def _find_due(runtime: Runtime, now: datetime) -> list[PlannedReminder]:
    return [one for one in _plan(runtime, now) if one.state is ReminderState.DUE]


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


def _alike(planned: Sequence[PlannedReminder]) -> list[list[PlannedReminder]]:
    """Those of one event and lead together, as far as they stand alike."""
    groups: dict[tuple[object, ...], list[PlannedReminder]] = {}
    for one in planned:
        moment = (one.due_at, one.event_slug, one.lead)
        groups.setdefault((*moment, one.state, one.late, one.reason), []).append(one)
    return sorted(groups.values(), key=lambda group: (group[0].due_at, group[0].event_slug))


def _row(group: Sequence[PlannedReminder], rules: Sequence[AudienceRule]) -> list[object]:
    """To how many by each rule, and how these stand."""
    first, audiences = group[0], {one.rule: one.audience for one in group}
    state = _state(first.state, late=first.late)
    if first.reason == ALL_SEATS_TAKEN:
        state = f"not while {first.reason}"
    elif first.reason:
        state = f"{state}: {first.reason}"
    return [
        first.event_slug,
        first.lead,
        f"{first.local_time:%a %Y-%m-%d %H:%M}",
        *[audiences.get(rule) for rule in rules],
        state,
    ]


def _tell_holes(planned: Sequence[PlannedReminder]) -> None:
    """Say which commands would let the blocked reminders go."""
    blocked: dict[str, list[PlannedReminder]] = {}
    for one in planned:
        if one.state is ReminderState.BLOCKED:
            blocked.setdefault(one.event_slug, []).append(one)
    for group in blocked.values():
        say(f"blocked until known: {remedy_of(group)}")


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


def _outcome_as_data(row: Reminder, slug: str, campaign: str | None, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "event": slug,
        "event_date": row.event_date,
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
        "rule": one.rule,
        "campaign": one.campaign_name,
        "audience": one.audience,
        "late": one.late,
    }
