"""`mailer campaign ledger`: what stands in it is personal, and some of it others wrote."""

import csv
import os
from pathlib import Path

import pytest

from mailer.campaigns.models import Delivery, DeliveryState
from mailer.foundation.database import open_database
from mailer.foundation.settings import Settings
from mailer.sending.tools import open_own_journal
from tests.cli.calling import Caller
from tests.making import make_campaign, make_recipient


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough: the rows are tested with the ledger itself."""
    return sqlite_url


@pytest.fixture
def call(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Caller:
    database = open_database(settings.database)
    with database.write() as db:
        campaign = make_campaign(db, name="brev")
        campaign.audience = 1
        db.add(
            Delivery(
                campaign_id=campaign.id,
                position=1,
                recipient_id=make_recipient(db, address="=a@kommune.example").id,
                state=DeliveryState.BOUNCED,
                reason="no;=HYPERLINK(1)",
            )
        )
    database.dispose()
    return Caller(settings, monkeypatch, capsys)


@pytest.mark.parametrize("separator", [",", ";"])
def test_no_spreadsheet_computes_what_a_relay_or_a_list_said(call: Caller, separator: str) -> None:
    answer = call("campaign", "ledger", "brev")

    rows = list(csv.reader(answer.stdout.splitlines(), delimiter=separator))

    assert answer.code == 0
    assert "HYPERLINK" in answer.stdout
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]


def test_a_ledger_file_is_for_its_owner_only(call: Caller, tmp_path: Path) -> None:
    file = tmp_path / "ledger.csv"
    (tmp_path / ".ledger.csv.part").symlink_to(tmp_path / "elsewhere")
    before = os.umask(0o022)
    answer = call("campaign", "ledger", "brev", "-o", str(file))
    os.umask(before)

    assert answer.code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "elsewhere").exists()


def test_unread_journals_of_this_machine_keep_an_account_from_being_complete(
    call: Caller, settings: Settings
) -> None:
    journal = open_own_journal(settings.state_dir)
    journal.write("a note")
    journal.close()
    os.utime(journal.path, (1, 1))

    answer = call("campaign", "reconcile", "brev", "--json")

    assert (answer.data["unread_journals"], answer.data["complete"]) == (1, False)
    assert "1 unread journal on this machine" in call("campaign", "reconcile", "brev").stderr


def test_all_campaigns_are_proved_at_once(call: Caller) -> None:
    one = call("campaign", "reconcile", "brev", "--json").data

    everything = call("campaign", "reconcile", "--all", "--json").data
    assert (everything["ok"], everything["complete"]) == (one["ok"], one["complete"])
    assert everything["campaigns"] == [{key: one[key] for key in everything["campaigns"][0]}]
    assert "brev" in call("campaign", "reconcile", "--all").stdout


def test_one_campaign_or_all_must_be_named(call: Caller) -> None:
    assert call("campaign", "reconcile").code == 2
    assert call("campaign", "reconcile", "brev", "--all").code == 2
