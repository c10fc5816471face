"""Browsers that have signed in before, known by a signed cookie of which nothing is stored."""

import hashlib
import hmac
import secrets

from mailer.staff.models import StaffAccount

_NONCE_BYTES = 12


def mark_browser(key: bytes, account: StaffAccount) -> str:
    """A cookie for a browser that just signed in; another password makes it worthless."""
    nonce = secrets.token_hex(_NONCE_BYTES)
    return f"{nonce}.{_sign(key, account, nonce)}"


def browser_slot(key: bytes, account: StaffAccount | None, cookie: str | None) -> str | None:
    """The slot by which this browser's failures count; None for one that is not known here."""
    nonce, _, signature = (cookie or "").partition(".")
    if account is None or not nonce.isascii() or len(nonce) != 2 * _NONCE_BYTES:
        return None
    if not hmac.compare_digest(signature.encode(), _sign(key, account, nonce).encode()):
        return None
    return f"seen {nonce}"


def _sign(key: bytes, account: StaffAccount, nonce: str) -> str:
    told = f"{account.id}\n{account.password_hash}\n{nonce}".encode()
    return hashlib.blake2b(told, key=key, digest_size=16, person=b"staff-browser").hexdigest()
