"""Asks the application as a server would, with requests no client library would send."""

import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from tests.web.conftest import FIREFOX, Reader

Headers = list[tuple[bytes, bytes]]
STORED = {"http://127.0.0.1:8000/startpakke.pdf", "https://tilmelding.example/midt?a=1&b=2"}
"""Where the links of ``mailing`` lead; nothing may lead anywhere else."""
TRACES = re.compile(rb'Traceback|File "|sqlalchemy|psycopg|sqlite3|starlette|\.py\b', re.IGNORECASE)
"""What only a fault would tell of the program."""
ORDINARY: Headers = [(b"host", b"127.0.0.1:8000"), (b"user-agent", FIREFOX.encode())]


@dataclass(frozen=True)
class Answer:
    """Everything that was answered."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        """The value of the one header of that name; None without it."""
        values = [value for each, value in self.headers if each.lower() == name]
        assert len(values) <= 1, f"{name!r} stands there {len(values)} times"
        return values[0] if values else None


def ask(
    reader: Reader,
    method: str,
    target: str,
    *,
    headers: Headers | None = None,
    body: bytes = b"",
) -> Answer:
    """Ask for a target as it would stand in the request line: ASCII, with its query."""
    return ask_all(reader, [(method, target, ORDINARY if headers is None else headers, body)])[0]


def ask_all(reader: Reader, requests: list[tuple[str, str, Headers, bytes]]) -> list[Answer]:
    """Ask for one thing after the other, without going back to this thread in between."""

    async def ask_each() -> list[Answer]:
        return [await _ask(reader.app, *request) for request in requests]

    return reader.portal.call(ask_each)


async def _ask(app: Any, method: str, target: str, headers: Headers, body: bytes) -> Answer:
    raw_path, _, query = target.partition("?")
    if body and not any(name == b"content-length" for name, _ in headers):
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote_to_bytes(raw_path).decode("utf-8", "replace"),
        "raw_path": raw_path.encode("ascii"),
        "query_string": query.encode("ascii"),
        "root_path": "",
        "headers": headers,
        "client": ("192.0.2.77", 40_000),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }
    sent: list[dict[str, Any]] = []
    told = False

    async def receive() -> dict[str, Any]:
        nonlocal told
        if told:
            return {"type": "http.disconnect"}
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    (start,) = [message for message in sent if message["type"] == "http.response.start"]
    whole = b"".join(message.get("body", b"") for message in sent[1:])
    return Answer(start["status"], tuple((bytes(n), bytes(v)) for n, v in start["headers"]), whole)


def talk(base: str, said: bytes, *, patience_seconds: float = 3.0) -> bytes:
    """Say something on a connection, then ask for an end; return all that is answered until it comes.

    A server that waits for more is left after some seconds without an answer.
    """
    address = ("127.0.0.1", int(base.rpartition(":")[2]))
    last = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = b""
    with socket.create_connection(address, 10) as connection, suppress(ConnectionError, TimeoutError):
        connection.settimeout(patience_seconds)
        connection.sendall(said + last)
        while received := connection.recv(65_536):
            answer += received
    return answer


def statuses(answer: bytes) -> list[int]:
    """The statuses of all answers on a connection."""
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d\d\d)", answer)]


def locations(answer: bytes) -> set[str]:
    """Where the answers on a connection lead."""
    return {found.decode("latin-1") for found in re.findall(rb"(?im)^location: *([^\r\n]*)", answer)}
