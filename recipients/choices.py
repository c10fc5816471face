"""What people say about being tracked, kept with their row: the last word counts."""

from datetime import datetime

from sqlalchemy import CursorResult, case, literal, select, update
from sqlalchemy.orm import Session

from mailer.foundation.database import UTCDateTime
from recipients.models import Recipient, TrackingChoice
from recipients.versions import keep_versions


class RowHeld(Exception):
    """Somebody else writes the person's row, perhaps for as long as an import; nothing was changed."""


def choose_tracking(db: Session, address_hash: str, choice: TrackingChoice, *, now: datetime) -> bool:
    """Keep what a person said about being tracked; it holds for links already sent, too.

    The row as it was is kept for the letters that showed it, except before an objection: that holds for
    their pages, too, and the drainer, which writes it, may read no name.

    A word that comes in late counts all the same, and makes the row no older.

    Returns:
        False if that was their word already, or nobody of that address stands in the table.
    """
    changes = (
        Recipient.address_hash == address_hash,
        Recipient.tracking.is_distinct_from(choice),
    )
    if choice is not TrackingChoice.OBJECTION:
        keep_versions(db, select(Recipient.id).where(*changes), now=now)
    moment = literal(now, UTCDateTime())
    updated_at = case((Recipient.updated_at > moment, Recipient.updated_at), else_=moment)
    changed = db.execute(
        update(Recipient).where(*changes).values(tracking=choice, updated_at=updated_at)
    )
    assert isinstance(changed, CursorResult)
    return changed.rowcount > 0


def object_at_once(db: Session, address_hash: str, *, now: datetime) -> bool:
    """Keep an objection to being tracked without waiting for the row, nor making others wait in a ring.

    Returns:
        As ``choose_tracking``.

    Raises:
        RowHeld: it is to be said again later.
    """
    whose = select(Recipient.id).where(Recipient.address_hash == address_hash)
    free = whose.with_for_update(key_share=True, skip_locked=True)  # SQLite has one writer anyway
    if db.scalar(free) is None and db.scalar(whose) is not None:
        raise RowHeld
    return choose_tracking(db, address_hash, TrackingChoice.OBJECTION, now=now)
