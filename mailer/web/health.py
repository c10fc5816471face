"""Whether the process lives, and whether it can do all it is for."""

from collections.abc import Sequence

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from mailer.foundation.database import DatabaseUnavailable
from mailer.schema import SchemaBehind, require_current_schema
from mailer.web.site import Site

_NOT_KEPT = {"Cache-Control": "no-store"}


class Health:
    """Answers to those who watch over processes, in words that give nothing away."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def routes(self) -> Sequence[Route]:
        """Where these answers live."""
        return (Route("/health", self.live), Route("/health/ready", self.ready))

    async def live(self, request: Request) -> JSONResponse:
        """The process answers."""
        del request
        return JSONResponse({"status": "ok"}, headers=_NOT_KEPT)

    async def ready(self, request: Request) -> JSONResponse:
        """The database can be reached and fits this code."""
        del request
        database, schema = await anyio.to_thread.run_sync(self._look, limiter=self._site.limiter)
        ready = database == "ok" and schema == "current"
        report = {
            "ready": ready,
            "database": database,
            "schema": schema,
            "links": len(self._site.links),
            "unwritten": self._site.recorder.unwritten,
        }
        return JSONResponse(report, status_code=200 if ready else 503, headers=_NOT_KEPT)

    def _look(self) -> tuple[str, str]:
        try:
            require_current_schema(self._site.runtime.database)
        except DatabaseUnavailable:
            return "unreachable", "unknown"
        except SchemaBehind:
            return "ok", "behind"
        return "ok", "current"
