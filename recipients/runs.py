"""Runs of the import: while one is alive, no other begins and no audience is frozen."""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from recipients.errors import ImportRunning
from recipients.models import Import, ImportState

_SILENT_IS_DEAD = timedelta(seconds=60)


def require_no_import_running(db: Session, now: datetime) -> None:
    """Return if no import is at work; one that has been silent for a minute is dead.

    Args:
        now: real time, never a rehearsal's.

    Raises:
        ImportRunning: one is.
    """
    alive = select(Import).where(
        Import.state == ImportState.RUNNING, Import.beat_at > now - _SILENT_IS_DEAD
    )
    running = db.scalars(alive.limit(1)).first()
    if running is not None:
        raise ImportRunning(
            f"an import of {running.file} is still running; wait for it to end, or, if it was killed,"
            f" for {_SILENT_IS_DEAD.seconds} seconds"
        )
