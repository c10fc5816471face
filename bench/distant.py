"""How near a distant relay's connections come to one letter per round trip.

The sink answers everything so many seconds later, as if it were far away, and is otherwise as fast as
ever. With one final dot outstanding per connection, no sender can do better than 1 / (round trip + the
server's time for a letter) letters a second and connection; the server's time is the sink's own CPU for
a letter in this run. The rate is read from the sink's record between its first and its last tenth, so
that neither connecting nor a last half-empty batch counts; the batches are cut so that each process
with a connection gets as many.
"""

from flight import arrivals, fly
from measuring import begin_measurement, cpu_meter, options
from stage import open_stage, people

_PROCESSES = 2


def main() -> None:
    """Print letters a second and connection, and their share of what is possible."""
    parser = options(__doc__, letters=500, counts="letters for each connection")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--round-trip", type=float, default=0.05, help="seconds")
    parser.add_argument(
        "--relay", default="", help="further options of the relay's URL, such as chunking=8"
    )
    asked = parser.parse_args()
    measurement = begin_measurement("distant", asked)
    for connections in asked.connections:
        more = f"&{asked.relay}" if asked.relay else ""
        letters = asked.letters * connections
        with open_stage(
            "postgresql",
            relay_options=f"rate=1000000&connections={connections}{more}",
            settings={"batch_size": min(2_000, -(-letters // min(connections, _PROCESSES)))},
        ) as stage:
            stage.start_sink(f"[latency]\nround_trip = {asked.round_trip}\n")
            stage.import_people(people(letters, seed=asked.seed))
            stage.start_worker(processes=_PROCESSES)
            stage.start_scheduler()
            meter = cpu_meter(sink=stage.programs["sink"].pid)
            seen = 0
            for number in range(asked.rounds):
                flight = fly(stage, f"round{number}", meter=meter)
                moments = [each.at for each in arrivals(stage.record)][seen:]
                seen += len(moments)
                middle = moments[len(moments) // 10 : len(moments) - len(moments) // 10]
                rate = (len(middle) - 1) / (middle[-1] - middle[0]) / connections
                possible = 1 / (asked.round_trip + flight.used["sink"] / flight.letters)
                measurement.add_round(
                    connections=connections,
                    letters_per_second_and_connection=rate,
                    possible=possible,
                    share=rate / possible,
                )
    measurement.finish(
        **{
            f"share_with_{connections}_connections": measurement.spread("share", connections=connections)
            for connections in asked.connections
        }
    )


if __name__ == "__main__":
    main()
