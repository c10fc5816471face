"""`mailer campaign link list | retarget`."""

import time
from datetime import date

import httpx
import pytest

from mailer.campaigns.linking import this_account
from mailer.campaigns.models import Campaign, CampaignState, Link
from mailer.foundation.database import Database
from mailer.foundation.settings import Settings
from mailer.runtime import Runtime
from mailer.tracking.addresses import TrackedAddresses
from mailer.tracking.links import LinkTable
from mailer.tracking.models import (
    Label,
    TrackingCount,
    TrackingEvent,
    TrackingKind,
)
from tests.cli.calling import Caller
from tests.conftest import NOW
from tests.making import make_campaign
from tests.web.conftest import serving

OLD, NEW = "https://gammel.example/pjece", "https://ny.example/pjece"


@pytest.fixture
def mailer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Caller:
    return Caller(settings, monkeypatch, capsys)


@pytest.fixture
def campaign_id(database: Database) -> int:
    """A campaign that has left, with two links; the second was followed by three."""
    with database.write() as db:
        make_campaign(db, name="kladde")
        made = make_campaign(db, name="brev")
        made.state = CampaignState.FINISHED
        for number, key, target in ((1, "pack", "/startpakke"), (2, OLD, OLD)):
            db.add(Link(campaign_id=made.id, number=number, key=key, kind="link", target=target))
        for position in (1, 2):
            db.add(
                TrackingEvent(
                    campaign_id=made.id,
                    position=position,
                    link_number=2,
                    kind=TrackingKind.CLICK,
                    label=Label.PERSON,
                    reason="browser",
                    at=NOW,
                )
            )
        db.add(
            TrackingCount(
                campaign_id=made.id,
                day=date(2014, 3, 7),
                kind=TrackingKind.CLICK,
                link_number=2,
                subject="",
                label=Label.UNSURE,
                reason="",
                total=1,
            )
        )
        return made.id


def test_the_list_tells_where_links_lead_and_how_often_they_were_followed(
    mailer: Caller, campaign_id: int
) -> None:
    answer = mailer("campaign", "link", "list", "brev", "--json")

    assert answer.code == 0
    assert answer.data["links"] == [
        {
            "number": 1,
            "key": "pack",
            "kind": "link",
            "event": None,
            "target": "/startpakke",
            "clicks": 0,
        },
        {"number": 2, "key": OLD, "kind": "link", "event": None, "target": OLD, "clicks": 3},
    ]
    assert answer.data["changes"] == []
    assert OLD in mailer("campaign", "link", "list", "brev").stdout


@pytest.mark.parametrize("wanted", ["2", OLD])
def test_a_link_is_led_elsewhere_and_the_web_follows(
    mailer: Caller, campaign_id: int, database: Database, wanted: str
) -> None:
    answer = mailer("campaign", "link", "retarget", "brev", wanted, NEW, "--reason", "flyttet", "--json")

    assert answer.code == 0
    assert OLD in answer.stderr
    assert NEW in answer.stderr
    change = answer.data["change"]
    assert (change["old_target"], change["new_target"]) == (OLD, NEW)
    assert (change["by"], change["reason"]) == (this_account(), "flyttet")
    table = LinkTable("http://127.0.0.1:8000")
    with database.read() as db:
        table.load(db)
    found = table.find(campaign_id, 2)
    assert found is not None
    assert found.location == NEW
    listed = mailer("campaign", "link", "list", "brev", "--json").data
    assert [one["number"] for one in listed["changes"]] == [2]
    assert "flyttet" in mailer("campaign", "link", "list", "brev").stdout


def test_the_same_target_again_changes_nothing(mailer: Caller, campaign_id: int) -> None:
    answer = mailer("campaign", "link", "retarget", "brev", "2", OLD, "--json")
    assert (answer.code, answer.data["changed"]) == (0, False)
    assert mailer("campaign", "link", "list", "brev", "--json").data["changes"] == []


@pytest.mark.parametrize(
    ("code", "name", "wanted", "target"),
    [
        (4, "ukendt", "2", NEW),
        (4, "brev", "9", NEW),
        (4, "brev", "ukendt", NEW),
        (5, "kladde", "1", NEW),
        (2, "brev", "2", "javascript:alert(1)"),
        (2, "brev", "2", "data:text/html,x"),
        (2, "brev", "2", "https://a:hemmelig@ny.example/"),
        (2, "brev", "2", "https://ny.example/\r\nX: y"),
    ],
)
def test_what_cannot_be_is_told_by_the_exit_code_and_changes_nothing(
    mailer: Caller, campaign_id: int, code: int, name: str, wanted: str, target: str
) -> None:
    answer = mailer("campaign", "link", "retarget", name, wanted, target)

    assert answer.code == code
    assert "hemmelig" not in answer.stderr
    listed = mailer("campaign", "link", "list", "brev", "--json").data
    assert (listed["links"][1]["target"], listed["changes"]) == (OLD, [])


def test_a_reason_is_one_line(mailer: Caller, campaign_id: int) -> None:
    for reason in ("", "to\nlinjer", "x" * 301):
        answer = mailer("campaign", "link", "retarget", "brev", "2", NEW, "--reason", reason)
        assert answer.code == 2
    assert mailer("campaign", "link", "list", "brev", "--json").data["changes"] == []


def test_the_links_of_a_draft_are_not_made_yet(mailer: Caller, campaign_id: int) -> None:
    assert mailer("campaign", "link", "list", "kladde").code == 5
    assert mailer("campaign", "link", "list", "ukendt").code == 4


def test_letters_with_plain_addresses_are_told_apart(
    mailer: Caller, campaign_id: int, database: Database
) -> None:
    with database.write() as db:
        make_campaign(db, name="uden", tracking="none")
        made = make_campaign(db, name="uden-sendt", tracking="none")
        db.add(Link(campaign_id=made.id, number=1, key="pack", kind="link", target="/startpakke"))
    answer = mailer("campaign", "link", "retarget", "uden-sendt", "1", "/principper")
    assert "carry plain addresses" in answer.stderr


def test_a_web_process_that_runs_follows_within_five_seconds(
    mailer: Caller, campaign_id: int, runtime: Runtime
) -> None:
    addresses = TrackedAddresses("", runtime.tokens)
    with serving(runtime) as base, httpx.Client(base_url=base) as client:
        path = addresses.click(campaign_id, 1, 2)
        assert client.get(path).headers["location"] == OLD
        mailer("campaign", "link", "retarget", "brev", "2", NEW)
        until = time.monotonic() + 5
        while client.get(path).headers["location"] == OLD:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert client.get(path).headers["location"] == NEW


def test_what_fewer_than_five_did_with_an_anonymous_letter_is_not_told(
    mailer: Caller, campaign_id: int, database: Database
) -> None:
    with database.write() as db:
        campaign = db.get_one(Campaign, campaign_id)
        campaign.tracking, campaign.audience = "anonymous", 40

    listed = mailer("campaign", "link", "list", "brev", "--json").data["links"]
    shown = mailer("campaign", "link", "list", "brev").stdout

    assert [one["clicks"] for one in listed] == [None, None]
    assert "Not told (–): where fewer than five" in shown
    report = mailer("report", "campaign", "brev", "--json").data
    clicks = report["engagement"]["clicks"]
    assert (clicks["total"], clicks["people"], clicks["unsure"]) == (None, None, None)
    assert [one["clicks"] for one in report["links"]] == [None, None]
    told = mailer("report", "campaign", "brev").stdout
    assert "Not told (–): where fewer than five" in told


@pytest.mark.parametrize("audience", [1, 2])
def test_of_an_anonymous_letter_to_one_or_two_nothing_is_told(
    mailer: Caller, campaign_id: int, database: Database, audience: int
) -> None:
    with database.write() as db:
        campaign = db.get_one(Campaign, campaign_id)
        campaign.tracking, campaign.audience = "anonymous", audience

    listed = mailer("campaign", "link", "list", "brev", "--json").data["links"]
    report = mailer("report", "campaign", "brev", "--json").data

    assert [one["clicks"] for one in listed] == [None, None]
    for deed, figures in report["engagement"].items():
        if deed != "registrations":
            assert set(figures.values()) == {None}
    assert report["over_time"]["moments"] == []
