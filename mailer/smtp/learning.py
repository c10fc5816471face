"""How fast a domain takes letters, learned from its answers: the rule alone, without clock or Redis."""

from dataclasses import dataclass

WINDOW_SECONDS = 1.0
"""Answers are counted for about so long before they are judged."""
SLOWEST = 0.1
"""Letters per second: no limit is learned below this, or nothing would ever be heard again."""
_JUST_ABOUT = 0.95 * WINDOW_SECONDS
_ENOUGH_ANSWERS = 10
_LONGEST_SECONDS = 5.0
_FLOOD = 20
_FLOOD_SECONDS = 0.2
_MILD_SHARE = 0.1
_MANY = 2
_NOISE_SHARE = 0.02
_STEP_BACK = 0.95
_DEEPEST_CUT = 0.25
_GROWTH = 1.1
_FORGET_AT = 8.0


@dataclass(frozen=True, slots=True)
class Window:
    """What a domain answered within some seconds."""

    accepted: int
    throttled: int
    seconds: float

    @property
    def answers(self) -> int:
        """All that were counted."""
        return self.accepted + self.throttled

    def add(self, later: "Window") -> "Window":
        """Both together."""
        return Window(
            self.accepted + later.accepted,
            self.throttled + later.throttled,
            self.seconds + later.seconds,
        )


@dataclass(frozen=True, slots=True)
class Limit:
    """A learned limit, in letters per second."""

    rate: float
    first: float
    """How fast letters went when the domain first throttled."""


def is_telling(window: Window, limit: Limit | None) -> bool:
    """Whether a window has seen enough to be judged.

    A clean one after a second. One with a throttling answer waits for ten answers, at most five
    seconds: at one letter a second a single refusal would look like a wall. A domain that has no
    limit yet and refuses in floods is judged at once.
    """
    if limit is None and window.throttled >= _FLOOD and window.throttled > window.accepted:
        return window.seconds >= _FLOOD_SECONDS
    if window.seconds < _JUST_ABOUT:
        return False
    return (
        not window.throttled or window.answers >= _ENOUGH_ANSWERS or window.seconds >= _LONGEST_SECONDS
    )


def relearn(limit: Limit | None, window: Window, *, ceiling: float | None) -> Limit | None:
    """The limit after a window that is telling; None: there is none, or no longer.

    Few throttling answers take a twentieth off, and so does a single one, however few the answers: by
    one in a hundred, some ten answers hold one by chance. Many take their share off, but leave what was
    really accepted, and a quarter at least. Without any, the limit grows by a tenth per second in which
    letters were accepted, until it is forgotten: at the configured ceiling, or far above the rate that
    was throttled first. One or two in a hundred only slow that growth: a big receiver always refuses a
    few, and at a thousand letters a second no window is ever clean.

    Args:
        ceiling: the configured letters per second, if any.
    """
    observed = window.answers / window.seconds
    share = window.throttled / max(1, window.answers)
    if share < _NOISE_SHARE:
        if limit is None or not window.accepted:
            return limit
        growing = min(window.seconds, 2 * WINDOW_SECONDS) * (1 - share / _NOISE_SHARE)
        rate = limit.rate * _GROWTH**growing
        enough = ceiling if ceiling is not None else limit.first * _FORGET_AT
        return Limit(rate, limit.first) if rate <= enough else None
    first = limit.first if limit is not None else observed
    present = limit.rate if limit is not None else ceiling or observed
    if share < _MILD_SHARE or window.throttled < _MANY:
        rate = present * _STEP_BACK
    else:
        rate = max(window.accepted / window.seconds, present * max(1 - share, _DEEPEST_CUT))
    if ceiling is not None:
        rate = min(rate, ceiling)
    return Limit(max(rate, SLOWEST if ceiling is None else min(SLOWEST, ceiling)), first)
