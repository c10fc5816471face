"""Whether a tick has anything to start, asked without loading what would start it."""

from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy import select

from mailer.events.policy import policy_of
from mailer.events.reminders import due_reminders
from mailer.notices.news import events_with_news
from mailer.reports.meetings import BadMeetings, read_meetings
from mailer.reports.models import Meeting
from mailer.runtime import Runtime, template_folders


def _reminders_are_due(opened: Runtime, now: datetime) -> bool:
    policy = policy_of(opened.settings, template_folders(opened.settings))
    with opened.database.read() as db:
        return bool(due_reminders(db, policy, now=now))


def _confirmations_are_due(opened: Runtime, now: datetime) -> bool:
    with opened.database.read() as db:
        return bool(events_with_news(db, now=now))


def _report_may_be_due(opened: Runtime, now: datetime) -> bool:
    """Whether a meeting is near whose report has not gone, or the launch is to say what is wrong."""
    try:
        meetings = read_meetings(template_folders(opened.settings))
    except BadMeetings:
        return True
    zone = opened.settings.zone
    today = now.astimezone(zone).date()
    near = [each.held_on for each in meetings if each.held_on >= today and each.due_at(zone) <= now]
    if opened.settings.report_segment is None or not near:
        return False
    with opened.database.read() as db:
        gone = db.scalars(
            select(Meeting.held_on).where(Meeting.held_on.in_(near), Meeting.sent_at.is_not(None))
        )
        return len(gone.all()) < len(near)


IS_DUE: Mapping[str, Callable[[Runtime, datetime], bool]] = {
    "reminders": _reminders_are_due,
    "confirmations": _confirmations_are_due,
    "report": _report_may_be_due,
}
"""By kind of launch, at a moment on the clock people see. Never False where something is due."""
