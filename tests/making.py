"""Rows and servers that many tests need; each names only what matters to it."""

import asyncio
import itertools
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP
from typing import Any

from pydantic import SecretStr
from sqlalchemy.orm import Session

from mailer.campaigns.lifecycle import create_campaign
from mailer.campaigns.models import Campaign
from mailer.foundation.settings import Settings
from mailer.runtime import Runtime
from recipients.addresses import hash_address, parse_address
from recipients.models import Recipient
from tests.conftest import NOW, SUPPRESSION_KEY

_numbers = itertools.count(1)


def make_recipient(db: Session, *, address: str | None = None, **values: Any) -> Recipient:
    """A recipient, a representative in a municipality unless told otherwise."""
    parsed = parse_address(address or f"person{next(_numbers)}@kommune.example")
    recipient = Recipient(
        email=parsed.email,
        email_key=parsed.key,
        address_hash=hash_address(SUPPRESSION_KEY.encode(), parsed.key),
        domain=parsed.domain,
        **{
            "name": "Åse Sørensen",
            "role": "tillidsrepræsentant",
            "sector": "kommune",
            "confederation": "ingen",
            "region": "Midtjylland",
            "language": "da",
            "attributes": {},
            "created_at": NOW,
            "updated_at": NOW,
            **values,
        },
    )
    db.add(recipient)
    db.flush()
    return recipient


def make_recipients(db: Session, count: int, *, domain: str = "kommune.example") -> list[Recipient]:
    """So many recipients at one domain."""
    return [make_recipient(db, address=f"p{next(_numbers)}@{domain}") for _ in range(count)]


def make_campaign(db: Session, *, name: str | None = None, **values: Any) -> Campaign:
    """A draft of the startpakke, tracked personally unless told otherwise."""
    return create_campaign(
        db,
        name or f"campaign-{next(_numbers)}",
        **{
            "letter": "startpakke",
            "segment": None,
            "tracking": "personal",
            "legal_basis": "a public task",
            "now": NOW,
            **values,
        },
    )


def with_relay(runtime: Runtime, *ports: int, **settings: Any) -> Runtime:
    """The runtime with relays on these loopback ports."""
    urls = " ".join(f"smtp://127.0.0.1:{port}?starttls=never" for port in ports)
    changed: Settings = runtime.settings.model_copy(update={"smtp_relays": SecretStr(urls), **settings})
    return replace(runtime, settings=changed)


@dataclass
class ScriptedRelay:
    """A real SMTP server on loopback that says what the script tells it to.

    ``rcpt`` and ``dot`` map a recipient to the reply; ``cut_after_dot`` names recipients whose
    connection is cut when their final dot has come, ``cut_before_dot`` says how often one's is cut at
    DATA. Everything may be changed while it runs.
    """

    greeting: str | None = "220 relay.example ESMTP"
    """None: it accepts the connection and says nothing."""
    protection: ssl.SSLContext | None = None
    """Offers STARTTLS with this."""
    auth: str = "235 2.7.0 welcome"
    everybody: str = "250 2.1.5 ok"
    """The reply to RCPT for whoever ``rcpt`` does not name; ``{}`` becomes the address."""
    rcpt: dict[str, str] = field(default_factory=dict)
    dot: dict[str, str] = field(default_factory=dict)
    mail: str = "250 2.1.0 ok"
    extensions: Sequence[str] = ("PIPELINING", "8BITMIME", "SMTPUTF8")
    cut_before_dot: Counter[str] = field(default_factory=Counter)
    cut_after_dot: set[str] = field(default_factory=set)
    delay_dot_seconds: float = 0.0
    accepted: list[tuple[str, bytes]] = field(default_factory=list)
    begun: list[tuple[float, str]] = field(default_factory=list)
    """Each MAIL, RCPT and DATA as it was read, on the clock of ``time.monotonic``."""
    connections: int = 0
    port: int = 0
    """0: a free one, chosen at the start."""

    async def _serve(  # noqa: C901 - one case for each verb
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        recipient = ""

        async def say(*lines: str) -> None:
            writer.write("".join(f"{line}\r\n" for line in lines).encode())
            await writer.drain()

        try:
            if self.greeting is not None:
                await say(self.greeting)
            while line := await reader.readline():
                verb, _, rest = line.decode().strip().partition(" ")
                if verb.upper() in ("MAIL", "RCPT", "DATA"):
                    self.begun.append((time.monotonic(), line.decode().strip()))
                match verb.upper():
                    case "EHLO":
                        names = ["relay.example", *self.extensions]
                        names += [] if self.protection is None else ["STARTTLS"]
                        await say(*[f"250-{name}" for name in names[:-1]], f"250 {names[-1]}")
                    case "STARTTLS" if self.protection is not None:
                        await say("220 go ahead")
                        await writer.start_tls(self.protection)
                    case "AUTH":
                        await say(self.auth)
                    case "MAIL":
                        await say(self.mail)
                    case "RCPT":
                        recipient = rest.split("<")[1].split(">")[0]
                        reply = self.rcpt.get(recipient, self.everybody.format(recipient))
                        recipient = recipient if reply.startswith("250") else ""
                        await say(reply)
                    case "DATA":
                        if not await self._take_letter(recipient, reader, say):
                            return
                    case "QUIT":
                        await say("221 bye")
                        return
                    case _:
                        await say("250 ok")
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def _take_letter(
        self,
        recipient: str,
        reader: asyncio.StreamReader,
        say: Callable[[str], Coroutine[Any, Any, None]],
    ) -> bool:
        """Take one letter and answer; False to cut the connection instead."""
        if self.cut_before_dot[recipient]:
            self.cut_before_dot[recipient] -= 1
            return False
        await say("354 go ahead")
        body = b""
        while (part := await reader.readline()) != b".\r\n":
            if not part.endswith(b"\n"):
                return False  # the client went away before its final dot: no letter
            body += part[1:] if part.startswith(b".") else part
        if recipient in self.cut_after_dot:
            return False
        await asyncio.sleep(self.delay_dot_seconds)
        reply = self.dot.get(recipient, "250 2.0.0 taken" if recipient else "554 5.5.1 for nobody")
        if reply.startswith("250"):
            self.accepted.append((recipient, body))
        await say(reply)
        return True

    @property
    def recipients(self) -> list[str]:
        """Who got a letter, in order."""
        return [recipient for recipient, _ in self.accepted]

    def letter_to(self, recipient: str) -> EmailMessage:
        """The one letter this recipient got, parsed by the standard library."""
        (data,) = [data for to, data in self.accepted if to == recipient]
        message = BytesParser(policy=SMTP).parsebytes(data)
        assert isinstance(message, EmailMessage)
        return message


@contextmanager
def relay_running(relay: ScriptedRelay) -> Iterator[ScriptedRelay]:
    """Run the relay in a thread of its own for as long as the block lasts."""
    loop = asyncio.new_event_loop()
    ready = threading.Event()

    async def start() -> asyncio.Server:
        server = await asyncio.start_server(relay._serve, "127.0.0.1", relay.port)
        relay.port = server.sockets[0].getsockname()[1]
        return server

    def run() -> None:
        asyncio.set_event_loop(loop)
        server = loop.run_until_complete(start())
        loop.call_soon(ready.set)
        loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait(5)
    try:
        yield relay
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
