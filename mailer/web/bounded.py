"""HTTP/1.1 as the server speaks it, with an end to how long and how large a request may be.

The parser itself waits for ever and keeps whatever comes: one idle reader would hold a connection, one
endless header all memory.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MESSAGE_SECONDS = 20.0
"""From a request's first byte, or the connection's, to the request's last; ours fit one packet."""
LARGEST_HEAD_BYTES = 65_536
LARGEST_MESSAGE_BYTES = 4_194_304
"""So much of a body that is refused is read for courtesy: the refusal would be lost in a reset."""


class BoundedProtocol(HttpToolsProtocol):
    """Ends connections whose request is too slow or too large to be one."""

    _deadline: asyncio.TimerHandle | None = None
    _received = 0
    _in_head = True
    _whole = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: who connects and says nothing is a slow request too."""
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a request that is not whole yet."""
        self._whole = False
        self._received += len(data)
        super().data_received(data)
        if self._whole:
            self._stop_clock()
        elif not self.transport.is_closing():
            self._start_clock()
            if self._in_head and self._received > LARGEST_HEAD_BYTES:
                self.send_400_response("The request is too large.")
            elif self._received > LARGEST_MESSAGE_BYTES:
                self.transport.abort()

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

    def _start_clock(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(MESSAGE_SECONDS, self.transport.abort)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
