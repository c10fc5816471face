"""The table of links: live within seconds, and never a redirect to anywhere else."""

import json
from pathlib import Path

import pytest
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign, Link
from mailer.tracking.links import (
    MISSING_AFTER_SECONDS,
    STALE_AFTER_SECONDS,
    LinkTable,
    locate,
    parse_number,
)
from tests.conftest import NOW

OURS = "https://post.eksempel.example"


class Ticks:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def make_link(db: Session, *, target: str, number: int = 1) -> int:
    campaign = Campaign(name=f"brev-{number}", letter="brev", tracking="personal", created_at=NOW)
    db.add(campaign)
    db.flush()
    db.add(Link(campaign_id=campaign.id, number=number, key="pack", kind="link", target=target))
    db.flush()
    return campaign.id


def test_only_a_link_of_that_campaign_is_found(db: Session) -> None:
    first = make_link(db, target="/startpakke.pdf", number=1)
    second = make_link(db, target="https://program.example/", number=2)
    table = LinkTable(OURS)
    table.load(db)

    found = table.find(first, 1)
    assert found is not None
    assert found.location == f"{OURS}/startpakke.pdf"
    assert table.find(first, 2) is None
    assert table.find(second, 1) is None


def test_a_corrected_target_is_asked_for_within_seconds(db: Session) -> None:
    campaign_id = make_link(db, target="/events")
    ticks = Ticks()
    table = LinkTable(OURS, ticking=ticks)
    assert table.needs_look(campaign_id, 1)
    table.looking()
    table.load(db)
    assert not table.needs_look(campaign_id, 1)

    db.execute(update(Link).values(target="https://program.example/ny"))
    ticks.at += STALE_AFTER_SECONDS
    assert table.needs_look(campaign_id, 1)
    table.load(db)

    found = table.find(campaign_id, 1)
    assert found is not None
    assert found.location == "https://program.example/ny"


def test_a_link_nobody_has_heard_of_is_looked_for_sooner(db: Session) -> None:
    ticks = Ticks()
    table = LinkTable(OURS, ticking=ticks)
    table.looking()
    table.load(db)
    assert not table.needs_look(99, 1)

    ticks.at += MISSING_AFTER_SECONDS
    assert table.needs_look(99, 1)


def test_a_link_that_is_gone_is_forgotten(db: Session) -> None:
    campaign_id = make_link(db, target="/events")
    table = LinkTable(OURS)
    table.load(db)
    db.execute(delete(Link))
    table.load(db)

    assert table.find(campaign_id, 1) is None
    assert len(table) == 0


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/events/midtjylland", f"{OURS}/events/midtjylland"),
        ("//ond.example/", f"{OURS}//ond.example/"),
        ("https://a.example/x?y=1&z=%C3%A6#top", "https://a.example/x?y=1&z=%C3%A6#top"),
        (
            "https://københavn.example/søg?q=å b",
            "https://xn--kbenhavn-54a.example/s%C3%B8g?q=%C3%A5%20b",
        ),
        ("https://[::1]:8443/x", "https://[::1]:8443/x"),
        ("https://bruger:kode@a.example/", "https://a.example/"),
    ],
)
def test_a_target_becomes_an_ascii_address(target: str, location: str) -> None:
    assert locate(OURS, target) == location


@pytest.mark.parametrize(
    "target",
    [
        "",
        "startpakke",
        "javascript:alert(1)",
        "data:text/html,x",
        "ftp://a.example/",
        "https:///x",
        "https://a.example:99999/",
        "https://a b.example/",
        "https://a.example\\@ond.example/",
        "https://a.example/\r\nSet-Cookie: x=1",
        "/x\nLocation: https://ond.example/",
        "https://a.example/\u2028",
    ],
)
def test_what_must_not_stand_in_a_redirect_leads_nowhere(target: str, db: Session) -> None:
    assert locate(OURS, target) is None

    campaign_id = make_link(db, target=target)
    table = LinkTable(OURS)
    table.load(db)
    assert table.find(campaign_id, 1) is None


@pytest.mark.parametrize("text", ["", "01", "+1", "-1", "1 ", "1.0", "¹", "٣", "9" * 10, "0x1"])
def test_a_number_has_one_spelling(text: str) -> None:
    assert parse_number(text) is None


def test_a_plain_number_is_read() -> None:
    assert parse_number("0") == 0
    assert parse_number("142") == 142


def test_what_only_the_copy_says_is_asked_for_until_the_database_was_read(
    db: Session, tmp_path: Path
) -> None:
    copy = tmp_path / "links.json"
    copy.write_text(json.dumps([[1, 1, "/gammel", "link", None]]))
    table = LinkTable(OURS, path=copy)
    table.looking()
    assert table.is_stale
    assert table.needs_look(1, 1)

    table.load(db)
    assert not table.is_stale
    assert not table.needs_look(1, 1)
