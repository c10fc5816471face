"""When a letter that was refused for now is offered again."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import accumulate

_GIVE_UP_AFTER = timedelta(hours=72)
_JITTER = 0.2


def next_attempt(attempts: int, waits: Sequence[timedelta]) -> timedelta:
    """How long to wait after so many earlier attempts: longer each time, and never all at once."""
    wait = waits[min(attempts, len(waits) - 1)]
    return wait * random.uniform(1, 1 + _JITTER)  # noqa: S311 - no secret


def attempts_in(time: timedelta, waits: Sequence[timedelta]) -> int:
    """How many attempts these waits allow for in so much time."""
    return sum(at <= time for at in accumulate(waits))


def tried_long_enough(first_deferred_at: datetime | None, *, now: datetime) -> bool:
    """Whether a further refusal is a soft bounce (RFC 5321 §4.5.4.1 asks for days of trying)."""
    return first_deferred_at is not None and now - first_deferred_at > _GIVE_UP_AFTER
