"""``/metrics`` for Prometheus: this process's counts, its machine's journals, what the database says.

For programs of ours alone, and without any personal data: numbers by kinds, states and campaigns' names.
What this process counts is exact, a single click too, though of no letter in particular: whoever asks
twice learns how many came between. So it is for whoever has the token, or is near.
"""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mailer.campaigns.account import CLAIMED
from mailer.campaigns.ledger import is_uncertain
from mailer.campaigns.models import (
    Batch,
    BatchState,
    Campaign,
    CampaignState,
    Delivery,
    DeliveryState,
    Heartbeat,
)
from mailer.campaigns.progress import Waiting, kind_of, waiting_for
from mailer.events.alarms import MISSED_FOR
from mailer.events.letters import find_letter_faults
from mailer.events.models import ReminderState
from mailer.events.policy import policy_of
from mailer.events.reminders import PlannedReminder, derive_reminders
from mailer.foundation.clock import real_now
from mailer.foundation.database import DatabaseUnavailable
from mailer.foundation.settings import Settings
from mailer.runtime import Runtime, template_folders
from mailer.tracking.journals import web_folder
from mailer.tracking.watching import JournalWatch, watch_journals
from mailer.web.recently import Recently
from mailer.web.site import Site

_FIGURES_SECONDS = 15.0
"""Counting the deliveries of a campaign of 800,000 takes a database a good part of a second."""
_PATIENCE_SECONDS = 4.0
_RUNNING = (CampaignState.SENDING, CampaignState.PAUSED)
_BEARER = b"Bearer "


@dataclass(frozen=True, slots=True)
class Figures:
    """What the database says."""

    campaigns: dict[str, int]
    """How many campaigns are in which state."""
    deliveries: dict[tuple[str, str], int]
    """Of campaigns under way: letters by campaign and state."""
    waiting: dict[str, Waiting | None]
    """Of campaigns under way: the kind of what they wait for."""
    uncertain: int
    reminders: dict[str, int]
    """Of those due about now: how many stand where."""
    reminders_overdue: int
    unusable_letters: int
    """Letters that cannot be read, or be used as reminders."""
    heartbeats: dict[str, datetime]


class Metrics:
    """Tells programs that watch how things go, and everybody else that there is no such page."""

    def __init__(self, site: Site) -> None:
        self._site = site
        settings = site.runtime.settings
        token = settings.metrics_token
        self._token = token.get_secret_value().encode() if token else None
        self._knows_who_is_near = bool(settings.proxies) or _is_loopback(settings)
        self._figures = Recently(self._ask, _FIGURES_SECONDS)

    def routes(self) -> Sequence[Route]:
        """Where this answer lives."""
        return (Route("/metrics", self.show),)

    async def show(self, request: Request) -> Response:
        """All metrics in the text format."""
        if not self._may_see(request):
            return self._site.error_page(404)
        figures = await self._figures.answer()
        folder = web_folder(self._site.runtime.settings.state_dir)
        journals = await anyio.to_thread.run_sync(watch_journals, folder)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collected([*self._of_process(journals), *_of_database(figures)]))
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    def _may_see(self, request: Request) -> bool:
        """Whether a program of ours asks: it has the token, or comes from here and by no proxy.

        Where a proxy that we do not know of may stand before us, everybody seems to come from here.
        """
        told = next((v for n, v in request.scope["headers"] if n == b"authorization"), b"")
        if self._token is not None and told.startswith(_BEARER):
            return hmac.compare_digest(told.removeprefix(_BEARER), self._token)
        return self._knows_who_is_near and self._site.origins.is_direct(request.scope)

    async def _ask(self) -> Figures | None:
        """The figures; None while the database is away."""
        runtime = self._site.runtime
        try:
            with anyio.move_on_after(_PATIENCE_SECONDS):
                return await self._site.read(lambda db: read_figures(db, runtime))
        except (DatabaseUnavailable, DBAPIError):
            pass
        return None

    def _of_process(self, journals: JournalWatch) -> Iterable[Metric]:
        site = self._site
        requests = CounterMetricFamily(
            "mailer_web_requests", "Requests answered by this process.", labels=["kind", "status"]
        )
        for (kind, status), count in sorted(site.tally.answers.items()):
            requests.add_metric([kind, str(status)], count)
        yield requests
        deeds = CounterMetricFamily(
            "mailer_web_deeds", "Forms that readers sent and this process kept.", labels=["kind"]
        )
        for kind, count in sorted(site.tally.deeds.items()):
            deeds.add_metric([kind], count)
        yield deeds
        yield CounterMetricFamily(
            "mailer_web_unnoted",
            "Opens and clicks of tokens over their limit: answered, left out of the log.",
            site.tally.unnoted,
        )
        yield CounterMetricFamily(
            "mailer_web_journal_lines", "Lines this process wrote to its journal.", site.recorder.noted
        )
        yield CounterMetricFamily(
            "mailer_web_journal_lost", "What readers did and no disk took.", journals.lost
        )
        yield CounterMetricFamily(
            "mailer_web_journal_set_aside", "Lines the database refused.", journals.set_aside
        )
        yield GaugeMetricFamily(
            "mailer_web_journals", "Journals of the web on this machine.", journals.journals
        )
        yield GaugeMetricFamily(
            "mailer_web_journal_bytes", "What stands in these journals.", journals.written_bytes
        )
        yield GaugeMetricFamily(
            "mailer_web_journal_unmoved_bytes",
            "Of these, what is not known to be in the database.",
            journals.unmoved_bytes,
        )
        yield GaugeMetricFamily(
            "mailer_web_drainer_up", "Whether a drainer runs on this machine.", journals.drainer_lives
        )
        yield GaugeMetricFamily(
            "mailer_web_drain_lag_seconds",
            "How long ago the oldest thing happened that is not in the database.",
            _age(journals.oldest_unmoved, site.runtime.clock.now()),
        )
        yield GaugeMetricFamily("mailer_web_links_loaded", "Tracked links in memory.", len(site.links))


def read_figures(db: Session, runtime: Runtime) -> Figures:
    """What the database says; nothing of it is about a person."""
    campaigns = dict.fromkeys(map(str, CampaignState), 0)
    for state, count in db.execute(select(Campaign.state, func.count()).group_by(Campaign.state)):
        campaigns[state.value] = count
    running = db.scalars(select(Campaign).where(Campaign.state.in_(_RUNNING))).all()
    names = {campaign.id: campaign.name for campaign in running}
    deliveries = {(name, state.value): 0 for name in names.values() for state in DeliveryState}
    counted = db.execute(
        select(Delivery.campaign_id, Delivery.state, func.count())
        .where(Delivery.campaign_id.in_(names))
        .group_by(Delivery.campaign_id, Delivery.state)
    )
    for campaign_id, stands, count in counted:
        deliveries[names[campaign_id], stands.value] = count
    near = _reminders_near(db, runtime)
    return Figures(
        campaigns=campaigns,
        deliveries=deliveries,
        waiting={
            campaign.name: _kind_of_waiting(db, runtime, campaign, deliveries) for campaign in running
        },
        uncertain=db.scalar(select(func.count()).select_from(Delivery).where(is_uncertain())) or 0,
        reminders={state: sum(one.state is state for one in near) for state in ReminderState},
        reminders_overdue=sum(one.state is ReminderState.DUE and one.late for one in near),
        unusable_letters=len(find_letter_faults(template_folders(runtime.settings))),
        heartbeats={row[0]: row[1] for row in db.execute(select(Heartbeat.name, Heartbeat.at))},
    )


def _kind_of_waiting(
    db: Session, runtime: Runtime, campaign: Campaign, deliveries: Mapping[tuple[str, str], int]
) -> Waiting | None:
    at_work = select(func.count()).where(
        Batch.campaign_id == campaign.id, Batch.state == BatchState.CLAIMED
    )
    told = waiting_for(
        db,
        campaign,
        {
            "pending": deliveries[campaign.name, DeliveryState.PENDING],
            "deferred": deliveries[campaign.name, DeliveryState.DEFERRED],
            CLAIMED: db.scalar(at_work) or 0,
        },
        now=real_now(),
        shown=runtime.clock.now(),
        zone=runtime.settings.zone,
    )
    return kind_of(told) if told else None


def _reminders_near(db: Session, runtime: Runtime) -> list[PlannedReminder]:
    """Those due in the last days, or soon enough for somebody to be warned; nothing about anybody."""
    settings, now = runtime.settings, runtime.clock.now()
    policy = policy_of(settings, template_folders(settings))
    plan = derive_reminders(db, policy, now=now)
    until = now + policy.warning
    return [one for one in plan if now - MISSED_FOR < one.due_at <= until and not one.moot]


def _of_database(figures: Figures | None) -> Iterable[Metric]:
    yield GaugeMetricFamily("mailer_database_up", "Whether the database answers.", figures is not None)
    if figures is None:
        return
    campaigns = GaugeMetricFamily("mailer_campaigns", "Campaigns by state.", labels=["state"])
    for state, count in figures.campaigns.items():
        campaigns.add_metric([state], count)
    yield campaigns
    deliveries = GaugeMetricFamily(
        "mailer_deliveries",
        "Letters of campaigns under way, by state; pending ones may be at work.",
        labels=["campaign", "state"],
    )
    for (campaign, state), count in figures.deliveries.items():
        deliveries.add_metric([campaign, state], count)
    yield deliveries
    waiting = GaugeMetricFamily(
        "mailer_campaign_waiting",
        "Whether a campaign under way waits for something of this kind.",
        labels=["campaign", "kind"],
    )
    for campaign, waits_for in figures.waiting.items():
        for kind in Waiting:
            waiting.add_metric([campaign, kind], kind is waits_for)
    yield waiting
    yield GaugeMetricFamily(
        "mailer_letters_uncertain", "Letters of unknown fate, of all campaigns.", figures.uncertain
    )
    reminders = GaugeMetricFamily(
        "mailer_reminders",
        "Reminders due in the last seven days, or as soon as blocked ones are told, by state.",
        labels=["state"],
    )
    for state, count in figures.reminders.items():
        reminders.add_metric([state], count)
    yield reminders
    yield GaugeMetricFamily(
        "mailer_reminders_overdue",
        "Reminders that should have left a while ago and still may.",
        figures.reminders_overdue,
    )
    yield GaugeMetricFamily(
        "mailer_letters_unusable",
        "Letters whose files cannot be read, or that make no sense as reminders; nothing of them goes.",
        figures.unusable_letters,
    )
    heartbeats = GaugeMetricFamily(
        "mailer_heartbeat_timestamp_seconds",
        "When what must happen again and again last did: sweep is scheduler and worker, ticked is that"
        " all that was due by date had been started.",
        labels=["name"],
    )
    for name, at in figures.heartbeats.items():
        heartbeats.add_metric([name], at.timestamp())
    yield heartbeats


class _Collected(Collector):
    """Metrics that were gathered already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _is_loopback(settings: Settings) -> bool:
    """Whether readers' links lead to this machine itself: no proxy stands before it."""
    host = urlsplit(settings.public_url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _age(moment: datetime | None, now: datetime) -> float:
    return 0.0 if moment is None else max(0.0, (now - moment).total_seconds())
