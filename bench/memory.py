"""What a worker process holds in memory while a campaign leaves, for few recipients and for many.

Every recipient has a name of their own, so that nothing a process remembers about names helps it. All of
the campaign is sent; the figures are read from /proc when it has ended and its processes still run:
VmHWM is the highest resident memory since their start, so no peak is missed. Of the pool's processes the
largest counts.
"""

from flight import fly
from measuring import begin_measurement, descendants, memory_of, options
from stage import open_stage, people

_LIMIT_MB = 100.0


def main() -> None:
    """Print resident memory for every size, and how it grows from the smallest to the largest."""
    parser = options(__doc__, letters=1_000_000, rounds=1)
    parser.add_argument("--few", type=int, default=10_000, help="recipients of the small campaign")
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    asked = parser.parse_args()
    measurement = begin_measurement("memory", asked)
    for _ in range(asked.rounds):
        for letters in (asked.few, asked.letters):
            with open_stage(asked.database) as stage:
                stage.start_sink()
                imported = stage.import_people(people(letters, names="different", seed=asked.seed))
                worker = stage.start_worker()
                stage.start_scheduler()
                flight = fly(stage, "memory")
                found = [memory_of(pid) for pid in descendants(worker.pid)]
                largest = max(found, key=lambda each: each["highest_mb"])
                measurement.add_round(
                    letters=imported, letters_per_second=flight.letters / flight.seconds, **largest
                )
    few, many = (
        measurement.spread("highest_mb", letters=letters) for letters in (asked.few, asked.letters)
    )
    measurement.finish(
        highest_mb_few=few,
        highest_mb_many=many,
        unshared_mb_many=measurement.spread("unshared_mb", letters=asked.letters),
        grows_by=many.median / few.median,
        below_100_mb=many.most < _LIMIT_MB,
    )


if __name__ == "__main__":
    main()
