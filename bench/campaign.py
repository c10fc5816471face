"""How fast a whole campaign leaves, against Postfix's smtp-source into the same sink in the same run.

A: from the commit of ``mailer campaign queue`` until every batch is done, all letters sent: a real
``celery -A worker worker`` with two processes, Beat, claims, journal, pace asked of Redis, personal
letters with every link tracked. B: ``smtp-source -d -s 32`` sends as many letters of the same mean size,
all alike. A and B alternate, and so does who begins; the ratio A/B is taken round by round.
"""

import argparse
import os
import shutil
import subprocess
import time

from flight import arrivals, count_letters, fly
from measuring import Measurement, begin_measurement, mean, options, say
from stage import DatabaseKind, Stage, StageFailed, open_stage, people

_SESSIONS = 32
_THEIRS = "load.example"
_THEIR_HEADER_BYTES = 250
"""What smtp-source puts before the body, more or less; the result tells both sizes."""


def main() -> None:
    """Print letters a second of both, and their ratio."""
    parser = options(__doc__, letters=100_000)
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--both", action="store_true", help="measure both databases and their ratio")
    parser.add_argument("--names", choices=("few", "different"), default="few")
    parser.add_argument("--relay", default="rate=1000000", help="options of the relay's URL")
    parser.add_argument("--processes", type=int, default=2, help="of the worker")
    asked = parser.parse_args()
    measurement = begin_measurement("campaign", asked)
    kinds: list[DatabaseKind] = ["postgresql", "sqlite"] if asked.both else [asked.database]
    for kind in kinds:
        _measure(measurement, asked, kind)
    figures: dict[str, object] = {}
    for kind in kinds:
        for figure in ("letters_per_second", "smtp_source_per_second", "ratio"):
            if any(figure in each for each in measurement.rounds):
                figures[f"{kind}_{figure}"] = measurement.spread(figure, database=kind)
    if asked.both:
        slow, quick = (measurement.spread("letters_per_second", database=kind) for kind in kinds)
        figures["sqlite_against_postgresql"] = quick.median / slow.median
    measurement.finish(**figures)


def _measure(measurement: Measurement, asked: argparse.Namespace, kind: DatabaseKind) -> None:
    source = find_smtp_source()
    if source is None:
        say("  smtp-source is missing (Debian's package postfix): no comparison")
    with open_stage(kind, relay_options=asked.relay) as stage:
        stage.start_sink()
        letters = stage.import_people(people(asked.letters, names=asked.names, seed=asked.seed))
        stage.start_worker(processes=asked.processes)
        stage.start_scheduler()
        say(f"  {kind}: {letters} recipients, {asked.names} names")
        size = 0
        for number in range(asked.rounds):
            theirs = 0.0
            if source and number % 2:
                theirs = time_smtp_source(stage, source, letters=letters, size=size)
            flight = fly(stage, f"round{number}")
            size = size or round(mean(each.size for each in arrivals(stage.record)))
            if source and not theirs:
                theirs = time_smtp_source(stage, source, letters=letters, size=size)
            rate = flight.letters / flight.seconds
            compared = {"smtp_source_per_second": theirs, "ratio": rate / theirs} if theirs else {}
            measurement.add_round(
                database=kind,
                letters=flight.letters,
                letters_per_second=rate,
                seconds=flight.seconds,
                queue_seconds=flight.queue_seconds,
                bytes=size,
                **compared,
            )


def find_smtp_source() -> str | None:
    """Postfix's load generator, which Debian puts where only root looks."""
    return shutil.which("smtp-source", path=os.pathsep.join((os.environ["PATH"], "/usr/sbin")))


def time_smtp_source(stage: Stage, program: str, *, letters: int, size: int) -> float:
    """Letters a second smtp-source sends into the stage's sink.

    Args:
        size: bytes of a letter as the sink records it.

    Raises:
        StageFailed: the sink did not take all of them.
    """
    command = [
        *(program, "-d", "-s", str(_SESSIONS), "-l", str(max(1, size - _THEIR_HEADER_BYTES))),
        *("-m", str(letters), "-f", f"smtp-source@{_THEIRS}", "-t", "modtager@aarhus.example"),
        f"127.0.0.1:{stage.sink_port}",
    ]
    before = count_letters(stage.record, _THEIRS)
    began = time.perf_counter()
    subprocess.run(command, check=True, cwd=stage.folder)
    seconds = time.perf_counter() - began
    arrived = count_letters(stage.record, _THEIRS) - before
    if arrived != letters:
        raise StageFailed(f"smtp-source sent {letters} letters, the sink took {arrived}")
    return letters / seconds


if __name__ == "__main__":
    main()
