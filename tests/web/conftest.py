"""A campaign whose letters have left, and a reader who talks to the real application."""

import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, time
from typing import Any

import anyio.from_thread
import httpx
import pytest
import sqlalchemy.event
from anyio.from_thread import BlockingPortal
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign, CampaignState, Delivery, DeliveryState, Link
from mailer.events.models import Event, EventState
from mailer.foundation.database import Database
from mailer.runtime import Runtime
from mailer.sending.preparing import prepare_letter
from mailer.tracking.addresses import TrackedAddresses
from mailer.tracking.draining import only_drainer
from mailer.tracking.journals import drainer_lives, web_folder
from mailer.tracking.models import TrackingCount, TrackingEvent, TrackingKind
from mailer.web.app import build_app
from mailer.web.draining import open_drainer, run_drainer
from mailer.web.server import make_server
from mailer.web.site import Site, open_site
from recipients.addresses import hash_address
from recipients.models import Recipient, Suppression, TrackingChoice
from tests.conftest import NOW

_STAMP = re.compile(r'name="stamp" value="([^"]*)"')
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"


@dataclass
class Reader:
    """Talks HTTP to the application in this process, one request after the other."""

    site: Site
    portal: BlockingPortal
    headers: dict[str, str] = field(default_factory=lambda: {"User-Agent": FIREFOX})

    def __post_init__(self) -> None:
        self.app = build_app(self.site)

    def get(self, path: str, **kwargs: Any) -> httpx.Response:
        return self.request("GET", path, **kwargs)

    def head(self, path: str, **kwargs: Any) -> httpx.Response:
        return self.request("HEAD", path, **kwargs)

    def post(self, path: str, **kwargs: Any) -> httpx.Response:
        return self.request("POST", path, **kwargs)

    def request(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://127.0.0.1:8000", headers=self.headers
            ) as client:
                return await client.request(method, path, **kwargs)

        return self.portal.call(ask)


def drain_once(runtime: Runtime) -> int:
    """Move all that is in the journals now; return how many lines that were."""
    drainer, total = open_drainer(runtime), 0
    with only_drainer(web_folder(runtime.settings.state_dir)):
        while moved := drainer.drain():
            total += moved
    return total


def stamp_in(page: httpx.Response) -> str:
    """What the page's form brings along to say which visit it is from."""
    (found,) = _STAMP.findall(page.text)
    return str(found)


def without_stamp(page: httpx.Response) -> str:
    """The page as every visitor sees it."""
    assert _STAMP.search(page.text)
    return _STAMP.sub("", page.text)


@contextmanager
def open_reader(runtime: Runtime) -> Iterator[Reader]:
    """A reader of an application made for this runtime."""
    with anyio.from_thread.start_blocking_portal() as portal:
        yield Reader(open_site(runtime), portal)


@contextmanager
def outage(database: Database) -> Iterator[None]:
    """No connection to the database comes about, as when its server is down."""

    def refuse(dialect: Any, *args: Any) -> None:
        raise dialect.loaded_dbapi.OperationalError("outage")

    sqlalchemy.event.listen(database.engine, "do_connect", refuse)
    database.dispose()
    try:
        yield
    finally:
        sqlalchemy.event.remove(database.engine, "do_connect", refuse)


@pytest.fixture
def reader(runtime: Runtime) -> Iterator[Reader]:
    """A reader with an ordinary browser."""
    with open_reader(runtime) as opened:
        yield opened


@dataclass(frozen=True)
class Mailing:
    """What a test needs to know of the campaign that was sent."""

    runtime: Runtime
    campaign_id: int
    recipient_id: int
    address_hash: str
    addresses: TrackedAddresses

    def path(self, purpose: str, *more: object, position: int = 1) -> str:
        """The path of one of the first recipient's links, such as ``unsubscribe``."""
        build = getattr(self.addresses, purpose)
        url: str = build(self.campaign_id, position, *more)
        return url.removeprefix(self.addresses.public_url)

    def freeze_letter(self, about: str | None = None) -> None:
        """Freeze the campaign's letter and its links, as a launch leaves them."""
        with self.runtime.database.write() as db:
            campaign = db.get_one(Campaign, self.campaign_id)
            letter = prepare_letter(self.runtime.letter_tools, db, campaign, now=NOW, about=about)
            campaign.frozen_letter, campaign.dated_at = letter.frozen, NOW
            db.execute(delete(Link).where(Link.campaign_id == campaign.id))
            db.add_all(
                Link(
                    campaign_id=campaign.id,
                    number=link.number,
                    key=link.key,
                    kind=link.kind,
                    event_slug=link.event_slug,
                    target=link.target,
                )
                for link in letter.links.values()
            )

    def drain(self) -> int:
        """Move what the web has seen so far into the database."""
        return drain_once(self.runtime)

    def seen(self, kind: TrackingKind | None = None) -> list[TrackingEvent]:
        """What stands in the event log, once all that was seen is there."""
        self.drain()
        with self.runtime.database.read() as db:
            wanted = select(TrackingEvent).order_by(TrackingEvent.id)
            if kind is not None:
                wanted = wanted.where(TrackingEvent.kind == kind)
            return list(db.scalars(wanted))

    def counted(self) -> dict[tuple[int, TrackingKind, int, str], int]:
        """What is counted for nobody: by campaign, kind, link and subject."""
        self.drain()
        with self.runtime.database.read() as db:
            totals: Counter[tuple[int, TrackingKind, int, str]] = Counter()
            for row in db.scalars(select(TrackingCount)):
                totals[row.campaign_id, row.kind, row.link_number, row.subject] += row.total
            return dict(totals)

    def suppressed(self) -> Suppression | None:
        """The first recipient's suppression, once all that was asked for is done."""
        self.drain()
        with self.runtime.database.read() as db:
            return db.get(Suppression, self.address_hash)


def add_recipient(
    db: Session,
    runtime: Runtime,
    email: str,
    *,
    language: str = "da",
    tracking: TrackingChoice | None = None,
) -> Recipient:
    """Somebody who may be written to."""
    recipient = Recipient(
        email=email,
        email_key=email,
        address_hash=hash_address(runtime.settings.address_key, email),
        domain=email.rpartition("@")[2],
        name="Åse Sørensen",
        language=language,
        tracking=tracking,
        created_at=NOW,
        updated_at=NOW,
    )
    db.add(recipient)
    db.flush()
    return recipient


def add_campaign(db: Session, *recipients: Recipient, tracking: str = "personal") -> Campaign:
    """A campaign sent to these, with one link of each kind."""
    campaign = Campaign(
        name=f"brev-{tracking}",
        letter="startpakke",
        state=CampaignState.FINISHED,
        tracking=tracking,
        audience=len(recipients),
        created_at=NOW,
    )
    db.add(campaign)
    db.flush()
    for position, recipient in enumerate(recipients, start=1):
        db.add(
            Delivery(
                campaign_id=campaign.id,
                position=position,
                recipient_id=recipient.id,
                state=DeliveryState.SENT,
            )
        )
    for number, (key, kind, slug, target) in enumerate(
        (
            ("pack", "download", None, "/startpakke.pdf"),
            (
                "events.registration/midtjylland",
                "registration",
                "midtjylland",
                "https://tilmelding.example/midt?a=1&b=2",
            ),
        ),
        start=1,
    ):
        db.add(
            Link(
                campaign_id=campaign.id,
                number=number,
                key=key,
                kind=kind,
                event_slug=slug,
                target=target,
            )
        )
    db.flush()
    return campaign


def add_event(db: Session, slug: str, day: date, **values: Any) -> Event:
    """An event; what is not given is not known."""
    added = Event(
        slug=slug,
        title=values.pop("title", f"Inspirationsmøde i {slug.title()}"),
        date=day,
        created_at=NOW,
        updated_at=NOW,
        **values,
    )
    db.add(added)
    db.flush()
    return added


@pytest.fixture
def mailing(runtime: Runtime) -> Mailing:
    """A campaign to one Dane and one reader of English, and four events in all states."""
    with runtime.database.write() as db:
        dane = add_recipient(db, runtime, "aase@eksempelkommune.example")
        other = add_recipient(db, runtime, "john@eksempelkommune.example", language="en")
        campaign = add_campaign(db, dane, other)
        add_event(
            db,
            "midtjylland",
            date(2014, 4, 7),
            time=time(13, 30),
            place="Skanderborg Park",
            address="Skovsvinget 10, 8660 Skanderborg",
            region="Midtjylland",
            programme_url="https://program.example/midt",
            registration_url="https://tilmelding.example/midt",
        )
        add_event(db, "sjaelland", date(2014, 6, 17), region="Sjælland")
        add_event(db, "prøve", date(2014, 5, 1), state=EventState.CANCELLED)
        add_event(db, "forrige", date(2014, 3, 6), place="Odense")
        return Mailing(
            runtime,
            campaign.id,
            dane.id,
            dane.address_hash,
            TrackedAddresses(runtime.settings.public_url, runtime.tokens),
        )


@contextmanager
def serving(runtime: Runtime) -> Iterator[str]:
    """A real server on a port of its own; yields its base address."""
    server = make_server(runtime)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def draining(runtime: Runtime) -> Iterator[None]:
    """The real drainer, for as long as the block lasts."""
    stop = threading.Event()
    thread = threading.Thread(target=run_drainer, args=(runtime, stop.is_set, None))
    thread.start()
    while not drainer_lives(web_folder(runtime.settings.state_dir)):
        stop.wait(0.01)
    try:
        yield
    finally:
        stop.set()
        thread.join()
