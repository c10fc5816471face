"""The plan of reminders as a page shows it: what is to come, what went, and what is wrong."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from zoneinfo import ZoneInfo

from mailer.events.alarms import ReminderAlarm
from mailer.events.letters import LetterFault
from mailer.events.models import ReminderState
from mailer.events.reminders import PlannedReminder
from mailer.reports import danish
from mailer.web.staff.event_figures import Plan
from mailer.web.staff.event_words import (
    LATE,
    REMINDER_STATES,
    RULES,
    audience,
    clock,
    in_utc,
    long_day,
    moment,
    why,
)

_TO_COME = frozenset({ReminderState.DUE, ReminderState.PLANNED, ReminderState.BLOCKED})


@dataclass(frozen=True, slots=True)
class RuleRow:
    """One reminder to one kind of people."""

    who: str
    audience: str
    letter: str
    state: str
    tone: str
    """The state's class: what the page colours it by."""
    why: str | None
    campaign: str | None
    """The path of the letter's own page."""


@dataclass(frozen=True, slots=True)
class ReminderView:
    """The reminders of one event that are due at the same moment with the same lead."""

    event: str
    path: str
    lead: str
    day: str
    clock: str
    utc: str
    iso: str
    rows: Sequence[RuleRow]


@dataclass(frozen=True, slots=True)
class AlarmView:
    """One thing to be done."""

    text: str
    why: str | None
    remedy: str | None
    """A command."""


@dataclass(frozen=True, slots=True)
class FaultView:
    """A letter that cannot be used."""

    text: str
    detail: str
    """In English, for whoever mends it."""


@dataclass(frozen=True, slots=True)
class PlanView:
    """The plan as of a moment."""

    now: str
    input: str
    """The moment as a form field holds it."""
    is_rehearsal: bool
    alarms: Sequence[AlarmView]
    tick_is_late: bool
    letter_faults: Sequence[FaultView]
    to_come: Sequence[ReminderView]
    past: Sequence[ReminderView]


def view_plan(plan: Plan, zone: ZoneInfo, *, is_rehearsal: bool) -> PlanView:
    """All reminders, the next one first; those behind us the latest first."""
    local = plan.now.astimezone(zone)
    titles = {each.event_slug: each.event_title for each in plan.reminders}
    return PlanView(
        now=moment(local),
        input=f"{local:%Y-%m-%dT%H:%M}",
        is_rehearsal=is_rehearsal,
        alarms=[_view_alarm(alarm, titles[alarm.event_slug]) for alarm in plan.alarms],
        tick_is_late=plan.tick_is_late and not is_rehearsal,
        letter_faults=[_view_fault(fault) for fault in plan.letter_faults],
        to_come=to_come(plan.reminders),
        past=past(plan.reminders),
    )


def to_come(reminders: Iterable[PlannedReminder]) -> list[ReminderView]:
    """Those that still go, or wait for something that is missing or for a free seat."""
    return _grouped(each for each in reminders if _is_to_come(each))


def past(reminders: Iterable[PlannedReminder]) -> list[ReminderView]:
    """Those that went or will never go, the latest first."""
    return _grouped(each for each in reminders if not _is_to_come(each))[::-1]


def _is_to_come(planned: PlannedReminder) -> bool:
    return planned.state in _TO_COME or planned.waits_for_seats


def _grouped(reminders: Iterable[PlannedReminder]) -> list[ReminderView]:
    def key(each: PlannedReminder) -> tuple[object, ...]:
        return each.due_at, each.event_slug, each.event_date, each.lead

    ordered = sorted(reminders, key=lambda each: (*key(each), list(RULES).index(each.rule)))
    return [_view_group(list(group)) for _, group in groupby(ordered, key=key)]


def _view_group(group: Sequence[PlannedReminder]) -> ReminderView:
    first = group[0]
    return ReminderView(
        event=danish.clean(first.event_title),
        path=f"/staff/events/{first.event_slug}",
        lead=danish.lead(first.lead),
        day=long_day(first.local_time),
        clock=clock(first.local_time),
        utc=in_utc(first.local_time),
        iso=first.local_time.isoformat(timespec="minutes"),
        rows=[_view_rule(each) for each in group],
    )


def _view_rule(planned: PlannedReminder) -> RuleRow:
    state, tone = REMINDER_STATES[planned.state], planned.state.value
    if planned.moot:
        state, tone = "bortfaldet", "moot"
    elif planned.waits_for_seats:
        state = "sendes ikke"
    elif planned.late:
        state, tone = LATE[planned.state], "late"
    return RuleRow(
        who=RULES[planned.rule],
        audience=audience(planned.rule, planned.audience),
        letter=danish.clean(planned.letter or "–"),
        state=state,
        tone=tone,
        why=why(planned.reason),
        campaign=f"/staff/campaigns/{planned.campaign_id}" if planned.campaign_id else None,
    )


def _view_fault(fault: LetterFault) -> FaultView:
    letter = f"Brevet »{danish.clean(fault.letter)}«"
    what = "siger noget om påmindelser, som ikke kan bruges" if fault.is_readable else "kan ikke læses"
    return FaultView(f"{letter} {what}", danish.clean(fault.text))


def _view_alarm(alarm: ReminderAlarm, title: str) -> AlarmView:
    which = f"{danish.clean(title)}, {danish.lead(alarm.lead)}"
    when = moment(alarm.local_time)
    match alarm.state:
        case ReminderState.BLOCKED:
            text = f"{which}: påmindelsen skal gå {when}, men kan ikke"
        case ReminderState.MISSED:
            text = f"{which}: påmindelsen, der skulle gå {when}, blev ikke sendt"
        case _:
            text = f"{which}: påmindelsen skulle være gået {when}, og er ikke gået endnu"
    return AlarmView(text, why(alarm.reason), alarm.remedy)
