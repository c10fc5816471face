"""While a list is merged its rows are held: noes go on, and an objection holds before it is written."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select

from mailer.foundation.clock import Clock
from mailer.foundation.database import open_database
from mailer.tracking.journals import PUT_OFF, unmoved_bytes, web_folder
from mailer.tracking.models import TrackingKind
from mailer.web.draining import open_drainer
from recipients.importing import ImportOptions, import_files
from recipients.models import Recipient, SuppressionScope, TrackingChoice
from tests.conftest import NOW
from tests.web.conftest import Mailing, Reader, add_campaign

pytestmark = pytest.mark.postgres
OBJECT = {"choice": "object"}


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """SQLite has one writer: there everything waits for the merge."""
    return postgres_url


@contextmanager
def merging(mailing: Mailing, folder: Path) -> Iterator[None]:
    """An import of both recipients under new names that has written their rows, and is not over."""
    path = folder / "liste.csv"
    addresses = ("aase@eksempelkommune.example", "john@eksempelkommune.example")
    path.write_text("E-mail;Navn\n" + "".join(f"{each};Bo Nielsen\n" for each in addresses))
    settings = mailing.runtime.settings
    database = open_database(settings.database_url.get_secret_value())
    written, go_on = threading.Event(), threading.Event()

    def stop(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if statement.startswith("INSERT INTO recipients "):
            written.set()
            assert go_on.wait(60)

    def run() -> None:
        import_files(
            database,
            [path],
            hash_key=settings.address_key,
            clock=Clock(real=lambda: NOW + timedelta(days=1)),
            options=ImportOptions(rejects_folder=folder),
        )

    event.listen(database.engine, "after_cursor_execute", stop)
    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert written.wait(30)
        yield
    finally:
        go_on.set()
        thread.join(30)
        database.dispose()


def rows(mailing: Mailing) -> list[tuple[str | None, TrackingChoice | None]]:
    with mailing.runtime.database.read() as db:
        found = db.execute(select(Recipient.name, Recipient.tracking).order_by(Recipient.id))
        return [(name, tracking) for name, tracking in found]


def test_noes_are_done_during_a_merge_and_objections_after_it(
    reader: Reader, mailing: Mailing, tmp_path: Path
) -> None:
    folder = web_folder(mailing.runtime.settings.state_dir)
    with merging(mailing, tmp_path):
        for position in (2, 1):
            assert reader.post(mailing.path("unsubscribe", position=position), data=OBJECT).is_success
        reader.post(mailing.path("unsubscribe"), data={"choice": "letters"})
        reader.post(mailing.path("remind", "midtjylland", position=2))

        assert mailing.drain() == 4
        suppression = mailing.suppressed()
        assert suppression is not None
        assert suppression.scope is SuppressionScope.LETTERS
        assert rows(mailing) == [("Åse Sørensen", None)] * 2
        assert len((folder / PUT_OFF).read_bytes().splitlines()) == 2
        assert unmoved_bytes(folder) > 0

    assert rows(mailing) == [("Bo Nielsen", None)] * 2
    assert mailing.drain() == 0
    assert rows(mailing) == [("Bo Nielsen", TrackingChoice.OBJECTION)] * 2
    assert mailing.counted()[mailing.campaign_id, TrackingKind.OBJECT, 0, ""] == 2
    assert unmoved_bytes(folder) == 0
    assert not (folder / PUT_OFF).exists()


@pytest.mark.parametrize("restarted", [False, True])
def test_nothing_is_kept_of_somebody_whose_objection_waits(
    reader: Reader, mailing: Mailing, tmp_path: Path, restarted: bool
) -> None:
    """Nor of what they read in another letter."""
    with mailing.runtime.database.write() as db:
        dane, other = db.scalars(select(Recipient).order_by(Recipient.id))
        campaign = add_campaign(db, other, dane, tracking="consent")
        campaign.tracking, campaign_id = "personal", campaign.id
    drainer = open_drainer(mailing.runtime)
    with merging(mailing, tmp_path):
        reader.post(mailing.path("unsubscribe"), data=OBJECT)
        drainer.drain()
        if restarted:
            drainer = open_drainer(mailing.runtime)
        reader.get(mailing.path("click", 1))
        reader.get(mailing.path("click", 1, position=2))
        reader.get(mailing.addresses.click(campaign_id, 2, 1).removeprefix(mailing.addresses.public_url))
        assert drainer.drain() == 3

    mailing.drain()
    assert [(seen.campaign_id, seen.position) for seen in mailing.seen()] == [(mailing.campaign_id, 2)]
    counted = mailing.counted()
    assert counted[mailing.campaign_id, TrackingKind.CLICK, 1, ""] == 1
    assert counted[campaign_id, TrackingKind.CLICK, 1, ""] == 1
