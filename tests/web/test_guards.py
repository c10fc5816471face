"""What comes in is capped, what goes out bears its headers, an outage is told plainly."""

import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from mailer.runtime import Runtime
from mailer.web.guards import LARGEST_BODY, LARGEST_HEADERS, LONGEST_ADDRESS, PAGE_POLICY
from tests.web.conftest import Mailing, Reader, open_reader, outage, serving

PUBLIC = ("/", "/startpakke", "/principper", "/events", "/events/midtjylland", "/robots.txt")


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough: these are rules of HTTP."""
    return sqlite_url


def test_every_answer_bears_the_headers_of_safety(reader: Reader, mailing: Mailing) -> None:
    paths = [*PUBLIC, "/nowhere", "/health", mailing.path("unsubscribe"), mailing.path("click", 1)]
    for path in [*paths, mailing.path("open_pixel"), "/startpakke.pdf", "/events.ics"]:
        headers = reader.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"] == PAGE_POLICY
        assert "set-cookie" not in headers
        assert "server" not in headers


def test_pages_need_no_script_and_nothing_from_elsewhere(reader: Reader, mailing: Mailing) -> None:
    for path in (*PUBLIC[:-1], mailing.path("unsubscribe"), mailing.path("remind", "midtjylland")):
        page = reader.get(path).text
        assert "<script" not in page
        assert " style=" not in page
        assert " onclick=" not in page
        assert 'src="http' not in page
        assert 'rel="stylesheet" href="http' not in page


def test_what_belongs_to_a_letter_is_neither_indexed_nor_kept(reader: Reader, mailing: Mailing) -> None:
    for path in (
        mailing.path("unsubscribe"),
        mailing.path("remind", "midtjylland"),
        mailing.path("click", 1),
        mailing.path("open_pixel"),
        "/v/x",
        "/p/x",
    ):
        headers = reader.get(path).headers
        assert headers["x-robots-tag"] == "noindex, nofollow"
        assert headers["cache-control"] == "no-store"
    for path in ("/health", "/health/ready", "/metrics", "/staff", "/staff/x"):
        assert reader.get(path).headers["x-robots-tag"] == "noindex, nofollow"
    assert "x-robots-tag" not in reader.get("/startpakke").headers


@pytest.mark.parametrize("path", ["/startpakke?", "/c/", "/u/", "/o/"])
def test_an_address_may_be_only_so_long(reader: Reader, path: str) -> None:
    assert reader.get(path + "a" * (LONGEST_ADDRESS - len(path))).status_code in {200, 404}
    assert reader.get(path + "a" * LONGEST_ADDRESS).status_code == 414


def test_headers_may_be_only_so_large(reader: Reader, mailing: Mailing) -> None:
    small = {f"x-{number}": "a" * 1000 for number in range(LARGEST_HEADERS // 1100)}
    for path in ("/startpakke", mailing.path("click", 2), mailing.path("unsubscribe")):
        assert reader.get(path, headers=small).status_code != 431
        for large in ({"cookie": "a" * LARGEST_HEADERS}, {"a" * LARGEST_HEADERS: ""}):
            assert reader.get(path, headers=large).status_code == 431


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "9" * 30, "1, 1", "", "²"])
def test_a_length_that_is_no_number_is_refused(reader: Reader, mailing: Mailing, length: str) -> None:
    headers = [(b"content-length", length.encode("latin-1", "replace"))]
    response = reader.post(mailing.path("unsubscribe"), headers=headers)
    assert response.status_code == 413


def test_readers_are_told_to_stay_with_tls_where_there_is_tls(
    runtime: Runtime, mailing: Mailing
) -> None:
    paths = ("/", "/nowhere", mailing.path("click", 2), mailing.path("open_pixel"), "/static/x")
    for public_url, told in (
        ("https://brev.eksempel.example", "max-age=31536000"),
        ("http://127.0.0.1:8000", None),
    ):
        settings = runtime.settings.model_copy(update={"public_url": public_url})
        with open_reader(replace(runtime, settings=settings)) as reader:
            for path in paths:
                headers = reader.get(path, headers={"X-Forwarded-Proto": "https"}).headers
                assert headers.get("strict-transport-security") == told


def test_files_of_ours_bear_the_headers_too(reader: Reader) -> None:
    name = next(iter(reader.site.assets))
    headers = reader.get(f"/static/{name}").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "public, max-age=86400"
    assert len([1 for name in headers if name == "cache-control"]) == 1


def test_a_body_may_be_only_so_large(reader: Reader, mailing: Mailing) -> None:
    response = reader.post(mailing.path("unsubscribe"), content=b"x" * (LARGEST_BODY + 1))

    assert response.status_code == 413
    assert mailing.suppressed() is None


def test_a_body_of_unknown_size_is_capped_too(reader: Reader, mailing: Mailing) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 1024

    assert reader.post(mailing.path("unsubscribe"), content=endless()).status_code == 413
    assert mailing.suppressed() is None


def test_a_path_with_a_slash_too_many_is_no_redirect(reader: Reader, mailing: Mailing) -> None:
    response = reader.post(mailing.path("unsubscribe") + "/", data={"List-Unsubscribe": "One-Click"})

    assert response.status_code == 404
    assert "location" not in response.headers


def test_a_method_a_page_does_not_know_is_405(reader: Reader) -> None:
    response = reader.post("/startpakke")

    assert response.status_code == 405
    assert "GET" in response.headers["allow"]


def test_with_the_database_away_pages_say_come_again(mailing: Mailing) -> None:
    with outage(mailing.runtime.database), open_reader(mailing.runtime) as reader:
        for response in (reader.get("/events"), reader.get(mailing.path("view"))):
            assert response.status_code == 503
            assert "Kom igen om lidt" in response.text
            assert "outage" not in response.text
            assert response.headers["cache-control"] == "no-store"
        for path in ("/", "/startpakke", "/principper", "/startpakke.pdf", "/health"):
            assert reader.get(path).status_code == 200


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"NONSENSE\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000, b"431"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", b"431"),
        (b"GET /" + b"a" * 3_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"414"),
    ],
)
def test_what_is_refused_on_the_wire_bears_the_headers_of_safety(
    mailing: Mailing, said: bytes, status: bytes
) -> None:
    with serving(mailing.runtime) as base:
        address = ("127.0.0.1", int(base.rpartition(":")[2]))
        with socket.create_connection(address, 10) as connection:
            connection.sendall(said)
            head = connection.recv(65_536).partition(b"\r\n\r\n")[0].lower()
    assert head.startswith(b"http/1.1 " + status)
    for header in (b"x-content-type-options: nosniff", b"content-security-policy: default-src 'none'"):
        assert header in head
    assert b"cache-control: no-store" in head
    assert b"server:" not in head
