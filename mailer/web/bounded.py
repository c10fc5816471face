"""HTTP/1.1 as the server speaks it: quick where it can be, bounded in time and size everywhere.

The parser itself waits for ever and keeps whatever comes: one idle reader would hold a connection, one
endless header all memory.

Plain requests for pixels and tracked links are answered here, without a parser's callbacks, a task or an
application. What is seen in one turn of the event loop is written to the journal in one go, before the
turn's answers leave.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from mailer.web.front import Front
from mailer.web.guards import RawHeaders

MESSAGE_SECONDS = 20.0
"""From a request's first byte, or the connection's, to the request's last; ours fit one packet."""
LARGEST_HEAD_BYTES = 65_536
LARGEST_MESSAGE_BYTES = 4_194_304
"""So much of a body that is refused is read for courtesy: the refusal would be lost in a reset."""


class Turn:
    """The answers of one turn of the event loop; they leave when the journal has what they are about."""

    def __init__(self, front: Front | None) -> None:
        """None: this process has no links, and the application answers everything."""
        self._front = front
        self._answers: list[tuple[BoundedProtocol, bytes]] = []
        self._headers: list[tuple[bytes, bytes]] | None = None
        self._header_lines = b""

    def take(self, connection: "BoundedProtocol", request: bytes, server: ServerState) -> bool:
        """Answer a request at the end of this turn, if it is one to answer here."""
        if self._front is None:
            return False
        if server.default_headers is not self._headers:  # the date; it changes every second
            self._headers = server.default_headers
            self._header_lines = b"".join(b"%s: %s\r\n" % header for header in self._headers)
        answer = self._front.answer_at_once(request, connection.client, self._header_lines)
        if answer is None:
            if not self._answers:  # nobody else ends a turn without answers
                self._front.end_turn()
            return False
        if not self._answers:
            connection.loop.call_soon(self.end)
        self._answers.append((connection, answer))
        return True

    def end(self) -> None:
        """Write the journal, then let the answers leave in the order of their requests."""
        answers, self._answers = self._answers, []
        try:
            if self._front is not None:
                self._front.end_turn()
        finally:  # whatever the journal met, nobody waits for ever
            for connection, answer in answers:
                connection.leave(answer)


class BoundedProtocol(HttpToolsProtocol):
    """Ends connections whose request is too slow or too large to be one."""

    _deadline: asyncio.TimerHandle | None = None
    _idle: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    """Runs while the peer does not read our answers."""
    _answered_at = 0.0
    _received = 0
    _in_head = True
    _whole = False
    _between = True
    """Nothing of a request that is not whole was read."""

    def __init__(self, turn: Turn, refusal_headers: RawHeaders, **uvicorns: Any) -> None:
        """Answer plain requests by the loop's turns.

        Args:
            refusal_headers: for answers to what is no request.
        """
        super().__init__(**uvicorns)
        self._turn = turn
        self._refusal_headers = refusal_headers

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: who connects and says nothing is a slow request too."""
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._stop_clock()
        for timer in (self._idle, self._unread):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Answer a plain request; of any other, count what belongs to it while it is not whole."""
        at_leisure = self._between and not self._is_busy and not self.flow.write_paused
        if at_leisure and self._turn.take(self, data, self.server_state):
            self._stop_clock()
            self._unset_keepalive_if_required()
            return
        self._whole = self._between = False
        self._received += len(data)
        super().data_received(data)
        if self._whole:
            self._between = True
            self._stop_clock()
        elif not self.transport.is_closing():
            self._start_clock()
            if self._in_head and self._received > LARGEST_HEAD_BYTES:
                self._refuse(b"431 Request Header Fields Too Large", b"The request is too large.")
            elif self._received > LARGEST_MESSAGE_BYTES:
                self.transport.abort()

    def leave(self, answer: bytes) -> None:
        """Let an answer go out now."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.transport.write(answer)
        self._answered_at = self.loop.time()
        if self._idle is None:
            self._idle = self.loop.call_later(self.timeout_keep_alive, self._close_if_idle)

    def on_message_begin(self) -> None:
        """A request begins, perhaps behind another one that came with it."""
        self._in_head, self._whole = True, False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """What follows is the body."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole; how long its answer takes is ours to decide."""
        self._received, self._in_head, self._whole = 0, True, True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, behind the answers to what was."""
        self._refuse(b"400 Bad Request", msg.encode("ascii", "replace"))

    def _refuse(self, status: bytes, said: bytes) -> None:
        self._turn.end()
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(said)),
            *self._refusal_headers,
            *self.server_state.default_headers,
            (b"connection", b"close"),
        ]
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(b"HTTP/1.1 %s\r\n%s\r\n%s" % (status, lines, said))
        self.transport.close()

    def shutdown(self) -> None:
        """End the connection once what was asked is answered."""
        self._turn.end()
        super().shutdown()

    def pause_writing(self) -> None:
        """Read no more from somebody who does not read our answers, and do not wait for ever."""
        super().pause_writing()
        self.flow.pause_reading()
        if self._unread is None:
            self._unread = self.loop.call_later(MESSAGE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on."""
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()
        self.flow.resume_reading()

    @property
    def _is_busy(self) -> bool:
        """Whether the application is at an answer, so that others must wait for their turn."""
        return self.cycle is not None and (not self.cycle.response_complete or bool(self.pipeline))

    def _close_if_idle(self) -> None:
        """End a connection on which nothing was asked for a while since its last quick answer.

        One timer for many answers: setting one for each would cost as much as the answer. While the
        application is at work, or a request is not whole, other clocks run.
        """
        self._idle = None
        left = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._idle = self.loop.call_later(left, self._close_if_idle)
        elif self._between and not self._is_busy and self.timeout_keep_alive_task is None:
            self.transport.close()

    def _start_clock(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(MESSAGE_SECONDS, self.transport.abort)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
