"""Clicks a second on one processor: the product, nginx and a plain route, by turns in one run.

The product is ``mailer web`` as shipped: it verifies the token, finds the link, writes the click into
its journal, redirects, and its drainer moves the journal into PostgreSQL meanwhile. nginx answers the
same requests with a 1 × 1 GIF from memory, one worker, no log. The plain route is ``plain_route.py``.
Each has the first processor for itself; wrk and PostgreSQL share the last one. The product is measured
with its drainer on its own processor, and again with the drainer on the other. Afterwards the clicks in
the database are counted: at least as many as were answered, at most one for each connection more.

``busy`` and ``nginx_busy`` say how much of the processor the web process and nginx had work for: where
that is far below 1, wrk or a stranger set the pace. ``cpu_us`` is what an answer costs its server's
processes, the drainer included, PostgreSQL not; ratios by CPU are what remains comparable then.

``--memory`` measures instead what the web process and its drainer hold in memory after so many clicks.
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from measuring import Measurement, begin_measurement, cpu_meter, memory_of, options, say
from stage import Stage, StageFailed
from webstage import (
    Cpus,
    Load,
    Mailing,
    asking,
    free_ports,
    load,
    mail,
    open_web_stage,
    pin,
    start_nginx,
    start_plain,
    start_web,
    wait_for_drainer,
    wait_until_moved,
)

NGINX_GOAL, PLAIN_GOAL = 0.25, 5.0
_WARM_SECONDS = 1.0
_MEMORY_AFTER = (10_000, 200_000, 2_000_000)
_MEMORY_GROWTH = 1.1
_UNLIMITED: dict[str, object] = {"web_requests_per_second": 1_000_000}
"""Nobody refused for being one too many: what is measured is the speed, not the limit."""


def main() -> None:
    """Print rates, latencies and ratios of several rounds, or memory."""
    parser = options(__doc__, letters=20_000)
    parser.add_argument("--seconds", type=float, default=5.0, help="each server is asked in a round")
    parser.add_argument("--connections", type=int, default=32, help="of the readers")
    parser.add_argument("--memory", action="store_true", help="measure memory instead of speed")
    parser.add_argument(
        "--events", type=int, nargs="+", default=_MEMORY_AFTER, help="clicks after which memory is read"
    )
    asked = parser.parse_args()
    measurement = begin_measurement("web-memory" if asked.memory else "web", asked)
    with _prepared(asked) as bench:
        if asked.memory:
            measure_memory(measurement, bench, asked.events)
        else:
            measure_speed(measurement, bench, asked.rounds)


class Bench:
    """The stage, the mailing whose links are asked for, and where everybody listens."""

    def __init__(self, stage: Stage, mailing: Mailing, paths: Path, asked: argparse.Namespace) -> None:
        self.stage = stage
        self.mailing = mailing
        self.cpus = Cpus.choose()
        self._paths = paths
        self._seconds: float = asked.seconds
        self._connections: int = asked.connections
        self.ports = free_ports(3)

    def ask(self, port: int, seconds: float | None = None) -> Load:
        """Every link of the mailing by turns, as fast as answers come.

        Raises:
            StageFailed: a request was refused or got no answer.
        """
        found = load(
            port,
            self._paths,
            seconds=seconds or self._seconds,
            connections=self._connections,
            cpu=self.cpus.readers,
        )
        if found.refused or found.broken:
            raise StageFailed(f"{found.refused} requests were refused, {found.broken} broke off")
        return found

    def count_clicks(self) -> int:
        """Clicks of the mailing that stand in the database."""
        with asking(self.stage) as database:
            (row,) = database.execute(
                "SELECT count(*) FROM tracking_events WHERE campaign_id = %s AND kind = 'click'",
                [self.mailing.campaign_id],
            ).fetchall()
        return int(str(row[0]))

    def ask_and_count(self, port: int, seconds: float | None = None) -> tuple[Load, float]:
        """Ask the product, then find every answered click in the database.

        Returns:
            What was measured, and the seconds until the last click had been moved.

        Raises:
            StageFailed: a click is missing, or there are more than were asked for.
        """
        before = self.count_clicks()
        found = self.ask(port, seconds)
        moving = wait_until_moved(self.stage)
        counted = self.count_clicks() - before
        if not found.answered <= counted <= found.answered + self._connections:
            raise StageFailed(f"{found.answered} clicks were answered, {counted} were counted")
        return found, moving


@contextmanager
def _prepared(asked: argparse.Namespace) -> Iterator[Bench]:
    with (
        open_web_stage(asked.letters, seed=asked.seed, settings=_UNLIMITED) as stage,
        tempfile.TemporaryDirectory() as folder,
    ):
        mailing = mail(stage, "spring")
        paths = Path(folder) / "paths"
        paths.write_text("\n".join(mailing.clicks()) + "\n", encoding="ascii")
        bench = Bench(stage, mailing, paths, asked)
        assert stage.postgres is not None
        pin(stage.postgres.pid, bench.cpus.readers)
        say(f"  {mailing.audience:,} letters with {len(mailing.links)} links each")
        yield bench


def measure_speed(measurement: Measurement, bench: Bench, rounds: int) -> None:
    """All servers by turns, ``rounds`` times."""
    cpus, (nginx_port, plain_port, web_port) = bench.cpus, bench.ports
    nginx_program = start_nginx(bench.stage, nginx_port, cpus.server)
    plain_program = start_plain(bench.stage, plain_port, cpus.server)
    web = start_web(bench.stage, web_port, cpus.server)
    for port in bench.ports:
        bench.ask(port, _WARM_SECONDS)
    wait_until_moved(bench.stage)
    for _ in range(rounds):
        drainer = wait_for_drainer(web)
        pin(drainer, cpus.server)
        cpu = cpu_meter(nginx=nginx_program.pid, plain=plain_program.pid, web=web.pid, drainer=drainer)
        readings = [cpu()]
        nginx = bench.ask(nginx_port)
        plain = bench.ask(plain_port)
        readings.append(cpu())
        ours, moving = bench.ask_and_count(web_port)
        readings.append(cpu())
        pin(drainer, cpus.readers)
        apart, _ = bench.ask_and_count(web_port)
        idle, busy = readings[1:]
        of_nginx = (idle["nginx"] - readings[0]["nginx"]) / nginx.answered
        of_plain = (idle["plain"] - readings[0]["plain"]) / plain.answered
        of_ours = (busy["web"] - idle["web"]) / ours.answered
        drained = (busy["drainer"] - idle["drainer"]) / ours.answered
        measurement.add_round(
            clicks_per_second=ours.rate,
            p50_ms=ours.p50_ms,
            p99_ms=ours.p99_ms,
            drained_after_seconds=moving,
            clicks_per_second_drainer_apart=apart.rate,
            p50_ms_drainer_apart=apart.p50_ms,
            p99_ms_drainer_apart=apart.p99_ms,
            nginx_per_second=nginx.rate,
            nginx_p99_ms=nginx.p99_ms,
            plain_per_second=plain.rate,
            plain_p99_ms=plain.p99_ms,
            against_nginx=ours.rate / nginx.rate,
            against_plain=ours.rate / plain.rate,
            against_nginx_drainer_apart=apart.rate / nginx.rate,
            against_plain_drainer_apart=apart.rate / plain.rate,
            cpu_us=of_ours * 1e6,
            drainer_share=drained / of_ours,
            busy=(of_ours - drained) * ours.rate,
            nginx_busy=of_nginx * nginx.rate,
            nginx_cpu_us=of_nginx * 1e6,
            plain_cpu_us=of_plain * 1e6,
            against_nginx_by_cpu=of_nginx / of_ours,
            against_plain_by_cpu=of_plain / of_ours,
            against_nginx_by_cpu_drainer_apart=of_nginx / (of_ours - drained),
            against_plain_by_cpu_drainer_apart=of_plain / (of_ours - drained),
        )
    measurement.finish(
        **{name: measurement.spread(name) for name in measurement.rounds[0]},
        reaches_nginx_goal=measurement.spread("against_nginx").median >= NGINX_GOAL,
        reaches_plain_goal=measurement.spread("against_plain").median >= PLAIN_GOAL,
    )


def measure_memory(measurement: Measurement, bench: Bench, marks: tuple[int, ...]) -> None:
    """Resident memory of web process and drainer after each number of clicks."""
    port = bench.ports[0]
    web = start_web(bench.stage, port, bench.cpus.server)
    drainer, clicks = wait_for_drainer(web), 0
    began = perf_counter()
    for mark in sorted(marks):
        while clicks < mark:
            found, _ = bench.ask_and_count(port, _WARM_SECONDS if clicks + 10_000 > mark else None)
            clicks += found.answered
        if wait_for_drainer(web) != drainer:
            raise StageFailed("the drainer was begun again: its memory says nothing")
        of_web, of_drainer = memory_of(web.pid), memory_of(drainer)
        measurement.add_round(
            clicks=mark,
            clicks_in_truth=clicks,
            web_resident_mb=of_web["resident_mb"],
            web_highest_mb=of_web["highest_mb"],
            drainer_resident_mb=of_drainer["resident_mb"],
            drainer_highest_mb=of_drainer["highest_mb"],
            seconds=perf_counter() - began,
        )
    least, most = measurement.rounds[0], measurement.rounds[-1]
    growth = {
        f"{who}_grows_by": most[f"{who}_highest_mb"] / least[f"{who}_highest_mb"]
        for who in ("web", "drainer")
    }
    measurement.finish(
        **{name: value for name, value in most.items() if name.endswith("_mb")},
        **growth,
        flat=all(each <= _MEMORY_GROWTH for each in growth.values()),
    )


if __name__ == "__main__":
    main()
