"""What a tick starts. A worker process imports this only when something is due: it sends without it."""

from collections.abc import Callable, Mapping
from datetime import datetime

from mailer.notices.briefing import launch_report
from mailer.notices.confirmations import launch_confirmations
from mailer.notices.reminders import launch_due_reminders
from mailer.runtime import Runtime


def _reminders(opened: Runtime, now: datetime) -> list[int]:
    launched = launch_due_reminders(opened.launch_tools, opened.database, now=now)
    return [each.campaign_id for each in launched if each.campaign_id is not None]


def _confirmations(opened: Runtime, now: datetime) -> list[int]:
    return launch_confirmations(opened.launch_tools, opened.database, now=now)


def _report(opened: Runtime, now: datetime) -> list[int]:
    return launch_report(opened.launch_tools, opened.database, now=now)


LAUNCH: Mapping[str, Callable[[Runtime, datetime], list[int]]] = {
    "reminders": _reminders,
    "confirmations": _confirmations,
    "report": _report,
}
"""By kind: starts all that is due of it and returns the campaigns."""
