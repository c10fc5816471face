"""A look into the mailboxes. A worker process imports this only for that: it sends without it."""

import time

from mailer.feedback.errors import AlreadyPolling
from mailer.feedback.mailboxes import mailboxes_of
from mailer.feedback.processing import poll
from mailer.tasks.process import is_ending, runtime

_WORK_SECONDS = 20.0
"""What is left then is read a minute later: meanwhile this process sends no letters."""


def poll_for_a_while() -> None:
    """Act on what came back by mail, as long as this process can be spared."""
    opened, until = runtime(), time.monotonic() + _WORK_SECONDS
    try:
        poll(
            opened.feedback_tools,
            mailboxes_of(opened.settings),
            is_stopping=lambda: is_ending() or time.monotonic() >= until,
            tell=lambda _: None,
        )
    except AlreadyPolling:
        return
