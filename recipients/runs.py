"""Runs of the import: one that is alive keeps audiences from being frozen over half a list."""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from recipients.errors import ImportRunning
from recipients.models import Import, ImportState

SILENT_AFTER = timedelta(minutes=1)
"""A run that has given no sign of life for so long is dead."""


def require_no_import_running(db: Session, now: datetime) -> None:
    """Return if no recipients are being imported.

    Args:
        now: real time.

    Raises:
        ImportRunning: a run is alive.
    """
    running = db.scalar(
        select(Import.id)
        .where(Import.state == ImportState.RUNNING, Import.beat_at > now - SILENT_AFTER)
        .limit(1)
    )
    if running is not None:
        raise ImportRunning("recipients are being imported; queue the campaign when that has ended")
