"""Readers who keep books: which requests they sent, and which of them were answered.

Every request is sent once. What was sent and not answered - the server was killed - may or may not have
been seen; what was answered must have been.
"""

import asyncio
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic

from webstage import FIREFOX

from mailer.embedded.services import LOOPBACK

Request = tuple[str, int, int]
"""Campaign, position and link of a click; link 0 is the pixel."""
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_AGAIN_SECONDS = 0.02
_PATIENCE_SECONDS = 30.0
"""Nobody waits longer for an answer, nor for a connection: whatever hangs, reading comes to an end."""


@dataclass(slots=True)
class Book:
    """What readers sent, and what came of it."""

    answered: dict[Request, float] = field(default_factory=dict)
    """By request, when it was answered, on the clock of ``monotonic``."""
    unanswered: set[Request] = field(default_factory=set)
    """Sent, and the connection broke before the answer."""
    given_up: int = 0
    """Connections on which an answer did not come in time, though nothing broke."""
    refused: dict[int, int] = field(default_factory=dict)
    """How many got another status than expected, by status."""
    longest_seconds: float = 0.0
    """The longest anybody waited for an answer that came, while the server ran."""

    def answered_between(self, began: float, ended: float) -> int:
        """How many answers came in that time."""
        return sum(began <= at < ended for at in list(self.answered.values()))


class Readers:
    """Some connections with several requests on their way on each; one that breaks is opened anew."""

    def __init__(
        self, port: int, asked: Iterable[tuple[Request, str]], *, connections: int, depth: int
    ) -> None:
        """Prepare to ask.

        Args:
            asked: what to ask for, each with its path; as many as are wanted while reading goes on.
            depth: requests on their way on one connection.
        """
        self.book = Book()
        self.ran_out = False
        self._port = port
        self._asked = iter(asked)
        self._connections = connections
        self._depth = depth
        self._stopped = False

    @contextmanager
    def reading(self) -> Iterator[Book]:
        """Read in a thread of its own for as long as the block lasts; every answer due is waited for."""
        thread = threading.Thread(target=lambda: asyncio.run(self._read_all()))
        thread.start()
        try:
            yield self.book
        finally:
            self._stopped = True
            thread.join()

    async def _read_all(self) -> None:
        await asyncio.gather(*(self._read() for _ in range(self._connections)))

    async def _read(self) -> None:
        """One connection after the other."""
        while not self._stopped and not self.ran_out:
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    reader, writer = await asyncio.open_connection(LOOPBACK, self._port)
            except OSError:
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            try:
                await self._ask(reader, writer)
            except TimeoutError:
                self.book.given_up += 1
            except (OSError, asyncio.IncompleteReadError):
                pass
            writer.transport.abort()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send some requests and read their answers, until told to stop or the connection breaks."""
        while not self._stopped:
            some = list(islice(self._asked, self._depth))
            if not some:
                self.ran_out = True
                return
            waiting = [request for request, _ in some]
            try:
                began = monotonic()
                writer.write(b"".join(_spell(path) for _, path in some))
                for request, _ in some:
                    async with asyncio.timeout(_PATIENCE_SECONDS):
                        status = await _read_answer(reader)
                    now = monotonic()
                    self.book.longest_seconds = max(self.book.longest_seconds, now - began)
                    waiting.remove(request)
                    if status == (302 if request[2] else 200):
                        self.book.answered[request] = now
                    else:
                        self.book.refused[status] = self.book.refused.get(status, 0) + 1
            finally:
                self.book.unanswered.update(waiting)


def _spell(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: post.coi.example\r\nUser-Agent: {FIREFOX}\r\n\r\n".encode()


async def _read_answer(reader: asyncio.StreamReader) -> int:
    """The status of one whole answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    if length is not None and int(length[1]):
        await reader.readexactly(int(length[1]))
    return int(head.split(b" ", 2)[1])
