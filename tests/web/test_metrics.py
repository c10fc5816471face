"""Prometheus reads numbers, programs of ours alone may ask, and no number is about a person."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from sqlalchemy import delete, update

from mailer.campaigns.heartbeats import SWEEP, note_heartbeat
from mailer.campaigns.models import Campaign, CampaignState
from mailer.campaigns.progress import Waiting
from mailer.events.models import Event, ReminderState
from mailer.foundation.clock import Clock
from mailer.runtime import Runtime
from mailer.tracking.journals import (
    Progress,
    add_losses,
    web_folder,
    write_progress,
)
from mailer.web.metrics import read_figures
from tests.campaigns.making import sending
from tests.conftest import NOW
from tests.events.making import make_event
from tests.web.conftest import FIREFOX, Mailing, Reader, drain_once, open_reader, outage

TOKEN = "maaler-maaler-maaler-maaler"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough: that PostgreSQL answers too is tested with its roles."""
    return sqlite_url


def ask(reader: Reader, peer: str = "127.0.0.1", **headers: str | bytes) -> httpx.Response:
    """Ask for the metrics from some address."""

    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(app=reader.app, client=(peer, 40_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.get("/metrics", headers=[*headers.items()])

    return reader.portal.call(get)


def read(reader: Reader) -> dict[str, Metric]:
    response = ask(reader)
    assert response.status_code == 200
    return {family.name: family for family in text_string_to_metric_families(response.text)}


def value(families: dict[str, Metric], name: str, /, **labels: str) -> float:
    found = [
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    assert len(found) == 1, (name, labels)
    return found[0]


@contextmanager
def with_settings(runtime: Runtime, **settings: Any) -> Iterator[Reader]:
    changed = runtime.settings.model_copy(update=settings)
    with open_reader(replace(runtime, settings=changed)) as reader:
        yield reader


def test_requests_are_counted_by_kind_and_status(reader: Reader, mailing: Mailing) -> None:
    reader.get(mailing.path("click", 2))
    reader.get(mailing.path("click", 2))
    reader.get(mailing.path("open_pixel"))
    reader.get("/u/forged")
    reader.get("/findes-ikke-1")
    reader.get("/findes-ikke-2")
    reader.post(mailing.path("unsubscribe"), data={"List-Unsubscribe": "One-Click"})

    families = read(reader)
    total = "mailer_web_requests_total"
    assert value(families, total, kind="click", status="302") == 2
    assert value(families, total, kind="open", status="200") == 1
    assert value(families, total, kind="unsubscribe", status="404") == 1
    assert value(families, total, kind="other", status="404") == 2
    assert value(families, "mailer_web_deeds_total", kind="unsubscribe") == 1
    assert value(families, "mailer_web_journal_lines_total") == 4
    assert value(families, "mailer_web_links_loaded") == 2


def test_what_waits_for_the_database_is_told_and_for_how_long(reader: Reader, mailing: Mailing) -> None:
    reader.get(mailing.path("click", 2))
    reader.get(mailing.path("click", 2))
    later = Clock(real=lambda: NOW + timedelta(seconds=90))
    with open_reader(replace(mailing.runtime, clock=later)) as watching:
        families = read(watching)
        assert value(families, "mailer_web_journals") == 1
        written = value(families, "mailer_web_journal_bytes")
        assert value(families, "mailer_web_journal_unmoved_bytes") == written > 50
        assert value(families, "mailer_web_drainer_up") == 0
        assert value(families, "mailer_web_drain_lag_seconds") == 90

        drain_once(mailing.runtime)
        families = read(watching)
        assert value(families, "mailer_web_journal_unmoved_bytes") == 0
        assert value(families, "mailer_web_drain_lag_seconds") == 0


def test_losses_are_told_beyond_the_life_of_a_process(reader: Reader, mailing: Mailing) -> None:
    folder = web_folder(mailing.runtime.settings.state_dir)
    folder.mkdir(parents=True)
    add_losses(folder, 7)
    write_progress(folder, Progress(set_aside=2))

    families = read(reader)
    assert value(families, "mailer_web_journal_lost_total") == 7
    assert value(families, "mailer_web_journal_set_aside_total") == 2


def test_campaigns_and_their_letters_are_counted(reader: Reader, mailing: Mailing) -> None:
    with mailing.runtime.database.write() as db:
        db.execute(
            update(Campaign).values(state=CampaignState.SENDING, waiting_for="relay r.example:25: gone")
        )
        note_heartbeat(db, SWEEP, now=NOW)

    families = read(reader)
    assert value(families, "mailer_database_up") == 1
    assert value(families, "mailer_campaigns", state="sending") == 1
    assert value(families, "mailer_campaigns", state="draft") == 0
    assert value(families, "mailer_deliveries", campaign="brev-personal", state="sent") == 2
    assert value(families, "mailer_deliveries", campaign="brev-personal", state="pending") == 0
    assert value(families, "mailer_campaign_waiting", campaign="brev-personal", kind="relay") == 1
    assert value(families, "mailer_campaign_waiting", campaign="brev-personal", kind="pace") == 0
    assert value(families, "mailer_letters_uncertain") == 0
    assert value(families, "mailer_reminders_overdue") == 0
    assert value(families, "mailer_reminders", state="blocked") == 0
    assert value(families, "mailer_letters_unusable") == 0
    assert value(families, "mailer_heartbeat_timestamp_seconds", name="sweep") == NOW.timestamp()


@pytest.mark.parametrize(
    ("waits_for", "values"),
    [
        ("relay", {"waiting_for": "relay mail.example:25: connection refused"}),
        ("pace", {"waiting_for": "the pace at which letters are taken at kommune.example"}),
        ("worker", {}),
        ("timetable", {"hours": "8-9", "opens_at": NOW, "closes_at": NOW}),
        ("resume", {"state": CampaignState.PAUSED}),
        (None, {"state": CampaignState.FINISHED}),
    ],
)
def test_it_is_told_what_kind_of_thing_a_campaign_waits_for(
    mailing: Mailing, waits_for: str | None, values: dict[str, Any]
) -> None:
    with mailing.runtime.database.write() as db:
        sending(db, 2, name="nyt brev", **values)
    with open_reader(mailing.runtime) as reader:
        told = read(reader)["mailer_campaign_waiting"].samples

    ours = {each.labels["kind"]: each.value for each in told if each.labels["campaign"] == "nyt brev"}
    assert {kind for kind, waits in ours.items() if waits} == ({waits_for} if waits_for else set())
    assert set(ours) == (set(Waiting) if waits_for else set()), "as many kinds, whatever is told"


def test_a_letter_nobody_can_use_is_counted(mailing: Mailing, tmp_path: Path) -> None:
    broken = tmp_path / "templates" / "letters" / "vi-ses"
    broken.mkdir(parents=True)
    (broken / "subject.txt").write_text("Vi ses", encoding="utf-8")
    settings = mailing.runtime.settings.model_copy(update={"templates_dir": tmp_path / "templates"})
    runtime = replace(mailing.runtime, settings=settings)

    with runtime.database.read() as db:
        assert read_figures(db, runtime).unusable_letters == 1


def test_reminders_due_about_now_are_counted_by_state(reader: Reader, mailing: Mailing) -> None:
    """Each to three kinds of recipients: a week before, missed on Wednesday; the day before, blocked."""
    known = datetime(2014, 1, 1, tzinfo=UTC)
    with mailing.runtime.database.write() as db:
        db.execute(delete(Event))
        make_event(db, "snart", day=date(2014, 3, 12), created_at=known)
        make_event(db, "i-dag", day=date(2014, 3, 21), start=time(10), created_at=known)
        make_event(db, "senere", day=date(2014, 6, 16), created_at=known)

    families = read(reader)
    found = {state: value(families, "mailer_reminders", state=state) for state in ReminderState}
    assert found == {
        "planned": 3,
        "due": 3,
        "blocked": 3,
        "missed": 3,
        "sent": 0,
        "cancelled": 0,
    }
    assert value(families, "mailer_reminders_overdue") == 0


def test_with_the_database_away_the_rest_is_told(mailing: Mailing) -> None:
    with outage(mailing.runtime.database), open_reader(mailing.runtime) as reader:
        families = read(reader)
    assert value(families, "mailer_database_up") == 0
    assert "mailer_campaigns" not in families
    assert "mailer_web_requests" in families


def test_names_are_as_prometheus_wants_them(reader: Reader, mailing: Mailing) -> None:
    for family in read(reader).values():
        assert family.name.startswith("mailer_")
        assert family.documentation.endswith(".")
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter")
            assert "position" not in sample.labels


def test_nothing_in_it_is_about_a_person(reader: Reader, mailing: Mailing) -> None:
    for path in ("click", "unsubscribe", "view"):
        more = (2,) if path == "click" else ()
        reader.get(mailing.path(path, *more))
    told = ask(reader).text
    for secret in (
        "aase",
        "Sørensen",
        "eksempelkommune",
        mailing.address_hash,
        mailing.path("unsubscribe").removeprefix("/u/"),
        FIREFOX,
        "127.0.0.1",
    ):
        assert secret not in told


def test_nobody_makes_the_names_grow(reader: Reader, mailing: Mailing) -> None:
    for number in range(50):
        reader.get(f"/findes-ikke-{number}/x")
        reader.get(f"/events/{number}")
    assert len(reader.site.tally.answers) <= 4


def test_others_find_no_such_page(reader: Reader, mailing: Mailing) -> None:
    missing = reader.get("/findes-ikke").text
    for response in (
        ask(reader, "192.0.2.7"),
        ask(reader, "2001:db8::1"),
        ask(reader, **{"X-Forwarded-For": "127.0.0.1"}),
        ask(reader, Forwarded="for=127.0.0.1"),
        ask(reader, **{"X-Real-IP": "127.0.0.1"}),
        ask(reader, Via="1.1 proxy"),
        ask(reader, "192.0.2.7", **{"X-Forwarded-For": "127.0.0.1"}),
        ask(reader, "192.0.2.7", Authorization="Bearer None"),
        ask(reader, "192.0.2.7", Authorization="Bearer "),
    ):
        assert (response.status_code, response.text) == (404, missing)


def test_a_trusted_network_may_ask(mailing: Mailing) -> None:
    public = {"public_url": "https://brev.eksempel.example"}
    with with_settings(mailing.runtime, **public, trusted_proxies=["10.0.0.0/8"]) as reader:
        assert ask(reader, "10.0.0.9").status_code == 200
        assert ask(reader, "127.0.0.1").status_code == 200
        assert ask(reader, "10.0.0.9", **{"X-Forwarded-For": "10.0.0.8"}).status_code == 404
        assert ask(reader, "192.0.2.7").status_code == 404


def test_behind_a_proxy_nobody_told_us_of_only_the_token_opens(mailing: Mailing) -> None:
    public = {"public_url": "https://brev.eksempel.example"}
    with with_settings(mailing.runtime, **public) as reader:
        assert ask(reader, "127.0.0.1").status_code == 404
    with with_settings(mailing.runtime, **public, metrics_token=SecretStr(TOKEN)) as reader:
        assert ask(reader, "127.0.0.1").status_code == 404
        for peer in ("127.0.0.1", "192.0.2.7"):
            assert ask(reader, peer, Authorization=f"Bearer {TOKEN}").status_code == 200
        for wrong in (
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN[:-1]}",
            f"Basic {TOKEN}",
            TOKEN,
            b"Bearer \xe9",
        ):
            assert ask(reader, "192.0.2.7", Authorization=wrong).status_code == 404
