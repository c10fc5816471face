"""One connection to the sink: a buffer to be worked off, and replies that leave in order or as told."""

import asyncio
import socket
import struct
from abc import abstractmethod
from collections.abc import Callable
from functools import lru_cache, partial
from typing import cast

from mailer.embedded.faults import Fault
from mailer.embedded.reception import Reception
from mailer.embedded.slow_line import Line, SlowLine

HOST = "sink.mailer.example"
HANDSHAKE_SECONDS = 30.0
BUFFER_BYTES = 65_536
"""Of every connection."""
_LASTING_BUFFER_BYTES = 262_144
"""A buffer that grew up to this stays grown."""
_RESET = struct.pack("ii", 1, 0)


class Exchange(asyncio.BufferedProtocol):
    """Bytes in, replies out; what the bytes mean is for those who inherit.

    Everything is read into one buffer; what lies between two positions in it is not yet dealt with.
    """

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self._transport: asyncio.Transport | None = None
        self._line: Line | None = None
        """Where replies go; None as soon as none may follow."""
        self._slow_line: SlowLine | None = None
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._begin = self._scanned = self._end = 0
        self._replies: list[bytes] = []
        self._take: Callable[[], bool] = self._take_command
        self._waiting = self._choked = self._secure = False
        self._handshake: asyncio.Task[None] | None = None
        self._connection = "0"
        self.quiet_sweeps = 0
        """Sweeps since something was heard; the sink ends who is quiet for too long."""

    @abstractmethod
    def _take_command(self) -> bool:
        """Deal with one command; whether it was complete."""

    @abstractmethod
    def _begin_anew(self) -> None:
        """Forget all that was said."""

    @abstractmethod
    def _find_fault(self, point: str, address: str) -> Fault | None:
        """What goes wrong at this point for an address."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, unless there are too many."""
        reception = self._reception
        reception.connections += 1
        self._connection = str(reception.connections)
        self._open(cast("asyncio.Transport", transport))
        behaviour = reception.faults.behaviour
        if len(reception.guests) >= behaviour.limits.connections:
            reception.store.note_fault("limit-connections", "connect")
            self._hang_up("421 4.7.0 Too many connections")
            return
        reception.guests.add(self)
        self._welcome()

    def _open(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._secure = transport.get_extra_info("sslcontext") is not None
        behaviour = self._reception.faults.behaviour
        latency, pieces = behaviour.latency, behaviour.pieces
        if latency.round_trip or pieces.size:
            self._line = self._slow_line = SlowLine(
                transport, self, round_trip=latency.round_trip, piece=pieces.size, gap=pieces.gap
            )
        else:
            self._line = transport

    def _welcome(self) -> None:
        behaviour = self._reception.faults.behaviour
        fault = self._find_fault("connect", self._connection)
        greeting = f"220 {HOST} ESMTP keeps letters, delivers none"
        # The connection itself takes a round trip as well, which nobody can delay for the system.
        self._answer(fault, greeting, "connect", wait=behaviour.latency.round_trip)
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """The letter under way, if any, was not acknowledged and is not kept."""
        del exc
        self._transport = self._line = None
        if self._slow_line is not None:
            self._slow_line.drop()
        self._reception.guests.discard(self)
        self._begin_anew()
        self._reception.release(max(0, len(self._buffer) - BUFFER_BYTES))
        self._buffer, self._view = bytearray(0), memoryview(b"")

    def pause_writing(self) -> None:
        """Take no commands from somebody who does not read the replies."""
        self._choked = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._choked = False
        self._go_on()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to put what arrives."""
        del sizehint
        return self._view[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        """Answer everything that is complete, in one write."""
        self._end += nbytes
        self.quiet_sweeps = 0
        if not (self._waiting or self._choked):
            self._work()
        elif self._transport is not None:
            # Asked for while the connection was being made, a pause may not have been heard.
            self._transport.pause_reading()

    def break_off(self) -> None:
        """End the connection at once; replies held back are lost."""
        self._replies.clear()
        self._line = None
        if self._handshake is not None:
            self._handshake.cancel()
        if self._transport is not None:
            self._transport.abort()

    def time_out(self) -> None:
        """End a connection on which nothing was heard for too long."""
        if self._line is not None:
            self._hang_up("421 4.4.2 Nothing heard for too long")

    def _work(self) -> None:
        while self._line is not None and not (self._waiting or self._choked):
            if not self._take():
                break
        if self._line is None:
            self._begin = self._scanned = self._end = 0
            return
        if self._begin == self._end:
            self._begin = self._scanned = self._end = 0
            if len(self._buffer) > _LASTING_BUFFER_BYTES:
                self._resize(BUFFER_BYTES)
        elif self._end == len(self._buffer):
            self._move_to_front()
        if self._replies:
            self._reception.answer(self)

    def _go_on(self) -> None:
        if self._transport is None or self._waiting or self._choked:
            return
        self._work()
        if self._transport is not None and not (self._waiting or self._choked):
            self._transport.resume_reading()

    def _move_to_front(self) -> None:
        left = self._end - self._begin
        self._buffer[:left] = self._buffer[self._begin : self._end]
        self._scanned -= self._begin
        self._begin, self._end = 0, left

    def _resize(self, size: int) -> None:
        """Give the buffer another size; what is in it lies at its front afterwards.

        A larger one must be reserved before.
        """
        buffer, left = bytearray(size), self._end - self._begin
        buffer[:left] = self._view[self._begin : self._end]
        self._reception.release(max(0, len(self._buffer) - size))
        self._scanned -= self._begin
        self._begin, self._end = 0, left
        self._buffer, self._view = buffer, memoryview(buffer)

    # Replies

    def send_replies(self) -> None:
        """Send what has been replied so far."""
        if self._replies and self._line is not None:
            self._line.write(b"".join(self._replies))
        self._replies.clear()

    def _reply(self, reply: str) -> None:
        self._replies.append(_render(reply))

    def _answer(
        self, fault: Fault | None, reply: str, point: str, address: bytes = b"", *, wait: float = 0.0
    ) -> None:
        """Reply, or do what the fault says; at once, or after a while in which no command is taken.

        Args:
            wait: seconds, beside what the fault makes of it.
        """
        if fault is not None:
            self._reception.store.note_fault(fault.kind, point, address)
            wait += self._reception.faults.wait_seconds(fault, address.decode() or self._connection)
        if wait:
            self._pause(wait, partial(self._act, fault, reply, point))
        else:
            self._act(fault, reply, point)

    def _act(self, fault: Fault | None, reply: str, point: str) -> None:
        if fault is None:
            self._reply(reply)
            return
        reply = fault.reply or reply
        if fault.drop == "in-reply":
            rendered = _render(reply)
            self._replies.append(rendered[: len(rendered) // 2])
        if fault.drop is not None:
            self._cut(reset=fault.reset)
            return
        if not fault.silent:
            self._reply(reply)
        if fault.extra is not None:
            self._reply(fault.extra)
        if fault.forget:
            self._begin = self._scanned = self._end
        if fault.close or reply.startswith("421") or (point == "connect" and fault.reply):
            self._hang_up(None)

    def _pause(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something later, and nothing else until then: replies stay in order."""
        self._reception.answer(self)
        self._waiting = True
        if self._transport is not None:
            self._transport.pause_reading()
        asyncio.get_running_loop().call_later(seconds, self._resume, act)

    def _resume(self, act: Callable[[], None]) -> None:
        self._waiting = False
        if self._line is not None:
            act()
        self._go_on()

    def _hang_up(self, reply: str | None) -> None:
        """End the connection in order, with everything replied so far."""
        if reply is not None:
            self._reply(reply)
        self._reception.settle(self)
        if self._line is not None:
            self._line.close()
        self._line = None

    def _cut(self, *, reset: bool) -> None:
        self._reception.settle(self)
        line, transport, self._line = self._line, self._transport, None
        if line is None or transport is None:
            return
        if not reset:
            line.close()
        elif isinstance(line, SlowLine):
            line.then(partial(_reset, transport))
        else:
            _reset(transport)

    # TLS

    def _begin_tls(self) -> None:
        """Shake hands; whatever had already arrived in plaintext is thrown away."""
        self._waiting = True
        self._begin = self._scanned = self._end
        line, transport = self._line, self._transport
        assert line is not None
        assert transport is not None
        transport.pause_reading()
        self._reception.settle(self)
        if isinstance(line, SlowLine):
            line.then(partial(self._meet, transport))
        else:
            self._meet(transport)

    def _meet(self, transport: asyncio.Transport) -> None:
        self._handshake = asyncio.get_running_loop().create_task(self._shake_hands(transport))

    async def _shake_hands(self, transport: asyncio.Transport) -> None:
        context = self._reception.certificates.context
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport, self, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        except OSError:
            self.connection_lost(None)
            return
        if secured is None or self._transport is None:
            return
        self._waiting = False
        self._open(secured)
        # Nothing of what was said in plaintext is known any more (RFC 3207 §4.2).
        self._begin_anew()
        self._go_on()


@lru_cache(maxsize=256)
def _render(reply: str) -> bytes:
    """A reply as it goes over the wire; line feeds part its lines (RFC 5321 §4.2.1)."""
    code, lines = reply[:3], reply[4:].split("\n")
    told = [f"{code}-{line}\r\n" for line in lines[:-1]]
    return f"{''.join(told)}{code} {lines[-1]}\r\n".encode()


def _reset(transport: asyncio.Transport) -> None:
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()
