"""The server over a real connection."""

import socket

import httpx
import pytest

from mailer.foundation.settings import SettingsError
from mailer.tracking.models import TrackingKind
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
