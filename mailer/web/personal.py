"""The pages behind a letter's own links: say no to more, read in a browser, pass on, remind me.

GET and HEAD never change anything, whoever asks: mail scanners open every link of every letter.
"""

from collections.abc import Sequence
from datetime import date

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from mailer.events.errors import EventNotFound
from mailer.sending.viewing import pass_on_letter, view_letter
from mailer.tracking.models import TrackingKind
from mailer.tracking.tokens import BadToken, Grant, Purpose
from mailer.web.deeds import (
    ReminderChoice,
    Standing,
    ask_for_reminder,
    look_at_mail,
    look_at_reminder,
    unsubscribe,
)
from mailer.web.guards import LETTER_POLICY
from mailer.web.site import Site

_REMINDER_STATUS = {Standing.OVER: 410, Standing.CANCELLED: 410}


class PersonalPages:
    """Answers to a token; each token opens one kind of page."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def routes(self) -> Sequence[Route]:
        """Where these pages live."""
        return (
            Route("/u/{token}", self.show_unsubscribe, methods=["GET"]),
            Route("/u/{token}", self.unsubscribe, methods=["POST"]),
            Route("/v/{token}", self.view, methods=["GET"]),
            Route("/p/{token}", self.pass_on, methods=["GET"]),
            Route("/r/{token}/{slug}", self.show_reminder, methods=["GET"]),
            Route("/r/{token}/{slug}", self.ask_for_reminder, methods=["POST"]),
        )

    async def show_unsubscribe(self, request: Request) -> Response:
        """Ask once."""
        grant = self._verify(Purpose.UNSUBSCRIBE, request)
        if grant is None:
            return self._site.error_page(404)
        choice = await self._site.read(lambda db: look_at_mail(db, grant))
        template = "unsubscribed.html" if choice.unsubscribed else "unsubscribe.html"
        return self._site.page(template, language=choice.language)

    async def unsubscribe(self, request: Request) -> Response:
        """Send no more letters.

        A mail program's one-click request (RFC 8058 §3.2) and the page's own button do the same,
        whatever the form says and however it is encoded: who posts here wants no more letters.
        """
        grant = self._verify(Purpose.UNSUBSCRIBE, request)
        if grant is None:
            return self._site.error_page(404)
        now = self._site.runtime.clock.now()
        choice = await self._site.write(lambda db: unsubscribe(db, grant, now=now))
        return self._site.page("unsubscribed.html", language=choice.language)

    async def view(self, request: Request) -> Response:
        """The letter as this recipient got it."""
        grant, tools = self._verify(Purpose.VIEW, request), self._site.runtime.letter_tools
        if grant is None:
            return self._site.error_page(404)
        letter = await self._site.read(
            lambda db: view_letter(tools, db, grant.campaign_id, grant.number)
        )
        if letter is None:
            return self._site.error_page(404)
        await self._site.note(
            request, TrackingKind.VIEW, campaign_id=grant.campaign_id, position=grant.number
        )
        return _letter_page(letter.html)

    async def pass_on(self, request: Request) -> Response:
        """The letter for somebody else: nobody's in particular."""
        grant, tools = self._verify(Purpose.PASS_ON, request), self._site.runtime.letter_tools
        if grant is None:
            return self._site.error_page(404)
        letter = await self._site.read(
            lambda db: pass_on_letter(tools, db, grant.campaign_id, grant.number)
        )
        if letter is None:
            return self._site.error_page(404)
        await self._site.note(request, TrackingKind.PASS_ON, campaign_id=grant.campaign_id)
        return _letter_page(letter.html)

    async def show_reminder(self, request: Request) -> Response:
        """Show the event, and a button."""
        grant, slug = self._verify(Purpose.REMIND, request), request.path_params["slug"]
        if grant is None:
            return self._site.error_page(404)
        today = self._today()
        try:
            choice = await self._site.read(lambda db: look_at_reminder(db, grant, slug, today=today))
        except EventNotFound:
            choice = None
        return self._reminder_page(choice)

    async def ask_for_reminder(self, request: Request) -> Response:
        """Remember who wants to be reminded of the event."""
        grant, slug = self._verify(Purpose.REMIND, request), request.path_params["slug"]
        if grant is None:
            return self._site.error_page(404)
        today, now = self._today(), self._site.runtime.clock.now()
        try:
            choice = await self._site.write(
                lambda db: ask_for_reminder(db, grant, slug, today=today, now=now)
            )
        except EventNotFound:
            choice = None
        return self._reminder_page(choice)

    def _verify(self, purpose: Purpose, request: Request) -> Grant | None:
        try:
            return self._site.runtime.tokens.verify(purpose, request.path_params["token"])
        except BadToken:
            return None

    def _reminder_page(self, choice: ReminderChoice | None) -> Response:
        if choice is None:
            return self._site.error_page(404)
        return self._site.page(
            "remind.html",
            status=_REMINDER_STATUS.get(choice.standing, 200),
            language=choice.language,
            event=choice.event,
            standing=choice.standing.value,
        )

    def _today(self) -> date:
        runtime = self._site.runtime
        return runtime.clock.now().astimezone(runtime.settings.zone).date()


def _letter_page(html: str) -> HTMLResponse:
    return HTMLResponse(html, headers={"Content-Security-Policy": LETTER_POLICY})
