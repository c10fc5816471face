"""The web application: guards around a front for tracked links, and pages behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from anyio import CapacityLimiter
from sqlalchemy.exc import OperationalError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from mailer.foundation.database import DatabaseUnavailable
from mailer.web.front import Front
from mailer.web.guards import Guards
from mailer.web.health import Health
from mailer.web.holders import Holders
from mailer.web.metrics import Metrics
from mailer.web.personal import PersonalPages
from mailer.web.public import PublicPages
from mailer.web.recording import Recorder
from mailer.web.registering import RegisteringPages
from mailer.web.site import Site
from mailer.web.staff.pages import beside_staff
from mailer.web.targets import Targets

_LET_GO_EVERY_SECONDS = 60.0


def build_app(site: Site) -> ASGIApp:
    """The application over what its pages share."""
    return Guards(build_front(site), site)


def build_front(site: Site, *, with_staff: bool = True) -> Front:
    """What answers tracked links, and hands the rest to the pages.

    Args:
        with_staff: whether the staff pages are among them.
    """
    targets = Targets(site.links, partial(site.read, limiter=CapacityLimiter(1)))
    pages = _pages(site, targets)
    return Front(site, beside_staff(site, pages) if with_staff else pages, targets)


def _pages(site: Site, targets: Targets) -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        del app
        tasks = asyncio.create_task(targets.keep_fresh()), asyncio.create_task(_let_go(site.recorder))
        yield
        for task in tasks:
            task.cancel()
        site.recorder.close()

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

    holders = Holders(site)
    app = Starlette(
        routes=[
            *PublicPages(site).routes(),
            *PersonalPages(site, holders).routes(),
            *RegisteringPages(site, holders).routes(),
            *Health(site).routes(),
            *Metrics(site).routes(),
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


async def _let_go(recorder: Recorder) -> None:
    """Let go of old journals while nobody comes: only then can they be removed."""
    while True:
        await asyncio.sleep(_LET_GO_EVERY_SECONDS)
        recorder.let_go_of_old()
