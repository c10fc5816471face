"""Plain requests are answered at once, all others all the same, and each in its turn."""

import socket
import time
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.foundation.clock import Clock
from mailer.tracking.models import Manner, TrackingKind
from mailer.web import bounded
from mailer.web.app import build_front
from mailer.web.limits import Load
from mailer.web.plain import LONGEST, forwarded_for, read_plain
from mailer.web.recording import Recorder
from mailer.web.site import open_site
from tests.conftest import NOW
from tests.web.conftest import FIREFOX, Mailing, serving

TOKEN = "ab1-1267" + "0" * 20
HEAD = f"Host: x\r\nUser-Agent: {FIREFOX}\r\nConnection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\n"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough: these are rules of HTTP."""
    return sqlite_url


def request(line: str, head: str = HEAD) -> bytes:
    return f"{line} HTTP/1.1\r\n{head}\r\n".encode("latin-1")


def say(base: str, *parts: bytes) -> bytes:
    """Say something raw and return what is answered until the server hangs up."""
    answer = b""
    with (
        socket.create_connection(("127.0.0.1", int(base.rpartition(":")[2])), 10) as connection,
        suppress(ConnectionError),
    ):
        for part in parts:
            connection.sendall(part)
        while received := connection.recv(65_536):
            answer += received
    return answer


def test_a_plain_request_is_read_in_one_look() -> None:
    click = read_plain(request(f"GET /c/{TOKEN}/12?utm_source=x"))
    pixel = read_plain(request(f"HEAD /o/{TOKEN}"))

    assert click is not None
    assert (click.is_head, click.wants_pixel, click.token, click.number) == (
        False,
        False,
        TOKEN.encode(),
        12,
    )
    assert click.agent == FIREFOX.encode()
    assert pixel is not None
    assert (pixel.is_head, pixel.wants_pixel) == (True, True)


@pytest.mark.parametrize(
    "raw",
    [
        request(f"POST /c/{TOKEN}/1"),
        request(f"GET /c/{TOKEN}/01"),
        request(f"GET /c/{TOKEN}"),
        request(f"GET /c/{TOKEN}/%31"),
        request(f"GET /u/{TOKEN}"),
        request(f"GET http://x/c/{TOKEN}/1"),
        request(f"GET /o/{TOKEN}#x"),
        request(f"GET /o/{TOKEN}?{'x' * 2048}"),
        request(f"GET /o/{TOKEN}", HEAD + "Content-Length: 0\r\n"),
        request(f"GET /o/{TOKEN}", HEAD + "tRANSFER-ENCODING: chunked\r\n"),
        request(f"GET /o/{TOKEN}", HEAD + "Transfer-Encoding : chunked\r\n"),
        request(f"GET /o/{TOKEN}", "Content-Length: 5\r\n"),
        request(f"GET /o/{TOKEN}", HEAD + "Expect: 100-continue\r\n"),
        request(f"GET /o/{TOKEN}", HEAD + "Upgrade: websocket\r\n"),
        request(f"GET /o/{TOKEN}", "Host: x\r\nConnection: close\r\n"),
        request(f"GET /o/{TOKEN}", "Host: x\r\nConnection: keep-alive, close\r\n"),
        request(f"GET /o/{TOKEN}", HEAD + "Sec-Purpose: prefetch\r\n"),
        request(f"GET /o/{TOKEN}", HEAD + " folded\r\n"),
        request(f"GET /o/{TOKEN}", HEAD + "X: a\nContent-Length: 5\r\n"),
        request(f"GET /o/{TOKEN}", HEAD + "X: a\rb\r\n"),
        request(f"GET /o/{TOKEN}", HEAD + "X: \0\r\n"),
        request(f"GET /o/{TOKEN}", HEAD + f"X: {'x' * LONGEST}\r\n"),
        request(f"GET /o/{TOKEN}") + b"G",
        request(f"GET /o/{TOKEN}") * 2,
        request(f"GET /o/{TOKEN}")[:-1],
        request(f"GET /o/{TOKEN}").replace(b"1.1", b"1.0"),
        b"\r\n" + request(f"GET /o/{TOKEN}"),
    ],
)
def test_what_is_out_of_the_ordinary_is_left_to_the_application(raw: bytes) -> None:
    assert read_plain(raw) is None


@pytest.mark.parametrize("more", ["", f"X: {'x' * 2000}\r\n"])
def test_headers_that_are_known_again_are_judged_as_the_first_time(more: str) -> None:
    refused = request(f"GET /o/{TOKEN}", f"{HEAD}Sec-Purpose: prefetch\r\n{more}")
    for number in range(3):
        read = read_plain(request(f"GET /c/{TOKEN}/{number}", HEAD + more))
        assert read is not None
        assert (read.number, read.agent) == (number, FIREFOX.encode())
        assert read_plain(refused) is None
        assert read_plain(request(f"PUT /o/{TOKEN}", HEAD + more)) is None


def test_what_proxies_say_is_read_line_by_line() -> None:
    read = read_plain(
        request(
            f"GET /o/{TOKEN}",
            "x-FORWARDED-for: 192.0.2.1 \r\nX: X-Forwarded-For: 192.0.2.9\r\n"
            "Not-X-Forwarded-For: 192.0.2.8\r\nX-Forwarded-For:\t10.0.0.1,10.0.0.2\r\n"
            "X-Forwarded-For:\r\n",
        )
    )
    assert read is not None
    assert forwarded_for(read.headers) == [
        (b"x-forwarded-for", b"192.0.2.1 "),
        (b"x-forwarded-for", b"10.0.0.1,10.0.0.2"),
        (b"x-forwarded-for", b""),
    ]


@given(st.binary(max_size=300))
def test_no_bytes_do_harm(raw: bytes) -> None:
    read_plain(raw)
    read_plain(b"GET /o/" + raw)
    read_plain(request(f"GET /o/{TOKEN}")[:-2] + raw + b"\r\n\r\n")


def test_both_ways_answer_and_note_alike(mailing: Mailing) -> None:
    paths = (mailing.path("open_pixel"), mailing.path("click", 2))
    with serving(mailing.runtime) as base:
        for path in paths:
            for method in ("GET", "HEAD"):
                head = f"Host: x\r\nUser-Agent: {FIREFOX}\r\n"
                last = head + "Connection: close\r\n"
                # The first answer comes the quick way, the second, which ends the connection, the other.
                both = say(base, request(f"{method} {path}", head), request(f"{method} {path}", last))
                first, second = both.split(b"HTTP/1.1 ")[1:]
                lines = set(first.split(b"\r\n")) ^ set(second.split(b"\r\n"))
                assert lines <= {b"connection: close", *[x for x in lines if x.startswith(b"date:")]}

    seen = mailing.seen()
    assert len(seen) == 8
    assert {(event.kind, event.manner, event.link_number) for event in seen} == {
        (TrackingKind.OPEN, Manner.GET, None),
        (TrackingKind.OPEN, Manner.HEAD, None),
        (TrackingKind.CLICK, Manner.GET, 2),
        (TrackingKind.CLICK, Manner.HEAD, 2),
    }
    assert (
        len({(event.network, event.agent_id, event.label) for event in seen if event.manner == "get"})
        == 1
    )


def test_requests_of_all_kinds_in_one_connection_are_answered_in_order(mailing: Mailing) -> None:
    pixel, click = mailing.path("open_pixel"), mailing.path("click", 2)
    with serving(mailing.runtime) as base:
        said = [
            request(f"GET {path}") for path in (pixel, "/health", click, "/principper", pixel, click)
        ]
        end = request(f"GET {pixel}", "Host: x\r\nConnection: close\r\n")
        one_by_one = say(base, *said, end)
        at_once = say(base, b"".join(said) + end)

    for answer in (one_by_one, at_once):
        statuses = [part.split(b" ", 1)[0] for part in answer.split(b"HTTP/1.1 ")[1:]]
        assert statuses == [b"200", b"200", b"302", b"200", b"200", b"302", b"200"]
    assert len(mailing.seen()) == 10


def test_a_forged_click_leaves_no_moment_to_the_next(mailing: Mailing) -> None:
    moments = [NOW]
    clock = Clock(mailing.runtime.settings.state_dir, real=lambda: moments[-1])
    with serving(replace(mailing.runtime, clock=clock)) as base:
        assert httpx.get(f"{base}/c/{TOKEN}/1").status_code == 404
        moments.append(NOW + timedelta(hours=9))
        assert httpx.get(base + mailing.path("click", 2)).status_code == 302

    assert [event.at for event in mailing.seen()] == [NOW + timedelta(hours=9)]


def test_a_request_is_charged_once_whoever_answers_it(mailing: Mailing) -> None:
    load = Load(1, ticking=lambda: 0.0)
    front = build_front(replace(open_site(mailing.runtime), load=load))

    assert front.answer_at_once(request(f"GET /c/{TOKEN}/1"), None, b"") is None
    assert load.take()  # the application's


def test_over_the_whole_limit_nothing_is_answered_at_once(mailing: Mailing) -> None:
    front = build_front(replace(open_site(mailing.runtime), load=Load(1, ticking=lambda: 0.0)))
    pixel = request(f"GET {mailing.path('open_pixel')}")

    assert front.answer_at_once(pixel, None, b"") is not None
    assert front.answer_at_once(pixel, None, b"") is None


def test_nobody_waits_for_ever_whatever_the_journal_meets(
    mailing: Mailing, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush, met = Recorder.flush, []

    def fail_once(recorder: Recorder) -> None:
        if recorder.unwritten and not met:
            met.append(True)
            raise RuntimeError("something nobody thought of")
        flush(recorder)

    monkeypatch.setattr(Recorder, "flush", fail_once)
    with serving(mailing.runtime) as base:
        assert httpx.get(base + mailing.path("open_pixel"), timeout=20).status_code == 200
    assert met


def test_a_damaged_count_of_losses_keeps_no_answer_back(mailing: Mailing) -> None:
    folder = mailing.runtime.settings.state_dir / "web"
    folder.mkdir(parents=True)
    (folder / "lost").write_bytes(b"\0garbage")
    with serving(mailing.runtime) as base:
        assert httpx.get(base + mailing.path("open_pixel"), timeout=20).status_code == 200
    assert len(mailing.seen()) == 1


def test_who_does_not_read_our_answers_is_hung_up_on(
    mailing: Mailing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "MESSAGE_SECONDS", 0.2)
    with serving(mailing.runtime) as base:
        size = len(httpx.get(base + "/startpakke.pdf").content)
        count = 40_000_000 // size
        with socket.create_connection(("127.0.0.1", int(base.rpartition(":")[2])), 20) as connection:
            connection.sendall(request("GET /startpakke.pdf", "Host: x\r\n") * count)
            time.sleep(2)
            received = 0
            with suppress(ConnectionError):
                while received < size * count and (part := connection.recv(1_000_000)):
                    received += len(part)
    assert received < size * count
