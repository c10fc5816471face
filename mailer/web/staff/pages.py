"""The staff pages: what goes out and how it went, for those who sign in. Nothing can be changed here."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from sqlalchemy.exc import OperationalError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mailer.foundation.database import Database, DatabaseUnavailable, open_database
from mailer.staff.errors import TooManyAttempts
from mailer.staff.sessions import Visitor, form_token
from mailer.web.health import Health
from mailer.web.public import PublicPages
from mailer.web.site import Site
from mailer.web.staff.answers import Answers
from mailer.web.staff.campaigns import CampaignPages
from mailer.web.staff.door import HOME, SIGN_IN, Door, TooBusy, read_form
from mailer.web.staff.event_figures import StaffEventFigures
from mailer.web.staff.events import EventPages
from mailer.web.staff.figures import StaffFigures
from mailer.web.staff.shell import PREFIX, Page, Shell, lead

_SECONDS_TO_WAIT = 5


class BesideStaff:
    """Gives ``/staff`` and what lies below it to the staff pages, and everything else to others."""

    def __init__(self, staff: ASGIApp, others: ASGIApp) -> None:
        self._staff = staff
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        app = self._staff if is_staff(scope.get("path", "")) else self._others
        await app(scope, receive, send)


def is_staff(path: str) -> bool:
    """Whether an address belongs to the staff pages."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def beside_staff(site: Site, others: ASGIApp) -> ASGIApp:
    """The staff pages, and other pages at all other addresses."""
    return BesideStaff(staff_pages(site, _open_database(site)), others)


def staff_alone(site: Site) -> ASGIApp:
    """The staff pages in a process of their own, which knows of no letter's links."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        del app
        yield
        site.recorder.close()

    async def show_problem(request: Request, error: Exception) -> Response:
        del request
        return site.error_page(error.status_code if isinstance(error, HTTPException) else 500)

    styles = [route for route in PublicPages(site).routes() if route.path.startswith("/static/")]
    others = Starlette(
        routes=[*styles, *Health(site, needs_database=True).routes()],
        exception_handlers={HTTPException: show_problem, Exception: show_problem},
        lifespan=lifespan,
    )
    return beside_staff(site, others)


def _open_database(site: Site) -> Database:
    """The database in the role that may write sessions; the public pages' role may only read.

    With connections of its own, also in the same role: the pool holds 15, the public pages take 10, and
    staff 13 (10 at the door, 3 for figures).
    """
    return open_database(site.runtime.settings.database)


def staff_pages(site: Site, database: Database) -> Starlette:
    """The staff pages as an application of their own.

    Args:
        database: with a role that may write accounts' sessions.
    """
    pages = StaffPages(site, database)
    app = Starlette(
        routes=pages.routes(),
        exception_handlers={
            HTTPException: pages.show_problem,
            DatabaseUnavailable: pages.show_outage,
            OperationalError: pages.show_outage,
            TooBusy: pages.show_busy,
            Exception: pages.show_problem,
        },
    )
    app.router.redirect_slashes = False
    return app


class StaffPages:
    """Answers to staff; whoever has no session gets the sign-in page, whatever they asked for."""

    def __init__(self, site: Site, database: Database) -> None:
        self._shell = Shell(site)
        self._door = Door(site.runtime.settings, database, site.origins)
        answers = Answers(database)
        events = StaffEventFigures(site.runtime, answers)
        self._campaigns = CampaignPages(self._shell, StaffFigures(site.runtime, answers), events)
        self._events = EventPages(self._shell, events)

    def routes(self) -> Sequence[Route]:
        """Where these pages live; the last one catches what is nowhere."""
        pages = {**self._campaigns.pages(), **self._events.pages()}
        return (
            Route(SIGN_IN, self.show_sign_in, methods=["GET"]),
            Route(SIGN_IN, self.sign_in, methods=["POST"]),
            Route(f"{PREFIX}/sign-out", self.sign_out, methods=["POST"]),
            *[Route(path, self._for_staff(page), methods=["GET"]) for path, page in pages.items()],
            Route(f"{PREFIX}/{{rest:path}}", self._for_staff(self.nothing)),
        )

    async def show_sign_in(self, request: Request) -> Response:
        """Ask for name and password."""
        if await self._door.visitor(request) is not None:
            return lead(HOME)
        return self._ask(request)

    async def sign_in(self, request: Request) -> Response:
        """Let somebody in."""
        fields = await read_form(request)
        if not self._door.may_sign_in(request, fields):
            return self._ask(request, status=403, problem="form")
        name, password = fields.get("name", ""), fields.get("password", "")
        try:
            signed_in = await self._door.sign_in(request, name, password)
        except TooManyAttempts as error:
            answer = self._ask(request, status=429, problem="wait", seconds=error.seconds)
            answer.headers["Retry-After"] = str(error.seconds)
            return answer
        if signed_in is None:
            return self._ask(request, status=401, problem="wrong")
        response = lead(HOME)
        self._door.keep(response, signed_in)
        return response

    async def sign_out(self, request: Request) -> Response:
        """End the session."""
        visitor = await self._door.visitor(request)
        if visitor is None:
            return lead(SIGN_IN)
        if not self._door.may_act(request, await read_form(request), visitor):
            return self._shell.problem(visitor, 403)
        await self._door.sign_out(request)
        response = lead(SIGN_IN)
        self._door.forget(response)
        return response

    async def nothing(self, request: Request, visitor: Visitor) -> Response:
        """There is no such page; only staff are told."""
        del request
        return self._shell.problem(visitor, 404)

    async def show_problem(self, request: Request, error: Exception) -> Response:
        """Something cannot be done."""
        del request
        status = error.status_code if isinstance(error, HTTPException) else 500
        response = self._shell.problem(None, status)
        if isinstance(error, HTTPException):
            response.headers.update(error.headers or {})
        return response

    async def show_outage(self, request: Request, error: Exception) -> Response:
        """The database is away."""
        del request, error
        response = self._shell.problem(None, 503)
        response.headers["Retry-After"] = "60"
        return response

    async def show_busy(self, request: Request, error: Exception) -> Response:
        """Too many strangers are at the door."""
        del error
        response = self._ask(request, status=503, problem="busy")
        response.headers["Retry-After"] = str(_SECONDS_TO_WAIT)
        return response

    def _for_staff(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            visitor = await self._door.visitor(request)
            return lead(SIGN_IN) if visitor is None else await page(request, visitor)

        return answer

    def _ask(
        self, request: Request, *, status: int = 200, problem: str | None = None, seconds: int = 0
    ) -> Response:
        secret = self._door.form_secret(request)
        response = self._shell.page(
            "sign-in.html",
            None,
            status=status,
            problem=problem,
            seconds=seconds,
            form=form_token(secret),
        )
        self._door.prepare_form(request, response, secret)
        return response
