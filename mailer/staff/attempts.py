"""How often one may guess: delays that grow, shared by all processes, and no colleague locked out.

Whoever guesses at a name makes only strangers wait: a browser that has signed in to the account before
has a counter of its own.
"""

import hashlib
import math
from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailer.staff.errors import TooManyAttempts
from mailer.staff.models import SignInFailures

FREE = 5
"""So many failures cost nothing: people mistype."""
LONGEST_WAIT = timedelta(minutes=5)
FORGOTTEN_AFTER = timedelta(hours=1)
_SLOTS = 4096


def slot_of(name: str) -> str:
    """The slot of a name, whether there is such an account or not."""
    digest = hashlib.blake2b(name.strip().casefold().encode(), digest_size=8).digest()
    return f"name {int.from_bytes(digest) % _SLOTS}"


def check_wait(db: Session, slot: str, *, now: datetime) -> None:
    """Refuse at the cost of a look what ``count_attempt`` would refuse; nothing is locked.

    Raises:
        TooManyAttempts: it is to wait.
    """
    row = db.get(SignInFailures, slot)
    if row is not None:
        _require_waited(row, now)


def count_attempt(db: Session, slot: str, *, now: datetime) -> None:
    """Count an attempt as failed before the password is looked at; ``forgive`` takes it back.

    Counting first leaves nothing to those who try many passwords at the same moment.

    Args:
        slot: of the name, or of the browser that is known.
        now: real time.

    Raises:
        TooManyAttempts: it is to wait; nothing was counted.
    """
    row = _tally(db, slot, now)
    _require_waited(row, now)
    row.failures += 1
    row.last_at = now
    over = row.failures - FREE
    row.wait_until = now + min(timedelta(seconds=2 ** min(over, 20)), LONGEST_WAIT) if over > 0 else now
    db.flush()


def forgive(db: Session, slot: str) -> None:
    """The password was right: the slot is clean."""
    db.execute(delete(SignInFailures).where(SignInFailures.slot == slot))


def _require_waited(row: SignInFailures, now: datetime) -> None:
    if row.wait_until > now:
        raise TooManyAttempts(math.ceil((row.wait_until - now).total_seconds()))


def _tally(db: Session, slot: str, now: datetime) -> SignInFailures:
    """The slot's row, held until the transaction ends, so that attempts at once count one by one."""
    row = db.get(SignInFailures, slot, with_for_update=True, populate_existing=True)
    if row is None:
        row = SignInFailures(slot=slot, failures=0, last_at=now, wait_until=now)
        try:
            with db.begin_nested():
                db.add(row)
        except IntegrityError:  # another process made it this moment
            return _tally(db, slot, now)
    if row.last_at < now - FORGOTTEN_AFTER:
        row.failures, row.wait_until = 0, now
    return row
