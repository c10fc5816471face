"""A strict SMTP server that says what the script tells it to, cut into packets as a test wants it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mailer.smtp.envelope import Envelope, Mail
from mailer.smtp.relays import Relay
from mailer.smtp.replies import Reply

CUT = "(cut)"
"""In a script: the connection is cut here."""
SILENCE = "(silence)"
"""In a script: no reply, ever again."""
ALL = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 1000000", "ENHANCEDSTATUSCODES")


class Packets(StrEnum):
    """How replies are cut into packets."""

    EACH_ALONE = "each reply alone"
    BYTES = "every byte alone"
    TOGETHER = "all together"


@dataclass
class Script:
    """What the server says; ``replies`` maps a moment to a reply that differs from the usual.

    Moments: ``GREETING``, ``EHLO``, ``HELO``, ``STARTTLS``, ``AUTH``, ``NOOP``, ``RSET``, ``QUIT``, and,
    with or without a recipient behind them, ``MAIL``, ``RCPT``, ``DATA``, ``DOT``, ``BDAT``; a number
    in front of one (``2 MAIL``) means that time only. Lines end in ``|``.
    """

    replies: dict[str, str] = field(default_factory=dict)
    extensions: Sequence[str] = ALL
    packets: Packets = Packets.EACH_ALONE
    invites_without_recipient: bool = False
    tls: ssl.SSLContext | None = None
    implicit_tls: bool = False
    raw_greeting: bytes | None = None
    commands: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    senders: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    most_at_once: int = 0
    open_now: int = 0
    taken_on: list[int] = field(default_factory=list)
    """The number of the connection each accepted letter came over."""
    letters_in_the_clear: int = 0
    pipelined_on: set[int] = field(default_factory=set)
    """The numbers of connections on which a command came before the reply to the last was due."""
    delay_dot: float = 0.0
    refuse_beyond: int | None = None
    refuse_with: str = "421 4.7.0 too many connections"
    most_dots_out: int = 0
    port: int = 0
    stops_reading_at_data: bool = False
    readers: list[asyncio.StreamReader] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    on_dot: Callable[[str], None] = lambda _: None
    counts: dict[str, int] = field(default_factory=dict)

    def find(self, moment: str, recipient: str | None) -> str | None:
        """The reply the script has for a moment."""
        self.counts[moment] = number = self.counts.get(moment, 0) + 1
        for key in (f"{moment} {recipient}", f"{number} {moment}", moment):
            if key in self.replies:
                return self.replies[key]
        return None


class Talk:
    """One connection."""

    def __init__(
        self, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        self.script = script
        self.reader = reader
        self.writer = writer
        self.number = number
        self.sender: str | None = None
        self.recipient: str | None = None
        self.meant: str | None = None
        self.waiting: list[bytes] = []
        self.buffer = b""
        self.inside_tls = script.implicit_tls

    async def serve(self) -> None:
        script = self.script
        if script.raw_greeting is not None:
            await self._flood(script.raw_greeting)
            return
        too_many = script.refuse_beyond is not None and script.open_now > script.refuse_beyond
        await self.say(
            script.refuse_with
            if too_many
            else script.find("GREETING", None) or "220 relay.example ESMTP"
        )
        if too_many:
            await self.flush()
            return
        while (line := await self.line()) is not None:
            script.commands.append(line)
            if self.buffer:
                script.pipelined_on.add(self.number)
            verb, _, rest = line.partition(" ")
            act = getattr(self, f"do_{verb.lower()}", None)
            if act is None:
                await self.say("500 5.5.2 what")
            elif await act(rest) is False:
                break
        await self.flush()

    async def _flood(self, what: bytes) -> None:
        for _ in range(2_000):
            self.writer.write(what)
            await self.writer.drain()

    async def line(self) -> str | None:
        while b"\r\n" not in self.buffer:
            if not await self.more():
                return None
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line.decode()

    async def more(self) -> bool:
        await self.flush()
        data = await self.reader.read(65536)
        self.buffer += data
        return bool(data)

    async def say(self, reply: str) -> None:
        """Say a reply, in as many packets as the script wants."""
        for part in reply.replace(CUT, f"\0{CUT}\0").split("\0"):
            if part == CUT:
                await self.flush()
                await asyncio.sleep(0.01)
                self.writer.transport.abort()
                raise ConnectionAbortedError
            if part == SILENCE:
                await self.flush()
                await asyncio.sleep(3_600)
            if not part:
                continue
            data = part.removesuffix("|").replace("|", "\r\n").encode() + b"\r\n"
            match self.script.packets:
                case Packets.TOGETHER:
                    self.waiting.append(data)
                case Packets.EACH_ALONE:
                    await self.send(data)
                case Packets.BYTES:
                    for byte in data:
                        await self.send(bytes([byte]))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()
        for _ in range(3):
            await asyncio.sleep(0)

    async def flush(self) -> None:
        if self.waiting:
            data = b"".join(self.waiting)
            self.waiting.clear()
            await self.send(data)

    async def answer(self, moment: str, usual: str) -> str:
        scripted = self.script.find(moment, self.meant)
        reply = usual if scripted is None else scripted
        await self.say(reply)
        return reply

    async def do_ehlo(self, _rest: str) -> None:
        offered = [each for each in self.script.extensions if each != "STARTTLS" or not self.inside_tls]
        lines = ["relay.example", *offered]
        text = "|".join(f"250-{line}" for line in lines[:-1])
        await self.answer("EHLO", f"{text}|250 {lines[-1]}" if offered else "250 relay.example")

    async def do_helo(self, _rest: str) -> None:
        await self.answer("HELO", "250 relay.example")

    async def do_starttls(self, _rest: str) -> None:
        reply = await self.answer("STARTTLS", "220 2.0.0 go ahead")
        await self.flush()
        if reply.startswith("220") and self.script.tls is not None:
            await self.writer.start_tls(self.script.tls)
            self.inside_tls = True

    async def do_noop(self, _rest: str) -> None:
        await self.answer("NOOP", "250 2.0.0 ok")

    async def do_rset(self, _rest: str) -> None:
        self.sender = self.recipient = None
        await self.answer("RSET", "250 2.0.0 forgotten")

    async def do_quit(self, _rest: str) -> bool:
        await self.answer("QUIT", "221 2.0.0 bye")
        return False

    async def do_mail(self, rest: str) -> None:
        self.meant = None
        if self.sender is not None:
            await self.say("503 5.5.1 nested MAIL")
            return
        sender = rest.partition("<")[2].partition(">")[0]
        if (await self.answer("MAIL", "250 2.1.0 sender ok")).startswith("2"):
            self.sender, self.recipient = sender, None

    async def do_rcpt(self, rest: str) -> None:
        self.meant = rest.partition("<")[2].partition(">")[0]
        if self.sender is None:
            await self.say("503 5.5.1 MAIL first")
        elif (await self.answer("RCPT", "250 2.1.5 recipient ok")).startswith("2"):
            self.recipient = self.meant

    async def do_data(self, _rest: str) -> None:
        if self.sender is None:
            await self.say("503 5.5.1 MAIL first")
            return
        if self.recipient is None and not self.script.invites_without_recipient:
            await self.say("554 5.5.1 no valid recipients")
            return
        if not (await self.answer("DATA", "354 go ahead")).startswith("354"):
            return
        if self.script.stops_reading_at_data:
            await self.flush()
            self.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.sleep(3_600)
        while b"\r\n.\r\n" not in (ended := b"\r\n" + self.buffer):
            if not await self.more():
                return
        body, _, self.buffer = ended.partition(b"\r\n.\r\n")
        await self.take(body[2:] + b"\r\n" if len(body) > 2 else b"", "DOT")

    async def do_bdat(self, rest: str) -> None:
        size = int(rest.partition(" ")[0])
        while len(self.buffer) < size:
            if not await self.more():
                return
        body, self.buffer = self.buffer[:size], self.buffer[size:]
        self.script.most_dots_out = max(self.script.most_dots_out, 1 + self.buffer.count(b" LAST\r\n"))
        if self.sender is None or self.recipient is None:
            await self.say("503 5.5.1 MAIL and RCPT first")
        else:
            await self.take(body, "BDAT")

    async def take(self, body: bytes, moment: str) -> None:
        """Answer a letter; nothing of it is kept before the reply is decided."""
        script = self.script
        if self.recipient is None:
            self.sender = None
            await self.say("554 5.5.1 no valid recipients")
            return
        self.meant = self.recipient
        script.on_dot(self.recipient)
        script.letters_in_the_clear += not self.inside_tls
        if script.delay_dot:
            await self.flush()
            await asyncio.sleep(script.delay_dot)
        sender, self.sender, self.recipient = self.sender, None, None
        scripted = script.find(moment, self.meant)
        reply = "250 2.0.0 taken" if scripted is None else scripted
        if reply.startswith("250"):
            assert sender is not None
            script.accepted.append(self.meant)
            script.senders.append(sender)
            script.bodies.append(body)
            script.taken_on.append(self.number)
        await self.say(reply)

    async def do_auth(self, rest: str) -> None:
        kind = rest.partition(" ")[0]
        challenges = {"LOGIN": ("VXNlcm5hbWU6", "UGFzc3dvcmQ6"), "CRAM-MD5": ("PDEyM0ByZWxheT4=",)}
        for challenge in challenges.get(kind, ()):
            await self.say(f"334 {challenge}")
            await self.flush()
            line = await self.line()
            assert line is not None
            self.script.commands.append(line)
        reply = await self.answer("AUTH", "235 2.7.0 signed in")
        if reply.startswith("334"):
            await self.flush()
            line = await self.line()
            assert line is not None
            self.script.commands.append(line)
            await self.answer("AUTH AGAIN", "535 5.7.8 no")


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[Script]:
    """Serve on loopback, in the running loop, for as long as the block lasts."""
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        script.connections += 1
        script.readers.append(reader)
        script.writers.append(writer)
        script.open_now += 1
        script.most_at_once = max(script.most_at_once, script.open_now)
        try:
            await Talk(script, reader, writer, script.connections).serve()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            script.open_now -= 1
            talks.discard(task)
            writer.close()

    context = script.tls if script.implicit_tls else None
    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context, limit=1 << 20)
    script.port = server.sockets[0].getsockname()[1]
    try:
        yield script
    finally:
        server.close()
        for task in tuple(talks):
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        await asyncio.sleep(0)


@dataclass
class Letter:
    """One mail."""

    envelope: Envelope
    data: bytes = b"Subject: hej\r\n\r\nKaere laeser\r\n"

    @property
    def pieces(self) -> tuple[bytes, ...]:
        return self.data[:1], self.data[1:]

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    @property
    def is_ascii(self) -> bool:
        return self.data.isascii()

    @property
    def to(self) -> str:
        return self.envelope.recipient


def letter(recipient: str, **values: Any) -> Letter:
    """A mail whose sender names its recipient, as a return path does."""
    local = recipient.partition("@")[0]
    return Letter(Envelope(f"bounce+{local}@brev.example", recipient), **values)


def letters(count: int, *, domains: int = 1, **values: Any) -> list[Letter]:
    """So many mails, spread over so many domains."""
    return [letter(f"p{n}@d{n % domains}.example", **values) for n in range(count)]


class Account:
    """A feed that gives each mail out until it is decided, and checks what the pool promises."""

    def __init__(self, mails: Iterable[Letter]) -> None:
        self.waiting = list(mails)
        self.all = {each.to: each for each in self.waiting}
        self.out: dict[int, Letter] = {}
        self.noted: set[str] = set()
        self.flushed: set[str] = set()
        self.told: dict[str, list[str]] = {}
        self.replies: dict[str, Reply] = {}
        self.by_relay: dict[str, list[str]] = {}
        self.gave_back: list[tuple[str, str]] = []
        self.unwanted: set[str] = set()
        self.keeps: bool = True
        self.wait: float | None = None
        self.unflushed = 0

    def next_mail(self, relay: Relay) -> Mail | None:
        mail = self.waiting.pop(0) if self.waiting else None
        if mail is not None:
            assert id(mail) not in self.out, "given out twice"
            self.out[id(mail)] = mail
        return mail

    def wait_seconds(self) -> float | None:
        return self.wait

    def dot_leaves(self, mail: Mail, relay: Relay) -> bool:
        assert id(mail) in self.out
        if mail.envelope.recipient in self.unwanted:
            return False
        self.noted.add(mail.envelope.recipient)
        return True

    def flush(self) -> None:
        self.flushed |= self.noted
        self.unflushed = 0

    def _back(self, mail: Mail, what: str) -> Letter:
        self.unflushed += 1
        self.told.setdefault(mail.envelope.recipient, []).append(what)
        return self.out.pop(id(mail))

    def answered(self, mail: Mail, relay: Relay, reply: Reply) -> None:
        self.replies[self._back(mail, str(reply.code)).to] = reply
        self.by_relay.setdefault(relay.name, []).append(mail.envelope.recipient)

    def not_sent(self, mail: Mail, relay: Relay, why: str) -> None:
        mine = self._back(mail, "not sent")
        self.gave_back.append((mine.to, why))
        if self.keeps and mine.to not in self.unwanted:
            self.waiting.append(mine)

    def unfit(self, mail: Mail, relay: Relay, why: str) -> None:
        self._back(mail, f"unfit: {why}")

    def lost_after_dot(self, mail: Mail, relay: Relay) -> None:
        assert mail.envelope.recipient in self.flushed, "its dot cannot have left unnoted"
        self._back(mail, "lost")

    def spared(self, mail: Mail, relay: Relay, reply: Reply) -> None:
        to = mail.envelope.recipient
        if id(mail) in self.out:
            self._back(mail, "spared")
        else:
            assert str(reply.code) == self.told[to][-1]
            self.told[to].append("spared")

    def withdrawn(self, mails: Sequence[Mail], relay: Relay, why: str) -> None:
        for mail in mails:
            self.told[mail.envelope.recipient].append("withdrawn")

    @property
    def codes(self) -> dict[str, int]:
        """The code each mail was answered with."""
        return {to: reply.code for to, reply in self.replies.items()}
