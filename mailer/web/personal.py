"""The pages behind a letter's own links: say no to more, read in a browser, pass on, remind me.

GET and HEAD never change anything, whoever asks: mail scanners open every link of every letter. Nor do
they show what a recipient did before: the letter may have been passed on. A deed is written to this
machine's disk before its page is shown, and done in the database within seconds.
"""

from collections.abc import Sequence
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from mailer.events.errors import EventNotFound
from mailer.sending.viewing import view_letter
from mailer.tracking.models import TrackingKind
from mailer.tracking.tokens import BadToken, Grant, Purpose, new_mark
from mailer.web.deeds import (
    UNDO,
    MailChoice,
    ReminderPage,
    look_at_language,
    look_at_reminder,
    read_choice,
    read_mail_form,
)
from mailer.web.guards import LETTER_POLICY
from mailer.web.holders import LONGEST_SLUG, Holders
from mailer.web.languages import accepted_language, chosen_language
from mailer.web.limits import Limits
from mailer.web.passing_on import SharedLetters
from mailer.web.site import Site

_UNDOABLE = "undoable"
"""The noes that can be taken back are counted together, whatever they ask for."""


class PersonalPages:
    """Answers to a token; each token opens one kind of page."""

    def __init__(self, site: Site, holders: Holders) -> None:
        self._site = site
        self._holders = holders
        self._shared = SharedLetters(site)

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
        """Ask once, with a stamp that ties what is said in this visit together."""
        grant = self._holders.verify(Purpose.UNSUBSCRIBE, request)
        if grant is None:
            return self._site.error_page(404)
        language = chosen_language(request)
        if language is None:
            language, _ = await self._holders.look(lambda db: look_at_language(db, grant))
        return self._site.page(
            "unsubscribe.html",
            language=language or accepted_language(request),
            stamp=self._stamp(grant, new_mark()),
            office=self._office(),
        )

    async def unsubscribe(self, request: Request) -> Response:
        """Send no more letters, or no more at all, or take that back; or only track no more.

        A mail program's one-click request (RFC 8058 §3.2) means all mail. The database is not asked.
        Whoever holds the letter may say no; taken back is only what was said in this very visit, as its
        stamp tells, and only that becomes less. Where many noes were said, the next is for the office to
        lift: so it can be refused only where as much was said before it, for good.
        """
        grant = self._holders.verify(Purpose.UNSUBSCRIBE, request)
        if grant is None:
            return self._site.error_page(404)
        form, holders = await read_mail_form(request), self._holders
        choice, known = form.choice, self._read_stamp(grant, form.stamp)
        if choice is MailChoice.UNDO:
            if known is None:  # nothing is written, nor counted: else undos could be used up without one
                return self._answer(request, "too_late")
            return holders.refuse(request, holders.undos) or await self._promise(
                request, TrackingKind.RESUBSCRIBE, grant, choice, scope=known
            )
        if choice is MailChoice.OBJECT:
            return holders.refuse(request, holders.deeds, choice) or await self._promise(
                request, TrackingKind.OBJECT, grant, choice
            )
        if holders.allow(request, holders.deeds, _UNDOABLE):
            mark = known or new_mark()
            scope, stamp = f"{choice.value} {mark}", self._stamp(grant, mark)
        elif refusal := holders.refuse(request, holders.deeds, choice):
            return refusal
        else:
            scope, stamp = choice.value, None
        return await self._promise(
            request, TrackingKind.UNSUBSCRIBE, grant, choice, scope=scope, stamp=stamp
        )

    async def view(self, request: Request) -> Response:
        """The letter as this recipient got it."""
        grant, tools = self._holders.verify(Purpose.VIEW, request), self._site.runtime.letter_tools
        if grant is None:
            return self._site.error_page(404)
        letter = await self._site.read(
            lambda db: view_letter(tools, db, grant.campaign_id, grant.number)
        )
        if letter is None:
            return self._site.error_page(404)
        self._site.note(request, TrackingKind.VIEW, campaign_id=grant.campaign_id, position=grant.number)
        return _letter_page(letter.html)

    async def pass_on(self, request: Request) -> Response:
        """The letter for somebody else: nobody's in particular."""
        grant = self._holders.verify(Purpose.PASS_ON, request)
        html = await self._shared.page(grant.campaign_id, grant.number) if grant else None
        if grant is None or html is None:
            return self._site.error_page(404)
        self._site.note(request, TrackingKind.PASS_ON, campaign_id=grant.campaign_id)
        return _letter_page(html)

    async def show_reminder(self, request: Request) -> Response:
        """Show the event, and a button."""
        return await self._reminder_page(request, asked=None)

    async def ask_for_reminder(self, request: Request) -> Response:
        """Remember who wants to be reminded of the event, or who does not any more."""
        if refusal := self._holders.refuse(request, self._site.limits):  # the database is asked
            return refusal
        undone = await read_choice(request) == UNDO
        return await self._reminder_page(request, asked="undone" if undone else "asked")

    async def _reminder_page(self, request: Request, *, asked: str | None) -> Response:
        """The event and where its reader stands; with the database away, without the event.

        Args:
            asked: ``asked`` or ``undone`` if that was posted.
        """
        grant, slug = self._holders.verify(Purpose.REMIND, request), request.path_params["slug"]
        if grant is None or len(slug) > LONGEST_SLUG:
            return self._site.error_page(404)
        chosen, today = chosen_language(request), self._holders.today()
        try:
            page, answered = await self._holders.look(
                lambda db: look_at_reminder(db, grant, slug, today=today, language=chosen)
            )
        except EventNotFound:
            return self._site.error_page(404)
        if answered and page is None:
            return self._site.error_page(404)
        standing = _standing(page, asked)
        if standing in {"asked", "undone"}:
            undone = standing == "undone"
            # Slugs are counted by themselves only where they are an event's: others are without number.
            what = slug if page else ""
            if refusal := self._holders.refuse(request, self._limits(undone=undone), what):
                return refusal
            if undone:
                self._holders.make_room(request, what)
            scope = UNDO if undone else None
            if not await self._holders.keep(
                request, TrackingKind.REMIND, grant, subject=slug, scope=scope
            ):
                return self._site.error_page(503)
        return self._site.page(
            "remind.html",
            status=410 if standing in {"over", "cancelled"} else 200,
            language=page.language if page else chosen or accepted_language(request),
            event=page.event if page else None,
            slug=slug,
            standing=standing,
            register=self._register_path(grant, slug) if page and page.event.hosted else None,
        )

    async def _promise(
        self,
        request: Request,
        kind: TrackingKind,
        grant: Grant,
        choice: MailChoice,
        *,
        scope: str | None = None,
        stamp: str | None = None,
    ) -> Response:
        """Keep what was asked for, and tell it back."""
        if not await self._holders.keep(request, kind, grant, scope=scope):
            return self._site.error_page(503)
        return self._answer(request, choice.value, stamp)

    def _answer(self, request: Request, choice: str, stamp: str | None = None) -> Response:
        """What was asked for, told back; with a stamp, with the buttons that change it."""
        return self._site.page(
            "unsubscribed.html",
            language=chosen_language(request) or accepted_language(request),
            choice=choice,
            stamp=stamp,
            office=self._office(),
        )

    def _stamp(self, grant: Grant, mark: str) -> str:
        runtime = self._site.runtime
        return runtime.tokens.stamp(grant, mark, runtime.clock.now())

    def _read_stamp(self, grant: Grant, stamp: str) -> str | None:
        """The mark of the visit a form was posted in; None if its stamp is not good, or not any more."""
        runtime = self._site.runtime
        try:
            return runtime.tokens.read_stamp(grant, stamp, now=runtime.clock.now())
        except BadToken:
            return None

    def _office(self) -> str | None:
        """Whom to write to in order to get letters again."""
        settings = self._site.runtime.settings
        return settings.sender_address if settings.sender else None

    def _limits(self, *, undone: bool) -> Limits:
        return self._holders.undos if undone else self._holders.deeds

    def _register_path(self, grant: Grant, slug: str) -> str:
        """Where the same recipient can register: letters that left before the event was hosted, too."""
        token = self._site.runtime.tokens.sign(Purpose.REGISTER, grant.campaign_id, grant.number)
        return f"/t/{token}/{quote(slug)}"


def _standing(page: ReminderPage | None, asked: str | None) -> str:
    """``cancelled`` or ``over`` where nobody can be reminded, else what was posted, else ``may_ask``."""
    if page is not None and page.event.cancelled:
        return "cancelled"
    if page is not None and page.event.over:
        return "over"
    return asked or "may_ask"


def _letter_page(html: str) -> HTMLResponse:
    return HTMLResponse(html, headers={"Content-Security-Policy": LETTER_POLICY})
