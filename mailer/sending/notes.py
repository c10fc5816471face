"""What a worker notes in its journal: a line before each final dot, a line after each reply.

```
d BATCH FENCE POSITION RELAY                   the final dot of this letter leaves now
s BATCH FENCE POSITION RELAY CODE ENHANCED     the relay took it (ENHANCED is - where there is none)
o BATCH FENCE POSITION {...}                   any other outcome, as JSON in ASCII
w BATCH FENCE POSITION                         what was noted of it does not count: it was not sent
```
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import chain

from mailer.campaigns.ledger import Outcome
from mailer.campaigns.models import Batch, DeliveryState
from mailer.foundation.journal import Journal
from mailer.sending.outcomes import uncertain
from mailer.smtp.replies import Reply

NO_NOTE = "its worker died before the reply to the final dot was noted"
_NO_CODE = "-"
_DOT = "d "
_LINE = re.compile(r"([dsow]) (\d+) (\d+) (\d+)(?: (.+))?", re.ASCII)


class Notes:
    """The notes of one claim; what is flushed survives a kill of the process."""

    def __init__(self, journal: Journal, batch: Batch) -> None:
        self._journal = journal
        self._claim = f"{batch.id} {batch.fence}"
        self._lines: list[str] = []

    def dot(self, position: int, relay: str) -> None:
        """The final dot of this letter leaves after the next flush, and only if that succeeds."""
        self._lines.append(f"{_DOT}{self._claim} {position} {relay}")

    def taken(self, position: int, relay: str, reply: Reply) -> None:
        """A relay took the letter."""
        self._lines.append(
            f"s {self._claim} {position} {relay} {reply.code} {reply.enhanced_code or _NO_CODE}"
        )

    def outcome(self, outcome: Outcome) -> None:
        """What became of a letter otherwise."""
        kept = asdict(outcome) | {"due_at": outcome.due_at.isoformat() if outcome.due_at else None}
        self._lines.append(f"o {self._claim} {outcome.position} {json.dumps(kept)}")

    def withdrawn(self, position: int) -> None:
        """What was noted of the letter does not count."""
        self._lines.append(f"w {self._claim} {position}")

    def flush(self) -> None:
        """Write what was noted, in one write.

        After an error it is kept for the next flush, but for the dots: none of them has left, or will.
        """
        if self._lines:
            try:
                self._journal.write("\n".join(self._lines))
            except Exception:
                self._lines = [line for line in self._lines if not line.startswith(_DOT)]
                raise
            self._lines.clear()


@dataclass(frozen=True, slots=True)
class Told:
    """What the notes say of one claim."""

    outcomes: dict[int, Outcome]
    """By position."""
    unreadable: int
    """Lines that cannot be read: each may tell of the dot of any letter."""


def read_notes(lines: Iterable[str], batch_id: int, fence: int) -> Told:
    """What the notes say of one claim.

    A letter whose dot is noted and whose outcome is not is ``uncertain``; one of which nothing is
    noted was not sent and is not in the result. Nor are the last bounces of a relay that said the same
    of them and took nothing since: it may have been its own fault, and who was refused got nothing.
    """
    outcomes: dict[int, Outcome] = {}
    bounces: dict[str, list[Outcome]] = {}
    """By relay: the last, all alike."""
    unreadable = 0
    for line in lines:
        try:
            what, claim, position, told = _parse(line)
            if claim != (batch_id, fence):
                continue
            outcome = _READ[what](position, told)
        except (ValueError, TypeError, KeyError):
            unreadable += 1
            continue
        if outcome is None:
            outcomes.pop(position, None)
            continue
        outcomes[position] = outcome
        if what == "s":
            bounces.pop(str(outcome.relay), None)
        elif what == "o" and outcome.relay is not None and outcome.code is not None:
            _add_bounce(bounces.setdefault(outcome.relay, []), outcome)
    for bounce in chain.from_iterable(bounces.values()):
        if outcomes.get(bounce.position) is bounce:
            del outcomes[bounce.position]
    return Told(outcomes, unreadable)


def _add_bounce(alike: list[Outcome], outcome: Outcome) -> None:
    """Add what a relay said to its last bounces; if it is something else, these are theirs."""
    if alike and (alike[0].code, alike[0].enhanced_code) != (outcome.code, outcome.enhanced_code):
        alike.clear()
    if outcome.state is DeliveryState.BOUNCED:
        alike.append(outcome)


def _parse(line: str) -> tuple[str, tuple[int, int], int, str]:
    """What a line is, the batch and fence of its claim, the letter's position, and what it tells.

    Raises:
        ValueError: it is no line of ours.
    """
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError("no note")
    what, batch, fence, position, told = found.groups("")
    return what, (int(batch), int(fence)), int(position), told


def _read_dot(position: int, told: str) -> Outcome:
    (relay,) = told.split()
    return uncertain(position, relay, NO_NOTE)


def _read_taken(position: int, told: str) -> Outcome:
    relay, code, enhanced = told.split()
    enhanced_code = None if enhanced == _NO_CODE else enhanced
    return Outcome(position, DeliveryState.SENT, relay, int(code), enhanced_code)


def _read_outcome(position: int, told: str) -> Outcome:
    kept = json.loads(told)
    due_at = kept["due_at"]
    outcome = Outcome(
        **{
            **kept,
            "state": DeliveryState(kept["state"]),
            "due_at": datetime.fromisoformat(due_at) if due_at else None,
        }
    )
    if outcome.position != position:
        raise ValueError("it tells of another letter")
    return outcome


def _read_withdrawn(_position: int, told: str) -> None:
    if told:
        raise ValueError("nothing is told of what does not count")


_READ: dict[str, Callable[[int, str], Outcome | None]] = {
    "d": _read_dot,
    "s": _read_taken,
    "o": _read_outcome,
    "w": _read_withdrawn,
}
"""What each line tells; ValueError, TypeError or KeyError if it cannot be read."""
