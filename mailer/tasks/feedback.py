"""The task that looks into the mailboxes that bounces come back to."""

from mailer.tasks.app import app
from mailer.tasks.configuration import POLL


@app.task(name=POLL, expires=60, soft_time_limit=45, time_limit=60)
def poll_task() -> None:
    """Act on what came back by mail: harmless when lost, doubled or late."""
    # Only here: reading mail takes 2 MB, and most processes only ever send.
    from mailer.tasks.polling import poll_for_a_while  # noqa: PLC0415

    poll_for_a_while()
