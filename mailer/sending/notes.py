"""What a worker notes in its journal: a line before each final dot, a line after each reply."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime

from mailer.campaigns.ledger import Outcome
from mailer.campaigns.models import DeliveryState

NO_NOTE = "its worker died before the reply to the final dot was noted"


def note_dot(batch_id: int, fence: int, position: int, relay: str) -> str:
    """The line that says: the final dot of this letter leaves now."""
    return json.dumps(["dot", batch_id, fence, position, relay])


def note_outcome(batch_id: int, fence: int, outcome: Outcome) -> str:
    """The line that says what became of a letter."""
    kept = asdict(outcome)
    kept["due_at"] = outcome.due_at.isoformat() if outcome.due_at else None
    return json.dumps(["outcome", batch_id, fence, outcome.position, kept], ensure_ascii=False)


def read_notes(lines: Iterable[str], batch_id: int, fence: int) -> dict[int, Outcome]:
    """What the notes say of one claim, by position.

    A letter whose dot is noted and whose outcome is not is ``uncertain``; one of which nothing is
    noted was not sent and is not in the result.
    """
    outcomes: dict[int, Outcome] = {}
    for line in lines:
        what, *names, position, told = json.loads(line)
        if names != [batch_id, fence]:
            continue
        if what == "dot":
            outcomes[position] = Outcome(position, DeliveryState.UNCERTAIN, relay=told, reason=NO_NOTE)
        else:
            outcomes[position] = _outcome(told)
    return outcomes


def _outcome(told: dict[str, object]) -> Outcome:
    due_at = told["due_at"]
    return Outcome(
        **{
            **told,
            "state": DeliveryState(str(told["state"])),
            "due_at": datetime.fromisoformat(str(due_at)) if due_at else None,
        }  # type: ignore[arg-type]
    )
