"""The tasks of the reminder queue."""

from collections.abc import Mapping

from mailer.notices.confirmations import launch_confirmations
from mailer.notices.reminders import launch_due_reminders
from mailer.reports.briefing import launch_report
from mailer.runtime import Runtime
from mailer.tasks.app import app, settings
from mailer.tasks.configuration import TICK
from mailer.tasks.process import runtime
from mailer.tasks.ring import ring
from mailer.tasks.ticking import Launch, tick


@app.task(name=TICK, expires=60)
def tick_task() -> None:
    """Start what is due by date: harmless when lost, doubled or late."""
    opened = runtime()
    campaigns = tick(opened.database, _launches(opened))
    if campaigns:
        ring(settings, campaigns)


def _launches(opened: Runtime) -> Mapping[str, Launch]:
    tools, database, now = opened.launch_tools, opened.database, opened.clock.now()
    return {
        "reminders": lambda: [
            reminder.campaign_id
            for reminder in launch_due_reminders(tools, database, now=now)
            if reminder.campaign_id is not None
        ],
        "confirmations": lambda: launch_confirmations(tools, database, now=now),
        "report": lambda: launch_report(tools, database, now=now),
    }
