"""The doorbell: tells workers that batches are ready. Losing it costs seconds, never a letter."""

from collections.abc import Mapping

from kombu.exceptions import OperationalError

from mailer.foundation.settings import Settings
from mailer.tasks.configuration import SEND_BATCHES, SENDING, make_app


def ring(settings: Settings, campaign_ids: list[int]) -> bool:
    """Ring once per worker process for each campaign.

    Returns:
        False if no Redis answered: the sweep will find the batches.
    """
    return ring_often(settings, dict.fromkeys(campaign_ids, settings.worker_processes))


def ring_often(settings: Settings, rings: Mapping[int, int]) -> bool:
    """Ring for each campaign as often as given; False if no Redis answered."""
    app = make_app(settings)
    try:
        with app.connection_for_write(connect_timeout=3) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
            for campaign_id, times in rings.items():
                for _ in range(times):
                    app.send_task(
                        SEND_BATCHES,
                        args=[campaign_id],
                        queue=SENDING,
                        connection=connection,
                        retry=False,
                    )
    except (OperationalError, OSError):
        return False
    return True
