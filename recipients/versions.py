"""What recipients' rows said before they changed: letters that have left showed it.

Whatever changes a row in what a letter can show calls ``keep_versions`` first, in its transaction.
"""

from datetime import datetime

from sqlalchemy import (
    Connection,
    Select,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    union_all,
)
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
    _keep_others_out(connection)
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


def forget_unshown(connection: Connection, claims: Select[int]) -> None:
    """Delete the versions that no letter showed, nor will: a claim's letters show the first after it.

    Call it before versions are kept in the same transaction, not after: a batch that is claimed until
    that ends has read its recipients as they were.

    Args:
        claims: the newest version there was at each claim.
    """
    _keep_others_out(connection)
    claimed = claims.subquery().c[0]
    numbers = union_all(
        select(
            RecipientVersion.id.label("number"),
            RecipientVersion.recipient_id,
            literal(0).label("claims"),
        ),
        select(claimed, literal(0), literal(1)).distinct(),
    ).subquery()
    before = func.sum(numbers.c.claims).over(
        order_by=(numbers.c.number, numbers.c.claims), rows=(None, 0)
    )
    told = select(numbers, before.label("before")).subquery()
    place = func.row_number().over(
        partition_by=(told.c.recipient_id, told.c.before), order_by=told.c.number
    )
    placed = (
        select(told.c.number, told.c.before, place.label("place")).where(told.c.claims == 0).subquery()
    )
    unshown = select(placed.c.number).where(or_(placed.c.before == 0, placed.c.place > 1))
    connection.execute(delete(RecipientVersion).where(RecipientVersion.id.in_(unshown)))


def newest_version() -> Select[int]:
    """The number of the newest version there is; 0 if none was ever kept."""
    return select(func.coalesce(func.max(RecipientVersion.id), 0))


def _keep_others_out(connection: Connection) -> None:
    """Let nobody else keep versions before this transaction ends; SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE recipient_versions IN SHARE ROW EXCLUSIVE MODE"))
