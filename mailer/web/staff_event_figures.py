"""Events and reminders as staff see them: the plan as of a moment, and how each event stands."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailer.campaigns.heartbeats import TICKED, last_heartbeat
from mailer.events.alarms import ReminderAlarm, find_reminder_alarms
from mailer.events.audiences import AudienceRule
from mailer.events.letters import find_letter_faults, reminder_letters
from mailer.events.models import Event, Reminder
from mailer.events.reminders import PlannedReminder, derive_reminders, plan_reminders
from mailer.foundation.clock import real_now
from mailer.reports.standings import Change, Standing, event_history, event_standings
from mailer.runtime import Runtime, template_folders
from mailer.web.staff_answers import Answers

SECONDS = 15.0
"""Audiences are counted anew this often."""
_TICK_LATE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Plan:
    """All reminders as of a moment."""

    now: datetime
    """The clock people see, or the moment that was rehearsed."""
    reminders: Sequence[PlannedReminder]
    """By the moment they are due; also those of days on which an event was to be before it moved."""
    alarms: Sequence[ReminderAlarm]
    letter_faults: Sequence[str]
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
        plan = plan_reminders(
            db,
            reminder_letters(folders),
            now=now,
            zone=self._settings.zone,
            grace=timedelta(hours=self._settings.reminder_grace_hours),
        )
        everything = sorted([*plan, *self._left_over(db, plan)], key=lambda each: each.due_at)
        ticked, faults = last_heartbeat(db, TICKED), find_letter_faults(folders)
        is_late = ticked is None or real_now() - ticked > _TICK_LATE
        return Plan(now, everything, self._alarms_of(plan, now), faults, is_late)

    def _find_alarms(self, db: Session) -> Sequence[ReminderAlarm]:
        now = self._runtime.clock.now()
        plan = derive_reminders(
            db,
            reminder_letters(template_folders(self._settings)),
            now=now,
            zone=self._settings.zone,
            grace=timedelta(hours=self._settings.reminder_grace_hours),
        )
        return self._alarms_of(plan, now)

    def _alarms_of(self, plan: Sequence[PlannedReminder], now: datetime) -> Sequence[ReminderAlarm]:
        warning = timedelta(days=self._settings.reminder_warning_days)
        return find_reminder_alarms(plan, now=now, warning=warning)

    def _left_over(self, db: Session, plan: Sequence[PlannedReminder]) -> Iterator[PlannedReminder]:
        """What went or was called off and is planned no more: the event has moved, or its leads."""
        planned = {(each.event_id, each.lead, each.rule, each.event_date) for each in plan}
        rows = db.execute(select(Reminder, Event).join(Event, Event.id == Reminder.event_id))
        for row, event in rows:
            if (row.event_id, row.lead, row.rule, row.event_date) not in planned:
                yield self._as_planned(row, event)

    def _as_planned(self, row: Reminder, event: Event) -> PlannedReminder:
        return PlannedReminder(
            event_id=event.id,
            event_slug=event.slug,
            event_title=event.title,
            event_date=row.event_date,
            lead=row.lead,
            rule=AudienceRule(row.rule),
            letter=None,
            due_at=row.due_at,
            local_time=row.due_at.astimezone(self._settings.zone),
            state=row.state,
            audience=row.audience,
            late=row.late,
            campaign_id=row.campaign_id,
        )
