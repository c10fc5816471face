"""Events and reminders as staff see them: the plan as of a moment, and how each event stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from mailer.campaigns.heartbeats import TICK_LATE, TICKED, last_heartbeat
from mailer.events.alarms import ReminderAlarm, find_reminder_alarms
from mailer.events.letters import LetterFault, find_letter_faults
from mailer.events.policy import policy_of
from mailer.events.reminders import PlannedReminder, derive_reminders, plan_reminders
from mailer.foundation.clock import real_now
from mailer.reports.standings import Change, Standing, event_history, event_standings
from mailer.runtime import Runtime, template_folders
from mailer.web.staff.answers import Answers

SECONDS = 15.0
"""Audiences are counted anew this often."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All reminders as of a moment."""

    now: datetime
    """The clock people see, or the moment that was rehearsed."""
    reminders: Sequence[PlannedReminder]
    """By the moment they are due."""
    alarms: Sequence[ReminderAlarm]
    letter_faults: Sequence[LetterFault]
    """Why letters cannot be used as reminders."""
    tick_is_late: bool
    """Scheduler, Redis or every worker is gone: nothing that is due goes."""


@dataclass(frozen=True, slots=True)
class EventLook:
    """One event."""

    standing: Standing
    history: Sequence[Change]


class StaffEventFigures:
    """Counts events and reminders, each question at most every few seconds."""

    def __init__(self, runtime: Runtime, answers: Answers) -> None:
        self._runtime = runtime
        self._answers = answers
        self._settings = runtime.settings

    async def plan(self, moment: datetime | None = None) -> Plan:
        """The plan.

        Args:
            moment: as if it were this one; None is the clock people see.
        """
        minute = int(moment.timestamp()) // 60 if moment else -1
        return await self._answers.ask(
            ("plan", minute),
            lambda db: self._make_plan(db, moment or self._runtime.clock.now()),
            lambda _: SECONDS,
        )

    async def alarms(self) -> Sequence[ReminderAlarm]:
        """What is wrong with reminders now; nobody's audience is counted for it."""
        return await self._answers.ask(("reminder-alarms", 0), self._find_alarms, lambda _: SECONDS)

    async def standings(self) -> Sequence[Standing]:
        """All events, by date."""
        return await self._answers.ask(("events", 0), event_standings, lambda _: SECONDS)

    async def event(self, slug: str) -> EventLook | None:
        """One event; None if there is none."""
        standing = next((each for each in await self.standings() if each.event.slug == slug), None)
        if standing is None:
            return None
        event_id = standing.event.id
        history = await self._answers.ask(
            ("history", event_id), lambda db: event_history(db, event_id), lambda _: SECONDS
        )
        return EventLook(standing, history)

    def _make_plan(self, db: Session, now: datetime) -> Plan:
        folders = template_folders(self._settings)
        policy = policy_of(self._settings, folders)
        plan = plan_reminders(db, policy, now=now)
        alarms = find_reminder_alarms(plan, now=now, warning=policy.warning)
        ticked, faults = last_heartbeat(db, TICKED), find_letter_faults(folders)
        is_late = ticked is None or real_now() - ticked > TICK_LATE
        return Plan(now, plan, alarms, faults, is_late)

    def _find_alarms(self, db: Session) -> Sequence[ReminderAlarm]:
        now = self._runtime.clock.now()
        policy = policy_of(self._settings, template_folders(self._settings))
        plan = derive_reminders(db, policy, now=now)
        return find_reminder_alarms(plan, now=now, warning=policy.warning)
