"""The whole story on one machine, through the real parts: a spring of letters told in under a minute."""

import math
import os
import random
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mailer.embedded.commands import Commands
from mailer.embedded.errors import DemoFailed, ServiceFailed
from mailer.embedded.mailstore import read_record
from mailer.embedded.population import write_population_csv
from mailer.embedded.proof import compare, read_ledger
from mailer.embedded.readers import Deeds, act_all, open_letter, scan
from mailer.embedded.redis import redis_service
from mailer.embedded.services import (
    free_port,
    scheduler_service,
    sink_service,
    web_service,
    worker_service,
)
from mailer.embedded.supervisor import Supervisor, Tell, only_one
from mailer.foundation.clock import set_rehearsal
from mailer.foundation.settings import Settings, load_settings
from mailer.runtime import template_folders

CAMPAIGN = "startpakken-2014"
BEGINS = "2014-03-07T09:00+01:00"
_OURS = "THIS-IS-A-DEMO.txt"
_KEEP = 2_000
_ACTING = 400
_SCANNED = 3
_SEED = 2014
_POLL_SECONDS = 0.7
_START_SECONDS = 90.0
_DRAIN_SECONDS = 30.0
_LETTERS_A_SECOND_AT_LEAST = 20
_GONE_SHARE = 0.01
_WAVES = (
    ("2014-03-07T09:10+01:00", 0.22),
    ("2014-03-07T10:30+01:00", 0.20),
    ("2014-03-07T12:15+01:00", 0.14),
    ("2014-03-07T15:40+01:00", 0.12),
    ("2014-03-08T10:00+01:00", 0.08),
    ("2014-03-08T20:30+01:00", 0.07),
    ("2014-03-09T19:45+01:00", 0.09),
    ("2014-03-10T08:05+01:00", 0.08),
)
"""When people get round to the letter, and which share of those who do anything; invented."""
_AHEAD = frozenset({"planned", "due", "blocked"})

_ANNOUNCEMENTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("2014-03-14", "hovedstaden", ("--time", "09:30")),
    ("2014-03-28", "midtjylland", ("--time", "09:30")),
    (
        "2014-04-22",
        "syddanmark",
        ("--time", "12:30", "--programme-url", "https://program.inspirationsmoder.example/syddanmark"),
    ),
    (
        "2014-05-19",
        "nordjylland",
        ("--time", "09:30", "--programme-url", "https://program.inspirationsmoder.example/nordjylland"),
    ),
    (
        "2014-05-26",
        "sjaelland",
        (
            *("--place", "Øvesalen", "--address", "Øvegade 1, 4000 Roskilde", "--time", "13:00"),
            *("--programme-url", "https://program.inspirationsmoder.example/sjaelland"),
        ),
    ),
)
"""When the holes of the events are filled; these values are invented, history does not tell them."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """Where the story plays."""

    folder: Path
    settings: Settings
    commands: Commands
    tell: Tell


def run_demo(folder: Path, *, recipients: int, tell: Tell, show: Callable[[str], None]) -> Path:
    """Tell the story from the first list to the report; return where the HTML report lies.

    Args:
        folder: the demo's own state folder; emptied first.
        tell: takes a line of the story.
        show: takes the printed report.

    Raises:
        DemoFailed: a step did not come out as told.
        AlreadyRunning: another demo plays in this folder.
    """
    began = time.monotonic()
    _require_ours(folder)
    _forget_settings()
    with only_one(folder):
        _empty(folder)
        sink_port, web_port = free_port(), free_port()
        settings_file = _write_settings(folder, web_port=web_port, sink_port=sink_port)
        environment = {**os.environ, "MAILER_CONFIG": str(settings_file), "PYTHONUNBUFFERED": "1"}
        settings = load_settings(settings_file)
        logs = folder / "logs"
        logs.mkdir()
        tell(f"The stage: {folder}, logs in {logs}. The clock shows Friday 7 March 2014, 09:00.")
        with Commands(environment, logs) as commands:
            stage = _Stage(folder, settings, commands, tell)
            commands.run("init")
            with _services(stage, environment, web_port=web_port, sink_port=sink_port):
                _take_in(stage, recipients)
                _send(stage)
                _let_them_act(stage)
                _remind(stage)
                _prove(stage)
                report = _report(stage, show)
    tell(f"All of it took {time.monotonic() - began:.0f} s.")
    return report


def _require_ours(folder: Path) -> None:
    """Refuse to empty a folder that no demo made."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _OURS).exists():
        raise DemoFailed(f"{folder} is not empty and no demo made it: move it away, nothing was touched")


def _empty(folder: Path) -> None:
    (folder / _OURS).write_text(
        "The folder of `mailer demo`; everything in it is removed when the next demo begins.\n", "utf-8"
    )
    kept = {_OURS, "up.lock", "run"}  # the lock is held, the pid files name what must be ended first
    for path in folder.iterdir():
        if path.name in kept:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _write_settings(folder: Path, *, web_port: int, sink_port: int) -> Path:
    path = folder / "mailer.toml"
    relay = f"smtp://127.0.0.1:{sink_port}?starttls=never"
    lines = {
        "state_dir": str(folder),
        "public_url": f"http://127.0.0.1:{web_port}",
        "smtp_relays": relay,
        "sender": "Center for Offentlig Innovation <brev@coi.example>",
        "clock": BEGINS,
        "secret_key": secrets.token_urlsafe(32),
        "suppression_key": secrets.token_urlsafe(32),
    }
    path.touch(mode=0o600)
    text = "".join(f"{name} = {_toml_text(value)}\n" for name, value in lines.items())
    path.write_text(text, encoding="utf-8")
    (folder / "faults.toml").write_text(
        f'[[fault]]\nshare = {_GONE_SHARE}\nreply = "550 5.1.1 No such user here"\n', encoding="utf-8"
    )
    return path


def _toml_text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _forget_settings() -> None:
    """Leave out every setting of the person who runs the demo, here and in what is started."""
    for name in list(os.environ):
        if name.startswith("MAILER_") or name in {"DATABASE_URL", "REDIS_URL"}:
            del os.environ[name]


@contextmanager
def _services(
    stage: _Stage, environment: Mapping[str, str], *, web_port: int, sink_port: int
) -> Iterator[None]:
    """The services of `mailer up` and a mail sink, under the same supervisor."""
    began = time.monotonic()
    folder = stage.folder
    sink = sink_service(folder / "sink", port=sink_port, keep=_KEEP, faults=folder / "faults.toml")
    chosen = [
        redis_service(stage.settings),
        sink,
        web_service(web_port),
        worker_service(stage.settings),
        scheduler_service(stage.settings),
    ]
    supervisor = Supervisor(folder, environment, stage.tell, folder / "logs")
    ready, failed = threading.Event(), list[ServiceFailed]()

    def supervise() -> None:
        try:
            supervisor.run(chosen, when_ready=ready.set)
        except ServiceFailed as error:
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=supervise, name="supervisor")
    thread.start()
    try:
        if not ready.wait(_START_SECONDS) or failed:
            raise DemoFailed(str(failed[0]) if failed else "the services did not start in time")
        stage.tell(f"All services run after {time.monotonic() - began:.1f} s.")
        yield
    finally:
        supervisor.stop.ask()
        thread.join()


def _take_in(stage: _Stage, recipients: int) -> None:
    path = stage.folder / "population.csv"
    write_population_csv(path, recipients, _SEED)
    arguments = ("recipient", "import", str(path), "--source", "KL")
    done = stage.commands.read(*arguments, allowed=(0, 3))
    seconds = float(done["seconds"])
    stage.tell(
        f"{done['rows']:,} rows of an invented Danish list taken in within {seconds:.1f} s:"
        f" {done['imported']:,} recipients, {done['duplicates']:,} doubles, {done['rejected']:,} refused"
        + (f" (each with line and reason in {done['rejects_file']})" if done["rejected"] else "")
    )
    events = template_folders(stage.settings)[-1] / "letters" / "startpakke" / "events.toml"
    taken = stage.commands.read("event", "import", str(events))
    stage.tell(f"{taken['added']} events of spring 2014 taken in, with their holes.")


def _send(stage: _Stage) -> None:
    basis = "Databeskyttelsesforordningen art. 6, stk. 1, litra e (eksempel)"
    stage.commands.read(
        *("campaign", "create", CAMPAIGN, "--letter", "startpakke"),
        *("--tracking", "personal", "--legal-basis", basis),
    )
    mayor = stage.commands.read("recipient", "list", "--limit", "1")["recipients"][0]["email"]
    preview = stage.commands.run("campaign", "preview", CAMPAIGN, "--as", mayor).out
    subject, _, body = preview.partition("\n")
    greeting = next((line for line in body.splitlines() if line.strip()), "")
    stage.tell(f"The letter: “{subject}” – “{greeting} …”")
    queued = stage.commands.read("campaign", "queue", CAMPAIGN, "--yes")
    stage.tell(f"{queued['audience']:,} letters queued (rung: {queued['rung']}).")
    status = _wait_until_finished(stage, CAMPAIGN, queued["audience"])
    rate = status["rate_per_second"]
    states = ", ".join(f"{count:,} {state}" for state, count in status["deliveries"].items() if count)
    stage.tell(f"The campaign is finished: {states}" + (f"; {rate:,.0f} letters/s." if rate else "."))


def _wait_until_finished(stage: _Stage, name: str, audience: int) -> dict[str, Any]:
    """Follow a campaign to its end.

    Raises:
        DemoFailed: it stands still.
    """
    deadline = time.monotonic() + 120 + audience / _LETTERS_A_SECOND_AT_LEAST
    told = time.monotonic()
    while True:
        status = stage.commands.read("campaign", "status", name)
        if status["state"] == "finished":
            return status
        if time.monotonic() - told > 5:
            told = time.monotonic()
            stage.tell(f"  … {status['deliveries']['sent']:,} of {audience:,} sent")
        if time.monotonic() > deadline:
            reason = status["waiting_for"] or "no reason given"
            raise DemoFailed(f"{name} is not finished in time ({reason}); logs: {stage.folder / 'logs'}")
        time.sleep(_POLL_SECONDS)


def _let_them_act(stage: _Stage) -> None:
    """Some recipients do something with the letter the sink kept for them."""
    began = time.monotonic()
    url = stage.settings.public_url
    sink = stage.folder / "sink"
    kept = sorted((each for each in read_record(sink) if each.file), key=lambda each: each.recipient)
    chosen = random.Random(_SEED).sample(kept, min(len(kept), _ACTING + _SCANNED))  # noqa: S311 - a story
    letters = [open_letter(sink / each.file, each.recipient, url) for each in chosen]
    targets = scan(letters[:_SCANNED], url)
    deeds, waiting = Deeds(), letters[_SCANNED:]
    for moment, share in _WAVES:
        set_rehearsal(stage.settings.state_dir, datetime.fromisoformat(moment))
        now = math.ceil(share * (len(letters) - _SCANNED))
        act_all(waiting[:now], targets, url, seed=_SEED, deeds=deeds)
        waiting = waiting[now:]
    counted = ", ".join(f"{count} {what}" for what, count in deeds.counts.items())
    stage.tell(
        f"A mail scanner fetched everything in {len(letters[:_SCANNED])} letters, and nobody was"
        f" unsubscribed by it. From Friday to Monday {len(letters) - _SCANNED} people acted, in"
        f" {time.monotonic() - began:.1f} s: {counted or 'nothing'}."
    )
    for gone in deeds.unsubscribed[:1]:
        _wait_until_suppressed(stage, gone)


def _wait_until_suppressed(stage: _Stage, email: str) -> None:
    """Return once an unsubscription is in force; it is on the disk, and soon in the database.

    Raises:
        DemoFailed: it takes too long.
    """
    deadline = time.monotonic() + _DRAIN_SECONDS
    while stage.commands.read("recipient", "show", email)["suppressed"] != "unsubscribed":
        if time.monotonic() > deadline:
            raise DemoFailed("a recipient unsubscribed and is not suppressed")
        time.sleep(_POLL_SECONDS)


def _remind(stage: _Stage) -> None:
    """Go through the spring from one reminder to the next, filling the events' holes on the way."""
    plan = stage.commands.read("reminder", "plan")["reminders"]
    for slug, reason in {
        one["event"]: one["reason"] for one in plan if one["state"] == "blocked"
    }.items():
        stage.tell(f"  {slug} is blocked for now: {reason}")
    due = {datetime.fromisoformat(one["due_at"]) for one in plan if one["state"] in _AHEAD}
    days: list[tuple[datetime, tuple[str, ...]]] = [
        (moment + timedelta(seconds=1), ()) for moment in due
    ]
    for day, slug, changes in _ANNOUNCEMENTS:
        days.append((datetime.fromisoformat(f"{day}T10:00+01:00"), (slug, *changes)))
    sent = letters = 0
    for moment, changes in sorted(days):
        set_rehearsal(stage.settings.state_dir, moment)
        if changes:
            stage.commands.read("event", "update", *changes)
            stage.tell(f"  {moment:%d %B}: {changes[0]} is filled in (invented for the rehearsal)")
            continue
        went = stage.commands.read("reminder", "run", "--yes")["reminders"]
        for lead, event in dict.fromkeys((one["lead"], one["event"]) for one in went):
            of_it = [one for one in went if (one["lead"], one["event"]) == (lead, event)]
            sent, letters = sent + 1, letters + sum(one["audience"] for one in of_it)
            told = ", ".join(f"{one['audience']} who {one['rule']}" for one in of_it)
            stage.tell(f"  {moment:%d %B}: {lead} before {event}: to {told}")
    left = [
        one for one in stage.commands.read("reminder", "plan")["reminders"] if one["state"] != "sent"
    ]
    if left:
        raise DemoFailed(f"{len(left)} reminders are not sent: the first is {left[0]['state']}")
    for campaign in stage.commands.read("campaign", "list")["campaigns"]:
        if campaign["state"] != "finished":
            _wait_until_finished(stage, campaign["campaign"], campaign["audience"])
    stage.tell(f"{sent} reminders of spring 2014 came due and went to {letters:,} readers.")


def _prove(stage: _Stage) -> None:
    """Reconcile every campaign, and lay the ledgers beside what the sink wrote down by itself."""
    rows: list[dict[str, str]] = []
    names = [each["campaign"] for each in stage.commands.read("campaign", "list")["campaigns"]]
    ledger = stage.folder / "ledger.csv"
    for proof in stage.commands.read("campaign", "reconcile", "--all")["campaigns"]:
        if not (proof["ok"] and proof["complete"]):
            told = proof["problems"] or proof["deliveries"]
            raise DemoFailed(f"{proof['campaign']} does not reconcile: {told}")
    for name in names:
        stage.commands.run("campaign", "ledger", name, "-o", str(ledger))
        rows += read_ledger(ledger)
    found = compare(read_record(stage.folder / "sink"), rows)
    if found.problems:
        raise DemoFailed("ledger and sink differ: " + "; ".join(found.problems))
    uncertain = f", {found.uncertain} uncertain and named" if found.uncertain else ""
    stage.tell(
        f"{len(names)} campaigns reconcile, ok and complete. The sink's own record agrees:"
        f" {found.accepted:,} letters arrived, each once; {found.sent:,} stand as sent{uncertain}."
    )


def _report(stage: _Stage, show: Callable[[str], None]) -> Path:
    path = stage.folder / "report.html"
    show(stage.commands.run("report", "campaign", CAMPAIGN, "--format", "table").out)
    stage.commands.run("report", "campaign", CAMPAIGN, "--format", "html", "-o", str(path))
    return path
