"""The clock people see and plan by. Leases, back-off and timeouts run on real time."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

CLOCK_FILE = "clock.json"
_SPEC = re.compile(r"(?P<moment>\S+)(?:\s+x(?P<speed>\d+(?:\.\d+)?))?")


class BadClock(Exception):
    """The rehearsal clock cannot be read; no time was told."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A clock set to another time: what it showed, when that was, and how fast it runs."""

    showed: datetime
    started: datetime
    speed: float = 1.0

    def at(self, real: datetime) -> datetime:
        """What the rehearsal clock shows at a real moment."""
        return self.showed + (real - self.started) * self.speed


def real_now() -> datetime:
    """The real moment, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """Tells the time that people see; in a rehearsal, the one all processes of a state folder share."""

    state_dir: Path | None = None
    """The folder with the shared rehearsal clock; None tells real time."""
    real: Callable[[], datetime] = real_now

    def now(self) -> datetime:
        """The moment people see, in UTC."""
        if self.state_dir is None:
            return self.real()
        rehearsal = _read(self.state_dir)
        return rehearsal.at(self.real()) if rehearsal else self.real()


def open_clock(state_dir: Path, spec: str | None) -> Clock:
    """The clock of this state folder, started now if it first sees a rehearsal setting.

    Args:
        spec: ``MAILER_CLOCK``: ``2014-03-07T09:00+01:00``, with `` x60`` to run sixty times as fast.

    Raises:
        BadClock: the setting or the kept clock cannot be read.
    """
    if spec is None:
        return Clock()
    if _read(state_dir) is None:
        showed, speed = parse_clock(spec)
        set_rehearsal(state_dir, showed, speed=speed)
    return Clock(state_dir)


def parse_clock(spec: str) -> tuple[datetime, float]:
    """The moment and speed of a clock setting.

    Raises:
        BadClock: it is no ISO 8601 moment with an offset, or the speed is not above nought.
    """
    match = _SPEC.fullmatch(spec.strip())
    try:
        moment = datetime.fromisoformat(match["moment"]) if match else None
    except ValueError:
        moment = None
    if match is None or moment is None or moment.tzinfo is None:
        raise BadClock(f"MAILER_CLOCK must look like 2014-03-07T09:00+01:00, not {spec!r}")
    speed = float(match["speed"] or 1)
    if speed <= 0:
        raise BadClock("MAILER_CLOCK: the speed must be above nought")
    return moment.astimezone(UTC), speed


def set_rehearsal(state_dir: Path, showed: datetime, *, speed: float = 1.0) -> None:
    """Set the shared rehearsal clock; every process of the state folder follows at its next look."""
    state_dir.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"showed": showed.isoformat(), "started": real_now().isoformat(), "speed": speed})
    temporary = state_dir / f"{CLOCK_FILE}.{os.getpid()}"
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(state_dir / CLOCK_FILE)


def _read(state_dir: Path) -> Rehearsal | None:
    try:
        kept = json.loads((state_dir / CLOCK_FILE).read_text(encoding="utf-8"))
        return Rehearsal(
            datetime.fromisoformat(kept["showed"]),
            datetime.fromisoformat(kept["started"]),
            float(kept["speed"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise BadClock(f"{state_dir / CLOCK_FILE} is damaged; remove it to start it anew") from error


def later(moment: datetime, *, seconds: float) -> datetime:
    """The moment so many seconds on."""
    return moment + timedelta(seconds=seconds)
