"""The task that looks into the mailboxes that bounces come back to."""

import time

from mailer.feedback.errors import AlreadyPolling
from mailer.feedback.mailboxes import mailboxes_of
from mailer.feedback.processing import poll
from mailer.tasks.app import app, settings
from mailer.tasks.configuration import POLL
from mailer.tasks.process import is_ending, runtime

_WORK_SECONDS = 20.0
"""What is left then is read a minute later: meanwhile this process sends no letters."""


@app.task(name=POLL, expires=60, soft_time_limit=45, time_limit=60)
def poll_task() -> None:
    """Act on what came back by mail: harmless when lost, doubled or late."""
    until = time.monotonic() + _WORK_SECONDS
    try:
        poll(
            runtime().feedback_tools,
            mailboxes_of(settings),
            is_stopping=lambda: is_ending() or time.monotonic() >= until,
            tell=lambda _: None,
        )
    except AlreadyPolling:
        return
