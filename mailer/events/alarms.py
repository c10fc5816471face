"""What about reminders wants somebody's attention, and what they can do about it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from mailer.events.models import ReminderState
from mailer.events.reasons import Reason, ReasonKind
from mailer.events.reminders import PlannedReminder

MISSED_FOR = timedelta(days=7)
"""So long a missed reminder is told: by then somebody knows, and nothing can be done."""


@dataclass(frozen=True, slots=True)
class ReminderAlarm:
    """A reminder that did not go, or will not unless somebody does something."""

    event_slug: str
    lead: str
    state: ReminderState
    """``blocked``, ``missed``, or ``due`` for one that should have gone a while ago and has not."""
    due_at: datetime
    local_time: datetime
    """The same moment as clocks show it where people plan."""
    reason: Reason | None
    """None for one that is due: nobody knows what keeps it."""
    remedy: str | None
    """The command that mends it."""

    def __str__(self) -> str:
        """A line for the command line."""
        which = f"reminder of {self.event_slug}, {self.lead} before,"
        when = f"{self.local_time:%a %Y-%m-%d %H:%M}"
        match self.state:
            case ReminderState.MISSED:
                line = f"{which} was missed: {self.reason}"
            case ReminderState.BLOCKED:
                line = f"{which} is due {when} and blocked: {self.reason}"
            case _:
                line = f"{which} was due {when}: it should have gone and has not"
        return line if self.remedy is None else f"{line}; see  {self.remedy}"


def find_reminder_alarms(
    plan: Iterable[PlannedReminder], *, now: datetime, warning: timedelta
) -> list[ReminderAlarm]:
    """What is wrong with the reminders of a plan, by the moment they are due.

    One that is blocked is told so long before it is due, also where it would reach nobody yet: people
    may still ask. One that nobody could have sent is not told. Those of one event, lead and trouble are
    one alarm, to however many kinds of recipients they go.

    Args:
        now: the clock people see, as of the plan.
        warning: how long before it is due a blocked one is told.
    """
    wrong = [planned for planned in plan if _is_wrong(planned, now, warning)]
    wrong.sort(key=lambda one: (one.due_at, one.event_slug, one.lead, one.state))
    kinds = groupby(wrong, key=lambda one: (one.event_slug, one.lead, one.state))
    return [_as_alarm(list(group)) for _, group in kinds]


def remedy_of(blocked: Sequence[PlannedReminder]) -> str:
    """The command that lets the blocked reminders of one event go."""
    lacking = dict.fromkeys(field for one in blocked for field in one.lacking)
    if any(one.letter is None for one in blocked):
        lacking["reminders"] = None
    options = " ".join(f"--{field.replace('_', '-')} …" for field in lacking)
    return f"mailer event update {blocked[0].event_slug} {options}"


def _is_wrong(planned: PlannedReminder, now: datetime, warning: timedelta) -> bool:
    match planned.state:
        case ReminderState.BLOCKED:
            return planned.due_at - warning <= now
        case ReminderState.MISSED:
            return not planned.moot and now - planned.due_at < MISSED_FOR
        case ReminderState.DUE:
            return planned.late
        case _:
            return False


def _as_alarm(group: Sequence[PlannedReminder]) -> ReminderAlarm:
    first = group[0]
    lacking = tuple(dict.fromkeys(field for one in group for field in one.lacking))
    faults = [one.reason for one in group if one.reason and one.letter is None]
    reason = faults[0] if faults else first.reason
    if lacking and not faults:
        reason = Reason(ReasonKind.LACKING, fields=lacking)
    remedy = None
    if first.state is ReminderState.BLOCKED:
        remedy = remedy_of(group)
    elif first.state is ReminderState.DUE:
        remedy = "mailer reminder run"
    return ReminderAlarm(
        first.event_slug,
        first.lead,
        first.state,
        first.due_at,
        first.local_time,
        reason,
        remedy,
    )
