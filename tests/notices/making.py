"""What the tests of notices need."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import update

from mailer.foundation.clock import real_now
from mailer.foundation.database import Database
from recipients.models import Import, ImportState


@contextmanager
def import_at_work(database: Database) -> Iterator[None]:
    """Somebody imports recipients meanwhile."""
    with database.write() as db:
        run = Import(
            file="liste.csv", state=ImportState.RUNNING, started_at=real_now(), beat_at=real_now()
        )
        db.add(run)
    yield
    with database.write() as db:
        db.execute(update(Import).where(Import.id == run.id).values(state=ImportState.DONE))
