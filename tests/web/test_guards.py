"""What comes in is capped, what goes out bears its headers, an outage is told plainly."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from mailer.foundation.database import open_database
from mailer.web.guards import LARGEST_BODY, LONGEST_ADDRESS, PAGE_POLICY
from tests.web.conftest import Mailing, Reader, open_reader, outage

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
    assert "x-robots-tag" not in reader.get("/startpakke").headers


@pytest.mark.parametrize("path", ["/startpakke?", "/c/", "/u/", "/o/"])
def test_an_address_may_be_only_so_long(reader: Reader, path: str) -> None:
    assert reader.get(path + "a" * (LONGEST_ADDRESS - len(path))).status_code in {200, 404}
    assert reader.get(path + "a" * LONGEST_ADDRESS).status_code == 414


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
        for response in (
            reader.get("/events"),
            reader.get(mailing.path("unsubscribe")),
            reader.post(mailing.path("unsubscribe"), data={"List-Unsubscribe": "One-Click"}),
            reader.post(mailing.path("remind", "midtjylland")),
        ):
            assert response.status_code == 503
            assert "Kom igen om lidt" in response.text
            assert "outage" not in response.text
            assert response.headers["cache-control"] == "no-store"
        for path in ("/", "/startpakke", "/principper", "/startpakke.pdf", "/health"):
            assert reader.get(path).status_code == 200


def test_a_live_process_says_ok(reader: Reader) -> None:
    assert reader.get("/health").json() == {"status": "ok"}


def test_a_ready_process_has_its_database_and_schema(reader: Reader, mailing: Mailing) -> None:
    response = reader.get("/health/ready")

    assert response.status_code == 200
    assert response.json()["ready"] is True
    assert (response.json()["database"], response.json()["schema"]) == ("ok", "current")


def test_a_process_without_its_database_is_not_ready(reader: Reader, mailing: Mailing) -> None:
    with outage(mailing.runtime.database):
        response = reader.get("/health/ready")

    assert response.status_code == 503
    report = response.json()
    assert (report["ready"], report["database"]) == (False, "unreachable")


def test_a_process_with_an_older_schema_is_not_ready(mailing: Mailing) -> None:
    empty = open_database("sqlite://")
    with open_reader(replace(mailing.runtime, database=empty)) as reader:
        response = reader.get("/health/ready")
    empty.dispose()

    assert response.status_code == 503
    assert (response.json()["database"], response.json()["schema"]) == ("ok", "behind")
