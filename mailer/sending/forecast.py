"""What sending a campaign will take: time, bytes over the wire, and room in the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, func, select, text
from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign, CampaignState, Delivery
from mailer.smtp.relays import Relay

BYTES_PER_DELIVERY = {"postgresql": 200, "sqlite": 70}
"""What a sent delivery takes with its share of the indexes, where there is none to be weighed."""
_WORTH_WEIGHING = 10_000
_WORTH_TIMING = 100
_LAST_CAMPAIGNS = 5
_SLOWEST = 5


@dataclass(frozen=True, slots=True)
class DomainForecast:
    """One mail domain that will take long."""

    domain: str
    letters: int
    seconds: float | None
    """At the relays' ``domain_rate``; None where none is set."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the letters will take, if nothing changes."""

    letters: int
    """Those that leave: in trial mode, the few that may."""
    megabytes: float
    """Over the wire, in millions of bytes."""
    connections: int
    letters_per_second: float | None
    """None: unknown, the relay decides."""
    rate_from: str
    """``relays``: their rate; ``campaigns``: what the last ones reached; ``unknown``."""
    seconds: float | None
    """The whole campaign, its slowest domain included."""
    ends_at: datetime | None
    """If it began now; the clock people see."""
    slowest_domains: tuple[DomainForecast, ...]
    database_megabytes: float
    bytes_per_delivery: int
    bytes_measured: bool
    """Whether that was weighed in this database, or is what one takes elsewhere."""


def forecast(
    db: Session,
    relays: Sequence[Relay],
    domains: Select[Any],
    *,
    audience: int,
    letters: int,
    mean_bytes: float,
    now: datetime,
) -> Forecast:
    """What the letters will take.

    Args:
        domains: mail domains and how many letters go there, most letters first.
        audience: deliveries that will be written.
        letters: those of them that leave.
        mean_bytes: of a letter as it goes over the wire.
        now: the clock people see.
    """
    rate, rate_from = _rate(db, relays)
    per_domain = _sum_of([relay.domain_rate for relay in relays])
    slowest = tuple(
        DomainForecast(domain, count, round(count / per_domain, 1) if per_domain else None)
        for domain, count in db.execute(domains.limit(_SLOWEST))
    )
    seconds = letters / rate if rate else None
    if slowest and slowest[0].seconds is not None:
        seconds = max(seconds or 0.0, slowest[0].seconds)
    each, measured = _weigh(db)
    return Forecast(
        letters=letters,
        megabytes=round(letters * mean_bytes / 1e6, 1),
        connections=sum(relay.connections for relay in relays),
        letters_per_second=rate,
        rate_from=rate_from,
        seconds=None if seconds is None else round(seconds, 1),
        ends_at=None if seconds is None else now + timedelta(seconds=round(seconds)),
        slowest_domains=slowest,
        database_megabytes=round(audience * each / 1e6, 1),
        bytes_per_delivery=each,
        bytes_measured=measured,
    )


def _rate(db: Session, relays: Sequence[Relay]) -> tuple[float | None, str]:
    """Letters a second: what the relays are set to, else the best of the last campaigns."""
    limit = _sum_of([relay.rate for relay in relays])
    if limit is not None:
        return limit, "relays"
    last = db.execute(
        select(Campaign.started_at, Campaign.finished_at, Campaign.audience)
        .where(
            Campaign.state == CampaignState.FINISHED,
            Campaign.started_at.is_not(None),
            Campaign.finished_at.is_not(None),
            Campaign.audience >= _WORTH_TIMING,
        )
        .order_by(Campaign.id.desc())
        .limit(_LAST_CAMPAIGNS)
    )
    reached = [
        audience / seconds
        for started, finished, audience in last
        if started and finished and (seconds := (finished - started).total_seconds()) > 0
    ]
    return (round(max(reached), 1), "campaigns") if reached else (None, "unknown")


def _sum_of(rates: Sequence[float | None]) -> float | None:
    """What all relays together take; None as soon as one of them knows no limit."""
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known and len(known) == len(rates) else None


def _weigh(db: Session) -> tuple[int, bool]:
    """Bytes a delivery takes in this database, and whether there were any to weigh."""
    kind = db.get_bind().dialect.name
    if kind == "postgresql":
        size = db.scalar(text("SELECT pg_total_relation_size('deliveries')")) or 0
        rows = db.scalar(select(func.count()).select_from(Delivery)) or 0
        if rows >= _WORTH_WEIGHING:
            return round(size / rows), True
    return BYTES_PER_DELIVERY[kind], False
