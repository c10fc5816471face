"""Starting the reminders that are due."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailer.campaigns.errors import LaunchRefused, NotAllowedNow
from mailer.events.audiences import audience_of
from mailer.events.catalogue import lock_event
from mailer.events.models import ReminderState
from mailer.events.outcomes import reminded_since, store_outcome
from mailer.events.policy import policy_of
from mailer.events.reminders import PlannedReminder, due_reminders
from mailer.foundation.database import Database, DatabaseUnavailable
from mailer.foundation.log import get_log
from mailer.launch import Notice, launch_notice, require_sending_settings
from mailer.rendering.errors import LetterNotFound
from mailer.sending.redaction import logged
from mailer.sending.tools import LaunchTools
from recipients.errors import ImportRunning
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

    Each is judged again, launched and noted as sent in one transaction that holds its event, so that of
    two ticks at once one wins, and nothing goes that was changed meanwhile. One that cannot be launched,
    whatever is wrong with it, stays due, is logged, and does not hold up the others.

    Args:
        now: the clock people see.

    Raises:
        SettingsError: something is due, and there is no sender or relay; every reminder stays due.
        DatabaseUnavailable: it went away; what has not gone stays due.
    """
    policy = policy_of(tools.settings, tools.letters.folders)
    with database.read() as db:
        due = due_reminders(db, policy, now=now)
    if any(reminder.state is ReminderState.DUE for reminder in due):
        require_sending_settings(tools)
    launched = []
    for reminder in due:
        try:
            with database.write() as db:
                lock_event(db, reminder.event_slug)
                if reminder not in due_reminders(db, policy, now=now):
                    _log.info("reminder is not due any more", **_named(reminder))
                    continue
                if reminder.state is ReminderState.CANCELLED:
                    store_outcome(db, reminder, ReminderState.CANCELLED, now=now)
                    continue
                done = _launch_reminder(tools, db, reminder, now=now)
            launched.append(done)
        except DatabaseUnavailable:
            raise
        except (LetterNotFound, LaunchRefused, NotAllowedNow, ImportRunning) as error:
            _log.error("reminder cannot be launched", **_named(reminder), error=str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are due as well
            _log.error("reminder cannot be launched", **_named(reminder), error=logged(error))
    return launched


def _launch_reminder(
    tools: LaunchTools, db: Session, reminder: PlannedReminder, *, now: datetime
) -> LaunchedReminder:
    """Note it and start it, while this transaction holds its event."""
    assert reminder.letter is not None
    note = store_outcome(db, reminder, ReminderState.SENT, now=now)
    notice = Notice(
        name=f"{reminder.letter}-{reminder.event_slug}-{reminder.lead.replace(' ', '-')}",
        letter=reminder.letter,
        event_slug=reminder.event_slug,
    )
    audience = audience_of(
        reminder.rule, reminder.event_id, served=reminder.served, until=reminder.due_at
    )
    recipients = select(Recipient.id).where(Recipient.id.in_(audience.except_(reminded_since(reminder))))
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
