"""Starting the reminders that are due."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from mailer.campaigns.errors import NotAllowedNow
from mailer.events.audiences import interested_recipients
from mailer.events.errors import AlreadySent
from mailer.events.reminders import (
    PlannedReminder,
    due_reminders,
    reminder_letters,
    store_sent,
)
from mailer.foundation.database import Database
from mailer.foundation.log import get_log
from mailer.launch import (
    LaunchRefused,
    LaunchTools,
    Notice,
    launch_notice,
    require_sending_settings,
    tracking_of,
)
from mailer.rendering.errors import LetterError

_log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class LaunchedReminder:
    """A reminder that went its way."""

    event_slug: str
    lead: str
    campaign_id: int | None
    """None if nobody was to be reminded."""
    campaign_name: str | None
    audience: int
    late: bool


def launch_due_reminders(
    tools: LaunchTools, database: Database, *, now: datetime
) -> list[LaunchedReminder]:
    """Start every reminder that is due; harmless when repeated or doubled.

    Each is launched and noted as sent in one transaction, so that of two ticks at once one wins.

    Args:
        now: the clock people see.

    Raises:
        SettingsError: there is no sender or relay; every reminder stays due.
    """
    require_sending_settings(tools)
    letters = {source.name: source for source in reminder_letters(tools.letters.folders)}
    with database.read() as db:
        due = due_reminders(
            db,
            list(letters.values()),
            now=now,
            zone=tools.settings.zone,
            grace=timedelta(hours=tools.settings.reminder_grace_hours),
        )
    launched = []
    for reminder in due:
        try:
            with database.write() as db:
                launched.append(_launch_reminder(tools, db, reminder, now=now))
        except AlreadySent:
            _log.info("reminder was launched by another tick", reminder=_name_of(reminder))
        except (LetterError, LaunchRefused, NotAllowedNow) as error:
            _log.error("reminder cannot be launched", reminder=_name_of(reminder), error=str(error))
    return launched


def _launch_reminder(
    tools: LaunchTools, db: Session, reminder: PlannedReminder, *, now: datetime
) -> LaunchedReminder:
    tracking, legal_basis = tracking_of(db, reminder.event_slug)
    note = store_sent(db, reminder, campaign_id=None, audience=0, now=now)
    notice = Notice(
        name=_name_of(reminder),
        letter=reminder.letter,
        event_slug=reminder.event_slug,
        tracking=tracking,
        legal_basis=legal_basis,
    )
    recipients = interested_recipients(reminder.event_id, until=reminder.due_at)
    launched = launch_notice(tools, db, notice, recipients, now=now)
    if launched is None:
        return LaunchedReminder(reminder.event_slug, reminder.lead, None, None, 0, reminder.late)
    note.campaign_id, note.audience = launched.campaign_id, launched.audience
    return LaunchedReminder(
        reminder.event_slug,
        reminder.lead,
        launched.campaign_id,
        launched.name,
        launched.audience,
        reminder.late,
    )


def _name_of(reminder: PlannedReminder) -> str:
    return f"{reminder.letter}-{reminder.event_slug}-{reminder.lead.replace(' ', '-')}"
