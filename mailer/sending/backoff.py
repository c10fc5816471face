"""When a letter that was refused for now is offered again."""

import random
from datetime import datetime, timedelta

_MINUTES = (1, 5, 15, 60, 120, 240, 480)
_GIVE_UP_AFTER = timedelta(hours=72)
_JITTER = 0.2


def next_attempt(attempts: int) -> timedelta:
    """How long to wait after so many earlier attempts: longer each time, and never all at once."""
    minutes = _MINUTES[min(attempts, len(_MINUTES) - 1)]
    return timedelta(minutes=minutes * random.uniform(1, 1 + _JITTER))  # noqa: S311 - no secret


def tried_long_enough(first_deferred_at: datetime | None, *, now: datetime) -> bool:
    """Whether a further refusal is a soft bounce (RFC 5321 §4.5.4.1 asks for days of trying)."""
    return first_deferred_at is not None and now - first_deferred_at > _GIVE_UP_AFTER
