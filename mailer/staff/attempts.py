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

EVERYBODY = "everybody"
FREE = 5
"""So many failures cost nothing: people mistype."""
LONGEST_WAIT = timedelta(minutes=5)
FORGOTTEN_AFTER = timedelta(hours=1)
FREE_IN_ALL = 100
"""Strangers' failures within a quiet hour, of whatever names, before all strangers wait."""
LONGEST_WAIT_IN_ALL = timedelta(seconds=10)
_SLOTS = 4096


def slot_of(name: str) -> str:
    """The slot of a name, whether there is such an account or not."""
    digest = hashlib.blake2b(name.strip().casefold().encode(), digest_size=8).digest()
    return f"name {int.from_bytes(digest) % _SLOTS}"


def count_attempt(db: Session, slot: str, *, stranger: bool, now: datetime) -> None:
    """Count an attempt as failed before the password is looked at; ``forgive`` takes it back.

    Counting first leaves nothing to those who try many passwords at the same moment.

    Args:
        slot: of the name, or of the browser that is known.
        stranger: the browser has not signed in to this account before.
        now: real time.

    Raises:
        TooManyAttempts: it is to wait; nothing was counted.
    """
    tallies = [(slot, FREE, LONGEST_WAIT)]
    if stranger:
        tallies.append((EVERYBODY, FREE_IN_ALL, LONGEST_WAIT_IN_ALL))
    rows = [(_tally(db, name, now), free, longest) for name, free, longest in tallies]
    until = max(row.wait_until for row, _, _ in rows)
    if until > now:
        raise TooManyAttempts(math.ceil((until - now).total_seconds()))
    for row, free, longest in rows:
        row.failures += 1
        row.last_at = now
        over = row.failures - free
        row.wait_until = now + min(timedelta(seconds=2 ** min(over, 20)), longest) if over > 0 else now
    db.flush()


def forgive(db: Session, slot: str, *, stranger: bool) -> None:
    """The password was right: the slot is clean, and the attempt was no failure of a stranger's."""
    db.execute(delete(SignInFailures).where(SignInFailures.slot == slot))
    if stranger:
        everybody = db.get(SignInFailures, EVERYBODY, with_for_update=True)
        if everybody is not None:
            everybody.failures = max(0, everybody.failures - 1)


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
