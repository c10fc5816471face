"""Lays three accounts of the same campaign side by side: the sink's, the ledger's and the journals'.

It knows nothing of the product but three files, read as text: the sink's ``letters.tsv``, the CSV of
``mailer campaign ledger`` (row k is position k), and copies of the journals of killed processes, in
which ``d BATCH FENCE POSITION`` says that a final dot left and ``s``, ``o`` or ``w`` what was heard.
"""

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

UNDECIDED = frozenset({"pending", "claimed", "deferred"})
ACCEPTED = frozenset({"sent", "bounced", "complained"})
"""A letter that bounced by a message afterwards had been accepted."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the ledger."""

    recipient: str
    message_id: str
    state: str


@dataclass(slots=True)
class Account:
    """What the comparison found; ``problems`` is empty if every letter is accounted for."""

    recipients: int = 0
    arrived: int = 0
    """Letters the sink took, counted once each."""
    lost: int = 0
    """Sent by the ledger, unknown to the sink; or never decided."""
    twice: int = 0
    """Letters that arrived more than once, and recipients who got more than one."""
    unexplained: int = 0
    """Letters that arrived though the ledger says they did not leave, or that no ledger knows."""
    uncertain: int = 0
    uncertain_arrived: int = 0
    """Of the uncertain ones, those the sink has."""
    in_flight: int = 0
    """Letters whose dot stands in a dead process's journal without a reply."""
    uncertain_without_dot: int = 0
    """Uncertain letters of which no such journal speaks: nothing but a lost reply may cause one."""
    in_flight_decided: int = 0
    """Letters in flight at a kill that the ledger does not hold for uncertain."""
    states: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_ledger(path: Path) -> list[Row]:
    """The ledger's rows in order of position."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [
            Row(spelled(each["recipient"]), each["message_id"].strip("<>"), each["state"])
            for each in csv.DictReader(file)
        ]


def read_letters(path: Path, sender: str | None = None, *, skip: int = 0) -> list[tuple[str, str]]:
    """Recipient and Message-ID of every letter the sink took.

    Args:
        sender: a part of the envelope's sender that others lack; None counts every letter.
        skip: how many letters of the record belong to earlier campaigns.
    """
    found = []
    with path.open(encoding="utf-8", newline="\n") as file:
        names = file.readline().rstrip("\n").split("\t")
        to, letter_id, by = (names.index(name) for name in ("recipient", "message_id", "sender"))
        for line in islice(file, skip, None):
            if not line.endswith("\n"):
                break  # being written
            cells = line.rstrip("\n").split("\t")
            if sender is None or sender in cells[by]:
                found.append((spelled(cells[to]), cells[letter_id].strip("<>")))
    return found


def in_flight(journal: Path) -> set[int]:
    """Positions whose dot is noted in a journal and nothing after it.

    A line cut short by the kill is no line. An outcome noted without a dot (a refused recipient) or
    taken back counts as heard of.
    """
    out: set[tuple[str, str, int]] = set()
    for line in journal.read_bytes().split(b"\n")[:-1]:
        what, batch, fence, position, *_ = line.decode("utf-8", "replace").split(" ")
        letter = (batch, fence, int(position))
        if what == "d":
            out.add(letter)
        elif what in {"s", "o", "w"}:
            out.discard(letter)
        else:
            raise ValueError(f"{journal.name}: a line of an unknown kind: {what!r}")
    return {position for _, _, position in out}


def compare(
    rows: Sequence[Row],
    letters: Iterable[tuple[str, str]],
    journals: Sequence[Path] | None = None,
    *,
    most_uncertain: int = 0,
) -> Account:
    """Hold the accounts against each other.

    Args:
        journals: copies of the journals of killed processes; None leaves that check out, where letters
            may be uncertain for another reason (a relay that broke off).
        most_uncertain: how many letters the faults of the run may have left uncertain.
    """
    arrived = Counter(letters)
    by_id = {row.message_id: row for row in rows}
    account = Account(len(rows), len(arrived), states=dict(Counter(row.state for row in rows)))
    account.uncertain = account.states.get("uncertain", 0)
    for row in rows:
        here = (row.recipient, row.message_id) in arrived
        account.lost += (row.state in ACCEPTED and not here) or row.state in UNDECIDED
        account.unexplained += here and row.state not in ACCEPTED and row.state != "uncertain"
        account.uncertain_arrived += here and row.state == "uncertain"
    for (recipient, message_id), times in arrived.items():
        account.twice += times > 1
        known = by_id.get(message_id)
        account.unexplained += known is None or known.recipient != recipient
    account.twice += sum(1 for times in Counter(to for to, _ in arrived).values() if times > 1)
    if len(by_id) != len(rows):
        account.problems.append(
            f"{len(rows) - len(by_id)} Message-IDs stand in the ledger more than once"
        )
    if journals is not None:
        flying = set().union(*(in_flight(path) for path in journals))
        uncertain = {number for number, row in enumerate(rows, start=1) if row.state == "uncertain"}
        account.in_flight = len(flying)
        account.uncertain_without_dot = len(uncertain - flying)
        account.in_flight_decided = len(flying - uncertain)
    for wrong in ("lost", "twice", "unexplained", "uncertain_without_dot", "in_flight_decided"):
        if count := getattr(account, wrong):
            account.problems.append(f"{count} {wrong.replace('_', ' ')}")
    if account.uncertain > most_uncertain:
        account.problems.append(
            f"{account.uncertain} uncertain, where {most_uncertain} could be explained"
        )
    return account


def spelled(address: str) -> str:
    """An address in one spelling: no guard against spreadsheets, the domain as in DNS (RFC 5890)."""
    local, at, domain = address.removeprefix("'").rpartition("@")
    return f"{local}{at}{domain.encode('idna').decode('ascii')}".casefold()


def main() -> None:
    """Compare the files named on the command line; exit 1 if a letter is not accounted for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("letters", type=Path, help="the sink's letters.tsv")
    parser.add_argument("ledger", type=Path, help="the CSV of  mailer campaign ledger")
    parser.add_argument("--journal", type=Path, action="append", help="copy of a dead process's journal")
    parser.add_argument("--most-uncertain", type=int, default=0)
    asked = parser.parse_args()
    account = compare(
        read_ledger(asked.ledger),
        read_letters(asked.letters),
        asked.journal,
        most_uncertain=asked.most_uncertain,
    )
    sys.stdout.write(json.dumps(asdict(account), indent=2) + "\n")
    sys.exit(1 if account.problems else 0)


if __name__ == "__main__":
    main()
