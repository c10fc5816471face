"""The pages to register for a hosted event on, and to give a seat back on.

What is filled in is the name if letters greet by it: whoever holds the link holds the letter too. The
address is not shown, not even in part: this process may read none, and the letter it came to says it.
Looking shows the same to everybody, whether registered or not; and how it went is told only of a
registration that this very form made, never of one that was there before.

Whoever the letter was passed on to can register its recipient, who then hears of it by letter. Only that
letter, and those that follow it about the same event, have a link by which the seat is given back, there
and nowhere else; there is no undo here, with which a stranger could take a seat from somebody.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mailer.events.errors import EventNotFound
from mailer.events.models import RegistrationState
from mailer.tracking.models import TrackingKind
from mailer.tracking.tokens import Grant, Purpose
from mailer.web.deeds import (
    GIVE_BACK,
    UNDO,
    SeatPage,
    Standing,
    look_at_seats,
    look_at_standing,
    read_choice,
)
from mailer.web.holders import LONGEST_SLUG, Holders, Kept
from mailer.web.languages import accepted_language, chosen_language
from mailer.web.site import Site

_CLOSED = frozenset({"cancelled", "over", "elsewhere"})
_ATTENDING = frozenset({"seated", "waiting", "received"})


@dataclass(frozen=True, slots=True)
class _Visit:
    """A genuine link that somebody came by, and what the database says of it."""

    grant: Grant
    slug: str
    language: str
    page: SeatPage | None
    """None while the database is away: it goes without."""


class RegisteringPages:
    """A page for each of the two tokens, in front of the same seats."""

    def __init__(self, site: Site, holders: Holders) -> None:
        self._site = site
        self._holders = holders

    def routes(self) -> Sequence[Route]:
        """Where these pages live."""
        return (
            Route("/t/{token}/{slug}", self.show_registration, methods=["GET"]),
            Route("/t/{token}/{slug}", self.register, methods=["POST"]),
            Route("/a/{token}/{slug}", self.show_seat, methods=["GET"]),
            Route("/a/{token}/{slug}", self.give_back, methods=["POST"]),
        )

    async def show_registration(self, request: Request) -> Response:
        """Show the event, who would come, and a button; coming here is a click on the letter's link."""
        visit = await self._open(Purpose.REGISTER, request)
        if visit is None:
            return self._site.error_page(404)
        if visit.page is not None and visit.page.link_number is not None:
            self._site.note(
                request,
                TrackingKind.CLICK,
                campaign_id=visit.grant.campaign_id,
                position=visit.grant.number,
                link_number=visit.page.link_number,
                subject=visit.slug,
            )
        return self._show("register.html", visit, _why_closed(visit) or "open")

    async def register(self, request: Request) -> Response:
        """Register, and say how it went if that is known in time."""
        visit = await self._open(Purpose.REGISTER, request)
        if visit is None:
            return self._site.error_page(404)
        if closed := _why_closed(visit):
            return self._show("register.html", visit, closed)
        if refusal := self._holders.refuse(request, self._holders.deeds):
            return refusal
        kept = await self._keep(request, TrackingKind.REGISTER, visit)
        if kept is None:
            return self._site.error_page(503)
        return await self._show_outcome("register.html", visit, kept)

    async def show_seat(self, request: Request) -> Response:
        """Show the event, and a button to give the seat back."""
        visit = await self._open(Purpose.ATTEND, request)
        if visit is None:
            return self._site.error_page(404)
        return self._show("attend.html", visit, _why_past(visit) or "open")

    async def give_back(self, request: Request) -> Response:
        """Give the seat back; or, where that is taken back, register anew at the end of the line.

        Only the page's own buttons do either: nothing that a program posts to every link takes a seat
        from somebody. Which event the letter is about, the drainer asks too, so that a seat can be
        given back while the database is away; registering anew has to wait for it.
        """
        choice = await read_choice(request)
        if choice not in {GIVE_BACK, UNDO}:
            return await self.show_seat(request)
        undone = choice == UNDO
        visit = await self._open(Purpose.ATTEND, request)
        if visit is None:
            return self._site.error_page(404)
        if closed := (_why_closed if undone else _why_past)(visit):
            return self._show("attend.html", visit, closed)
        if refusal := self._holders.refuse(
            request, self._holders.returns if undone else self._holders.deeds
        ):
            return refusal
        kind = TrackingKind.REGISTER if undone else TrackingKind.WITHDRAW
        away = undone and visit.page is None
        kept = None if away else await self._keep(request, kind, visit)
        if kept is None:
            return self._site.error_page(503)
        if undone:
            return await self._show_outcome("attend.html", visit, kept)
        return self._show("attend.html", visit, "given_back")

    async def _open(self, purpose: Purpose, request: Request) -> _Visit | None:
        """The visit; None where the link is none of ours, or leads to nobody or no event."""
        grant, slug = self._holders.verify(purpose, request), request.path_params["slug"]
        if grant is None or len(slug) > LONGEST_SLUG:
            return None
        chosen, today = chosen_language(request), self._holders.today()
        try:
            page, answered = await self._holders.look(
                lambda db: look_at_seats(db, grant, purpose, slug, today=today, language=chosen)
            )
        except EventNotFound:
            return None
        if answered and page is None:
            return None
        return _Visit(grant, slug, page.language if page else chosen or accepted_language(request), page)

    async def _keep(self, request: Request, kind: TrackingKind, visit: _Visit) -> Kept | None:
        return await self._holders.keep(request, kind, visit.grant, subject=visit.slug)

    async def _show_outcome(self, template: str, visit: _Visit, kept: Kept) -> Response:
        """The page once registered: with the new seat or place in line where that is known by now."""
        found = None
        if await self._holders.is_done(kept.place):
            found, _ = await self._holders.look(lambda db: look_at_standing(db, visit.slug, kept.at))
        seated = found is not None and found.state is RegistrationState.SEATED
        standing = "received" if found is None else "seated" if seated else "waiting"
        return self._show(template, visit, standing, found)

    def _show(
        self, template: str, visit: _Visit, standing: str, found: Standing | None = None
    ) -> Response:
        page = visit.page
        return self._site.page(
            template,
            status=410 if standing in _CLOSED else 200,
            language=visit.language,
            slug=visit.slug,
            event=page.event if page else None,
            page=page,
            standing=standing,
            attending=standing in _ATTENDING,
            number=found.ahead + 1 if found else None,
        )


def _why_past(visit: _Visit) -> str | None:
    """``cancelled`` or ``over`` where the event does not take place any more."""
    if visit.page is None or visit.page.event.coming:
        return None
    return "cancelled" if visit.page.event.cancelled else "over"


def _why_closed(visit: _Visit) -> str | None:
    """The same, or ``elsewhere`` where one does not register here; None where one can."""
    if visit.page is not None and not visit.page.event.hosted:
        return _why_past(visit) or "elsewhere"
    return _why_past(visit)
