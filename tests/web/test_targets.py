"""A database that hangs stops nobody whose link is known, and is told from a link that is none."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy.exc
from sqlalchemy.orm import Session

from mailer.foundation.database import Database
from mailer.tracking.links import LinkTable
from mailer.web import targets
from mailer.web.targets import Targets

Question = Callable[[Session], None]


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough: these are rules of waiting."""
    return sqlite_url


@pytest.fixture
def table(tmp_path: Path) -> LinkTable:
    """A table that knows one link, by its copy."""
    copy = tmp_path / "links.json"
    copy.write_text(json.dumps([[1, 1, "/startpakke.pdf", "download", None]]))
    return LinkTable("http://127.0.0.1:8000", path=copy)


async def hang(_question: Question) -> None:
    await asyncio.sleep(3600)


def test_while_the_database_hangs_only_the_first_click_waits(
    table: LinkTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def click() -> None:
        links = Targets(table, hang)
        monkeypatch.setattr(targets, "_PATIENCE_SECONDS", 0.01)
        assert await links.find(1, 1) is not None
        assert links.blind
        monkeypatch.setattr(targets, "_PATIENCE_SECONDS", 3600)
        async with asyncio.timeout(10):
            assert await links.find(1, 1) is not None

    asyncio.run(click())


def test_a_link_nobody_has_heard_of_is_no_link_only_if_the_database_says_so(
    table: LinkTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def click() -> None:
        links = Targets(table, hang)
        monkeypatch.setattr(targets, "_LONGEST_LOOK_SECONDS", 0.01)
        assert await links.find(7, 7) is None
        assert links.blind

    asyncio.run(click())


def test_whoever_clicks_a_link_nobody_knows_yet_waits_for_a_slow_database(
    table: LinkTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(_question: Question) -> None:
        await asyncio.sleep(0.1)
        table._take([(7, 7, "/events", "page", None)])

    async def click() -> None:
        monkeypatch.setattr(targets, "_PATIENCE_SECONDS", 0.01)
        assert await Targets(table, read).find(7, 7) is not None

    asyncio.run(click())


def test_a_database_that_hung_is_asked_anew(
    table: LinkTable, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "_LONGEST_LOOK_SECONDS", 0.01)
    asked = 0

    async def read(question: Question) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            await hang(question)
        with database.read() as db:
            question(db)

    async def click() -> None:
        links = Targets(table, read)
        await links.find(1, 1)
        assert links.blind
        async with asyncio.timeout(10):
            while links.blind:
                await links.find(7, 7)
                await asyncio.sleep(0)
        assert table.loaded
        assert await links.find(1, 1) is None  # this database has none

    asyncio.run(click())


def test_no_free_connection_is_an_outage(table: LinkTable) -> None:
    async def refuse(_question: Question) -> None:
        raise sqlalchemy.exc.TimeoutError

    async def click() -> None:
        links = Targets(table, refuse)
        assert await links.find(1, 1) is not None
        assert links.blind

    asyncio.run(click())
