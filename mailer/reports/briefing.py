"""The report of progress to each meeting of the parties: what is in it, when it is due, why not."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from mailer.campaigns.audience import is_suppressed
from mailer.events.models import ReminderState
from mailer.events.policy import policy_of
from mailer.events.reminders import derive_reminders, is_late
from mailer.foundation.settings import Settings
from mailer.reports.meetings import (
    MEETINGS_FILE,
    BadMeetings,
    PlannedMeeting,
    read_challenges,
    read_meetings,
    reported_elsewhere,
)
from mailer.reports.models import Meeting
from mailer.reports.progress import Period, ProgressReport
from mailer.reports.progress_figures import progress_report
from recipients.errors import BadRule, SegmentNotFound
from recipients.models import Recipient
from recipients.segments import find_segment, select_segment


@dataclass(frozen=True, slots=True)
class PlannedReport:
    """The report to one meeting as it stands at a moment."""

    meeting: PlannedMeeting
    due_at: datetime
    """UTC."""
    state: ReminderState
    late: bool = False
    reason: str | None = None
    """Why it does not go; None where nothing is in its way."""
    campaign_id: int | None = None
    has_challenges: bool = False


def plan_reports(
    db: Session, settings: Settings, folders: Sequence[Path], *, now: datetime
) -> list[PlannedReport]:
    """The report to every meeting, in order.

    Raises:
        BadMeetings: the file of meetings cannot be used.
    """
    meetings = read_meetings(folders)
    kept = {row.held_on: row for row in db.scalars(select(Meeting))}
    gone = reported_elsewhere(db, meetings)
    hole = _find_hole(db, settings)
    return [
        _judge(meeting, kept.get(meeting.held_on), gone, settings, hole=hole, now=now)
        for meeting in meetings
    ]


def _judge(
    meeting: PlannedMeeting,
    row: Meeting | None,
    gone: Sequence[PlannedMeeting],
    settings: Settings,
    *,
    hole: str | None,
    now: datetime,
) -> PlannedReport:
    due_at = meeting.due_at(settings.zone)
    has_challenges = row is not None and row.challenges is not None
    if row is not None and row.sent_at is not None:
        return PlannedReport(
            meeting,
            due_at,
            ReminderState.SENT,
            late=row.late,
            campaign_id=row.campaign_id,
            has_challenges=has_challenges,
        )
    is_over = now.astimezone(settings.zone).date() > meeting.held_on
    repeated = next((other for other in gone if meeting.repeats(other)), None)
    reason, late = hole, False
    if repeated and not is_over:
        state, reason = ReminderState.BLOCKED, _why_repeated(meeting, repeated)
    elif is_over or now > due_at + settings.reminder_grace:
        state = ReminderState.MISSED
        reason = hole or f"more than {settings.reminder_grace_hours} hours late"
    elif hole:
        state = ReminderState.BLOCKED
    elif now >= due_at:
        state, late = ReminderState.DUE, is_late(due_at, now)
    else:
        state = ReminderState.PLANNED
    return PlannedReport(meeting, due_at, state, late, reason, has_challenges=has_challenges)


def _why_repeated(meeting: PlannedMeeting, gone: PlannedMeeting) -> str:
    reason = f"the report to the meeting of {gone.held_on} has gone and covers most of the same days"
    if gone.report_on > meeting.until:
        return reason
    return (
        f"{reason}; write the rest with  mailer report progress --from {gone.report_on}"
        f" --to {meeting.until} -o FILE.xlsx  and send it yourself"
    )


def _find_hole(db: Session, settings: Settings) -> str | None:
    """Why no report can go to anybody; None where one can."""
    if settings.report_segment is None:
        return (
            "nobody is to get it: make a segment of the staff with  mailer segment create"
            "  and name it in the setting report_segment"
        )
    try:
        staff = select_staff(db, settings.report_segment)
    except (SegmentNotFound, BadRule) as error:
        return str(error)
    if not db.scalar(select(func.count()).select_from(staff.subquery())):
        return f"segment {settings.report_segment!r} has nobody who may be written to"
    return None


def select_staff(db: Session, segment: str) -> Select[int]:
    """The ids of those of a segment who may be written to.

    Raises:
        SegmentNotFound, BadRule: there is no such segment, or none that can be read.
    """
    members = select_segment(find_segment(db, segment).rule)
    return select(Recipient.id).where(Recipient.id.in_(members), ~is_suppressed())


def report_to(
    db: Session,
    settings: Settings,
    folders: Sequence[Path],
    meeting: PlannedMeeting,
    *,
    now: datetime,
) -> ProgressReport:
    """The report to a meeting, over the days it is to cover, with what staff wrote for it."""
    period = Period(meeting.since, meeting.until, settings.zone)
    return report_on(
        db,
        settings,
        folders,
        period,
        now=now,
        meeting=meeting.held_on,
        challenges=read_challenges(db, meeting.held_on),
    )


def report_on(
    db: Session,
    settings: Settings,
    folders: Sequence[Path],
    period: Period,
    *,
    now: datetime,
    meeting: date | None,
    challenges: str | None,
) -> ProgressReport:
    """The report on a period, the reminders that were missed in it included."""
    plan = derive_reminders(db, policy_of(settings, folders), now=now)
    return progress_report(db, period, now=now, plan=plan, meeting=meeting, challenges=challenges)


def find_report_alarms(
    db: Session, settings: Settings, folders: Sequence[Path], *, now: datetime
) -> list[str]:
    """What is wrong with the reports to meetings that are not over, each with what to do about it.

    Args:
        now: the clock people see.
    """
    try:
        plan = plan_reports(db, settings, folders, now=now)
    except BadMeetings as error:
        return [f"no report of progress can go: {error}"]
    today = now.astimezone(settings.zone).date()
    gone = [
        f"the report to the meeting of {meeting.held_on} has gone, and that meeting is not in"
        f" {MEETINGS_FILE} any more; if it is held on another day, tell those who got it"
        for meeting in reported_elsewhere(db, [one.meeting for one in plan])
        if meeting.held_on >= today
    ]
    return gone + [
        _alarm(one, settings)
        for one in plan
        if one.meeting.held_on >= today
        and (
            (one.state is ReminderState.BLOCKED and one.due_at - settings.reminder_warning <= now)
            or one.state is ReminderState.MISSED
            or (one.state is ReminderState.DUE and one.late)
        )
    ]


def _alarm(planned: PlannedReport, settings: Settings) -> str:
    meeting = planned.meeting
    which = f"the report to the meeting of {meeting.held_on}"
    when = f"{planned.due_at.astimezone(settings.zone):%a %Y-%m-%d %H:%M}"
    match planned.state:
        case ReminderState.BLOCKED:
            return f"{which} is due {when} and blocked: {planned.reason}"
        case ReminderState.MISSED:
            return (
                f"{which} was missed: {planned.reason}; write it with  mailer report progress"
                f" --from {meeting.since} --to {meeting.until} -o FILE.xlsx  and send it yourself"
            )
        case _:
            return f"{which} was due {when} and has not gone; is  mailer up  running?"
