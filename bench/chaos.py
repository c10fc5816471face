"""Kills workers, Redis' memory, PostgreSQL or the relay while a campaign leaves; counts every letter.

Run it with ``make chaos``. Each variant is a real campaign: real worker and Beat, a sink that takes its
time over each final dot, so that dots are out when the fault comes. Afterwards ``account.py``, which
knows nothing of the product, holds the sink's record against the ledger and the journals of the dead.
With ``--together`` the campaigns go to the same people, one after the other, on one stage.

kill      SIGKILL, to one pool process or to the Celery parent, whose processes the kernel then kills too
          (Celery asks for that: PR_SET_PDEATHSIG)
term      SIGTERM: a warm shutdown, ten seconds at most, nothing uncertain
flush     FLUSHALL: Redis forgets every task
doubles   every task is delivered twice
impatient the broker delivers a task again that is not done after two seconds
database  PostgreSQL is begun again, by turns orderly and as after a crash
relay     the relay is killed and begun again
"""

import argparse
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from account import Account, compare, in_flight, read_ledger, read_letters
from measuring import Measurement, begin_measurement, descendants, options, say
from stage import DatabaseKind, Stage, StageFailed, open_stage, people

VARIANTS = ("kill", "term", "flush", "doubles", "impatient", "database", "relay")
WORKERS = {"doubles": "doubling", "impatient": "impatient"}
"""Worker modules beside this file that change the shipped one."""
_IN_FLIGHT = frozenset({"kill", "term", "flush"})
"""Variants whose blows are meant to fall while dots are out."""
_RECEIVED = re.compile(r"\[([0-9a-f-]{36})\] received")
_LOOK_SECONDS = 0.005
_DOTS_SECONDS = 5.0
_FIRST, _LAST = 0.02, 0.96
"""Between these shares of the letters the faults come."""
_PARENT_SHARE = 0.4
"""Of the kills, those that hit the Celery parent."""
_TERM_SECONDS = 10.0
_WARM_SECONDS = 60.0
_LONG_ENOUGH_SECONDS = 12.0
"""For tasks that last longer than the patience of the variant impatient, which is two seconds."""
_DYING_SECONDS = 5.0
_ALL = 1 << 30


@dataclass(slots=True)
class Fault:
    """One blow: when it fell, whom it hit, and what was in flight."""

    what: str
    at_letter: int
    in_flight: int = 0
    """Letters whose dot was out in the processes that died."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Act:
    """One campaign to be played."""

    variant: str
    database: DatabaseKind
    seed: int
    letters: int


@dataclass(slots=True)
class Run:
    """One campaign under one kind of fault."""

    stage: Stage
    variant: str
    rng: random.Random
    letters: int
    limit_seconds: float
    campaign: str
    faults: list[Fault] = field(default_factory=list)
    copies: list[Path] = field(default_factory=list)
    restarts: int = 0
    letters_before: int = 0
    """In the sink's record, of the stage's earlier campaigns."""
    log_before: int = 0
    """Characters of the worker's log, likewise."""
    _counted: int = 0
    _size: int = 0

    def __post_init__(self) -> None:
        self.letters_before = max(0, self.arrived())
        self.log_before = len(self.stage.tail("worker", _ALL))

    def play(self, count: int) -> None:
        """Send the campaign with ``count`` faults at random moments of it, to its end.

        Raises:
            StageFailed: it did not end in time.
        """
        self.stage.create_campaign(self.campaign)
        self.stage.start_worker(self._app)
        if "scheduler" not in self.stage.programs:
            self.stage.start_scheduler()
        self.stage.run("campaign", "queue", self.campaign, "--yes")
        began = time.monotonic()
        moments = sorted(self.rng.uniform(_FIRST, _LAST) * self.letters for _ in range(count))
        while moments:
            self._keep_worker()
            self._watch_time(began)
            if self.arrived() >= moments[0] and self._is_sending():
                moments.pop(0)
                time.sleep(self.rng.uniform(0, 0.05))  # not in step with the record
                self._strike()
            time.sleep(_LOOK_SECONDS)
        self._wait_until_done(began)

    def arrived(self) -> int:
        """Letters of this campaign in the sink's record so far, read on from the last look."""
        with suppress(FileNotFoundError), self.stage.record.open("rb") as record:
            record.seek(self._size)
            more = record.read()
            self._size += len(more)
            self._counted += more.count(b"\n")
        return self._counted - 1 - self.letters_before

    def delivered_again(self) -> int:
        """How many tasks the worker's log shows as received more than once under one id."""
        log = self.stage.tail("worker", _ALL)[self.log_before :]
        return sum(1 for times in Counter(_RECEIVED.findall(log)).values() if times > 1)

    @property
    def _app(self) -> str:
        return WORKERS.get(self.variant, "worker")

    def _strike(self) -> None:
        blows: dict[str, Callable[[Fault], None]] = {
            "kill": self._kill,
            "term": self._terminate,
            "flush": self._flush,
            "database": self._restart_database,
            "relay": self._restart_relay,
        }
        fault = Fault(self.variant, self.arrived())
        began = time.monotonic()
        blows[self.variant](fault)
        fault.seconds = round(time.monotonic() - began, 2)
        self.faults.append(fault)
        number = len(self.faults)
        say(f"    {number:3} {fault.what}, letter {fault.at_letter}, in flight {fault.in_flight}")

    def _kill(self, fault: Fault) -> None:
        """SIGKILL a pool process with an open journal, or the Celery parent; keep what they noted."""
        senders = self._senders()
        everybody = self.rng.random() < _PARENT_SHARE
        fault.what = "Celery parent" if everybody else "pool process"
        victims = senders if everybody else [self.rng.choice(senders)]
        kept = [(path, os.open(path, os.O_RDONLY)) for pid in victims for path in _journals_of(pid)]
        with suppress(ProcessLookupError):
            os.kill(self.stage.programs["worker"].pid if everybody else victims[0], signal.SIGKILL)
        for pid in victims:
            _wait_until_gone(pid)
        fault.in_flight = sum(self._copy(path, descriptor) for path, descriptor in kept)

    def _terminate(self, fault: Fault) -> None:
        fault.in_flight = self._wait_for_dots()
        fault.seconds = self.stage.end("worker", grace_seconds=_WARM_SECONDS)
        fault.what = f"SIGTERM ({fault.seconds:.1f} s)"
        if fault.seconds > _TERM_SECONDS:
            fault.what += ", too slow"

    def _flush(self, fault: Fault) -> None:
        fault.in_flight = self._wait_for_dots()
        with self.stage.redis() as client:
            keys = client.dbsize()
            client.flushall()
        fault.what = f"FLUSHALL of {keys} keys"

    def _restart_database(self, fault: Fault) -> None:
        assert self.stage.postgres is not None
        crash = len(self.faults) % 2 == 0
        fault.what = "database crash" if crash else "database restart"
        self.stage.postgres.restart("immediate" if crash else "fast")

    def _restart_relay(self, fault: Fault) -> None:
        fault.what = "relay killed"
        program = self.stage.programs.pop("sink")
        os.kill(program.pid, signal.SIGKILL)
        program.child.wait()
        self.stage.start("sink", program.service)

    def _copy(self, path: Path, descriptor: int) -> int:
        """Keep a dead process's journal; return how many letters were in flight.

        It was opened before the kill, so that a recovery that removes it at once takes nothing away.
        """
        copy = self.stage.folder / f"{path.name}.copy-{len(self.copies)}"
        with os.fdopen(descriptor, "rb") as journal:
            copy.write_bytes(journal.read())
        self.copies.append(copy)
        return len(in_flight(copy))

    def _wait_for_dots(self) -> int:
        """How many dots are out, as soon as any is: a blow between two batches would prove nothing."""
        until = time.monotonic() + _DOTS_SECONDS
        while not (found := self._in_flight()) and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
        return found

    def _in_flight(self) -> int:
        """Letters whose dot is out at this moment."""
        return sum(len(in_flight(path)) for pid in self._senders() for path in _journals_of(pid))

    def _senders(self) -> list[int]:
        """Pool processes that hold a journal."""
        worker = self.stage.programs.get("worker")
        return [pid for pid in descendants(worker.pid) if _journals_of(pid)] if worker else []

    def _is_sending(self) -> bool:
        if self.variant in _IN_FLIGHT:
            return any(path.stat().st_size for pid in self._senders() for path in _journals_of(pid))
        return "worker" in self.stage.programs

    def _keep_worker(self) -> None:
        """Begin the worker again when it is gone, as a supervisor would."""
        worker = self.stage.programs.get("worker")
        if worker is None or worker.has_ended:
            self.stage.start_worker(self._app, wait=False)
            self.restarts += 1

    def _wait_until_done(self, began: float) -> None:
        with self.stage.looking() as look:
            number, _, _ = look.campaign(self.campaign)
            while look.open_batches(number) or look.campaign(self.campaign)[1] != "finished":
                self._keep_worker()
                self._watch_time(began)
                time.sleep(0.2)

    def _watch_time(self, began: float) -> None:
        if time.monotonic() - began < self.limit_seconds:
            return
        with self.stage.looking() as look:
            batches = look.ask(
                "SELECT id, state, fence, due_at, lease_until, owner FROM batches ORDER BY id"
            )
        raise StageFailed(
            f"{self.variant}: not done in {self.limit_seconds:.0f} s, letter {self.arrived()}; batches"
            f" {[tuple(map(str, batch)) for batch in batches if batch[1] != 'done']};"
            f" journals {[path.name for path in self.stage.journals.glob('sending-*')]}\n"
            f"{self.stage.tail('worker')}"
        )


def main() -> None:
    """Play the variants and print what became of every letter; exit 1 if one is not accounted for."""
    parser = options(__doc__, letters=100_000, rounds=1)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--kills", type=int, default=50, help="blows of the variant kill")
    parser.add_argument("--terms", type=int, default=20, help="blows of the variant term")
    parser.add_argument("--others", type=int, default=3, help="blows of every other variant")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2014, 2015, 2016], help="for kill")
    parser.add_argument("--variant", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument(
        "--database", nargs="+", choices=("sqlite", "postgresql"), default=["postgresql"]
    )
    parser.add_argument("--delay", type=float, default=0.012, help="seconds the relay takes over a dot")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=4_000)
    parser.add_argument("--other-letters", type=int, help="letters of every variant but kill")
    parser.add_argument("--together", action="store_true", help="all variants on one stage")
    parser.add_argument("--limit", type=float, default=1_200, help="seconds for one campaign at most")
    asked = parser.parse_args()
    measurement = begin_measurement("chaos", asked)
    for kind in asked.database:
        acts = [
            (variant, seed)
            for variant in asked.variant
            if (variant, kind) != ("database", "sqlite")
            for seed in (asked.seeds if variant == "kill" else asked.seeds[:1])
        ]
        for shared in [acts] if asked.together else [[act] for act in acts]:
            _play(measurement, asked, shared, kind)
    problems = [problem for each in measurement.rounds for problem in each["problems"]]
    kills = [each for each in measurement.rounds if each["variant"] == "kill"]
    measurement.finish(
        letters=sum(each["recipients"] for each in measurement.rounds),
        lost=sum(each["lost"] for each in measurement.rounds),
        twice=sum(each["twice"] for each in measurement.rounds),
        kills=sum(each["faults"] for each in kills),
        kills_with_letters_in_flight=sum(each["faults_that_hit"] for each in kills),
        uncertain_after_kills=sum(each["uncertain"] for each in kills),
        problems=problems,
    )
    sys.exit(1 if problems else 0)


def _play(
    measurement: Measurement,
    asked: argparse.Namespace,
    acts: Sequence[tuple[str, int]],
    kind: DatabaseKind,
) -> None:
    """Campaigns on one stage, one after the other, each with its variant's fault, seed and account."""
    relay = f"rate=1000000&connections={asked.connections}"
    with open_stage(kind, relay_options=relay, settings={"batch_size": asked.batch_size}) as stage:
        first, seed = acts[0]
        letters = asked.letters if first == "kill" else asked.other_letters or asked.letters
        imported = stage.import_people(people(letters, seed=seed))
        for variant, seed in acts:
            _play_one(measurement, asked, stage, Act(variant, kind, seed, imported))


def _play_one(measurement: Measurement, asked: argparse.Namespace, stage: Stage, act: Act) -> None:
    """One campaign under one kind of fault, and its account."""
    counts = {"kill": asked.kills, "term": asked.terms, **dict.fromkeys(WORKERS, 0)}
    count = counts.get(act.variant, asked.others)
    say(f"  {act.variant} on {act.database}, seed {act.seed}: {act.letters} letters, {count} faults")
    began = time.monotonic()
    delay = asked.delay
    if act.variant == "impatient":
        delay = max(delay, _LONG_ENOUGH_SECONDS * asked.connections / act.letters)
    stage.start_sink(f'[[fault]]\nat = "dot"\ndelay = {delay}\n', lenient=False)
    run = Run(
        stage,
        act.variant,
        random.Random(act.seed),
        act.letters,
        asked.limit,
        f"{act.variant}-{act.seed}",
    )
    failed = _play_to_the_end(run, count)
    for name in ("worker", "sink"):
        if name in stage.programs:
            stage.end(name)
    told = stage.read("campaign", "reconcile", run.campaign, codes=(0, 1))
    ledger = stage.folder / "ledger.csv"
    stage.run("campaign", "ledger", run.campaign, "-o", str(ledger))
    account = compare(
        read_ledger(ledger),
        read_letters(stage.record, skip=run.letters_before),
        None if act.variant == "relay" else run.copies,
        most_uncertain=count * asked.connections if act.variant in {"kill", "relay"} else 0,
    )
    problems = [*failed, *account.problems, *_other_problems(run, account, told, act.letters, count)]
    _tell(account, problems)
    measurement.add_round(
        variant=act.variant,
        database=act.database,
        run_seed=act.seed,
        **{name: value for name, value in asdict(account).items() if name != "problems"},
        faults=len(run.faults),
        faults_that_hit=sum(1 for fault in run.faults if fault.in_flight),
        most_in_flight=max((fault.in_flight for fault in run.faults), default=0),
        worker_restarts=run.restarts,
        tasks_delivered_again=run.delivered_again(),
        seconds=round(time.monotonic() - began, 1),
        blows=[asdict(fault) for fault in run.faults],
        problems=problems,
    )


def _play_to_the_end(run: Run, count: int) -> list[str]:
    """Play; what kept the campaign from its end is a problem like any other."""
    try:
        run.play(count)
    except StageFailed as error:
        return [str(error)]
    return []


def _other_problems(
    run: Run, account: Account, reconciled: dict[str, Any], imported: int, count: int
) -> list[str]:
    """What the accounts alone do not show."""
    found = []
    if not (reconciled["ok"] and reconciled["complete"]):
        found.append(f"reconcile: {reconciled}")
    if account.recipients != imported:
        found.append(f"{imported} recipients were imported, {account.recipients} stand in the ledger")
    if len(run.faults) != count:
        found.append(f"only {len(run.faults)} of {count} faults came")
    hit = sum(1 for fault in run.faults if fault.in_flight)
    if run.variant in _IN_FLIGHT and hit * 2 < count:
        found.append(f"only {hit} of {count} blows fell while a dot was out: slow the relay down")
    if run.variant == "term":
        slow = [fault.what for fault in run.faults if fault.seconds > _TERM_SECONDS]
        found += [f"shutdown: {what}" for what in slow]
    if run.variant in WORKERS and not run.delivered_again():
        found.append("no task was delivered twice: the fault did not come")
    return found


def _tell(account: Account, problems: Sequence[str]) -> None:
    say(
        f"    recipients {account.recipients}, arrived {account.arrived}, lost {account.lost}, twice"
        f" {account.twice}, uncertain {account.uncertain} (of them arrived {account.uncertain_arrived},"
        f" in flight by the journals {account.in_flight}), states {account.states}"
    )
    for problem in problems:
        say(f"    PROBLEM: {problem}")


def _journals_of(pid: int) -> list[Path]:
    """Sending journals a process has open."""
    found = set()
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                target = entry.readlink()
                if (
                    target.parent.name == "journal"
                    and target.name.startswith("sending-")
                    and target.exists()
                ):
                    found.add(target)
    return sorted(found)


def _wait_until_gone(pid: int) -> None:
    """Wait until a killed process can do nothing more: gone, or dead and not yet waited for."""
    deadline = time.monotonic() + _DYING_SECONDS
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
        except OSError:
            return
        if state in "ZX":
            return
        time.sleep(0.001)
    raise StageFailed(f"process {pid} did not die of SIGKILL")


if __name__ == "__main__":
    main()
