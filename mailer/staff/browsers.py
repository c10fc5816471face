"""Browsers that have signed in before, known by a signed cookie of which nothing is stored.

The cookie opens nothing: it only chooses the queue an attempt stands in and the counter it fails by.
"""

import hashlib
import hmac
import secrets

from mailer.staff.models import StaffAccount

_NONCE_BYTES = 12
_STAMP_BYTES = 8
_SIGNATURE_BYTES = 16


def mark_browser(key: bytes, account: StaffAccount) -> str:
    """A cookie of 91 characters for a browser that just signed in to this account."""
    told = f"{secrets.token_hex(_NONCE_BYTES)}.{_stamps(key, account)}"
    return f"{told}.{_sign(key, told, _SIGNATURE_BYTES)}"


def is_marked(key: bytes, cookie: str | None) -> bool:
    """Whether this browser has signed in to some account, which may be gone; asks no database."""
    told, _, signature = (cookie or "").rpartition(".")
    return hmac.compare_digest(signature.encode(), _sign(key, told, _SIGNATURE_BYTES).encode())


def browser_slot(key: bytes, account: StaffAccount | None, cookie: str | None) -> str | None:
    """The slot by which this browser's failures count; None for one that is not known here.

    Browsers known from before the password was last changed share a slot: whoever had the old password
    may have collected as many cookies as they liked, and gets no counter for each to guess the new one.
    """
    if account is None or cookie is None or not is_marked(key, cookie):
        return None
    nonce, owner, password, _ = cookie.split(".")
    our_owner, our_password = _stamps(key, account).split(".")
    if owner != our_owner:
        return None
    return f"seen {nonce}" if password == our_password else f"seen earlier {account.id}"


def _stamps(key: bytes, account: StaffAccount) -> str:
    """What stands for the account, and for its password until somebody sets another."""
    owner = f"{account.id}\n{account.created_at.timestamp()}"
    password = f"{owner}\n{account.changed_at.timestamp()}"
    return f"{_sign(key, owner, _STAMP_BYTES)}.{_sign(key, password, _STAMP_BYTES)}"


def _sign(key: bytes, told: str, size: int) -> str:
    return hashlib.blake2b(told.encode(), key=key, digest_size=size, person=b"staff-browser").hexdigest()
