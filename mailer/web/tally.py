"""How many requests of each kind this process answered, and how."""

from collections import Counter

_KINDS = {
    "o": "open",
    "c": "click",
    "u": "unsubscribe",
    "v": "view",
    "p": "pass_on",
    "r": "remind",
    "t": "register",
    "a": "attend",
    "startpakke": "pack",
    "startpakke.pdf": "pack",
    "principper": "principles",
    "events": "events",
    "events.ics": "events",
    "static": "static",
    "staff": "staff",
    "health": "health",
    "metrics": "metrics",
    "": "home",
}
OTHER = "other"
"""What leads to no page; as few kinds as there are here, whatever anybody asks for."""


class Tally:
    """Counts of this process since it began, for ``/metrics``."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        """By kind and status."""
        self.unnoted = 0
        """Opens and clicks of tokens over their limit: answered, and left out of the log."""
        self.deeds: Counter[str] = Counter()
        """Forms that were sent and kept, by kind."""

    def answered(self, kind: str, status: int) -> None:
        """Count one answer."""
        self.answers[kind, status] += 1

    def done(self, kind: str) -> None:
        """Count a form that was sent and kept."""
        self.deeds[kind] += 1


def kind_of(path: str) -> str:
    """What kind of page a path leads to."""
    return _KINDS.get(path[1:].split("/", 1)[0], OTHER)
