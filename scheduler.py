"""The timetable: ``celery -A scheduler beat``.

Each entry only looks for what is due and finds it in the database, so a second Beat is harmless and a
lost one makes things late, never silent.
"""

from mailer.tasks.app import app, settings
from mailer.tasks.configuration import POLL, REMINDERS, SWEEP, TICK

__all__ = ["app"]

app.conf.beat_schedule = {
    "sending: lost claims, due retries, scheduled campaigns": {
        "task": SWEEP,
        "schedule": 10.0,
        "options": {"queue": REMINDERS, "expires": 10.0},
    },
    "tick: reminders, confirmations and reports that are due": {
        "task": TICK,
        "schedule": 60.0,
        "options": {"queue": REMINDERS, "expires": 60.0},
    },
}

if settings.mailboxes:
    app.conf.beat_schedule["bounces, complaints and unsubscriptions that came by mail"] = {
        "task": POLL,
        "schedule": 60.0,
        "options": {"queue": REMINDERS, "expires": 60.0},
    }
