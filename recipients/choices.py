"""What people say about being tracked, kept with their row: the last word counts."""

from datetime import datetime

from sqlalchemy import CursorResult, select, update
from sqlalchemy.orm import Session

from recipients.models import Recipient, TrackingChoice
from recipients.versions import keep_versions


def choose_tracking(db: Session, address_hash: str, choice: TrackingChoice, *, now: datetime) -> bool:
    """Keep what a person said about being tracked; it holds for links already sent, too.

    The row as it was is kept for the letters that showed it, except before an objection: that holds for
    their pages, too, and the drainer, which writes it, may read no name.

    Returns:
        False if that was their word already, or nobody of that address stands in the table.
    """
    changes = (
        Recipient.address_hash == address_hash,
        Recipient.tracking.is_distinct_from(choice),
    )
    if choice is not TrackingChoice.OBJECTION:
        keep_versions(db, select(Recipient.id).where(*changes), now=now)
    changed = db.execute(update(Recipient).where(*changes).values(tracking=choice, updated_at=now))
    assert isinstance(changed, CursorResult)
    return changed.rowcount > 0
