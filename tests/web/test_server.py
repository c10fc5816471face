"""The server over a real connection."""

import socket
import time
from contextlib import suppress

import httpx
import pytest

from mailer.foundation.settings import SettingsError
from mailer.tracking.models import TrackingKind
from mailer.web import bounded
from mailer.web.server import serve
from tests.web.conftest import FIREFOX, Mailing, serving


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough: these are rules of HTTP."""
    return sqlite_url


def test_a_click_over_the_wire(mailing: Mailing) -> None:
    with serving(mailing.runtime) as base, httpx.Client(base_url=base) as client:
        response = client.get(
            mailing.path("click", 2),
            headers={"User-Agent": FIREFOX, "X-Forwarded-For": "10.1.2.3", "Host": "ond.example"},
        )

    assert response.status_code == 302
    assert response.headers["location"] == "https://tilmelding.example/midt?a=1&b=2"
    assert "server" not in response.headers
    assert [event.kind for event in mailing.seen()] == [TrackingKind.CLICK]


def test_a_head_has_no_body_and_the_connection_goes_on(mailing: Mailing) -> None:
    with serving(mailing.runtime) as base, httpx.Client(base_url=base) as client:
        for path in (mailing.path("open_pixel"), mailing.path("unsubscribe"), "/startpakke.pdf"):
            head = client.head(path)
            assert head.content == b""
            assert head.headers["content-length"] == str(len(client.get(path).content))


def test_one_click_over_the_wire(mailing: Mailing) -> None:
    with serving(mailing.runtime) as base:
        response = httpx.post(
            base + mailing.path("unsubscribe"),
            files={"List-Unsubscribe": (None, "One-Click")},
        )

    assert response.status_code == 200
    assert mailing.suppressed() is not None


def test_too_large_a_body_is_refused_over_the_wire(mailing: Mailing) -> None:
    with serving(mailing.runtime) as base:
        response = httpx.post(base + mailing.path("unsubscribe"), content=b"x" * 1_000_000)

    assert response.status_code == 413
    assert mailing.suppressed() is None


def test_a_port_that_is_taken_is_one_clear_line(mailing: Mailing) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"127\.0\.0\.1:{port}.*--port"):
            serve(mailing.runtime, "127.0.0.1", port)


def say(base: str, *parts: bytes) -> bytes:
    """Say something raw and return what is answered until the server hangs up."""
    answer = b""
    address = ("127.0.0.1", int(base.rpartition(":")[2]))
    # It may hang up while we still talk.
    with socket.create_connection(address, 10) as connection, suppress(ConnectionError):
        for part in parts:
            connection.sendall(part)
        while received := connection.recv(65_536):
            answer += received
    return answer


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET / HTTP/1.1\r\nHo",
        b"POST /u/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab",
    ],
)
def test_a_reader_who_falls_silent_does_not_hold_a_connection(
    mailing: Mailing, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(bounded, "MESSAGE_SECONDS", 0.3)
    with serving(mailing.runtime) as base:
        began = time.monotonic()
        say(base, said)
        assert time.monotonic() - began < 5


def test_an_empty_line_after_a_request_is_no_reason_to_wait_for_ever(
    mailing: Mailing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "MESSAGE_SECONDS", 0.3)
    with serving(mailing.runtime) as base:
        address = ("127.0.0.1", int(base.rpartition(":")[2]))
        with socket.create_connection(address, 10) as connection, suppress(ConnectionError):
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = connection.makefile("rb")
            assert answer.readline().startswith(b"HTTP/1.1 200 ")
            connection.sendall(b"\r\n")
            assert answer.read(65_536).endswith(b"}")


@pytest.mark.parametrize("head", [b"GET /", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\n"])
def test_a_head_without_end_does_not_fill_the_memory(mailing: Mailing, head: bytes) -> None:
    more = b"a" * 10_000 if not head.endswith(b"\n") else b"a: b\r\n" * 2_000
    with serving(mailing.runtime) as base:
        began = time.monotonic()
        answer = say(base, head, *[more] * 500)
        assert time.monotonic() - began < 5

    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")


def test_several_requests_in_one_packet_are_all_answered(mailing: Mailing) -> None:
    request = b"GET /health HTTP/1.1\r\nHost: x\r\n"
    with serving(mailing.runtime) as base:
        answer = say(base, (request + b"\r\n") * 3 + request + b"Connection: close\r\n\r\n")

    assert answer.count(b"HTTP/1.1 200 OK") == 4
