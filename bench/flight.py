"""One campaign in the air: queued, watched until its last letter has left, and counted."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from stage import SENDER, Look, Stage, StageFailed

OURS = SENDER.partition("@")[2]
"""In the envelope's sender of every letter of the product."""
_LOOK_SECONDS = 0.01
_PATIENCE_SECONDS = 120.0
"""So long nothing may arrive before the campaign counts as stuck."""

Meter = Callable[[], Mapping[str, float]]
"""Reads something that grows, by name."""


@dataclass(frozen=True, slots=True)
class Flight:
    """How a campaign left."""

    letters: int
    seconds: float
    """From the commit that queued it until its last batch was done."""
    queue_seconds: float
    """What the queueing command took up to that commit."""
    used: dict[str, float] = field(default_factory=dict)
    """What the meter counted between the two."""
    began_at: float = 0.0
    """That commit, in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One letter as the sink recorded it."""

    at: float
    """Seconds since the epoch."""
    recipient: str
    size: int


def fly(stage: Stage, name: str, *, meter: Meter = dict, look_seconds: float = _LOOK_SECONDS) -> Flight:
    """Queue one campaign to everybody and wait until all of it was sent.

    Args:
        meter: read at the commit and at the end.
        look_seconds: how often to look into the database.

    Raises:
        StageFailed: a letter was not sent, or the sink did not take each once.
    """
    stage.create_campaign(name)
    before = count_letters(stage.record, OURS)
    with stage.looking() as look:
        asked_at = time.perf_counter()
        queueing = _begin_queueing(stage, name)
        number, audience = _wait_until_queued(look, queueing, name)
        began_at = time.time()
        began, first = time.perf_counter(), meter()
        while not look.is_over(number):
            if time.time() - max(stage.record.stat().st_mtime, began_at) > _PATIENCE_SECONDS:
                raise StageFailed(f"{name} stands still:\n{stage.tail('worker')}")
            time.sleep(look_seconds)
        seconds, last = time.perf_counter() - began, meter()
        queueing.wait()
        states = look.states(number)
    arrived = count_letters(stage.record, OURS) - before
    if states != {"sent": audience} or arrived != audience:
        raise StageFailed(f"of {audience} letters {arrived} arrived; the ledger says {states}")
    used = {each: last[each] - first[each] for each in last}
    return Flight(audience, seconds, began - asked_at, used, began_at)


def arrivals(record: Path, sender: str = OURS) -> Iterator[Arrival]:
    """The letters in the sink's record whose envelope's sender holds this text, in order."""
    if not record.exists():
        return
    with record.open(encoding="utf-8", newline="\n") as file:
        names = file.readline().rstrip("\n").split("\t")
        at, to, by, size = (names.index(name) for name in ("received_at", "recipient", "sender", "size"))
        for line in file:
            cells = line.rstrip("\n").split("\t")
            if line.endswith("\n") and sender in cells[by]:
                moment = datetime.fromisoformat(cells[at]).timestamp()
                yield Arrival(moment, cells[to], int(cells[size]))


def count_letters(record: Path, sender: str) -> int:
    """How many letters the sink has from this sender, cheaper than reading them."""
    if not record.exists():
        return 0
    with record.open("rb") as file:
        return sum(line.endswith(b"\n") and sender.encode() in line.split(b"\t")[3] for line in file)


def _begin_queueing(stage: Stage, name: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "mailer.cli", "campaign", "queue", name, "--yes"]
    with (stage.folder / "queue.log").open("ab") as log:
        return subprocess.Popen(
            command,
            env=stage.environment,
            cwd=stage.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _wait_until_queued(look: Look, queueing: "subprocess.Popen[bytes]", name: str) -> tuple[int, int]:
    """Wait until the commit that queues a campaign is seen; return its id and audience."""
    while True:
        number, state, audience = look.campaign(name)
        if state != "draft":
            return number, audience
        if queueing.poll() not in {None, 0}:
            raise StageFailed(f"mailer campaign queue ended with exit code {queueing.returncode}")
        time.sleep(_LOOK_SECONDS)
