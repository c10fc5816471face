"""Two accounts of the same letters laid side by side: the sink's and the ledger's."""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mailer.embedded.mailstore import Kept
from mailer.smtp.envelope import ascii_domain

_LEFT_SENT = frozenset({"sent", "bounced", "complained"})
"""A letter that bounced by a message afterwards had been accepted."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the two accounts agree on, and where they do not."""

    accepted: int
    """Letters the sink acknowledged."""
    sent: int
    """Letters the ledger holds for sent."""
    uncertain: int
    """Letters of which the ledger says that nobody can know."""
    problems: tuple[str, ...]


def read_ledger(path: Path) -> list[dict[str, str]]:
    """The rows of `mailer campaign ledger`."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def compare(kept: Sequence[Kept], rows: Iterable[dict[str, str]]) -> Comparison:
    """Whether every letter the ledger holds for sent arrived exactly once, and no other did."""
    arrived = Counter((each.message_id.strip("<>"), _key(each.recipient)) for each in kept)
    twice = sum(1 for times in arrived.values() if times > 1)
    problems = [f"{twice} letters arrived more than once"] if twice else []
    states: Counter[str] = Counter()
    lost = wrong = explained = 0
    for row in rows:
        states[row["state"]] += 1
        letter = (row["message_id"].strip("<>"), _key(row["recipient"]))
        here = letter in arrived
        explained += here
        lost += row["state"] == "sent" and not here
        wrong += here and row["state"] not in _LEFT_SENT and row["state"] != "uncertain"
    if lost:
        problems.append(f"{lost} letters are sent in the ledger and never arrived")
    if wrong:
        problems.append(f"{wrong} letters arrived and are not sent in the ledger")
    if explained != len(arrived):
        problems.append(f"{len(arrived) - explained} letters arrived that no ledger knows")
    return Comparison(len(kept), states["sent"], states["uncertain"], tuple(problems))


def _key(address: str) -> str:
    """The address in one spelling, its domain as it goes over the wire (RFC 5890)."""
    try:
        return ascii_domain(address.removeprefix("'")).casefold()
    except UnicodeError:
        return address.casefold()
