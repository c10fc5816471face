"""Pixels and tracked links: answered from memory, once what was seen is in this process's journal.

The server asks ``answer_at_once`` before any other machinery; what that leaves to others comes in by
ASGI. Both answer alike. Who it was that asked is judged later, where the journal is moved.
"""

from datetime import date

from starlette.types import ASGIApp, Receive, Scope, Send

from mailer.tracking.links import TRAP_KIND, TrackedLink, parse_number
from mailer.tracking.models import TrackingKind
from mailer.tracking.sightings import (
    NOBODY,
    Sighting,
    format_line,
    quote_agent,
    read_manner,
    read_user_agent,
)
from mailer.tracking.tokens import BadToken, Grant, Purpose
from mailer.web.guards import secret_headers
from mailer.web.plain import forwarded_for, read_plain
from mailer.web.site import Site
from mailer.web.targets import Targets

PIXEL = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00"
    b",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
"""One transparent picture element."""


class Front:
    """Answers ``/o/`` and ``/c/`` itself and hands everything else to the pages."""

    def __init__(self, site: Site, pages: ASGIApp, targets: Targets) -> None:
        self._site = site
        self._pages = pages
        self._targets = targets
        tokens, settings = site.runtime.tokens, site.runtime.settings
        self._verify_token = tokens.verify
        self._read_open, self._read_click = tokens.reader(Purpose.OPEN), tokens.reader(Purpose.CLICK)
        self._behind_proxies = bool(settings.proxies)
        safety = b"".join(b"%s: %s\r\n" % header for header in secret_headers(settings.public_url))
        self._pixel_head = (
            b"HTTP/1.1 200 OK\r\ncontent-type: image/gif\r\ncontent-length: %d\r\n" % len(PIXEL)
        ) + safety
        self._click_head = b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\n" + safety + b"location: "
        self._turn_has_begun = self._stale = False
        self._at, self._day = "", date.min

    def answer_at_once(
        self, request: bytes, client: tuple[str, int] | None, more: bytes
    ) -> bytes | None:
        """The whole answer to a plain request for a pixel or a link, what was seen being gathered.

        It may leave after ``end_turn``.

        Args:
            request: all that was read of the connection.
            client: the peer's address and port.
            more: header lines of the server's own.

        Returns:
            None for whatever is out of the ordinary: the application must answer.
        """
        plain = read_plain(request)
        if plain is None:
            return None
        if not self._turn_has_begun:
            self._begin_turn()
        link = None
        if plain.wants_pixel:
            named = self._read_open(plain.token)
        else:
            named = None if self._stale else self._read_click(plain.token)
            link = self._site.links.find(named[0], plain.number) if named else None
            if link is None:
                return None
        if not self._site.load.take():  # last: what goes on to the application is charged there
            return None
        if named is not None and self._may_note(plain.token, named[1]):
            headers = forwarded_for(plain.headers) if self._behind_proxies else []
            address = self._site.origins.address({"client": client, "headers": headers})
            self._site.recorder.gather(
                format_line(
                    "open" if link is None else "trap" if link.kind == TRAP_KIND else "click",
                    self._at,
                    named[0],
                    named[1],
                    None if link is None else plain.number,
                    None if link is None else link.event_slug,
                    "head" if plain.is_head else "get",
                    quote_agent(plain.agent),
                    self._site.networks.pseudonym(address, self._day),
                    None,
                )
            )
        if link is None:
            self._site.tally.answered("open", 200)
            return b"%s%s\r\n%s" % (self._pixel_head, more, b"" if plain.is_head else PIXEL)
        self._site.tally.answered("click", 302)
        return b"%s%s\r\n%s\r\n" % (self._click_head, link.location.encode("ascii"), more)

    def end_turn(self) -> None:
        """Write down what was seen in this turn of the event loop."""
        self._turn_has_begun = False
        self._site.recorder.flush()

    def _begin_turn(self) -> None:
        """Look at what is the same for all that is asked in one turn."""
        self._turn_has_begun = True
        now = self._site.runtime.clock.now()
        self._at, self._day = now.isoformat(), self._site.days.day_of(now)
        # Without a database nobody can know better than memory; it is asked again beside the answers.
        self._stale = self._site.links.is_stale and not self._targets.blind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: str = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith(("/o/", "/c/")):
            # No page has such a name, and PostgreSQL no such text.
            pages = self._pages if path.isprintable() else self._site.error_page(404)
            await pages(scope, receive, send)
        elif scope["method"] not in {"GET", "HEAD"}:
            response = self._site.error_page(405)
            response.headers["Allow"] = "GET, HEAD"
            await response(scope, receive, send)
        elif path.startswith("/o/"):
            await self._answer_pixel(scope, send)
        else:
            await self._answer_click(scope, receive, send)

    async def _answer_pixel(self, scope: Scope, send: Send) -> None:
        """Show the pixel to everybody; only a genuine token counts."""
        token = scope["path"].removeprefix("/o/")
        grant = self._verify(Purpose.OPEN, token)
        if grant is not None and self._may_note(token, grant.number):
            self._note(scope, TrackingKind.OPEN, grant)
        headers = [(b"content-type", b"image/gif"), (b"content-length", b"%d" % len(PIXEL))]
        await _answer(send, 200, headers, b"" if scope["method"] == "HEAD" else PIXEL)

    async def _answer_click(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Redirect to the link's target as it stands now; nowhere else."""
        token, _, digits = scope["path"].removeprefix("/c/").partition("/")
        grant, number = self._verify(Purpose.CLICK, token), parse_number(digits)
        link = None
        if grant is not None and number is not None:
            link = await self._targets.find(grant.campaign_id, number)
        if grant is None or link is None:
            status = 503 if grant is not None and self._targets.blind else 404
            await self._site.error_page(status)(scope, receive, send)
            return
        if self._may_note(token, grant.number):
            self._note(scope, _kind_of(link), grant, number=number, link=link)
        headers = [(b"location", link.location.encode("ascii")), (b"content-length", b"0")]
        await _answer(send, 302, headers, b"")

    def _verify(self, purpose: Purpose, token: str) -> Grant | None:
        try:
            return self._verify_token(purpose, token)
        except BadToken:
            return None

    def _may_note(self, token: str | bytes, position: int) -> bool:
        """Whether a token is within its limit; over it, readers are answered and nothing is noted.

        What is nobody's stands in many letters and has none.
        """
        if position == NOBODY or self._site.limits.allow(token):
            return True
        self._site.tally.unnoted += 1
        return False

    def _note(
        self,
        scope: Scope,
        kind: TrackingKind,
        grant: Grant,
        *,
        number: int | None = None,
        link: TrackedLink | None = None,
    ) -> None:
        now = self._site.runtime.clock.now()
        self._site.recorder.note(
            Sighting(
                kind,
                now,
                campaign_id=grant.campaign_id,
                position=grant.number,
                link_number=number,
                subject=link.event_slug if link else None,
                manner=read_manner(scope["method"], scope["headers"]),
                user_agent=read_user_agent(scope["headers"]),
                network=self._site.network_of(scope, now),
            )
        )


def _kind_of(link: TrackedLink) -> TrackingKind:
    return TrackingKind.TRAP if link.kind == TRAP_KIND else TrackingKind.CLICK


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
