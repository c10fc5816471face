"""What is said over a real connection by somebody who knows HTTP better than is good."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from mailer.tracking.models import TrackingKind
from tests.web.conftest import FIREFOX, Mailing, serving
from tests.web.raw import STORED, TRACES, locations, statuses, talk

HOSTS = (
    f"Host: 127.0.0.1:8000\r\nUser-Agent: {FIREFOX}\r\n",
    "Host: ond.example\r\n",
    "Host: 127.0.0.1:8000\r\nX-Forwarded-Host: ond.example\r\nX-Forwarded-Proto: https\r\n",
    "Host: ond.example\\@127.0.0.1\r\n",
    "Host: \r\nForwarded: host=ond.example;proto=https\r\nX-Original-URL: //ond.example\r\n",
    "Host: a\r\nHost: ond.example\r\n",
    "Purpose: prefetch\r\nHost: ond.example\r\n",
    "",
)
BEHIND = (
    *("?url=https://ond.example/", "?next=//ond.example", "//ond.example", "/../../ond.example"),
    *("/%2e%2e/%2e%2e//ond.example", "%2F%2Food.example", "%2f..%2f..%2f", "%00", "#@ond.example"),
    *("%0d%0aLocation:%20https://ond.example/", "%0aSet-Cookie:%20a=b", "%E5%98%8A%E5%98%8DX:%20y"),
    *("%EF%BC%92", "%D9%A2", "%C2%B2", "%e2%91%a1"),  # wide, Arabic, raised and encircled twos
    *("2%20", "%202", "+2", "-2", "2.0", "2e0", "0x2", "02", ";2", "2;jsessionid=1", "2_2", "%32"),
    *("@ond.example", "\\ond.example", "%5cond.example", ".ond.example", "\t2", "1/2", "/2"),
)


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough: these are rules of HTTP."""
    return sqlite_url


@pytest.fixture
def base(mailing: Mailing) -> Iterator[str]:
    """A real server."""
    with serving(mailing.runtime) as address:
        yield address


def get(target: str, headers: str = HOSTS[0]) -> bytes:
    return f"GET {target} HTTP/1.1\r\n{headers}\r\n".encode()


def test_a_tracked_link_leads_to_a_stored_target_or_nowhere(base: str, mailing: Mailing) -> None:
    link = mailing.path("click", 2)
    for headers in HOSTS:
        for place in (link, link.removesuffix("2")):
            for more in ("", *BEHIND):
                answer = talk(base, get(place + more, headers))
                assert locations(answer) <= STORED, (place + more, headers)
                assert set(statuses(answer)) <= {302, 200, 400, 404}, (place + more, headers)
                assert b"et-cookie" not in answer, (place + more, headers)


def test_a_path_that_looks_like_another_host_is_no_redirect(base: str) -> None:
    for target in (
        "//ond.example",
        "/%2fond.example/",
        "///",
        "/%5c%5cond.example/..",
        "/.//ond.example",
    ):
        answer = talk(base, get(target))
        assert (statuses(answer), locations(answer)) == ([404, 200], set())


def test_an_address_in_absolute_form_leads_nowhere_else(base: str, mailing: Mailing) -> None:
    link = mailing.path("click", 2)
    for whole in (
        f"http://ond.example{link}",
        f"HTTP://127.0.0.1{link}",
        f"https://u@ond.example{link}",
    ):
        answer = talk(base, get(whole))
        assert locations(answer) <= STORED
        assert max(statuses(answer)) < 500


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5, 6\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: 5 5\r\n",
        b"Content-Length : 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding:\x0bchunked\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding\x00: chunked\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding: chunked\nContent-Length: 5\r\n",
    ],
)
@pytest.mark.parametrize("door", ["POST /health", "POST {}", "GET {}"])
def test_a_request_whose_end_is_in_doubt_is_refused_with_all_behind_it(
    base: str, mailing: Mailing, framing: bytes, door: str
) -> None:
    first = door.format(mailing.path("click", 2)).encode() + b" HTTP/1.1\r\nHost: x\r\n" + framing
    hidden = get(mailing.path("open_pixel"))

    answer = talk(base, first + b"\r\n0\r\n\r\n" + hidden)

    assert statuses(answer) == [400]
    assert mailing.seen(TrackingKind.OPEN) == []


def test_what_is_no_proper_request_gets_no_fault_out_of_the_server(base: str, mailing: Mailing) -> None:
    link = mailing.path("click", 2).encode()
    for said in (
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /c/\xff\xfe/1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /o/\xc3\xa6 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"GET " + link + b" HTTP/1.1\r\nUser-Agent: \xff\x80\r\n\r\n",
        b"GET " + link + b" HTTP/1.1\nHost: x\n\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET /health\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT ond.example:443 HTTP/1.1\r\nHost: ond.example\r\n\r\n",
        b"GET ond.example HTTP/1.1\r\nHost: x\r\n\r\n",
        b"get / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET " + link + b" HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n",
        b"POST /u/x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        b"POST /u/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc",
        b"POST "
        + link
        + b" HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\na\r\n0\r\nT: x\r\n\r\n",
    ):
        answer = talk(base, said, patience_seconds=0.5)
        assert all(status < 500 for status in statuses(answer)), said
        assert not TRACES.search(answer), said
        assert locations(answer) <= STORED, said
        assert b"x-content-type-options" in answer.lower() or set(statuses(answer)) <= {400}, said
    assert statuses(talk(base, b"")) == [200]


def test_requests_in_one_packet_are_answered_in_their_order(base: str, mailing: Mailing) -> None:
    link, pixel = mailing.path("click", 2), mailing.path("open_pixel")
    paths = [link, "/health", pixel, "/nowhere", link, pixel, "/robots.txt"]

    answer = talk(base, b"".join(map(get, paths * 20)))

    assert statuses(answer) == [302, 200, 200, 404, 302, 200, 200] * 20 + [200]
    assert len(mailing.seen()) == 80


def test_a_packet_for_every_byte_is_one_request(base: str, mailing: Mailing) -> None:
    address = ("127.0.0.1", int(base.rpartition(":")[2]))
    with socket.create_connection(address, 10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in get(mailing.path("click", 2)):
            connection.send(bytes([byte]))
        answer = connection.recv(65_536)

    assert statuses(answer) == [302]
    assert len(mailing.seen(TrackingKind.CLICK)) == 1


def test_slow_readers_keep_nobody_else_waiting(base: str, mailing: Mailing) -> None:
    address = ("127.0.0.1", int(base.rpartition(":")[2]))
    slow = (b"", b"GET /c/", b"POST /u/x HTTP/1.1\r\nContent-Length: 9\r\n\r\na")
    with ExitStack() as held:
        for number in range(300):
            connection = held.enter_context(socket.create_connection(address, 10))
            connection.sendall(slow[number % 3])
        assert statuses(talk(base, get(mailing.path("click", 2)))) == [302, 200]


def test_who_asks_for_much_and_reads_nothing_keeps_nobody_else_waiting(
    base: str, mailing: Mailing
) -> None:
    address = ("127.0.0.1", int(base.rpartition(":")[2]))
    with socket.create_connection(address, 10) as greedy:
        greedy.setblocking(False)
        asked = get("/startpakke.pdf") * 50
        for _ in range(200):
            try:
                greedy.send(asked)
            except BlockingIOError:
                break
        assert statuses(talk(base, get(mailing.path("click", 2)))) == [302, 200]
