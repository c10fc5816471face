"""Alive, and ready: the public process needs its disk and its links, and nothing else."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from mailer.foundation.database import open_database
from mailer.runtime import Runtime
from mailer.web.health import Health
from mailer.web.recently import Recently
from mailer.web.site import open_site
from tests.web.conftest import Mailing, Reader, open_reader, outage


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough: these are rules of HTTP."""
    return sqlite_url


def ready(reader: Reader) -> tuple[int, dict[str, Any]]:
    response = reader.get("/health/ready")
    assert response.headers["cache-control"] == "no-store"
    return response.status_code, response.json()


def test_a_live_process_says_ok(reader: Reader) -> None:
    assert reader.get("/health").json() == {"status": "ok"}


def test_a_process_with_all_it_needs_is_ready(reader: Reader, mailing: Mailing) -> None:
    reader.get(mailing.path("click", 2))
    code, report = ready(reader)
    assert code == 200
    assert report == {
        "ready": True,
        "journal": "writable",
        "links": "loaded",
        "database": "ok",
        "schema": "current",
        "redis": "unreachable",
    }


def test_without_its_links_a_process_is_not_ready(reader: Reader, mailing: Mailing) -> None:
    code, report = ready(reader)
    assert (code, report["ready"], report["links"]) == (503, False, "not loaded")


def test_a_missing_database_is_told_and_not_fatal(mailing: Mailing) -> None:
    with open_reader(mailing.runtime) as before:
        before.get(mailing.path("click", 2))  # leaves a copy of the links
    with outage(mailing.runtime.database), open_reader(mailing.runtime) as reader:
        code, report = ready(reader)
        assert (code, report["ready"]) == (200, True)
        assert (report["database"], report["schema"]) == ("unreachable", "unknown")
        assert "outage" not in str(report)


def test_an_older_schema_is_told(mailing: Mailing) -> None:
    empty = open_database("sqlite://")
    with open_reader(replace(mailing.runtime, database=empty)) as reader:
        _, report = ready(reader)
    empty.dispose()
    assert (report["database"], report["schema"]) == ("ok", "behind")


def test_a_process_that_cannot_write_its_journal_is_not_ready(mailing: Mailing, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = mailing.runtime.settings.model_copy(update={"state_dir": tmp_path / "file"})
    with open_reader(replace(mailing.runtime, settings=settings)) as reader:
        reader.get(mailing.path("click", 2))
        code, report = ready(reader)
    assert (code, report["journal"]) == (503, "not writable")


def test_a_process_for_staff_alone_needs_its_database(runtime: Runtime) -> None:
    health = Health(open_site(runtime), needs_database=True)

    async def ask() -> int:
        return (await health.ready(None)).status_code  # type: ignore[arg-type]  # it looks at no request

    assert anyio.run(ask) == 200
    with outage(runtime.database):
        health = Health(open_site(runtime), needs_database=True)
        assert anyio.run(ask) == 503


def test_what_is_asked_often_is_looked_up_once() -> None:
    asked, now = [], [0.0]

    async def look() -> int:
        asked.append(1)
        await anyio.lowlevel.checkpoint()
        return len(asked)

    async def main() -> None:
        recently = Recently(look, 10, ticking=lambda: now[0])
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(recently.answer)
        assert (await recently.answer(), len(asked)) == (1, 1)
        now[0] = 10.0
        assert await recently.answer() == 2

    anyio.run(main)
