"""Three Beats at once on a clock that runs sixty times as fast: nobody reminded twice, nobody missed.

Everybody has asked to be reminded of every event. The events lie so that their reminders fall due one
after the other while the clock runs; then all Beats are stopped for a simulated day, and begun again.

Who had to get what is worked out here, from the events' own hours and nothing of the product. What
arrived is read from the sink's record and from ``campaign ledger``. Of all that fell due, every reminder
must have been sent to everybody once, or be ``missed`` with a reason.
"""

import csv
import io
import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
from flight import OURS, arrivals
from measuring import Measurement, begin_measurement, options, say
from stage import Stage, StageFailed, open_stage, people

from mailer.embedded.services import scheduler_service
from mailer.foundation.settings import load_settings

SPEED = 60.0
BEGINS = datetime.fromisoformat("2014-03-10T08:30+01:00")
BEATS = 3
_LETTER = "paamindelse-dagen-foer"
_HOURS_BEFORE = (2, 30)
"""What fell due while all Beats were dead: too late for the first, in time for the second."""
_DEATH = timedelta(days=1)
_SHORTEST_MINUTES = 2.0
_PATIENCE_SECONDS = 180.0
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Due:
    """One reminder that falls due, by the hand of whoever wrote this."""

    event: str
    lead: str
    at: datetime


def main() -> None:
    """Print what fell due, what went, what was missed, and every letter too many or too few."""
    parser = options(__doc__, letters=20_000, rounds=1, counts="recipients, each asking for every event")
    parser.add_argument("--minutes", type=float, default=10.0, help="three Beats run, real time")
    parser.add_argument("--events", type=int, default=4)
    parser.add_argument("--speed", type=float, default=SPEED, help="of the clock people see")
    parser.add_argument("--no-death", action="store_true", help="leave out the day without a Beat")
    asked = parser.parse_args()
    if asked.minutes < _SHORTEST_MINUTES:
        parser.error(f"--minutes: at least {_SHORTEST_MINUTES:g}, Beat ticks first after one")
    measurement = begin_measurement("beats", asked)
    clock = f"{BEGINS.isoformat()} x{asked.speed:g}"
    with open_stage("postgresql", settings={"clock": clock}) as stage:
        recipients = _prepare(stage, asked)
        due = _plan(asked)
        stage.start_worker()
        problems = _run(stage, asked, due, measurement, recipients)
    measurement.finish(problems=problems, ok=not problems)
    if problems:
        raise SystemExit(1)


def _span(asked: Any) -> timedelta:
    """How far the clock runs while three Beats tick."""
    return timedelta(minutes=asked.minutes) * asked.speed


def _plan(asked: Any) -> list[Due]:
    """What falls due: spread over the time of the three Beats, and over the day without any."""
    due = []
    for number in range(asked.events):
        begins = _begin_of(number, asked)
        due += [
            Due(f"moede-{number}", f"{hours} hours", begins - timedelta(hours=hours))
            for hours in _HOURS_BEFORE
        ]
    return sorted(due, key=lambda each: each.at)


def _begin_of(number: int, asked: Any) -> datetime:
    """Half of the events while the Beats tick, half on the day on which they are dead."""
    half = max(1, asked.events // 2) if not asked.no_death else asked.events
    longest = timedelta(hours=max(_HOURS_BEFORE))
    if number < half:
        room = _span(asked) - timedelta(hours=2)
        first = BEGINS + timedelta(minutes=20) + longest
        return first + room * number / max(1, half)
    first = BEGINS + _span(asked) + timedelta(hours=2) + longest
    return first + (_DEATH - timedelta(hours=2)) * (number - half) / max(1, asked.events - half)


def _prepare(stage: Stage, asked: Any) -> int:
    stage.start_sink()
    path = stage.folder / "events.toml"
    entries = []
    for number in range(asked.events):
        begins = _begin_of(number, asked).replace(microsecond=0, second=0)
        entries.append(
            "[[event]]\n"
            f'slug = "moede-{number}"\ntitle = "Møde {number}"\n'
            f"date = {begins:%Y-%m-%d}\ntime = {begins:%H:%M}:00\n"
            'place = "Rådhuset"\naddress = "Torvet 1, 1000 Byen"\n'
            f'reminders = "{", ".join(f"{hours} hours: {_LETTER}" for hours in _HOURS_BEFORE)}"\n'
        )
    path.write_text("\n".join(entries), encoding="utf-8")
    stage.run("event", "import", str(path))
    imported = stage.import_people(people(asked.letters, seed=asked.seed))
    with psycopg.connect(stage.database_url.replace("+psycopg", ""), autocommit=True) as database:
        database.execute(
            "INSERT INTO reminder_requests (event_id, recipient_id, asked_at)"
            " SELECT events.id, recipients.id, %s FROM events, recipients WHERE slug LIKE 'moede-%%'",
            [BEGINS - timedelta(days=1)],
        )
    return imported


def _start_beats(stage: Stage) -> None:
    for number in range(BEATS):
        shipped = scheduler_service(load_settings(stage.folder / "mailer.toml"))
        command = list(shipped.command)
        command[command.index("--schedule") + 1] = str(stage.folder / f"beat-{number}")
        stage.start(f"beat-{number}", replace(shipped, command=tuple(command)))


def _stop_beats(stage: Stage) -> None:
    for number in range(BEATS):
        stage.end(f"beat-{number}")


def _run(
    stage: Stage, asked: Any, due: list[Due], measurement: Measurement, recipients: int
) -> list[str]:
    _start_beats(stage)
    _wait_until(stage, BEGINS + _span(asked), asked.speed)
    _stop_beats(stage)
    last = BEGINS + _span(asked)
    if not asked.no_death:
        last += _DEATH + timedelta(hours=1)
        say(f"  no Beat until the clock shows {last:%d %B %H:%M}")
        _wait_until(stage, last, asked.speed)
        _start_beats(stage)
        _wait_until(stage, last + timedelta(minutes=2.5) * asked.speed, asked.speed)
        _stop_beats(stage)
    plan = stage.read("reminder", "plan")
    now = datetime.fromisoformat(plan["now"])
    fallen = [each for each in due if each.at <= now]
    told = {
        (row["event"], row["lead"]): row
        for row in plan["reminders"]
        if row["rule"] == "asked" and row["event"].startswith("moede-")
    }
    states = Counter(_state_of(told[each.event, each.lead]) for each in fallen)
    problems = [
        f"{each.event}, {each.lead}: {told[each.event, each.lead]}"
        for each in fallen
        if not _is_explained(told[each.event, each.lead])
    ]
    sent = [each for each in fallen if told[each.event, each.lead]["state"] == "sent"]
    _wait_for_letters(stage, recipients * len(sent))
    problems += _compare(stage, sent, recipients)
    measurement.add_round(
        recipients=recipients,
        fell_due=len(fallen),
        on_time=states["sent"],
        late=states["late"],
        missed=states["missed"],
        letters=sum(1 for _ in arrivals(stage.record, OURS)),
        letters_due=recipients * len(sent),
        ticks_told=_ticks(stage),
    )
    return problems


def _state_of(row: dict[str, Any]) -> str:
    return "late" if row["state"] == "sent" and row["late"] else str(row["state"])


def _is_explained(row: dict[str, Any]) -> bool:
    return row["state"] == "sent" or (row["state"] in {"missed", "cancelled"} and bool(row["reason"]))


def _compare(stage: Stage, sent: list[Due], recipients: int) -> list[str]:
    """Every reminder's letters by its campaign's ledger, and all of them by the sink."""
    problems = []
    arrived = Counter(each.recipient for each in arrivals(stage.record, OURS))
    wrong = {count for count in arrived.values() if count != len(sent)}
    if wrong or len(arrived) != (recipients if sent else 0):
        problems.append(f"{len(arrived)} people got letters, some {sorted(wrong)} of {len(sent)}")
    campaigns = [row for row in stage.read("reminder", "list")["reminders"] if row["campaign"]]
    named = Counter((row["event"], row["lead"]) for row in campaigns if row["rule"] == "asked")
    problems += [f"{key} went {count} times" for key, count in named.items() if count != 1]
    for row in campaigns:
        ledger = csv.DictReader(io.StringIO(stage.run("campaign", "ledger", row["campaign"])))
        states = Counter((line["recipient"], line["state"]) for line in ledger)
        if len(states) != recipients or set(states.values()) != {1}:
            problems.append(f"{row['campaign']}: {len(states)} of {recipients} in the ledger")
    return problems


def _ticks(stage: Stage) -> int:
    """How many rings for the tick the workers took, from all Beats together."""
    log = (stage.folder / "worker.log").read_text("utf-8", "replace")
    return sum("reminders.tick" in line and "received" in line for line in log.splitlines())


def _wait_until(stage: Stage, moment: datetime, speed: float) -> None:
    """Wait until the clock people see shows the moment."""
    while True:
        now = datetime.fromisoformat(stage.read("reminder", "plan")["now"])
        if now >= moment:
            return
        left = (moment - now).total_seconds() / speed
        time.sleep(min(20.0, max(_LOOK_SECONDS, left)))


def _wait_for_letters(stage: Stage, expected: int) -> None:
    stage.start_scheduler()  # the sweep finds what no bell rang for
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if sum(1 for _ in arrivals(stage.record, OURS)) >= expected:
            time.sleep(5.0)  # whoever comes twice comes now
            return
        time.sleep(_LOOK_SECONDS)
    if not stage.record.exists():
        raise StageFailed(f"no letter arrived:\n{stage.tail('worker')}")


if __name__ == "__main__":
    main()
