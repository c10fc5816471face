"""Pixels and tracked links: a bare ASGI callable in front of the pages, answering from memory."""

import asyncio

from sqlalchemy.exc import OperationalError
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from mailer.foundation.database import DatabaseUnavailable
from mailer.foundation.log import get_log
from mailer.tracking.labels import judge_request
from mailer.tracking.links import TrackedLink, parse_number
from mailer.tracking.log import Sighting
from mailer.tracking.models import TrackingKind
from mailer.tracking.tokens import BadToken, Grant, Purpose
from mailer.web.site import Site

PIXEL = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00"
    b",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
"""One transparent picture element."""
_LOOK_PATIENCE_SECONDS = 1.0

log = get_log(__name__)


class Front:
    """Answers ``/o/`` and ``/c/`` itself and hands everything else to the pages."""

    def __init__(self, site: Site, pages: ASGIApp) -> None:
        self._site = site
        self._pages = pages
        self._look: asyncio.Task[None] | None = None
        self._blind = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: str = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith(("/o/", "/c/")):
            # No page has such a name, and PostgreSQL no such text.
            pages = self._pages if path.isprintable() else self._site.error_page(404)
            await pages(scope, receive, send)
        elif scope["method"] not in {"GET", "HEAD"}:
            await self._site.error_page(405)(scope, receive, send)
        elif path.startswith("/o/"):
            await self._answer_pixel(scope, send)
        else:
            await self._answer_click(scope, receive, send)

    async def _answer_pixel(self, scope: Scope, send: Send) -> None:
        """Show the pixel to everybody; only a genuine token counts."""
        grant = self._verify(Purpose.OPEN, scope["path"].removeprefix("/o/"))
        if grant is not None:
            await self._note(scope, TrackingKind.OPEN, grant)
        headers = [(b"content-type", b"image/gif"), (b"content-length", b"%d" % len(PIXEL))]
        await _answer(send, 200, headers, b"" if scope["method"] == "HEAD" else PIXEL)

    async def _answer_click(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Redirect to the link's target as it stands now; nowhere else."""
        token, _, digits = scope["path"].removeprefix("/c/").partition("/")
        grant, number = self._verify(Purpose.CLICK, token), parse_number(digits)
        link = None
        if grant is not None and number is not None:
            link = await self._find_link(grant.campaign_id, number)
        if grant is None or link is None:
            status = 503 if grant is not None and self._blind else 404
            await self._site.error_page(status)(scope, receive, send)
            return
        await self._note(scope, TrackingKind.CLICK, grant, number=number, subject=link.event_slug)
        headers = [(b"location", link.location.encode("ascii")), (b"content-length", b"0")]
        await _answer(send, 302, headers, b"")

    def _verify(self, purpose: Purpose, token: str) -> Grant | None:
        try:
            return self._site.runtime.tokens.verify(purpose, token)
        except BadToken:
            return None

    async def _note(
        self,
        scope: Scope,
        kind: TrackingKind,
        grant: Grant,
        *,
        number: int | None = None,
        subject: str | None = None,
    ) -> None:
        await self._site.recorder.note(
            Sighting(
                kind,
                self._site.runtime.clock.now(),
                judge_request(scope["method"], Headers(scope=scope)),
                campaign_id=grant.campaign_id,
                position=grant.number,
                link_number=number,
                subject=subject,
            )
        )

    async def _find_link(self, campaign_id: int, number: int) -> TrackedLink | None:
        """The link as it stood at most two seconds ago, or as last known if the database is away."""
        links = self._site.links
        begun = False
        if links.needs_look(campaign_id, number) and (self._look is None or self._look.done()):
            links.looking()
            self._look = asyncio.create_task(self._load())
            begun = True
        waits = begun or links.find(campaign_id, number) is None
        if waits and self._look is not None and not self._look.done():
            await asyncio.wait({self._look}, timeout=_LOOK_PATIENCE_SECONDS)
        return links.find(campaign_id, number)

    async def _load(self) -> None:
        try:
            await self._site.read(self._site.links.load)
        except (DatabaseUnavailable, OperationalError):
            self._blind = True
            log.warning("links cannot be read; the ones in memory go on")
        else:
            self._blind = False


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
