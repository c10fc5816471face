"""What a worker notes in its journal: a line before each final dot, a line after each reply.

```
d BATCH FENCE POSITION RELAY                   the final dot of this letter leaves now
s BATCH FENCE POSITION RELAY CODE ENHANCED     the relay took it (ENHANCED is - where there is none)
o BATCH FENCE POSITION {...}                   any other outcome, as JSON
w BATCH FENCE POSITION                         what was noted of it does not count: it was not sent
```
"""

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from itertools import chain

from mailer.campaigns.ledger import Outcome
from mailer.campaigns.models import Batch, DeliveryState
from mailer.foundation.journal import Journal
from mailer.sending.outcomes import uncertain
from mailer.smtp.replies import Reply

NO_NOTE = "its worker died before the reply to the final dot was noted"
_NO_CODE = "-"


class Notes:
    """The notes of one claim; what is flushed survives a kill of the process."""

    def __init__(self, journal: Journal, batch: Batch) -> None:
        self._journal = journal
        self._claim = f"{batch.id} {batch.fence}"
        self._lines: list[str] = []

    def dot(self, position: int, relay: str) -> None:
        """The final dot of this letter leaves with the next flush."""
        self._lines.append(f"d {self._claim} {position} {relay}")

    def taken(self, position: int, relay: str, reply: Reply) -> None:
        """A relay took the letter."""
        self._lines.append(
            f"s {self._claim} {position} {relay} {reply.code} {reply.enhanced_code or _NO_CODE}"
        )

    def outcome(self, outcome: Outcome) -> None:
        """What became of a letter otherwise."""
        kept = asdict(outcome) | {"due_at": outcome.due_at.isoformat() if outcome.due_at else None}
        told = json.dumps(kept, ensure_ascii=False)
        self._lines.append(f"o {self._claim} {outcome.position} {told}")

    def withdrawn(self, position: int) -> None:
        """What was noted of the letter does not count."""
        self._lines.append(f"w {self._claim} {position}")

    def flush(self) -> None:
        """Write what was noted, in one write."""
        if self._lines:
            self._journal.write("\n".join(self._lines))
            self._lines.clear()


def read_notes(lines: Iterable[str], batch_id: int, fence: int) -> dict[int, Outcome]:
    """What the notes say of one claim, by position.

    A letter whose dot is noted and whose outcome is not is ``uncertain``; one of which nothing is
    noted was not sent and is not in the result. Nor are the last bounces of a relay that said the same
    of them and took nothing since: it may have been its own fault, and who was refused got nothing.
    """
    outcomes: dict[int, Outcome] = {}
    bounces: dict[str, list[Outcome]] = {}
    """By relay: the last, all alike."""
    claim = [str(batch_id), str(fence)]
    for line in lines:
        what, *names, number, told = f"{line} ".split(" ", 4)
        if names != claim:
            continue
        position, told = int(number), told.rstrip(" ")
        match what:
            case "d":
                outcomes[position] = uncertain(position, told, NO_NOTE)
            case "s":
                relay, code, enhanced = told.split(" ")
                bounces.pop(relay, None)
                outcomes[position] = Outcome(
                    position,
                    DeliveryState.SENT,
                    relay,
                    int(code),
                    None if enhanced == _NO_CODE else enhanced,
                )
            case "o":
                outcome = outcomes[position] = _outcome(json.loads(told))
                if outcome.relay is not None and outcome.code is not None:
                    _add_bounce(bounces.setdefault(outcome.relay, []), outcome)
            case "w":
                outcomes.pop(position, None)
    for bounce in chain.from_iterable(bounces.values()):
        if outcomes.get(bounce.position) is bounce:
            del outcomes[bounce.position]
    return outcomes


def _add_bounce(alike: list[Outcome], outcome: Outcome) -> None:
    """Add what a relay said to its last bounces; if it is something else, these are theirs."""
    if alike and (alike[0].code, alike[0].enhanced_code) != (outcome.code, outcome.enhanced_code):
        alike.clear()
    if outcome.state is DeliveryState.BOUNCED:
        alike.append(outcome)


def _outcome(told: dict[str, object]) -> Outcome:
    due_at = told["due_at"]
    return Outcome(
        **{
            **told,
            "state": DeliveryState(str(told["state"])),
            "due_at": datetime.fromisoformat(str(due_at)) if due_at else None,
        }  # type: ignore[arg-type]
    )
