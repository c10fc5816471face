"""How often one letter's links may be used, and how much one process takes on.

Never by network address: a municipality's thousand readers, and the scanner in front of them, share one.
Nothing is counted for what belongs to nobody in particular: in anonymous campaigns all letters carry
the same tokens, and a letter passed on is opened by many.
"""

import math
import time
from collections.abc import Callable

from mailer.tracking.tokens import TAG_CHARACTERS

AT_ONCE = 240
"""Requests for one token that may come in one go: scanners fetch every link, some several times."""
PER_HOUR = 600
DEEDS_AT_ONCE = 20
DEEDS_PER_HOUR = 60
"""Forms sent that ask for one thing; who presses a button twice and thinks better of it stays below.

Whoever was passed a letter must not keep its reader from saying no by using this up. So what cannot be
taken back has a bucket of its own, each kind of no another: a bucket that is full says that this very
thing stands. A no that can be taken back is refused by none: where too many were said, it becomes one
that cannot.
"""
UNDOS_AT_ONCE = 10
UNDOS_PER_HOUR = 20
"""Forms that take something back."""
RETURNS_AT_ONCE = 2
RETURNS_PER_HOUR = 4
"""Forms that register anew whoever gave their seat back: each goes to the end of the line, and may move
somebody else."""

_SLOTS_BITS = 20
_SLOTS = 1 << _SLOTS_BITS
_MASK = _SLOTS - 1
_LARGEST_LEVEL = 255


class Limits:
    """A bucket for each token: so many requests at once, leaking evenly so many in an hour.

    The levels lie in a table of fixed size (1 MB), each token's in two places, of which the lower
    counts: a token is refused for others' sake only if both its places are full by their doing. Which
    tokens share a place differs from process to process and cannot be known outside.
    """

    def __init__(
        self,
        at_once: int = AT_ONCE,
        per_hour: int = PER_HOUR,
        *,
        ticking: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with all buckets empty.

        Args:
            at_once: 255 at most.
        """
        if not 0 < at_once <= _LARGEST_LEVEL:
            raise ValueError("a bucket holds 1 to 255 requests")
        self._ticking = ticking
        self._most = at_once
        self._levels = bytearray(_SLOTS)
        self._leak_seconds = 3600 / per_hour
        self._leaks_at = ticking() + self._leak_seconds

    def allow(self, token_key: str | bytes, *, cost: int = 1) -> bool:
        """Whether this request is within the limit; it is counted only if it is."""
        if self._ticking() >= self._leaks_at:
            self._leak()
        levels, mixed = self._levels, hash(token_key)
        one, two = mixed & _MASK, mixed >> _SLOTS_BITS & _MASK
        first, second = levels[one], levels[two]
        level = (first if first < second else second) + cost  # noqa: FURB136 - min() costs as much as all
        if level > self._most:
            return False
        if first < level:
            levels[one] = level
        if second < level:
            levels[two] = level
        return True

    def _leak(self) -> None:
        """Lower all levels by what has leaked since the last time; a millisecond, every few seconds."""
        late = self._ticking() - self._leaks_at
        steps = min(1 + int(late / self._leak_seconds), _LARGEST_LEVEL + 1)
        lowered = bytes(max(0, level - steps) for level in range(_LARGEST_LEVEL + 1))
        self._levels = self._levels.translate(lowered)
        self._leaks_at += self._leak_seconds * (1 + int(late / self._leak_seconds))

    def forget(self, token_key: str | bytes) -> None:
        """Empty a token's bucket; a token that shares a place with it may send a few more, too."""
        mixed = hash(token_key)
        self._levels[mixed & _MASK] = self._levels[mixed >> _SLOTS_BITS & _MASK] = 0

    @property
    def retry_seconds(self) -> int:
        """After how many seconds one more request is allowed for a token at its limit."""
        return math.ceil(self._leak_seconds)


class Load:
    """How many requests one process takes on in a second, whoever they come from."""

    def __init__(self, per_second: int, *, ticking: Callable[[], float] = time.monotonic) -> None:
        self._ticking = ticking
        self._per_second = per_second
        self._second = 0
        self._left = per_second

    def take(self) -> bool:
        """Whether one more is taken on."""
        second = int(self._ticking())
        if second != self._second:
            self._second, self._left = second, self._per_second
        self._left -= 1
        return self._left >= 0


def is_somebodys(token: str) -> bool:
    """Whether a token names one delivery, as it is written; nobody's ends in ``-0`` and the tag."""
    return token[-TAG_CHARACTERS - 2 : -TAG_CHARACTERS] != "-0"
