"""The pages that are open to everybody: the pack, the principles, the events, in Danish and English.

An English page stands behind ``/en`` at the address of the Danish one.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any
from urllib.parse import quote

from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from mailer.events.calendar import FEED_PATH, calendar_events, calendar_file_name, publisher_of
from mailer.events.catalogue import find_event, list_events
from mailer.events.errors import EventNotFound
from mailer.events.models import Event
from mailer.events.registering import count_seats
from mailer.tracking.models import TrackingKind
from mailer.web.calendars import CalendarFile, Calendars, answer_with
from mailer.web.event_view import EventView, view_event
from mailer.web.guards import TOKEN_PATHS
from mailer.web.site import Site

_ENGLISH = "/en"
_FEED_KEPT = "public, max-age=600"
"""Thousands of calendars may look through one proxy of their authority's; it asks for all of them."""


class PublicPages:
    """Answers without a token; whoever looks is nobody in particular."""

    def __init__(self, site: Site) -> None:
        self._site = site
        settings = site.runtime.settings
        self._calendars = Calendars(publisher_of(settings))
        feed = settings.public_url + FEED_PATH
        self._subscribing = {"feed": feed, "subscribe": f"webcal://{feed.partition('://')[2]}"}

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
            Route(FEED_PATH, self.feed),
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
        views = await self._site.read(lambda db: _views(db, list_events(db), today, language))
        return self._page(
            request,
            "events.html",
            **self._subscribing,
            coming=[view for view in views if view.coming],
            cancelled=[view for view in views if view.cancelled and not view.over],
            over=[view for view in views if view.over and not view.cancelled],
        )

    async def event(self, request: Request) -> Response:
        """One event."""
        slug, today, language = request.path_params["slug"], self._today(), _language(request)
        try:
            (view,) = await self._site.read(
                lambda db: _views(db, [find_event(db, slug)], today, language)
            )
        except EventNotFound:
            return self._site.error_page(404)
        return self._page(request, "event.html", event=view, **self._subscribing)

    async def calendar(self, request: Request) -> Response:
        """One event for a calendar."""
        slug = request.path_params["slug"]

        def write(db: Session) -> tuple[CalendarFile, str]:
            event = find_event(db, slug)
            return self._calendars.of_event(event), calendar_file_name(event)

        try:
            file, name = await self._site.read(write)
        except EventNotFound:
            return self._site.error_page(404)
        headers = {"Content-Disposition": f'attachment; filename="{quote(name)}"'}
        return answer_with(file, request, headers)

    async def feed(self, request: Request) -> Response:
        """The events for a calendar that looks again by itself."""
        today = self._today()
        file = await self._site.read(lambda db: self._calendars.of_all(calendar_events(db, today)))
        return answer_with(file, request, {"Cache-Control": _FEED_KEPT})

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

    def _today(self) -> date:
        settings = self._site.runtime.settings
        return self._site.runtime.clock.now().astimezone(settings.zone).date()


def _views(db: Session, events: Sequence[Event], today: date, language: str) -> Sequence[EventView]:
    """The events as a page shows them, with the seats of those that we count."""
    seats = count_seats(db, [event.id for event in events if event.hosted])
    return [view_event(event, today, language, seats=seats.get(event.id)) for event in events]


def _language(request: Request) -> str:
    path = request.url.path
    return "en" if path == _ENGLISH or path.startswith(f"{_ENGLISH}/") else "da"
