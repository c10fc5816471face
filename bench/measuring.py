"""What every measurement shares: options, CPU of processes, medians with their spread, the result."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from stage import SEED

_TICKS = os.sysconf("SC_CLK_TCK")
_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure of several rounds."""

    median: float
    least: float
    most: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values), len(values))

    def __str__(self) -> str:
        return f"{_short(self.median)} (from {_short(self.least)} to {_short(self.most)})"


@dataclass(slots=True)
class Measurement:
    """One run of one bench: what was asked, its rounds, and what came out."""

    name: str
    asked: dict[str, Any]
    path: Path
    rounds: list[dict[str, Any]]

    def add_round(self, **figures: Any) -> None:
        """Keep one round's figures and print them."""
        self.rounds.append(figures)
        told = ", ".join(f"{name.replace('_', ' ')} {_short(value)}" for name, value in figures.items())
        say(f"  round {len(self.rounds)}: {told}")

    def spread(self, figure: str, **only: object) -> Spread:
        """One figure over all rounds whose other figures are as in ``only``."""
        chosen = [
            each[figure]
            for each in self.rounds
            if figure in each and all(each.get(name) == value for name, value in only.items())
        ]
        return Spread.of(chosen)

    def finish(self, **figures: Any) -> None:
        """Print the results and write them down with the commit and the machine."""
        for name, value in figures.items():
            say(f"{self.name}: {name.replace('_', ' ')} {_short(value)}")
        plain = {
            name: asdict(value) if isinstance(value, Spread) else value
            for name, value in figures.items()
        }
        told = {
            "bench": self.name,
            "commit": commit(),
            "machine": {
                "cpus": os.cpu_count(),
                "python": platform.python_version(),
                "kernel": platform.release(),
            },
            "asked": {
                name: str(value) if isinstance(value, Path) else value
                for name, value in self.asked.items()
            },
            "rounds": self.rounds,
            "figures": plain,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        say(f"{self.name}: commit {told['commit']}, seed {self.asked['seed']}; written to {self.path}")


def options(
    doc: str | None, *, letters: int, rounds: int = 3, counts: str = "recipients of a campaign"
) -> argparse.ArgumentParser:
    """The options every bench has.

    Args:
        counts: what ``--letters`` counts.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--letters", type=int, default=letters, help=counts)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seed", type=int, default=SEED, help="of the generated population")
    parser.add_argument("--json", type=Path, help="where the result goes; var/bench/NAME.json otherwise")
    return parser


def begin_measurement(name: str, asked: argparse.Namespace) -> Measurement:
    """Say what is measured on which commit."""
    say(f"{name}: commit {commit()}, {os.cpu_count()} CPUs, {vars(asked)}")
    path = asked.json or _ROOT / "var" / "bench" / f"{name}.json"
    return Measurement(name, vars(asked), path, [])


def commit() -> str:
    """What of the code was measured; ``-dirty`` if it was changed since."""
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--tags"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def cpu_seconds(pid: int) -> float:
    """CPU a process, its living descendants and those it has waited for have used so far.

    Read from proc_pid_stat(5), in ticks of ten milliseconds.
    """
    return sum(_cpu_of(each) for each in [pid, *descendants(pid)])


def cpu_meter(**pids: int) -> Callable[[], dict[str, float]]:
    """Reads the CPU seconds of each of these trees of processes."""
    return lambda: {who: cpu_seconds(pid) for who, pid in pids.items()}


def descendants(pid: int) -> list[int]:
    """Every living process below this one."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        fields = _stat(int(entry.name))
        if fields is not None and fields[0] not in "ZX":
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, left = [], [pid]
    while left:
        below = children.get(left.pop(), [])
        found += below
        left += below
    return found


def _cpu_of(pid: int) -> float:
    """User and system time of all its threads and of the children it has waited for."""
    fields = _stat(pid)
    return sum(int(value) for value in fields[11:15]) / _TICKS if fields else 0.0


def _stat(pid: int) -> list[str] | None:
    """The fields of proc_pid_stat(5) from the third on; the second may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None


def memory_of(pid: int) -> dict[str, float]:
    """Resident memory of a process in MB: now, at its highest, and what nobody shares with it."""
    status = Path(f"/proc/{pid}/status").read_text()
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    lines = dict(line.split(":", 1) for line in (status + rollup).splitlines() if ":" in line)

    def megabytes(*names: str) -> float:
        return sum(int(lines[name].split()[0]) for name in names) / 1024

    return {
        "resident_mb": megabytes("VmRSS"),
        "highest_mb": megabytes("VmHWM"),
        "unshared_mb": megabytes("Private_Clean", "Private_Dirty"),
    }


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def mean(values: Iterable[float]) -> float:
    """The mean, 0 of nothing."""
    found = list(values)
    return statistics.fmean(found) if found else 0.0


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
