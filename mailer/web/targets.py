"""Where links lead, asked of the database beside the answers and never in their way."""

import asyncio
from collections.abc import Awaitable, Callable

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from mailer.foundation.database import DatabaseUnavailable
from mailer.foundation.log import get_log
from mailer.tracking.links import STALE_AFTER_SECONDS, LinkTable, TrackedLink

_PATIENCE_SECONDS = 1.0
"""So long somebody who clicks a link that is known waits for news of it."""
_LONGEST_LOOK_SECONDS = 3.0
"""A database that takes longer hangs; it is asked anew. So long waits who clicks what nobody knows."""

log = get_log(__name__)


class Targets:
    """The links as they stood at most two seconds ago, or as last known if the database is away."""

    def __init__(
        self, table: LinkTable, read: Callable[[Callable[[Session], None]], Awaitable[None]]
    ) -> None:
        self._table = table
        self._read = read
        self._look: asyncio.Task[None] | None = None
        self._blind = False

    @property
    def blind(self) -> bool:
        """Whether the database could not be asked the last time."""
        return self._blind

    async def find(self, campaign_id: int, number: int) -> TrackedLink | None:
        """The link; waits a moment for the database where that may tell something new."""
        known = self._table.find(campaign_id, number)
        if self._table.needs_look(campaign_id, number):
            self._begin_look()
        elif known is not None:
            return known
        if self._look is not None and not self._look.done() and not (known and self._blind):
            patience = _PATIENCE_SECONDS if known or self._blind else _LONGEST_LOOK_SECONDS
            _, unanswered = await asyncio.wait({self._look}, timeout=patience)
            if unanswered:
                self._go_blind()
        return self._table.find(campaign_id, number)

    async def keep_fresh(self) -> None:
        """Read the links again and again, so that nobody waits and an outage finds them all known."""
        while True:
            self._begin_look()
            await asyncio.sleep(STALE_AFTER_SECONDS / 2)

    def _begin_look(self) -> None:
        if self._look is None or self._look.done():
            self._table.looking()
            self._look = asyncio.create_task(self._load())

    async def _load(self) -> None:
        try:
            async with asyncio.timeout(_LONGEST_LOOK_SECONDS):
                await self._read(self._table.load)
        except (DatabaseUnavailable, SQLAlchemyError, TimeoutError):
            self._go_blind()
        else:
            self._blind = False

    def _go_blind(self) -> None:
        if not self._blind:
            log.warning("links cannot be read; the ones in memory go on")
        self._blind = True
