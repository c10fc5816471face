"""Passwords: what may be one, and how it is kept (argon2id, RFC 9106)."""

import functools
import secrets
import unicodedata

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from mailer.staff.errors import WeakPassword

SHORTEST = 12
LONGEST = 256
_FEWEST_DIFFERENT = 5
_GENERATED_BYTES = 15

_hasher = PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=1, type=Type.ID)


def check_password(name: str, password: str) -> None:
    """Return if the password may be one for this account.

    Raises:
        WeakPassword: it is too short, too long, too uniform, or made of the name.
    """
    plain = _plain(password)
    bare = plain.casefold().replace(name.casefold(), "") if name else plain
    if len(plain) < SHORTEST:
        raise WeakPassword(f"a password has at least {SHORTEST} characters")
    if len(plain) > LONGEST:
        raise WeakPassword(f"a password has at most {LONGEST} characters")
    if len(bare) < SHORTEST // 2:
        raise WeakPassword("the password must not be the name")
    if len(set(plain)) < _FEWEST_DIFFERENT:
        raise WeakPassword(f"a password has at least {_FEWEST_DIFFERENT} different characters")


def generate_password() -> str:
    """A password of 120 random bits, in groups that can be read out."""
    text = secrets.token_hex(_GENERATED_BYTES)
    return "-".join(text[start : start + 6] for start in range(0, len(text), 6))


def hash_password(password: str) -> str:
    """What is kept of a password."""
    return _hasher.hash(_plain(password))


def matches(password: str, kept: str | None) -> bool:
    """Whether it is the password; takes as long where there is none to compare with.

    Args:
        kept: what is kept of the account's password; None where there is no such account.
    """
    try:
        right = _hasher.verify(kept or _nobodys(), _plain(password[: 4 * LONGEST]))
    except (VerificationError, InvalidHashError):
        return False
    return right and kept is not None


def is_outdated(kept: str) -> bool:
    """Whether it was kept with other parameters than are used now."""
    return _hasher.check_needs_rehash(kept)


def _plain(password: str) -> str:
    """One form for letters that keyboards spell in several ways (RFC 8265 §4.2.1)."""
    return unicodedata.normalize("NFC", password)


@functools.cache
def _nobodys() -> str:
    return _hasher.hash(secrets.token_hex())
