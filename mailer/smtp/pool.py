"""All relays together: who gets the next mail, and when there is nothing left to do."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import cast

from mailer.smtp.envelope import Mail
from mailer.smtp.feed import Feed, M
from mailer.smtp.line import STOPPED, Line, NoFeed
from mailer.smtp.opening import check_relay
from mailer.smtp.patience import Patience
from mailer.smtp.relays import Relay
from mailer.smtp.slots import Slots

__all__ = ["Feed", "RelayPool", "check_relay"]

_LEAST_WAIT_SECONDS = 0.001
_TURNS_TO_NOTICE = 4
"""Turns of the loop after which whatever came while it stood still has been seen, TLS included."""


class RelayPool:
    """Kept-open connections to the relays of one process, on one event loop.

    Several relays share the mail by weight: it decides how many connections each gets of those it may
    have, and whose turn it is where several have room. A slow relay so holds up no other.
    """

    def __init__(
        self,
        relays: Sequence[Relay],
        *,
        greet_as: str,
        processes: int = 1,
        slots_dir: Path | None = None,
        patience: Patience | None = None,
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            greet_as: the name in EHLO (RFC 5321 §4.1.1.1).
            processes: that send on this machine; each relay's connections are shared out to them.
            slots_dir: where those processes count their connections; None: there are no others.
        """
        self._patience = patience or Patience()
        self._lines = [
            Line(
                relay,
                greet_as=greet_as,
                processes=processes,
                slots=Slots(slots_dir, relay.name, relay.connections),
                patience=self._patience,
                changed=self._changed,
                failed=self._failed,
                not_noted=self._not_noted,
            )
            for relay in relays
        ]
        if len(self._lines) > 1:
            for line in self._lines:
                line.someone_else_first = self._someone_else_first
        self._feed: Feed[Mail] = NoFeed()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: asyncio.Future[None] | None = None
        self._turn: asyncio.Handle | None = None
        self._waiting: asyncio.TimerHandle | None = None
        self._cutting: asyncio.TimerHandle | None = None
        self._is_stopping = False
        self._error: Exception | None = None
        """What the sending under way will end with."""
        self._stop_within: float | None = None
        """Asked to stop before the sending had begun."""

    @property
    def trouble(self) -> str | None:
        """Why nothing moves, in words; None while any relay can be used."""
        troubles = [line.trouble for line in self._lines]
        known = [trouble for trouble in troubles if trouble is not None]
        if len(known) < len(troubles):
            return None
        return "; ".join(known) or "no relay is set"

    @property
    def retry_in(self) -> float:
        """Seconds until a relay will be tried again."""
        return min((line.retry_in for line in self._lines), default=0.0)

    async def send(self, feed: Feed[M]) -> None:
        """Send until the feed gives no more and everything came back, or no relay can be used.

        Raises:
            Exception: whatever the feed raised. It was asked for nothing after that, and what was under
                way came to its end; but once it could not note something, or failed again, connections
                with mail under way were cut, and it was told nothing more.
        """
        self._loop = asyncio.get_running_loop()
        for _ in range(_TURNS_TO_NOTICE):
            await asyncio.sleep(0)
        own = cast("Feed[Mail]", feed)  # it is only ever told of its own mail
        self._feed, self._is_stopping, self._error = own, False, None
        self._done = self._loop.create_future()
        for line in self._lines:
            line.use(own)
        ticking = self._loop.create_task(self._tick())
        if self._stop_within is not None:
            self._stop(self._stop_within)
        try:
            self._changed()
            await self._done
            for line in self._lines:
                line.spare()
            feed.flush()
            await self._make_way()
        finally:
            ticking.cancel()
            self._rest()

    def stop(self, *, within: float) -> None:
        """Begin nothing more in the sending under way, or else in the next; from any thread.

        Mail whose dot is not out is not sent; replies to dots that are out are waited for.

        Args:
            within: seconds after which what is still out is cut.
        """
        if self._loop is None:
            self._stop_within = within
        else:
            self._loop.call_soon_threadsafe(self._stop, within)

    async def close(self) -> None:
        """Take leave of every relay."""
        for line in self._lines:
            line.leave(keep=0)
        await self._farewell()
        for line in self._lines:
            line.cut_leaving()
        for _ in range(_TURNS_TO_NOTICE):
            await asyncio.sleep(0)

    def _stop(self, within: float) -> None:
        if self._done is None:
            self._stop_within = within
            return
        if self._done.done() or self._is_stopping:
            return
        assert self._loop is not None
        self._is_stopping, self._stop_within = True, None
        for line in self._lines:
            line.stop()
        self._cutting = self._loop.call_later(within, self._cut)
        self._changed()

    def _cut(self) -> None:
        for line in self._lines:
            line.cut(STOPPED)

    def _rest(self) -> None:
        """Whatever comes from now on, the feed is not told."""
        self._done, self._feed = None, NoFeed()
        for handle in (self._turn, self._waiting, self._cutting):
            if handle is not None:
                handle.cancel()
        self._turn = self._waiting = self._cutting = None
        for line in self._lines:
            line.use(self._feed)
            line.cut(STOPPED)

    async def _make_way(self) -> None:
        """Let go of the connections that are other processes' turn."""
        for line in self._lines:
            line.leave()
        await self._farewell()

    async def _farewell(self) -> None:
        leaving = [line.left.wait() for line in self._lines]
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience.farewell):
                await asyncio.gather(*leaving)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._patience.look_every)
            now = monotonic()
            try:
                made_room = [line.look(now) for line in self._lines]
            except Exception as error:  # noqa: BLE001 - handed to whoever awaits the sending
                self._failed(error)
            else:
                if any(made_room):
                    self._changed()

    def _changed(self) -> None:
        """Look soon at who can take more mail; however much changes meanwhile, once."""
        if self._turn is None and self._done is not None:
            assert self._loop is not None
            self._turn = self._loop.call_soon(self._take_turns)

    def _failed(self, error: Exception) -> None:
        """End with this error once all mail that was given out has come back; at once if it is a second.

        Mail under way is not cut off: where few are left, the others would come no further each time.
        """
        if self._error is not None:
            self._not_noted(self._error)
            return
        self._error = error
        for line in self._lines:
            line.is_stopped = True
        self._changed()

    def _not_noted(self, error: Exception) -> None:
        """End at once: what the feed is told from now on would be known to nobody."""
        for line in self._lines:
            line.use(NoFeed())
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)

    def _someone_else_first(self, line: Line) -> bool:
        """Whether a relay that had less than its share could take the mail instead."""
        for other in self._lines:
            if other is not line and other.served + other.stride <= line.served and other.has_room:
                self._changed()
                return True
        return False

    def _take_turns(self) -> None:
        self._turn = None
        if self._done is None or self._done.done():
            return
        try:
            self._share_out()
            self._end_or_wait(self._done)
        except Exception as error:  # noqa: BLE001 - handed to whoever awaits the sending
            self._failed(error)

    def _share_out(self) -> None:
        """Start as many connections as there is mail for, relays in the order of their shares."""
        usable = [line for line in self._lines if line.is_usable]
        heaviest = max((line.relay.weight for line in usable), default=1)
        least_served = min((line.served for line in usable), default=0.0)
        for line in self._lines:
            line.ask_anew()
            line.share = -(-line.most * line.relay.weight // heaviest)
            if line not in usable:  # it gets no arrears
                line.served = max(line.served, least_served)
        while roomy := [line for line in self._lines if line.has_room]:
            min(roomy, key=lambda line: line.served).start_one()

    def _end_or_wait(self, done: asyncio.Future[None]) -> None:
        is_busy = any(line.is_busy for line in self._lines)
        seconds = None
        if not self._is_stopping and self._error is None and any(line.is_dry for line in self._lines):
            seconds = self._feed.wait_seconds()
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if seconds is not None:
            assert self._loop is not None
            self._waiting = self._loop.call_later(max(seconds, _LEAST_WAIT_SECONDS), self._changed)
        elif is_busy:
            return
        elif self._error is not None:
            self._feed.flush()
            done.set_exception(self._error)
        else:
            done.set_result(None)
