"""By what reminders are planned: which letters there are, and the office's clock and patience."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from mailer.events.letters import reminder_letters
from mailer.foundation.settings import Settings
from mailer.rendering.source import LetterSource


@dataclass(frozen=True, slots=True)
class ReminderPolicy:
    """What holds for the reminders of every event."""

    letters: Sequence[LetterSource]
    """Those that are reminders."""
    zone: ZoneInfo
    """In which local times are shown; events are computed in their own."""
    grace: timedelta
    """How late a reminder may still go."""
    warning: timedelta
    """How long before it is due a blocked one is told."""


def policy_of(settings: Settings, folders: Sequence[Path]) -> ReminderPolicy:
    """The policy in force; a letter that cannot be read is left out and logged.

    Args:
        folders: where letters lie, the first to have one wins.
    """
    return ReminderPolicy(
        reminder_letters(folders),
        settings.zone,
        settings.reminder_grace,
        settings.reminder_warning,
    )
