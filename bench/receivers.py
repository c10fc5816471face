"""Receivers as they are: each takes so many letters a second, some throttle at random, some greylist.

The 98 municipalities and 25 regions and ministries of the generated population, each with its share of
the letters, take 20 letters a second each and refuse what is more; the relay's setting says so too
(``domain_rate=20``). One reply in a hundred throttles for no reason, a tenth of the addresses is refused
at first. Between them stand small domains that are never near their limit and never refused.

Measured: the time until the last letter was sent against what the largest domain alone dictates (its
letters / 20 a second); and how long the small domains are kept waiting: the longest time in which,
though some of their letters had yet to come, none of them arrived, from the queueing commit on.
Waiting times after refusals are shortened in proportion to a campaign of minutes.
"""

import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from flight import arrivals, fly
from measuring import begin_measurement, cpu_meter, options, say
from stage import open_stage, people

from mailer.embedded.population import Person

_SECTORS = frozenset({"Kommune", "Region", "Stat"})
_LARGE_DOMAINS = 98 + 25
_SMALL = "smaa"
_SMALL_DOMAINS, _LETTERS_TO_SMALL = 40, 25
_RETRY_AFTER = "1s 5s 15s 15s"
_GREYLISTED, _THROTTLED = 0.1, 0.01
_LIMIT_RATIO, _LIMIT_WAIT_SECONDS = 1.15, 5.0


def main() -> None:
    """Print the time against what the largest domain dictates, and how long the small ones waited."""
    parser = options(__doc__, letters=50_000, rounds=1)
    parser.add_argument("--rate", type=float, default=20.0, help="letters a second and domain")
    parser.add_argument("--burst", type=float, default=20.0, help="letters a receiver takes at once")
    asked = parser.parse_args()
    measurement = begin_measurement("receivers", asked)
    faults = f"""
[[rate]]
letters_per_second = {asked.rate}
burst = {asked.burst}
[[fault]]
recipient = "@(?!{_SMALL})"
share = {_GREYLISTED}
at = "rcpt"
times = 1
reply = "451 4.7.1 Not yet: try again later"
[[fault]]
recipient = "@(?!{_SMALL})"
share = {_THROTTLED}
by = "attempt"
at = "rcpt"
reply = "450 4.7.28 Rate limited: too many letters"
"""
    for number in range(asked.rounds):
        with open_stage(
            "postgresql",
            relay_options=f"rate=1000000&domain_rate={asked.rate}",
            settings={"retry_after": _RETRY_AFTER},
        ) as stage:
            stage.start_sink(faults)
            stage.import_people(population(asked.letters, asked.seed + number))
            worker = stage.start_worker()
            stage.start_scheduler()
            flight = fly(stage, "receivers", meter=cpu_meter(worker=worker.pid))
            ended = time.time()
            came = list(arrivals(stage.record))
            began = ended - flight.seconds
            large = Counter(domain_of(each.recipient) for each in came)
            for domain in [domain for domain in large if domain.startswith(_SMALL)]:
                del large[domain]
            domain, most = large.most_common(1)[0]
            dictated = most / asked.rate
            small = [each.at for each in came if domain_of(each.recipient).startswith(_SMALL)]
            waits = [after - before for before, after in pairwise([began, *small])]
            say(f"  {len(came)} letters, {len(large)} large domains, the largest {domain} with {most}")
            measurement.add_round(
                seconds=flight.seconds,
                dictated_seconds=dictated,
                ratio=flight.seconds / dictated,
                last_arrival_ratio=(came[-1].at - began) / dictated,
                longest_wait_of_small_domains=max(waits),
                small_domains_done_after=small[-1] - began,
                worker_cpu_us=1e6 * flight.used["worker"] / flight.letters,
                refused=refusals(stage.folder / "sink" / "faults.tsv"),
                large_domains=len(large),
            )
    ratio = measurement.spread("ratio")
    wait = measurement.spread("longest_wait_of_small_domains")
    measurement.finish(
        ratio=ratio,
        longest_wait_of_small_domains=wait,
        reached=ratio.median <= _LIMIT_RATIO and wait.most < _LIMIT_WAIT_SECONDS,
    )


def population(letters: int, seed: int) -> Iterator[Person]:
    """Staff of the large authorities, and a few at small offices of which nobody throttles."""
    large = (
        person
        for person in people(letters * 2, seed=seed)
        if person.sector in _SECTORS and person.email.isascii()
    )
    small_ones = min(_SMALL_DOMAINS * _LETTERS_TO_SMALL, letters // 20)
    template: Person | None = None
    for _, template in zip(range(letters - small_ones), large, strict=False):
        yield template
    assert template is not None
    for number in range(small_ones):
        domain = f"{_SMALL}{number % _SMALL_DOMAINS:02}.example"
        yield template._replace(email=f"kontor{number}@{domain}", name=f"Kontor {number}")


def refusals(record: Path) -> dict[str, int]:
    """How often the sink refused, by what it did."""
    lines = record.read_text("utf-8").splitlines()[1:] if record.exists() else []
    return dict(Counter(line.split("\t")[1] for line in lines))


def domain_of(address: str) -> str:
    """The part behind the last @."""
    return address.rpartition("@")[2].casefold()


if __name__ == "__main__":
    main()
