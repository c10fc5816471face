"""The sink in a thread of the test, and a client that writes raw bytes."""

import asyncio
import socket
import ssl
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mailer.embedded.faults import Behaviour, Fault, Faults
from mailer.embedded.sink import Behave, new_event_loop, serve_sink

LETTER = b"Message-ID: <1@brev.example>\r\nSubject: Hej\r\n\r\n..prik\r\nslut\r\n"
ENVELOPE = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<%b>\r\nDATA\r\n"


@contextmanager
def serving(
    folder: Path,
    *rules: Fault,
    behaviour: Behaviour | None = None,
    keep: int = 100,
    lenient: bool = False,
    when_open: Callable[[Behave], None] | None = None,
) -> Iterator[int]:
    loop = new_event_loop()
    port: Future[int] = Future()
    serving = serve_sink(
        folder,
        host="127.0.0.1",
        port=0,
        faults=Faults(rules, behaviour),
        keep=keep,
        when_ready=port.set_result,
        lenient=lenient,
        when_open=when_open,
    )
    troubles: list[str] = []

    def note(_: object, told: dict[str, Any]) -> None:
        troubles.append(
            "".join(traceback.format_exception(told["exception"])) if "exception" in told else repr(told)
        )

    loop.set_exception_handler(note)
    task = loop.create_task(serving)

    def run() -> None:
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield port.result(10)
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
        loop.close()
    assert not troubles, troubles[0]


class Client:
    """Writes raw bytes and reads reply lines."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def secure(self, authority: Path, *, name: str = "localhost") -> None:
        """Shake hands; only the sink's own authority is trusted."""
        context = ssl.create_default_context(cafile=str(authority))
        self._file.close()
        self._socket = context.wrap_socket(self._socket, server_hostname=name)
        self._file = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def line(self) -> str:
        return self._file.readline().decode()

    def arrived(self) -> bytes:
        """What one packet brings; empty when the sink has hung up."""
        return self._socket.recv(4096)

    def lines(self, count: int) -> list[str]:
        return [self.line()[:3] for _ in range(count)]

    def say(self, command: str) -> str:
        """The last line of the reply."""
        return self.reply_to(command)[-1]

    def reply_to(self, command: str) -> list[str]:
        """Every line of the reply."""
        self.send(command.encode() + b"\r\n")
        lines = [self.line().strip()]
        while lines[-1][3:4] == "-":
            lines.append(self.line().strip())
        return lines

    def deliver(self, recipient: str = "b@modtager.example") -> str:
        """The reply that decided about a letter."""
        for command in ("MAIL FROM:<a@b.example>", f"RCPT TO:<{recipient}>", "DATA"):
            reply = self.say(command)
            if reply[:1] not in {"2", "3"}:
                return reply
        self.send(LETTER + b".\r\n")
        return self.line().strip()

    def begin(self, recipient: str = "b@modtager.example") -> str:
        assert self.say("EHLO prøve").startswith("250")
        assert self.say("MAIL FROM:<a@afsender.example>").startswith("250")
        return self.say(f"RCPT TO:<{recipient}>")

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@contextmanager
def client(port: int) -> Iterator[Client]:
    opened = Client(port)
    try:
        assert opened.line().startswith("220 ")
        yield opened
    finally:
        opened.close()


@contextmanager
def caller(port: int) -> Iterator[Client]:
    """A client that has read nothing yet."""
    opened = Client(port)
    try:
        yield opened
    finally:
        opened.close()
