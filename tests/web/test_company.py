"""`mailer web` beside its drainer: what is seen reaches the database whatever dies in between."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from mailer.embedded.services import free_port
from mailer.tracking.journals import drainer_lives, web_folder
from mailer.web import company
from mailer.web.company import Program, keeping, pause_before_restart
from tests.conftest import SECRET_KEY, SUPPRESSION_KEY
from tests.web.conftest import FIREFOX, Mailing


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough: these are rules of processes."""
    return sqlite_url


def wait_until(rule: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not rule():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def answers(base: str) -> bool:
    try:
        return httpx.get(base + "/health").status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def web_process(mailing: Mailing, **settings: str) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """`mailer web` as it is shipped, over the mailing's state folder; yields its address too."""
    given = mailing.runtime.settings
    environment = {
        **os.environ,
        "MAILER_STATE_DIR": str(given.state_dir),
        "MAILER_DATABASE_URL": given.database,
        "MAILER_SECRET_KEY": SECRET_KEY,
        "MAILER_SUPPRESSION_KEY": SUPPRESSION_KEY,
        **settings,
    }
    port = free_port()
    command = [sys.executable, "-m", "mailer.cli", "web", "--port", str(port)]
    web = subprocess.Popen(command, env=environment, cwd=given.state_dir)
    base = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: answers(base))
        yield web, base
    finally:
        web.terminate()
        web.wait(30)


def stored(mailing: Mailing) -> int:
    """How many events stand in the database, without moving any ourselves."""
    with mailing.runtime.database.read() as db:
        return int(db.connection().exec_driver_sql("SELECT count(*) FROM tracking_events").scalar_one())


def test_what_is_seen_reaches_the_database_though_everything_is_killed(mailing: Mailing) -> None:
    folder = web_folder(mailing.runtime.settings.state_dir)
    agent = {"User-Agent": FIREFOX}
    with web_process(mailing) as (web, base):
        httpx.get(base + mailing.path("click", 2), headers=agent)
        wait_until(lambda: stored(mailing) == 1)
        httpx.get(base + mailing.path("open_pixel"), headers=agent)
        web.send_signal(signal.SIGKILL)
        web.wait()
        wait_until(lambda: not drainer_lives(folder))  # it does not outlive its parent

    with web_process(mailing) as (_, base):
        httpx.get(base + mailing.path("click", 1), headers=agent)
        wait_until(lambda: stored(mailing) == 3)
    assert len(mailing.seen()) == 3
    assert not drainer_lives(folder)


def test_it_starts_without_the_database_and_redirects_and_promises(mailing: Mailing) -> None:
    with web_process(mailing) as (_, base):
        wait_until(lambda: (web_folder(mailing.runtime.settings.state_dir) / "links.json").exists())
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"

    with web_process(mailing, MAILER_DATABASE_URL=nowhere) as (_, base):
        click = httpx.get(base + mailing.path("click", 2), headers={"User-Agent": FIREFOX})
        assert click.headers["location"].startswith("https://tilmelding.example/")
        gone = httpx.post(base + mailing.path("unsubscribe"), data={"List-Unsubscribe": "One-Click"})
        assert gone.status_code == 200

    assert mailing.suppressed() is not None
    assert len(mailing.seen()) == 2


def test_what_keeps_dying_is_started_more_slowly_but_always_within_five_seconds() -> None:
    pauses = [pause_before_restart(deaths) for deaths in (1, 2, 8, 5000)]
    assert pauses == sorted(pauses)
    assert pauses[0] < 1 < pauses[-1] < 5


@pytest.mark.parametrize(("steady_seconds", "counts"), [(60.0, [1, 2, 3]), (0.0, [1, 1, 1])])
def test_the_death_of_what_lived_a_while_begins_a_new_count(
    monkeypatch: pytest.MonkeyPatch, steady_seconds: float, counts: list[int]
) -> None:
    told: list[int] = []

    def pause(deaths: int) -> float:
        told.append(deaths)
        return 0.0

    monkeypatch.setattr(company, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(company, "_STEADY_SECONDS", steady_seconds)
    monkeypatch.setattr(company, "pause_before_restart", pause)
    with keeping(Program((sys.executable, "-c", "pass"), os.environ)):
        wait_until(lambda: len(told) >= 3)

    assert told[:3] == counts
