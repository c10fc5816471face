"""Celery as this service runs it: the database is the queue, Redis only the doorbell."""

from celery import Celery
from kombu import Queue

from mailer.foundation.settings import Settings

SENDING, REMINDERS = "sending", "reminders"
SEND_BATCHES, SWEEP, TICK = "sending.send_batches", "sending.sweep", "reminders.tick"
POLL = "feedback.poll"
_TASKS = ("mailer.tasks.sending", "mailer.tasks.reminders", "mailer.tasks.feedback")


def make_app(settings: Settings) -> Celery:
    """A Celery app for the broker in the settings; nothing is connected yet."""
    app = Celery("mailer", include=list(_TASKS))
    app.conf.update(
        broker_url=settings.broker,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "visibility_timeout": 900,
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "retry_on_timeout": True,
            "health_check_interval": 25,
            "global_keyprefix": "mailer:",
        },
        task_queues=[Queue(SENDING), Queue(REMINDERS)],
        task_default_queue=SENDING,
        task_routes={SEND_BATCHES: SENDING, SWEEP: REMINDERS, TICK: REMINDERS, POLL: REMINDERS},
        task_create_missing_queues=False,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        task_time_limit=780,
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_concurrency=settings.worker_processes,
        beat_schedule_filename=str(settings.state_dir / "beat-schedule"),
        timezone="UTC",
    )
    return app
