"""The pages that are open to everybody: the pack, the principles, the events, in Danish and English.

An English page stands behind ``/en`` at the address of the Danish one.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from mailer.events.calendar import calendar_feed, calendar_file
from mailer.events.catalogue import find_event, list_events, upcoming_events
from mailer.events.errors import EventNotFound
from mailer.tracking.models import TrackingKind
from mailer.web.event_view import EventView, view_event
from mailer.web.guards import TOKEN_PATHS
from mailer.web.site import Site

_CALENDAR = "text/calendar; charset=utf-8"
_ENGLISH = "/en"


class PublicPages:
    """Answers without a token; whoever looks is nobody in particular."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def routes(self) -> Sequence[Route]:
        """Where these pages live; calendar files stand before the pages whose names they extend."""
        pages = {
            "/": self.home,
            "/startpakke": self.pack,
            "/principper": self.principles,
            "/events": self.events,
            "/events/{slug}": self.event,
        }
        return (
            Route("/startpakke.pdf", self.pack_pdf),
            Route("/events.ics", self.feed),
            Route("/events/{slug}.ics", self.calendar),
            Route("/robots.txt", self.robots),
            Route("/static/{name}", self.asset),
            *(Route(path, page) for path, page in pages.items()),
            *(Route(_ENGLISH + path.rstrip("/"), page) for path, page in pages.items()),
        )

    async def home(self, request: Request) -> Response:
        """What this is."""
        return self._page(request, "home.html")

    async def pack(self, request: Request) -> Response:
        """The pack."""
        self._site.note(request, TrackingKind.VISIT, subject="startpakke")
        return self._page(request, "pack.html", pack=self._site.packs[_language(request)])

    async def pack_pdf(self, request: Request) -> Response:
        """The pack as a PDF."""
        self._site.note(request, TrackingKind.VISIT, subject="startpakke.pdf")
        headers = {"Content-Disposition": 'inline; filename="startpakke.pdf"'}
        return Response(self._site.pack_pdf, media_type="application/pdf", headers=headers)

    async def principles(self, request: Request) -> Response:
        """The seven principles on one page."""
        self._site.note(request, TrackingKind.VISIT, subject="principper")
        return self._page(request, "principles.html", pack=self._site.packs[_language(request)])

    async def events(self, request: Request) -> Response:
        """All events, those to come first."""
        today, language = self._today(), _language(request)
        found = await self._site.read(list_events)
        views = [view_event(event, today, language) for event in found]
        return self._page(
            request,
            "events.html",
            coming=[view for view in views if view.coming],
            cancelled=[view for view in views if view.cancelled and not view.over],
            over=[view for view in views if view.over and not view.cancelled],
        )

    async def event(self, request: Request) -> Response:
        """One event."""
        view = await self._find(request.path_params["slug"], _language(request))
        if view is None:
            return self._site.error_page(404)
        return self._page(request, "event.html", event=view)

    async def calendar(self, request: Request) -> Response:
        """One event for a calendar."""
        slug, now = request.path_params["slug"], self._site.runtime.clock.now()
        public_url = self._site.runtime.settings.public_url
        try:
            content = await self._site.read(
                lambda db: calendar_file(find_event(db, slug), public_url=public_url, now=now)
            )
        except EventNotFound:
            return self._site.error_page(404)
        headers = {"Content-Disposition": 'attachment; filename="event.ics"'}
        return Response(content, media_type=_CALENDAR, headers=headers)

    async def feed(self, request: Request) -> Response:
        """All events to come, for a calendar that looks again by itself."""
        del request
        today, now = self._today(), self._site.runtime.clock.now()
        public_url = self._site.runtime.settings.public_url
        content = await self._site.read(
            lambda db: calendar_feed(upcoming_events(db, today), public_url=public_url, now=now)
        )
        return Response(content, media_type=_CALENDAR)

    async def robots(self, request: Request) -> Response:
        """Keep search engines off what belongs to one letter."""
        del request
        lines = ["User-agent: *", *(f"Disallow: {path}" for path in TOKEN_PATHS)]
        return PlainTextResponse("\n".join(lines) + "\n")

    async def asset(self, request: Request) -> Response:
        """A style or a picture of ours."""
        asset = self._site.assets.get(request.path_params["name"])
        if asset is None:
            return self._site.error_page(404)
        headers = {"Cache-Control": "public, max-age=86400", "ETag": f'"{asset.version}"'}
        return Response(asset.content, media_type=asset.media_type, headers=headers)

    def _page(self, request: Request, template: str, **values: Any) -> Response:
        """A page that says where it stands in the other language."""
        language, path = _language(request), request.url.path
        danish = path.removeprefix(_ENGLISH) or "/" if language == "en" else path
        paths = {"da": danish, "en": _ENGLISH + danish.rstrip("/")}
        base = self._site.runtime.settings.public_url
        return self._site.page(
            template,
            language=language,
            translation=quote(paths["da" if language == "en" else "en"]),
            alternates={each: base + quote(paths[each]) for each in paths},
            **values,
        )

    async def _find(self, slug: str, language: str) -> EventView | None:
        today = self._today()
        try:
            return await self._site.read(lambda db: view_event(find_event(db, slug), today, language))
        except EventNotFound:
            return None

    def _today(self) -> date:
        settings = self._site.runtime.settings
        return self._site.runtime.clock.now().astimezone(settings.zone).date()


def _language(request: Request) -> str:
    path = request.url.path
    return "en" if path == _ENGLISH or path.startswith(f"{_ENGLISH}/") else "da"
