"""The web application: guards around a front for tracked links, and pages behind it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import OperationalError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from mailer.foundation.database import DatabaseUnavailable
from mailer.runtime import Runtime
from mailer.web.front import Front
from mailer.web.guards import Guards
from mailer.web.health import Health
from mailer.web.personal import PersonalPages
from mailer.web.public import PublicPages
from mailer.web.site import Site, open_site


def create_app(runtime: Runtime) -> ASGIApp:
    """The application for a runtime; the database is not asked before somebody comes."""
    return build_app(open_site(runtime))


def build_app(site: Site) -> ASGIApp:
    """The application over what its pages share."""
    return Guards(Front(site, _pages(site)), site)


def _pages(site: Site) -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        del app
        yield
        await site.recorder.close()

    async def show_problem(request: Request, error: Exception) -> Response:
        del request
        status = error.status_code if isinstance(error, HTTPException) else 500
        response = site.error_page(status)
        if isinstance(error, HTTPException):
            response.headers.update(error.headers or {})
        return response

    async def show_outage(request: Request, error: Exception) -> Response:
        del request, error
        return site.error_page(503)

    app = Starlette(
        routes=[
            *PublicPages(site).routes(),
            *PersonalPages(site).routes(),
            *Health(site).routes(),
        ],
        exception_handlers={
            HTTPException: show_problem,
            DatabaseUnavailable: show_outage,
            OperationalError: show_outage,
            Exception: show_problem,
        },
        lifespan=lifespan,
    )
    # A redirect from /u/TOKEN/ to /u/TOKEN would break the promise that POST is answered at once.
    app.router.redirect_slashes = False
    return app
