"""The tasks of the sending queue."""

from mailer.sending.work import send_batches, sweep
from mailer.tasks.app import app, settings
from mailer.tasks.configuration import SEND_BATCHES, SENDING, SWEEP
from mailer.tasks.process import sending_tools
from mailer.tasks.ring import ring_often


@app.task(name=SEND_BATCHES)
def send_batches_task(campaign_id: int) -> None:
    """Claim ready batches one after the other for a few seconds, then ring again.

    Harmless when lost, doubled or late: the claim in the database decides.
    """
    if send_batches(sending_tools(), campaign_id=campaign_id):
        send_batches_task.apply_async(args=(campaign_id,), queue=SENDING)


@app.task(name=SWEEP, expires=60)
def sweep_task() -> None:
    """Find lost claims, due retries and batches no bell rang for, and ring."""
    rings = sweep(sending_tools(), workers=settings.worker_processes)
    if rings:
        ring_often(settings, rings)
