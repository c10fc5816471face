"""A line to somewhere far away: what is written arrives later, in order, and perhaps in pieces."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

_MOST_ON_THE_WAY_BYTES = 65_536


class Line(Protocol):
    """Where replies go."""

    def write(self, data: bytes) -> None:
        """Send after everything sent so far."""

    def close(self) -> None:
        """End the connection after everything sent so far."""


class Writer(Protocol):
    """Who fills a line, and must wait when it is full."""

    def pause_writing(self) -> None:
        """Much is on its way."""

    def resume_writing(self) -> None:
        """The line is free again."""


class SlowLine:
    """Delays what is written without throttling it.

    Args:
        round_trip: seconds from writing to arriving; both ways of the simulated line at once.
        piece: bytes sent at once; 0: all.
        gap: seconds between two pieces.
    """

    def __init__(
        self, transport: asyncio.Transport, writer: Writer, *, round_trip: float, piece: int, gap: float
    ) -> None:
        self._transport = transport
        self._writer = writer
        self._round_trip = round_trip
        self._piece = piece
        self._gap = gap
        self._loop = asyncio.get_running_loop()
        self._acts: deque[tuple[float, int, Callable[[], None]]] = deque()
        self._last_due = 0.0
        self._on_the_way = 0
        self._full = False
        self._timer: asyncio.TimerHandle | None = None

    def write(self, data: bytes) -> None:
        """Send after everything sent so far."""
        size = self._piece or len(data)
        for begin in range(0, len(data), size):
            piece = data[begin : begin + size]
            self._plan(partial(self._transport.write, piece), len(piece), self._gap if begin else 0.0)
        if self._on_the_way > _MOST_ON_THE_WAY_BYTES and not self._full:
            self._full = True
            self._writer.pause_writing()

    def close(self) -> None:
        """End the connection after everything sent so far."""
        self._plan(self._transport.close)

    def then(self, act: Callable[[], None]) -> None:
        """Do something when everything sent so far has left."""
        self._plan(act)

    def drop(self) -> None:
        """Forget what is still on its way: nobody is there any more."""
        self._acts.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _plan(self, act: Callable[[], None], size: int = 0, gap: float = 0.0) -> None:
        self._last_due = max(self._last_due + gap, self._loop.time() + self._round_trip)
        self._acts.append((self._last_due, size, act))
        self._on_the_way += size
        if self._timer is None:
            self._timer = self._loop.call_at(self._acts[0][0], self._arrive)

    def _arrive(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._acts and self._acts[0][0] <= now:
            _, size, act = self._acts.popleft()
            self._on_the_way -= size
            act()
        if self._acts:
            self._timer = self._loop.call_at(self._acts[0][0], self._arrive)
        if self._full and not self._on_the_way:
            self._full = False
            self._writer.resume_writing()
