"""A mail server that keeps letters instead of delivering them: strict about the protocol, and quick.

It answers whole pipelines at once (RFC 2920), refuses what a careful relay would refuse, and records
every letter before it says 250. Its dialogue is RFC 5321; it misbehaves only as it is told.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mailer.embedded.faults import Fault, Faults
from mailer.embedded.mailstore import MailStore

HOST = "sink.mailer.example"
LARGEST_LETTER_BYTES = 52_428_800
_COMMAND_LIMIT_BYTES = 2_048
"""RFC 5321 §4.5.3.1.4 asks for 512; extensions lengthen commands (RFC 6531 §3.4)."""
_LINE_LIMIT_BYTES = 1_000
"""RFC 5321 §4.5.3.1.6, with its CRLF."""
_MOST_RECIPIENTS = 100
_MOST_BAD_COMMANDS = 20
_DOT = b"\r\n.\r\n"
_PATH = re.compile(r"<([^<>\x00-\x1f\x7f]*)>(?: (.*))?")

_EXTENSIONS = (
    "PIPELINING",
    "8BITMIME",
    "SMTPUTF8",
    f"SIZE {LARGEST_LETTER_BYTES}",
    "ENHANCEDSTATUSCODES",
)
_BAD_SEQUENCE = "503 5.5.1 Bad sequence of commands"
_NO_SUCH_PARAMETER = "555 5.5.4 Parameter not recognised"


@dataclass(slots=True)
class _Letter:
    """The letter under way, from MAIL to its final dot."""

    sender: str
    eight_bit: bool = False
    utf8: bool = False
    recipients: list[str] = field(default_factory=list)
    fault: Fault | None = None


class SinkDialogue(asyncio.Protocol):
    """One connection: bytes in, replies out, in the order of the commands."""

    def __init__(self, store: MailStore, faults: Faults) -> None:
        self._store = store
        self._faults = faults
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._scanned = 0
        self._replies: list[str] = []
        self._in_content = False
        self._waiting = False
        self._greeted = False
        self._bad_commands = 0
        self._verbs: dict[str, Callable[[str], None]] = {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._rset,
            "NOOP": lambda _: self._reply("250 2.0.0 OK"),
            "VRFY": lambda _: self._reply("252 2.5.0 Send it and see"),
            "QUIT": self._quit,
        }
        self._letter: _Letter | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(f"220 {HOST} ESMTP keeps letters, delivers none\r\n".encode())

    def connection_lost(self, exc: Exception | None) -> None:
        """The letter under way, if any, was not acknowledged and is not kept."""
        del exc
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Answer everything that is complete, in one write."""
        self._buffer += data
        if not self._waiting:
            self._work()
        elif self._transport is not None and len(self._buffer) > LARGEST_LETTER_BYTES:
            self._transport.pause_reading()

    def _work(self) -> None:
        while self._transport is not None and not self._waiting:
            if not (self._take_content() if self._in_content else self._take_command()):
                break
        self._flush()

    def _flush(self) -> None:
        if self._replies and self._transport is not None:
            self._transport.write("".join(self._replies).encode())
        self._replies.clear()

    def _reply(self, reply: str) -> None:
        self._replies.append(reply + "\r\n")

    def _take_command(self) -> bool:
        end = self._buffer.find(b"\r\n", 0, _COMMAND_LIMIT_BYTES)
        if end < 0:
            if len(self._buffer) >= _COMMAND_LIMIT_BYTES:
                self._hang_up("500 5.5.2 Line too long")
            return False
        try:
            line = self._buffer[:end].decode("utf-8")
        except UnicodeDecodeError:
            line = "\0"
        del self._buffer[: end + 2]
        verb, _, rest = line.partition(" ")
        act = self._verbs.get(verb.upper())
        if act is None:
            self._bad_commands += 1
            self._reply("500 5.5.2 Command not recognised")
            if self._bad_commands >= _MOST_BAD_COMMANDS:
                self._hang_up("421 4.7.0 Too many errors")
        else:
            act(rest.strip())
        return True

    def _ehlo(self, name: str) -> None:
        if self._greet(name):
            lines = [f"{HOST} greets you", *_EXTENSIONS]
            for line in lines[:-1]:
                self._reply(f"250-{line}")
            self._reply(f"250 {lines[-1]}")

    def _helo(self, name: str) -> None:
        if self._greet(name):
            self._reply(f"250 {HOST}")

    def _greet(self, name: str) -> bool:
        if not name:
            self._reply("501 5.5.4 A name is needed")
            return False
        self._greeted = True
        self._letter = None
        return True

    def _mail(self, rest: str) -> None:
        if not self._greeted or self._letter is not None:
            self._reply(_BAD_SEQUENCE)
            return
        path = _parse_path(rest, "FROM:")
        if path is None:
            self._reply("501 5.5.4 Syntax: MAIL FROM:<address>")
            return
        letter = _Letter(sender=path[0])
        refusal = _take_parameters(letter, path[1]) or _refuse_address(path[0], letter)
        if refusal is None:
            self._letter = letter
        self._reply(refusal or "250 2.1.0 Sender OK")

    def _rcpt(self, rest: str) -> None:
        letter = self._letter
        if letter is None:
            self._reply(_BAD_SEQUENCE)
            return
        path = _parse_path(rest, "TO:")
        if path is None or not path[0]:
            self._reply("501 5.5.4 Syntax: RCPT TO:<address>")
        elif path[1]:
            self._reply(_NO_SUCH_PARAMETER)
        elif len(letter.recipients) >= _MOST_RECIPIENTS:
            self._reply("452 4.5.3 Too many recipients")
        elif refusal := _refuse_address(path[0], letter):
            self._reply(refusal)
        else:
            self._meet_recipient(letter, path[0])

    def _meet_recipient(self, letter: _Letter, recipient: str) -> None:
        fault = self._faults.find("rcpt", recipient)
        reply = (fault.reply if fault else None) or "250 2.1.5 Recipient OK"
        if reply.startswith("2"):
            letter.recipients.append(recipient)
        self._reply_after(fault.delay if fault else 0, reply)

    def _data(self, rest: str) -> None:
        letter = self._letter
        if rest:
            self._reply("501 5.5.4 DATA stands alone")
        elif letter is None:
            self._reply(_BAD_SEQUENCE)
        elif not letter.recipients:
            self._reply("554 5.5.1 No valid recipients")
        else:
            letter.fault = self._find_dot_fault(letter)
            if letter.fault is not None and letter.fault.drop == "before-dot":
                self._hang_up(None)
                return
            self._reply("354 End with a dot on a line by itself")
            self._in_content = True
            self._scanned = 0

    def _find_dot_fault(self, letter: _Letter) -> Fault | None:
        faults = [self._faults.find("dot", recipient) for recipient in letter.recipients]
        return next((fault for fault in faults if fault is not None), None)

    def _take_content(self) -> bool:
        if self._buffer.startswith(b".\r\n"):
            content, used = b"", 3
        else:
            end = self._buffer.find(_DOT, self._scanned)
            if end < 0:
                self._scanned = max(0, len(self._buffer) - len(_DOT))
                if len(self._buffer) > LARGEST_LETTER_BYTES:
                    self._hang_up("552 5.3.4 Letter too large")
                return False
            content, used = bytes(self._buffer[: end + 2]), end + len(_DOT)
        del self._buffer[:used]
        self._in_content = False
        letter, self._letter = self._letter, None
        assert letter is not None
        self._finish(letter, content)
        return True

    def _finish(self, letter: _Letter, content: bytes) -> None:
        fault = letter.fault
        refusal = (fault.reply if fault else None) or _refuse_content(content, letter)
        if refusal is None and (fault is None or fault.recorded):
            unstuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n")[2:]
            self._store.store(letter.sender, letter.recipients, unstuffed)
        if fault is not None and fault.drop == "after-dot":
            self._hang_up(None)
        else:
            self._reply_after(fault.delay if fault else 0, refusal or "250 2.0.0 Kept")

    def _rset(self, _rest: str) -> None:
        self._letter = None
        self._reply("250 2.0.0 OK")

    def _quit(self, _rest: str) -> None:
        self._hang_up("221 2.0.0 Bye")

    def _reply_after(self, seconds: float, reply: str) -> None:
        """Reply, and take no further command until then: replies stay in order."""
        if not seconds:
            self._reply(reply)
            return
        self._flush()
        self._waiting = True
        asyncio.get_running_loop().call_later(seconds, self._go_on, reply)

    def _go_on(self, reply: str) -> None:
        self._waiting = False
        self._reply(reply)
        if self._transport is not None:
            self._transport.resume_reading()
        self._work()

    def _hang_up(self, reply: str | None) -> None:
        if reply is not None:
            self._reply(reply)
        self._flush()
        if self._transport is not None:
            self._transport.close()
        self._transport = None


def _parse_path(rest: str, prefix: str) -> tuple[str, list[str]] | None:
    if not rest.upper().startswith(prefix):
        return None
    match = _PATH.fullmatch(rest[len(prefix) :].lstrip())
    return (match[1], (match[2] or "").split()) if match else None


def _take_parameters(letter: _Letter, parameters: list[str]) -> str | None:
    """Note what the sender announces (RFC 1870, 6152, 6531); the reply if it cannot be."""
    for parameter in parameters:
        name, _, value = parameter.upper().partition("=")
        if name == "SIZE" and value.isdecimal():
            if int(value) > LARGEST_LETTER_BYTES:
                return "552 5.3.4 Letter too large"
        elif name == "BODY" and value in {"7BIT", "8BITMIME"}:
            letter.eight_bit = value == "8BITMIME"
        elif parameter.upper() == "SMTPUTF8":
            letter.utf8 = True
        else:
            return _NO_SUCH_PARAMETER
    return None


def _refuse_address(address: str, letter: _Letter) -> str | None:
    if address and not re.fullmatch(r"[^@\s]+@[^@\s]+|\"[^\"]+\"@[^@\s]+", address):
        return "501 5.1.3 Bad address syntax"
    if not address.isascii() and not letter.utf8:
        return "553 5.6.7 Non-ASCII address without SMTPUTF8"
    return None


def _refuse_content(content: bytes, letter: _Letter) -> str | None:
    without_ends = content.replace(b"\r\n", b"")
    if b"\n" in without_ends or b"\r" in without_ends:
        return "554 5.6.0 A line does not end in CRLF"
    if max(map(len, content.split(b"\n"))) >= _LINE_LIMIT_BYTES:
        return "554 5.6.0 A line is longer than 998 characters"
    if not letter.eight_bit and not content.isascii():
        return "554 5.6.1 Eight-bit content without BODY=8BITMIME"
    return None


async def serve_sink(
    folder: Path,
    *,
    host: str,
    port: int,
    faults: Faults,
    keep: int,
    when_ready: Callable[[int], None],
) -> None:
    """Listen until cancelled.

    Args:
        port: 0 takes a free one.
        keep: how many letters to keep as files; recipient and Message-ID of all are recorded.
        when_ready: is told the port.

    Raises:
        OSError: the port is taken or the folder cannot be written.
    """
    store = MailStore(folder, keep=keep)
    try:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: SinkDialogue(store, faults), host, port, backlog=512)
        when_ready(server.sockets[0].getsockname()[1])
        async with server:
            await server.serve_forever()
    finally:
        store.close()
