"""What happens before the first letter leaves: preflight and queueing of a whole audience.

Preflight writes every recipient's letter; its seconds stand beside those of the campaign itself, which
writes the same letters and sends them. Queueing freezes the audience; its seconds stand beside one bare
``INSERT … SELECT`` of as many rows with the same number and address hash into a table of the same
database. The first letter's arrival is the sink's own record, counted from the commit of the queueing.
"""

import time

import psycopg
from flight import OURS, Flight, arrivals, fly
from measuring import Measurement, begin_measurement, options
from stage import Stage, StageFailed, open_stage, people


def main() -> None:
    """Print the seconds of each, and their ratios."""
    parser = options(__doc__, letters=800_000, rounds=1)
    parser.add_argument("--names", choices=("few", "different"), default="few")
    asked = parser.parse_args()
    measurement = begin_measurement("launch", asked)
    with open_stage("postgresql") as stage:
        stage.start_sink()
        imported = stage.import_people(people(asked.letters, names=asked.names, seed=asked.seed))
        for number in range(asked.rounds):
            _measure(measurement, stage, imported, f"round-{number}")
    names = measurement.rounds[0]
    measurement.finish(
        **{name: measurement.spread(name) for name in names if name != "recipients"},
        recipients=imported,
    )


def _measure(measurement: Measurement, stage: Stage, recipients: int, name: str) -> None:
    examined = f"{name}-examined"
    stage.create_campaign(examined)
    preflight = _time_preflight(stage, examined)
    bare = _time_bare_insert(stage)
    stage.start_worker()
    stage.start_scheduler()
    flight = fly(stage, name)
    first = _first_arrival(stage, flight)
    stage.end("scheduler")
    stage.end("worker")
    measurement.add_round(
        recipients=recipients,
        preflight_seconds=preflight,
        campaign_seconds=flight.seconds,
        preflight_against_campaign=preflight / flight.seconds,
        queue_seconds=flight.queue_seconds,
        bare_insert_seconds=bare,
        queue_against_bare_insert=flight.queue_seconds / bare,
        first_letter_seconds=first,
    )


def _time_preflight(stage: Stage, name: str) -> float:
    began = time.perf_counter()
    told = stage.read("campaign", "preflight", name)
    seconds = time.perf_counter() - began
    if not told["ok"]:
        raise StageFailed(f"preflight found something wrong: {told}")
    return seconds


def _time_bare_insert(stage: Stage) -> float:
    """As many rows as an audience has, in one transaction, with nothing around it."""
    with psycopg.connect(stage.database_url.replace("+psycopg", ""), autocommit=True) as database:
        database.execute("DROP TABLE IF EXISTS bench_bare")
        began = time.perf_counter()
        database.execute(
            "CREATE TABLE bench_bare AS SELECT row_number() OVER (ORDER BY id) AS position, id,"
            " address_hash FROM recipients"
        )
        return time.perf_counter() - began


def _first_arrival(stage: Stage, flight: Flight) -> float:
    """Seconds from the commit until the sink had the first letter, by the sink's record."""
    later = (each.at for each in arrivals(stage.record, OURS) if each.at >= flight.began_at - 1.0)
    first = next(later, None)
    if first is None:
        raise StageFailed("no letter arrived")
    return first - flight.began_at


if __name__ == "__main__":
    main()
