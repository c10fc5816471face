"""An answer that costs something, given again for a while: asking often costs no more than once."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class Recently(Generic[Answer]):
    """Asks at most once in so many seconds, and never twice at once."""

    def __init__(
        self,
        ask: Callable[[], Awaitable[Answer]],
        seconds: float,
        *,
        ticking: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._seconds = seconds
        self._ticking = ticking
        self._asking = asyncio.Lock()
        self._known: tuple[Answer, float] | None = None

    async def answer(self) -> Answer:
        """The answer, at most so many seconds old."""
        async with self._asking:
            now = self._ticking()
            if self._known is None or now - self._known[1] >= self._seconds:
                self._known = await self._ask(), now
            return self._known[0]
