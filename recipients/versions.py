"""What recipients' rows said before they changed: letters that have left showed it.

Whatever changes a row in what a letter can show calls ``keep_versions`` first, in its transaction.
"""

from datetime import datetime

from sqlalchemy import Connection, Select, func, insert, literal, select, text
from sqlalchemy.orm import Session

from mailer.foundation.database import UTCDateTime
from recipients.models import Particulars, Recipient, RecipientVersion

PARTICULARS = tuple(Particulars.__annotations__)
"""The columns that a letter can show, or is decided by."""


def keep_versions(db: Connection | Session, changing: Select[int], *, now: datetime) -> None:
    """Keep what recipients' rows say, before they change in this transaction.

    Versions are numbered in the order in which they come to be seen: whoever keeps some waits until
    others who did have ended, so that one number tells all that a batch has seen of them.

    Args:
        changing: ids of those who change in what a letter can show.
        now: the clock people see.
    """
    connection = db.connection() if isinstance(db, Session) else db
    if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
        connection.execute(text("LOCK TABLE recipient_versions IN SHARE ROW EXCLUSIVE MODE"))
    connection.execute(
        insert(RecipientVersion).from_select(
            ["recipient_id", "replaced_at", *PARTICULARS],
            select(
                Recipient.id,
                literal(now, UTCDateTime()),
                *(getattr(Recipient, name) for name in PARTICULARS),
            ).where(Recipient.id.in_(changing)),
        )
    )


def newest_version() -> Select[int]:
    """The number of the newest version there is; 0 if none was ever kept."""
    return select(func.coalesce(func.max(RecipientVersion.id), 0))
