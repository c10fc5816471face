"""Answers of the database kept for some seconds, so that many who refresh ask it once."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from sqlalchemy.orm import Session

from mailer.foundation.database import Database

_MOST_KEPT = 512
_QUESTIONS_AT_ONCE = 3

Answer = TypeVar("Answer")
Key = tuple[str, int]
"""What is asked, and of which one."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer, and how long it holds, on the monotonic clock."""

    until: float
    answer: Any


class Answers:
    """Asks each question once for everybody who looks at the same time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: OrderedDict[Key, Kept] = OrderedDict()
        self._asking: dict[Key, asyncio.Lock] = {}
        self._limiter = CapacityLimiter(_QUESTIONS_AT_ONCE)

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    async def ask(
        self, key: Key, question: Callable[[Session], Answer], seconds: Callable[[Answer], float]
    ) -> Answer:
        """The kept answer, or a new one; whoever comes while it is being asked waits for it.

        Args:
            question: is asked of one moment of the database; None as its answer is not kept.
            seconds: how long an answer is kept.

        Raises:
            DatabaseUnavailable: nothing is known.
        """
        return await self.work_out(key, lambda: self.read(question), seconds)

    async def work_out(
        self, key: Key, work: Callable[[], Answer], seconds: Callable[[Answer], float]
    ) -> Answer:
        """As ``ask``, of what takes more than the database: the work calls ``read`` for its part of it.

        Raises:
            DatabaseUnavailable: nothing is known.
        """
        lock = self._asking.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                kept = self._kept.get(key)
                if kept is not None and kept.until > time.monotonic():
                    answer: Answer = kept.answer
                    return answer
                answer = await anyio.to_thread.run_sync(work, limiter=self._limiter)
                if answer is None:
                    return answer
                self._kept[key] = Kept(time.monotonic() + seconds(answer), answer)
                self._kept.move_to_end(key)
                while len(self._kept) > _MOST_KEPT:
                    self._kept.popitem(last=False)
                return answer
        finally:
            if not lock.locked():
                self._asking.pop(key, None)

    def read(self, question: Callable[[Session], Answer]) -> Answer:
        """Ask one moment of the database, which is let go of with the answer.

        Raises:
            DatabaseUnavailable: nothing is known.
        """
        with self._database.snapshot() as db:
            return question(db)
