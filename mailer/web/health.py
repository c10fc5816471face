"""Whether the process lives, and whether it can do all it is for."""

import asyncio
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

import anyio
import anyio.to_thread
import redis.asyncio
from anyio import CapacityLimiter
from sqlalchemy.exc import DBAPIError
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from mailer.foundation.database import DatabaseUnavailable
from mailer.schema import SchemaBehind, require_current_schema
from mailer.tracking.journals import web_folder
from mailer.web.recently import Recently
from mailer.web.site import Site

_NOT_KEPT = {"Cache-Control": "no-store"}
_LOOK_EVERY_SECONDS = 1.0
_PATIENCE_SECONDS = 2.0
_PROBE_BYTES = 65_536
"""More than a file system keeps beside a file's name: a full disk refuses it."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """What the process finds when it looks."""

    journal: str
    """``writable`` or ``not writable``."""
    links: str
    """``loaded`` or ``not loaded``."""
    database: str
    """``ok`` or ``unreachable``."""
    schema: str
    """``current``, ``behind`` or ``unknown``."""
    redis: str
    """``ok`` or ``unreachable``; the web does without."""


class Health:
    """Answers to those who watch over processes, in words that give nothing away."""

    def __init__(self, site: Site, *, needs_database: bool = False) -> None:
        """Judge a process.

        Args:
            needs_database: the process shows the staff pages and nothing else; the public one keeps
                what readers do, and leads them on, without a database.
        """
        self._site = site
        self._needs_database = needs_database
        self._folder = web_folder(site.runtime.settings.state_dir)
        self._limiter = CapacityLimiter(1)  # not behind pages that wait
        self._found = Recently(self._look, _LOOK_EVERY_SECONDS)

    def routes(self) -> Sequence[Route]:
        """Where these answers live."""
        return (Route("/health", self.live), Route("/health/ready", self.ready))

    async def live(self, request: Request) -> JSONResponse:
        """The process answers."""
        del request
        return JSONResponse({"status": "ok"}, headers=_NOT_KEPT)

    async def ready(self, request: Request) -> JSONResponse:
        """The process can do what it is for; what else is missing is told, and costs nothing."""
        del request
        found = await self._found.answer()
        if self._needs_database:
            ready = found.database == "ok" and found.schema == "current"
        else:
            ready = found.journal == "writable" and found.links == "loaded"
        report = {"ready": ready, **asdict(found)}
        return JSONResponse(report, status_code=200 if ready else 503, headers=_NOT_KEPT)

    async def _look(self) -> Readiness:
        (database, schema), reached, writable = await asyncio.gather(
            self._look_at_database(),
            self._reach_redis(),
            anyio.to_thread.run_sync(self._can_write),
        )
        links = self._site.links
        return Readiness(
            journal="writable" if writable else "not writable",
            links="loaded" if links.loaded or len(links) else "not loaded",
            database=database,
            schema=schema,
            redis="ok" if reached else "unreachable",
        )

    async def _look_at_database(self) -> tuple[str, str]:
        def look() -> tuple[str, str]:
            try:
                require_current_schema(self._site.runtime.database)
            except (DatabaseUnavailable, DBAPIError):
                return "unreachable", "unknown"
            except SchemaBehind:
                return "ok", "behind"
            return "ok", "current"

        with anyio.move_on_after(_PATIENCE_SECONDS):
            return await anyio.to_thread.run_sync(look, limiter=self._limiter, abandon_on_cancel=True)
        return "unreachable", "unknown"

    async def _reach_redis(self) -> bool:
        client = redis.asyncio.Redis.from_url(
            self._site.runtime.settings.redis,
            socket_connect_timeout=_PATIENCE_SECONDS,
            socket_timeout=_PATIENCE_SECONDS,
        )
        try:
            with anyio.move_on_after(_PATIENCE_SECONDS):
                await client.ping()
                return True
        except (redis.RedisError, OSError, ValueError):
            pass
        finally:
            with suppress(redis.RedisError, OSError):
                await client.aclose()
        return False

    def _can_write(self) -> bool:
        """Whether a journal could grow now; asked of the disk itself, whatever the last write met."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder) as file:
                file.write(os.urandom(_PROBE_BYTES))
                file.flush()
        except OSError:
            return False
        return True
