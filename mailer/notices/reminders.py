"""Starting the reminders that are due."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from mailer.campaigns.errors import NotAllowedNow
from mailer.events.audiences import audience_of
from mailer.events.errors import AlreadySent
from mailer.events.letters import reminder_letters
from mailer.events.models import ReminderState
from mailer.events.outcomes import reminded_since, store_outcome
from mailer.events.reminders import PlannedReminder, due_reminders
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
from mailer.rendering.errors import LetterError, LetterNotFound
from recipients.models import Recipient

_log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class LaunchedReminder:
    """A reminder that went its way."""

    event_slug: str
    lead: str
    rule: str
    campaign_id: int | None
    """None if nobody was to be reminded."""
    campaign_name: str | None
    audience: int
    late: bool


def launch_due_reminders(
    tools: LaunchTools, database: Database, *, now: datetime
) -> list[LaunchedReminder]:
    """Start every reminder that is due; harmless when repeated or doubled.

    Each is launched and noted as sent in one transaction, so that of two ticks at once one wins. One
    that cannot be launched stays due, is logged, and does not hold up the others.

    Args:
        now: the clock people see.

    Raises:
        SettingsError: something is due, and there is no sender or relay; every reminder stays due.
    """
    with database.read() as db:
        due = due_reminders(
            db,
            reminder_letters(tools.letters.folders),
            now=now,
            zone=tools.settings.zone,
            grace=timedelta(hours=tools.settings.reminder_grace_hours),
        )
    if any(reminder.state is ReminderState.DUE for reminder in due):
        require_sending_settings(tools)
    launched = []
    for reminder in due:
        try:
            with database.write() as db:
                if reminder.state is ReminderState.DUE:
                    launched.append(_launch_reminder(tools, db, reminder, now=now))
                else:
                    store_outcome(db, reminder, ReminderState.CANCELLED, now=now)
        except AlreadySent:
            _log.info("reminder was launched by another tick", **_named(reminder))
        except (LetterError, LetterNotFound, LaunchRefused, NotAllowedNow) as error:
            _log.error("reminder cannot be launched", **_named(reminder), error=str(error))
    return launched


def _launch_reminder(
    tools: LaunchTools, db: Session, reminder: PlannedReminder, *, now: datetime
) -> LaunchedReminder:
    """Note it and start it: of two who try at once, the second waits at the note and is refused."""
    assert reminder.letter is not None
    note = store_outcome(db, reminder, ReminderState.SENT, now=now)
    tracking, legal_basis = tracking_of(db, reminder.event_slug)
    notice = Notice(
        name=f"{reminder.letter}-{reminder.event_slug}-{reminder.lead.replace(' ', '-')}",
        letter=reminder.letter,
        event_slug=reminder.event_slug,
        tracking=tracking,
        legal_basis=legal_basis,
    )
    recipients = audience_of(reminder.rule, reminder.event_id, until=reminder.due_at).where(
        Recipient.id.not_in(reminded_since(reminder))
    )
    launched = launch_notice(tools, db, notice, recipients, now=now)
    if launched is not None:
        note.campaign_id, note.audience = launched.campaign_id, launched.audience
    return LaunchedReminder(
        reminder.event_slug,
        reminder.lead,
        reminder.rule,
        note.campaign_id,
        launched.name if launched else None,
        note.audience,
        note.late,
    )


def _named(reminder: PlannedReminder) -> dict[str, str]:
    """Which it is, for the log."""
    return {"slug": reminder.event_slug, "lead": reminder.lead, "rule": reminder.rule}
