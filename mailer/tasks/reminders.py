"""The tasks of the reminder queue."""

from mailer.notices.reminders import launch_due_reminders
from mailer.tasks.app import app, settings
from mailer.tasks.configuration import TICK
from mailer.tasks.process import runtime
from mailer.tasks.ring import ring


@app.task(name=TICK, expires=60)
def tick_task() -> None:
    """Launch the reminders that are due; of two ticks at once the database lets one win."""
    opened = runtime()
    launched = launch_due_reminders(opened.launch_tools, opened.database, now=opened.clock.now())
    ring(settings, [reminder.campaign_id for reminder in launched if reminder.campaign_id])
