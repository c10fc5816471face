"""From no connection to one that letters can go over: connect, greet, protect, sign in."""

import asyncio
import contextlib
import os
import re
import socket
import ssl
from dataclasses import dataclass

from mailer.smtp.authentication import sign_in
from mailer.smtp.errors import Garbled, RelayUnavailable, TooManyConnections
from mailer.smtp.extensions import Extensions, read_extensions
from mailer.smtp.patience import Patience
from mailer.smtp.protection import protection_for
from mailer.smtp.relays import Relay, StartTLS
from mailer.smtp.replies import Reply, ReplyReader, is_about_letters, read_reply

_SEND_BUFFER_BYTES = 1 << 20
"""Room for a whole pipe of letters in the kernel, so that one write is one system call."""
_GREETING, _GREETED, _READY_FOR_TLS = 220, 250, 220
_CLOSED = "it closed the connection"
_TOO_MUCH = "it said more than it was asked for"
_TOO_MANY = re.compile(
    r"too many|too much|concurren|(?:connection|session)s? (?:limit|exceeded)"
    r"|(?:maximum|limit).{0,30}(?:connection|session)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection that is ready for letters; nothing on it is unread."""

    transport: asyncio.Transport
    extensions: Extensions


async def open_connection(relay: Relay, *, greet_as: str, patience: Patience) -> Opened:
    """Connect, greet, protect and sign in.

    Raises:
        TooManyConnections: the relay wants fewer connections from us.
        RelayUnavailable: with the reason, without the relay's name; nothing was offered.
    """
    dialogue = _Dialogue(patience)
    try:
        return await _open(relay, dialogue, greet_as, patience)
    except RelayUnavailable:
        raise
    except Garbled as error:
        raise RelayUnavailable(str(error)) from error
    except (OSError, UnicodeError) as error:
        raise RelayUnavailable(_reason(error)) from error
    finally:
        dialogue.let_go()


async def check_relay(relay: Relay, *, greet_as: str, patience: Patience | None = None) -> None:
    """Connect, protect, sign in, ask for a sign of life and take leave.

    Raises:
        RelayUnavailable: with the relay's name and the reason.
    """
    patience = patience or Patience()
    try:
        opened = await open_connection(relay, greet_as=greet_as, patience=patience)
        dialogue = _Dialogue(patience)
        dialogue.connection_made(opened.transport)
        opened.transport.set_protocol(dialogue)
        try:
            code, text = await dialogue.ask(b"NOOP")
            if code // 100 != 2:
                raise RelayUnavailable(f"refuses: {read_reply(code, text)}")
            await dialogue.ask(b"QUIT")
        except Garbled as error:
            raise RelayUnavailable(str(error)) from error
        except OSError as error:
            raise RelayUnavailable(_reason(error)) from error
        finally:
            await dialogue.close()
    except RelayUnavailable as error:
        raise RelayUnavailable(f"relay {relay.name}: {error}") from error


def refusal(what: str, reply: Reply) -> RelayUnavailable:
    """What a relay's refusal to talk means: nothing goes, or only less at once."""
    kind = RelayUnavailable
    if reply.code // 100 == 4 and _TOO_MANY.search(reply.text):
        kind = TooManyConnections
    return kind(f"refuses {what}: {reply}")


async def _open(relay: Relay, dialogue: "_Dialogue", greet_as: str, patience: Patience) -> Opened:
    context = protection_for(relay) if relay.implicit_tls else None
    async with asyncio.timeout(patience.connect):
        await asyncio.get_running_loop().create_connection(
            lambda: dialogue,
            relay.host,
            relay.port,
            ssl=context,
            server_hostname=relay.host if context else None,
            ssl_shutdown_timeout=patience.farewell if context else None,
        )
    greeting = await dialogue.hear()
    if greeting.code != _GREETING:
        if greeting.code < 400:
            raise Garbled("its greeting is none")
        raise refusal("connections", greeting)
    offered = await _greet(dialogue, greet_as)
    if not relay.implicit_tls and relay.starttls is not StartTLS.NEVER:
        offered = await _protect(relay, dialogue, offered, greet_as, patience)
    await sign_in(dialogue.ask, relay, offered, protected=dialogue.is_protected)
    return Opened(dialogue.hand_over(), offered)


async def _greet(dialogue: "_Dialogue", greet_as: str) -> Extensions:
    """Say EHLO, or HELO to a server that does not know it (RFC 5321 §3.2)."""
    code, text = await dialogue.ask(f"EHLO {greet_as}".encode("ascii"))
    if code == _GREETED:
        return read_extensions(text)
    if code // 100 == 5:
        code, text = await dialogue.ask(f"HELO {greet_as}".encode("ascii"))
        if code == _GREETED:
            return Extensions()
    if not is_about_letters(code) or code < 400:
        raise Garbled("its reply is none to EHLO")
    raise refusal("our greeting", read_reply(code, text))


async def _protect(
    relay: Relay, dialogue: "_Dialogue", offered: Extensions, greet_as: str, patience: Patience
) -> Extensions:
    """Turn TLS on (RFC 3207), and ask anew what is offered: what was said in the clear is forgotten."""
    if not offered.starttls:
        if relay.starttls is StartTLS.REQUIRE:
            raise RelayUnavailable("it does not offer STARTTLS, which is required")
        if relay.password is not None:
            # Whoever stands between us may have taken the offer away to read it.
            raise RelayUnavailable(
                "it does not offer STARTTLS, and the password is not sent in the clear"
            )
        return offered
    code, text = await dialogue.ask(b"STARTTLS")
    if code != _READY_FOR_TLS:
        raise RelayUnavailable(f"refuses STARTTLS, which it offered: {read_reply(code, text)}")
    await dialogue.protect(protection_for(relay), relay.host, patience)
    return await _greet(dialogue, greet_as)


class _Dialogue(asyncio.Protocol):
    """Says a line and waits for the reply."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._transport: asyncio.Transport | None = None
        self._reader = ReplyReader()
        self._waiting: asyncio.Future[tuple[int, bytes]] | None = None
        self._ended: Exception | None = None
        self._gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        connected = transport.get_extra_info("socket")
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        try:
            if self._ended is not None:
                return
            self._reader.add(data)
            if self._waiting is not None and not self._waiting.done():
                reply = self._reader.take()
                if reply is not None:
                    self._waiting.set_result(reply)
            elif self._reader.is_flooded:
                raise Garbled(_TOO_MUCH)
        except Garbled as error:
            self._end(error)

    def eof_received(self) -> None:
        self._end(ConnectionResetError(_CLOSED))

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set()
        self._end(exc or ConnectionResetError(_CLOSED))

    @property
    def is_protected(self) -> bool:
        """Whether TLS is on."""
        assert self._transport is not None
        return self._transport.get_extra_info("sslcontext") is not None

    async def hear(self) -> Reply:
        """The reply that comes without being asked for."""
        code, text = await self._next_reply()
        return read_reply(code, text)

    async def ask(self, line: bytes) -> tuple[int, bytes]:
        """Say a line; the code and the text of the reply."""
        self._require_silence()
        assert self._transport is not None
        self._transport.write(line + b"\r\n")
        return await self._next_reply()

    async def protect(self, context: ssl.SSLContext, host: str, patience: Patience) -> None:
        """Agree on TLS; whatever came in the clear behind the reply is an attack (CVE-2011-0411)."""
        self._require_silence()
        assert self._transport is not None
        protected = await asyncio.get_running_loop().start_tls(
            self._transport,
            self,
            context,
            server_hostname=host,
            ssl_handshake_timeout=patience.connect,
            ssl_shutdown_timeout=patience.farewell,
        )
        assert protected is not None
        self._transport = protected

    def hand_over(self) -> asyncio.Transport:
        """The transport, which is no longer ours."""
        self._require_silence()
        assert self._transport is not None
        transport, self._transport = self._transport, None
        return transport

    def let_go(self) -> None:
        """Cut the connection unless it was handed over."""
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """End the connection in good order."""
        assert self._transport is not None
        self._transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience.farewell):
                await self._gone.wait()
        self._transport.abort()

    def _require_silence(self) -> None:
        if self._ended is not None:
            raise self._ended
        if not self._reader.is_empty:
            raise Garbled(_TOO_MUCH)

    async def _next_reply(self) -> tuple[int, bytes]:
        if self._ended is not None:
            raise self._ended
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            reply = self._reader.take()
            if reply is not None:
                return reply
            async with asyncio.timeout(self._patience.command):
                return await self._waiting
        finally:
            self._waiting = None

    def _end(self, error: Exception) -> None:
        self._ended = self._ended or error
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS could not be agreed on: {error.reason or 'the handshake failed'}"
    if isinstance(error, ConnectionAbortedError) and not error.errno:
        return "TLS could not be agreed on: it does not answer"
    if isinstance(error, TimeoutError) and not error.errno:
        return "it does not answer"
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or _CLOSED
