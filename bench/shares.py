"""What a letter costs in CPU, by who spends it, and the share of its account.

CPU is read from /proc for each whole tree of processes (worker, PostgreSQL, Redis, Beat, sink), from the
commit that queues a campaign until its last batch is done; nothing is instrumented meanwhile. The
account (claims, journal, finalising) is then bounded twice:

at most: what the worker's processes use beyond a bare sender, one process that writes and sends as many
    such letters through the same pool to the same sink, but takes them from a list and keeps no account;
    so Celery, reading the recipients and the pace count as account. All of PostgreSQL is added.
by stopwatch: a worker with timers around every transaction and every journal call (``timed.py``), in a
    campaign of its own: writing transactions and journal, plus all of PostgreSQL. Reading the recipients
    is shown apart. The timers cost something themselves, so this too is rather too much.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NoReturn

from flight import fly
from letters import prepare
from measuring import begin_measurement, cpu_meter, options
from stage import Stage, StageFailed, open_stage, people

from mailer.sending.addressees import Addressee
from mailer.sending.frozen import CampaignLetter
from mailer.sending.letters import LetterTools
from mailer.sending.writer import LetterWriter
from mailer.smtp.envelope import Mail
from mailer.smtp.pool import RelayPool
from mailer.smtp.relays import Relay, parse_relay
from mailer.smtp.replies import Reply, ReplyClass

_DISTINCT_PEOPLE = 10_000
_LOOK_SECONDS = 0.1


class BareFeed:
    """Letters from a list, written as they go, and no account of them."""

    def __init__(self, writer: LetterWriter, to: Iterator[Addressee]) -> None:
        self._writer = writer
        self._to = to
        self.sent = 0

    def next_mail(self, relay: Relay) -> Mail | None:
        """The next letter."""
        del relay
        to = next(self._to, None)
        return None if to is None else self._writer.write(to)

    def wait_seconds(self) -> float | None:
        """No more will come."""
        return None

    def dot_leaves(self, mail: Mail, relay: Relay) -> bool:
        """It may leave."""
        del mail, relay
        return True

    def flush(self) -> None:
        """Nothing is noted."""

    def answered(self, mail: Mail, relay: Relay, reply: Reply) -> None:
        """Count what was taken."""
        del mail, relay
        self.sent += reply.kind is ReplyClass.ACCEPTED

    def _void(self, *what: Any, **more: Any) -> NoReturn:
        """The measurement is void."""
        raise StageFailed(f"the sink did not take a letter: {what[2:]} {more}")

    not_sent = unfit = spared = lost_after_dot = withdrawn = _void


def main() -> None:
    """Print microseconds of CPU a letter by share, and the account's share in percent."""
    parser = options(__doc__, letters=50_000)
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    asked = parser.parse_args()
    measurement = begin_measurement("shares", asked)
    with open_stage(asked.database) as stage:
        stage.start_sink()
        imported = stage.import_people(people(asked.letters, seed=asked.seed))
        folder = stage.folder / "bare"
        folder.mkdir()
        prepared = prepare(folder, min(imported, _DISTINCT_PEOPLE))
        for number in range(asked.rounds):
            costs = _whole_way(stage, f"plain{number}", "worker")
            bare = _bare_sender(stage, imported, prepared)
            timed = _stopwatch(stage, f"timed{number}")
            sender = sum(costs[who] for who in ("worker", "database", "redis"))
            account = max(0.0, costs["worker"] - bare) + costs["database"]
            noted = timed["claim_and_finalise"] + timed["journal"] + costs["database"]
            measurement.add_round(
                **{f"{who}_us": cost for who, cost in costs.items()},
                bare_sender_us=bare,
                read_batch_us=timed["read_batch"],
                claim_and_finalise_us=timed["claim_and_finalise"],
                journal_us=timed["journal"],
                account_percent_at_most=100 * account / sender,
                account_percent_by_stopwatch=100 * noted / sender,
            )
    measurement.finish(**{name: measurement.spread(name) for name in measurement.rounds[0]})


def _whole_way(stage: Stage, name: str, app: str) -> dict[str, float]:
    """Microseconds of CPU a letter of an end-to-end run, by who spends them."""
    worker = stage.start_worker(app)
    scheduler = stage.start_scheduler()
    meter = cpu_meter(
        worker=worker.pid,
        redis=stage.programs["redis"].pid,
        scheduler=scheduler.pid,
        sink=stage.programs["sink"].pid,
        **({"database": stage.postgres.pid} if stage.postgres else {}),
    )
    flight = fly(stage, name, meter=meter, look_seconds=_LOOK_SECONDS)
    stage.end("scheduler")
    stage.end("worker")
    return {"database": 0.0} | {who: 1e6 * used / flight.letters for who, used in flight.used.items()}


def _bare_sender(
    stage: Stage, letters: int, prepared: tuple[LetterTools, CampaignLetter, list[Addressee]]
) -> float:
    """Microseconds of CPU a letter of writing and sending alone, in this process.

    Compiling the letter's variants is in it, as in the worker.
    """
    tools, letter, to = prepared
    writer = LetterWriter(tools, letter)
    relay = parse_relay(f"smtp://127.0.0.1:{stage.sink_port}?starttls=never")

    async def send() -> int:
        pool = RelayPool([relay], greet_as="bare.example")
        feed = BareFeed(writer, islice(cycle(to), letters))
        await pool.send(feed)
        await pool.close()
        return feed.sent

    began = time.process_time()
    sent = asyncio.run(send())
    used = time.process_time() - began
    if sent != letters:
        raise StageFailed(f"the bare sender sent {sent} of {letters} letters")
    return 1e6 * used / letters


def _stopwatch(stage: Stage, name: str) -> dict[str, float]:
    """Microseconds of CPU a letter inside transactions and journal calls."""
    for path in stage.folder.glob("timed-*.json"):
        path.unlink()
    with stage.looking() as look:
        _whole_way(stage, name, "timed")
        letters = look.campaign(name)[2]
    sums: Counter[str] = Counter()
    for path in stage.folder.glob("timed-*.json"):
        sums.update(json.loads(Path(path).read_text()))
    if not sums:
        raise StageFailed("no process of the timed worker wrote its sums")
    names = ("read_batch", "claim_and_finalise", "journal")
    return {each: 1e6 * sums[each] / letters for each in names}


if __name__ == "__main__":
    main()
