"""`mailer reminder`: what is due when, to how many, and why not."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from mailer.cli.moments import read_moment
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
from mailer.events.alarms import remedy_of
from mailer.events.audiences import AudienceRule
from mailer.events.letters import find_letter_faults
from mailer.events.models import ReminderState
from mailer.events.outcomes import name_campaigns
from mailer.events.policy import policy_of
from mailer.events.reminders import PlannedReminder, derive_reminders, plan_reminders
from mailer.notices.reminders import launch_due_reminders
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
    now = _now(runtime, moment)
    planned, campaigns = _look(runtime, now, plan_reminders)
    if as_json:
        print_json({"now": now, "reminders": [_as_data(one, campaigns) for one in planned]})
        return
    rules = [rule for rule in AudienceRule if any(one.rule is rule for one in planned)]
    print_table(
        ["event", "lead", "when (local)", *rules, "state"],
        [_row(group, rules) for group in _alike(planned)],
    )
    _tell_holes(planned)
    for fault in find_letter_faults(template_folders(runtime.settings)):
        say(str(fault))


@reminder.command("list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """The reminders that have gone or were called off, and when."""
    runtime = runtime_of(ctx)
    planned, campaigns = _look(runtime, runtime.clock.now(), derive_reminders)
    gone = sorted(((one.at, one) for one in planned if one.at), key=lambda each: each[0])
    if as_json:
        print_json({"reminders": [_as_data(one, campaigns) for _, one in gone]})
        return
    print_table(
        ["event", "on", "lead", "rule", "was due (local)", "went (local)", "to", "state", "campaign"],
        [
            [
                one.event_slug,
                one.event_date,
                one.lead,
                one.rule,
                one.local_time,
                at,
                one.audience,
                _state(one),
                campaigns.get(one.campaign_id),
            ]
            for at, one in gone
        ],
        zone=runtime.settings.zone,
    )


@reminder.command()
@now_option
@yes_option
@json_option
@click.pass_context
def run(ctx: click.Context, moment: str | None, yes: bool, as_json: bool) -> None:
    """Send what is due: the scheduler's tick by hand. A reminder that has gone never goes again."""
    runtime = runtime_of(ctx)
    now = _now(runtime, moment)
    planned, _ = _look(runtime, now, plan_reminders)
    due = _still_due(planned)
    if due:
        reminders = count_of(len({(one.event_slug, one.lead) for one in due}), "reminder")
        what = f"{reminders} to {count_of(sum(one.audience for one in due), 'recipient')}"
        confirm(f"Send {what}?", yes=yes)
    tried = launch_due_reminders(runtime.launch_tools, runtime.database, now=now)
    started = [one.campaign_id for one in tried if one.campaign_id is not None]
    rung = bool(started) and ring(runtime.settings, started)
    planned, campaigns = _look(runtime, now, derive_reminders)
    launched = [one for one in planned if one.campaign_id in started]
    launched.sort(key=lambda one: started.index(one.campaign_id or 0))
    if as_json:
        rows = [_as_data(one, campaigns) for one in launched]
        print_json({"now": now, "reminders": rows, "rung": rung})
    else:
        for one in launched:
            late = ", late" if one.late else ""
            what = f"{one.event_slug}, {one.lead} before, {one.rule}: to {one.audience}{late}"
            say(f"{what} as campaign {campaigns[one.campaign_id]}")
        if not launched:
            say("nobody is to be reminded" if due else "nothing is due")
        elif not rung:
            say_not_rung()
    if due and (stuck := _still_due(planned)):
        raise click.ClickException(f"{count_of(len(stuck), 'reminder')} could not go: see the log above")


def _still_due(planned: Sequence[PlannedReminder]) -> list[PlannedReminder]:
    return [one for one in planned if one.state is ReminderState.DUE]


def _now(runtime: Runtime, moment: str | None) -> datetime:
    """The moment a person named, in UTC; the clock's if none was."""
    return runtime.clock.now() if moment is None else read_moment(runtime, moment, option="--now")


def _look(
    runtime: Runtime, now: datetime, ask: Callable[..., list[PlannedReminder]]
) -> tuple[list[PlannedReminder], Mapping[int | None, str]]:
    """The plan, with or without the audiences of what has not gone, and the campaigns' names."""
    policy = policy_of(runtime.settings, template_folders(runtime.settings))
    with runtime.database.read() as db:
        return ask(db, policy, now=now), name_campaigns(db)


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
    state = _state(first)
    if first.waits_for_seats:
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


def _state(one: PlannedReminder) -> str:
    return f"{one.state}, late" if one.late else str(one.state)


def _as_data(one: PlannedReminder, campaigns: Mapping[int | None, str]) -> dict[str, Any]:
    return {
        "event": one.event_slug,
        "event_date": one.event_date,
        "lead": one.lead,
        "rule": one.rule,
        "due_at": one.due_at,
        "local_time": one.local_time,
        "audience": one.audience,
        "state": one.state,
        "late": one.late,
        "reason": None if one.reason is None else str(one.reason),
        "letter": one.letter,
        "campaign_id": one.campaign_id,
        "campaign": campaigns.get(one.campaign_id),
        "at": one.at,
    }
