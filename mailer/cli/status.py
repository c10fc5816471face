"""`mailer status`: one screen that says whether all is well."""

import asyncio
import http.client
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import click
import redis

from mailer.campaigns.attention import find_alarms, unended_campaigns
from mailer.campaigns.heartbeats import POLLED, SWEEP, TICK_LATE, TICKED, last_heartbeat
from mailer.campaigns.progress import Progress, look_at
from mailer.cli.output import json_option, print_json, print_table, runtime_of, say, settings_of
from mailer.embedded.processes import PidFile
from mailer.events.alarms import find_reminder_alarms
from mailer.events.letters import find_letter_faults
from mailer.events.policy import policy_of
from mailer.events.reminders import derive_reminders
from mailer.foundation.clock import Clock, real_now
from mailer.foundation.database import DatabaseUnavailable
from mailer.foundation.settings import Settings
from mailer.reports.briefing import find_report_alarms
from mailer.runtime import Runtime, relays_of, template_folders
from mailer.schema import SchemaBehind
from mailer.sending.journals import look_at_journals
from mailer.sending.letters import list_id
from mailer.smtp.errors import RelayUnavailable
from mailer.smtp.patience import Patience
from mailer.smtp.pool import check_relay
from mailer.smtp.relays import Relay
from mailer.tracking.journals import web_folder
from mailer.tracking.watching import find_alarms as find_journal_alarms
from mailer.tracking.watching import watch_journals

_ANSWER_SECONDS = 3.0
_SWEEP_LATE = timedelta(seconds=60)
_POLL_LATE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that must work."""

    name: str
    ok: bool | None
    """None: this machine cannot tell."""
    detail: str


@dataclass(slots=True)
class Overview:
    """Everything on the screen."""

    processes: list[Part] = field(default_factory=list)
    relays: list[Part] = field(default_factory=list)
    campaigns: list[Progress] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; what cannot be told is not held to be wrong."""
        parts = [*self.processes, *self.relays]
        return not self.alarms and all(part.ok is not False for part in parts)


@click.command()
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show processes, relays, campaigns and alarms on one screen. Exit 1 if anything is wrong."""
    settings = settings_of(ctx)
    overview = _look(ctx, settings)
    if as_json:
        print_json({"ok": overview.ok, **asdict(overview)})
    else:
        _show(overview, settings)
    ctx.exit(0 if overview.ok else 1)


def _look(ctx: click.Context, settings: Settings) -> Overview:
    overview = Overview()
    with ThreadPoolExecutor() as threads:  # whoever is silent costs three seconds, not three each
        relays = threads.submit(_relays, settings)
        others = [threads.submit(probe, settings) for probe in (_web, _redis)]
        try:
            runtime = runtime_of(ctx)
            _look_into_database(runtime, overview)
        except (DatabaseUnavailable, SchemaBehind) as error:
            overview.processes.append(Part("database", ok=False, detail=str(error)))
        overview.processes += [other.result() for other in others]
        overview.relays += relays.result()
    overview.processes += _children(settings)
    _look_at_web_journals(settings, overview)
    journals = look_at_journals(settings.state_dir)
    if journals.unread:
        overview.alarms.append(
            f"{journals.unread} journals of processes that are gone have not been written down"
        )
    detail = f"{journals.living} sending processes on this machine"
    overview.processes.append(Part("senders", ok=True if journals.living else None, detail=detail))
    return overview


def _look_at_web_journals(settings: Settings, overview: Overview) -> None:
    watch = watch_journals(web_folder(settings.state_dir))
    shown = Clock(settings.state_dir if settings.clock else None).now()
    overview.alarms += find_journal_alarms(watch, now=shown)
    if watch.drainer_lives or watch.journals:
        detail = f"{watch.unmoved_bytes:,} bytes to move" if watch.drainer_lives else "none runs here"
        overview.processes.append(
            Part("drainer", ok=True if watch.drainer_lives else None, detail=detail)
        )


def _look_into_database(runtime: Runtime, overview: Overview) -> None:
    settings, now, shown = runtime.settings, real_now(), runtime.clock.now()
    folders = template_folders(settings)
    policy = policy_of(settings, folders)
    with runtime.database.read() as db:
        overview.processes.append(Part("database", ok=True, detail="reachable, and fits this version"))
        overview.processes.append(_sweep(last_heartbeat(db, SWEEP), now))
        overview.processes.append(_tick(last_heartbeat(db, TICKED), now))
        if settings.mailboxes:
            overview.processes.append(_poll(last_heartbeat(db, POLLED), now))
        overview.campaigns += [
            look_at(db, campaign, now=now, shown=shown, zone=settings.zone)
            for campaign in unended_campaigns(db)
        ]
        alarms = find_alarms(db, now=now, shown=shown, uncertain_alarm=settings.uncertain_alarm)
        overview.alarms += map(str, alarms)
        plan = derive_reminders(db, policy, now=shown)
        overview.alarms += find_report_alarms(db, settings, folders, now=shown)
    overview.alarms += map(str, find_reminder_alarms(plan, now=shown, warning=policy.warning))
    overview.alarms += map(str, find_letter_faults(folders))


def _sweep(last: datetime | None, now: datetime) -> Part:
    """The sweep is a task: that it ran shows that scheduler, Redis and a worker work together."""
    if last is None:
        return Part(
            "scheduler, worker", ok=False, detail="the sweep has never run: is  mailer up  running?"
        )
    said = _say_length(now - last)
    if now - last > _SWEEP_LATE:
        said += "; it should every ten seconds: is  mailer up  running?"
        return Part("scheduler, worker", ok=False, detail=f"the sweep has not run for {said}")
    return Part("scheduler, worker", ok=True, detail=f"the last sweep was {said} ago")


def _tick(last: datetime | None, now: datetime) -> Part:
    """The tick looks every minute for what is due by date, and starts it."""
    if last is None:
        return Part("reminders", ok=None, detail="nobody has looked yet for what is due")
    said = _say_length(now - last)
    if now - last > TICK_LATE:
        said += "; it should every minute: if  mailer up  runs, its log says why"
        return Part("reminders", ok=False, detail=f"what is due has not been started for {said}")
    return Part("reminders", ok=True, detail=f"whatever was due {said} ago has been started")


def _poll(last: datetime | None, now: datetime) -> Part:
    """Every minute the mailboxes that bounces come back to are read."""
    if last is None:
        return Part("bounce mailboxes", ok=False, detail="have never all been read")
    said = _say_length(now - last)
    if now - last > _POLL_LATE:
        said += "; they should every minute: see  mailer bounce poll"
        return Part("bounce mailboxes", ok=False, detail=f"have not all been read for {said}")
    return Part("bounce mailboxes", ok=True, detail=f"were read {said} ago")


def _say_length(length: timedelta) -> str:
    seconds = max(0, int(length.total_seconds()))
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} minutes"


def _web(settings: Settings) -> Part:
    """Whether the web application answers where links lead to."""
    place = urlsplit(settings.public_url)
    host = place.hostname or ""
    connection: http.client.HTTPConnection
    if place.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(
            host, place.port, timeout=_ANSWER_SECONDS, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, place.port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", f"{place.path}/health")
        code = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Part("web", ok=False, detail=f"{settings.public_url} does not answer: {reason}")
    finally:
        connection.close()
    well = code == http.client.OK
    return Part("web", well, f"{settings.public_url} answers" + ("" if well else f" with {code}"))


def _redis(settings: Settings) -> Part:
    options = {"socket_connect_timeout": _ANSWER_SECONDS, "socket_timeout": _ANSWER_SECONDS}
    try:
        client = redis.Redis.from_url(settings.redis, **options)
        try:
            client.ping()
        finally:
            client.close()
    except (redis.RedisError, OSError, ValueError) as error:
        return Part("redis", ok=False, detail=f"does not answer: {type(error).__name__}")
    return Part("redis", ok=True, detail="answers")


def _children(settings: Settings) -> list[Part]:
    """What `mailer up` has begun on this machine; nothing if it does not run here."""
    parts = []
    for path in sorted((settings.state_dir / "run").glob("*.pid")):
        remembered = PidFile(path).read()
        if remembered is None:
            continue
        pid, alive = remembered
        detail = f"process {pid}" + ("" if alive else " is gone")
        parts.append(Part(f"{path.stem} of mailer up", alive, detail))
    return parts


def _relays(settings: Settings) -> list[Part]:
    relays = relays_of(settings)
    if not relays:
        return [Part("none", ok=False, detail="no relay is set: nothing can be sent")]
    greet_as = list_id(settings) if settings.sender else "localhost"
    return asyncio.run(_ask_all(relays, greet_as))


async def _ask_all(relays: Sequence[Relay], greet_as: str) -> list[Part]:
    return await asyncio.gather(*[_ask(relay, greet_as) for relay in relays])


async def _ask(relay: Relay, greet_as: str) -> Part:
    patience = Patience(connect=_ANSWER_SECONDS, command=_ANSWER_SECONDS)
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await check_relay(relay, greet_as=greet_as, patience=patience)
    except RelayUnavailable as error:
        return Part(relay.name, ok=False, detail=str(error).removeprefix(f"relay {relay.name}: "))
    except TimeoutError:
        return Part(relay.name, ok=False, detail=f"no answer within {_ANSWER_SECONDS:.0f} s")
    return Part(relay.name, ok=True, detail="lets us in")


def _show(overview: Overview, settings: Settings) -> None:
    parts = [*overview.processes, *[_named(relay) for relay in overview.relays]]
    print_table(["", "part", "how it is"], [[_word(part), part.name, part.detail] for part in parts])
    if overview.campaigns:
        click.echo()
        print_table(
            ["campaign", "state", "letters", "sent", "to come", "letters/s", "waiting for"],
            [_row(progress) for progress in overview.campaigns],
            zone=settings.zone,
        )
    for alarm in overview.alarms:
        say(f"alarm: {alarm}")
    say("all is well" if overview.ok else "something is wrong")


def _named(relay: Part) -> Part:
    return Part(f"relay {relay.name}", relay.ok, relay.detail)


def _word(part: Part) -> str:
    return {True: "ok", False: "wrong", None: "?"}[part.ok]


def _row(progress: Progress) -> list[object]:
    counts = progress.deliveries
    to_come = counts["pending"] + counts["claimed"] + counts["deferred"]
    return [
        progress.campaign,
        progress.state,
        progress.audience,
        counts["sent"],
        to_come,
        progress.rate_per_second,
        progress.waiting_for,
    ]
