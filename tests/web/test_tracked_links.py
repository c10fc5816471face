"""Pixels and tracked links: at once, to a stored link and nowhere else, and never lost."""

import time
from dataclasses import replace

import pytest
from sqlalchemy import update

from mailer.campaigns.models import Link
from mailer.foundation.database import DatabaseUnavailable
from mailer.tracking.links import MISSING_AFTER_SECONDS, STALE_AFTER_SECONDS
from mailer.tracking.models import Label, TrackingKind
from mailer.web.front import PIXEL
from recipients.models import TrackingChoice
from tests.conftest import NOW
from tests.web.conftest import Mailing, Reader, add_campaign, add_recipient, open_reader, outage

REGISTRATION = "https://tilmelding.example/midt?a=1&b=2"


def test_an_open_is_counted_with_its_person(reader: Reader, mailing: Mailing) -> None:
    response = reader.get(mailing.path("open_pixel"))

    assert response.status_code == 200
    assert response.headers["content-type"] == "image/gif"
    assert response.headers["cache-control"] == "no-store"
    assert response.content == PIXEL
    (event,) = mailing.seen()
    assert (event.kind, event.campaign_id, event.position) == (
        TrackingKind.OPEN,
        mailing.campaign_id,
        1,
    )
    assert (event.label, event.reason, event.at) == (Label.PERSON, "browser", NOW)


def test_a_forged_pixel_looks_the_same_and_counts_for_nothing(reader: Reader, mailing: Mailing) -> None:
    genuine = reader.get(mailing.path("open_pixel"))

    for path in ("/o/", "/o/made-up", "/o/x/y", "/o/%00", "/o/%C3%A6"):
        forged = reader.get(path)
        assert (forged.content, forged.headers) == (genuine.content, genuine.headers)
    assert len(mailing.seen()) == 1


def test_a_click_is_counted_and_lands_on_the_stored_target(reader: Reader, mailing: Mailing) -> None:
    response = reader.get(mailing.path("click", 2))

    assert response.status_code == 302
    assert response.headers["location"] == REGISTRATION
    assert response.headers["cache-control"] == "no-store"
    assert "set-cookie" not in response.headers
    (event,) = mailing.seen()
    assert (event.kind, event.position, event.link_number, event.subject) == (
        TrackingKind.CLICK,
        1,
        2,
        "midtjylland",
    )


def test_a_page_of_ours_is_joined_to_the_public_address(reader: Reader, mailing: Mailing) -> None:
    location = reader.get(mailing.path("click", 1)).headers["location"]

    assert location == "http://127.0.0.1:8000/startpakke.pdf"


def test_a_number_that_is_no_link_of_the_campaign_leads_nowhere(
    reader: Reader, mailing: Mailing
) -> None:
    path = mailing.path("click", 1).removesuffix("1")

    for number in ("00", "3", "01", "-1", "", "1/", "1/2", "x", "9" * 40, "1%00"):
        response = reader.get(path + number)
        assert response.status_code == 404
        assert "location" not in response.headers
    assert mailing.seen() == []


def test_a_link_of_another_campaign_is_out_of_reach(reader: Reader, mailing: Mailing) -> None:
    with mailing.runtime.database.write() as db:
        other = add_campaign(db, tracking="anonymous")
        db.add(Link(campaign_id=other.id, number=9, key="x", kind="link", target="https://x.example/"))

    assert reader.get(mailing.path("click", 9)).status_code == 404


def test_nothing_in_the_address_moves_the_target(reader: Reader, mailing: Mailing) -> None:
    for more in ("?url=https://ond.example/", "?next=//ond.example", "?utm_source=x#ond"):
        assert reader.get(mailing.path("click", 2) + more).headers["location"] == REGISTRATION


def test_asking_for_the_head_redirects_and_is_a_machine(reader: Reader, mailing: Mailing) -> None:
    assert reader.head(mailing.path("click", 2)).headers["location"] == REGISTRATION
    assert reader.head(mailing.path("open_pixel")).status_code == 200

    assert {event.label for event in mailing.seen()} == {Label.MACHINE}


def test_pixels_and_links_are_only_for_reading(reader: Reader, mailing: Mailing) -> None:
    for path in (mailing.path("open_pixel"), mailing.path("click", 1)):
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            assert reader.request(method, path).status_code == 405
    assert mailing.seen() == []


def test_a_corrected_target_is_live_within_five_seconds(reader: Reader, mailing: Mailing) -> None:
    assert reader.get(mailing.path("click", 2)).headers["location"] == REGISTRATION
    with mailing.runtime.database.write() as db:
        db.execute(update(Link).where(Link.number == 2).values(target="https://nyt.example/"))

    time.sleep(STALE_AFTER_SECONDS)

    assert reader.get(mailing.path("click", 2)).headers["location"] == "https://nyt.example/"


def test_the_links_of_a_new_campaign_are_found_at_once(reader: Reader, mailing: Mailing) -> None:
    reader.get(mailing.path("click", 1))
    with mailing.runtime.database.write() as db:
        new = add_campaign(db, add_recipient(db, mailing.runtime, "ny@x.example"), tracking="none")

    time.sleep(MISSING_AFTER_SECONDS)

    path = replace(mailing, campaign_id=new.id).path("click", 1)
    assert reader.get(path).status_code == 302


def test_without_a_person_in_the_token_nobody_is_logged(reader: Reader, mailing: Mailing) -> None:
    reader.get(mailing.path("click", 1, position=0))
    reader.get(mailing.path("open_pixel", position=0))

    assert mailing.seen() == []
    assert mailing.counted() == {
        (mailing.campaign_id, TrackingKind.CLICK, 1, ""): 1,
        (mailing.campaign_id, TrackingKind.OPEN, 0, ""): 1,
    }


def test_an_objection_silences_links_already_sent(reader: Reader, mailing: Mailing) -> None:
    with mailing.runtime.database.write() as db:
        shy = add_recipient(db, mailing.runtime, "shy@x.example", tracking=TrackingChoice.OBJECTION)
        campaign = add_campaign(db, shy, tracking="consent")

    assert reader.get(replace(mailing, campaign_id=campaign.id).path("click", 1)).status_code == 302
    assert mailing.seen() == []
    assert mailing.counted() == {(campaign.id, TrackingKind.CLICK, 1, ""): 1}


def test_redirects_go_on_while_the_database_is_away_and_nothing_seen_is_lost(
    reader: Reader, mailing: Mailing
) -> None:
    assert reader.get(mailing.path("click", 2)).status_code == 302

    with outage(mailing.runtime.database):
        assert reader.get(mailing.path("click", 2)).headers["location"] == REGISTRATION
        assert reader.get(mailing.path("open_pixel")).content == PIXEL
        with pytest.raises(DatabaseUnavailable):
            mailing.drain()

    assert [event.kind for event in mailing.seen()] == [
        TrackingKind.CLICK,
        TrackingKind.CLICK,
        TrackingKind.OPEN,
    ]


def test_started_while_the_database_is_away_it_knows_the_links_of_before(
    reader: Reader, mailing: Mailing
) -> None:
    reader.get(mailing.path("click", 1))

    with outage(mailing.runtime.database), open_reader(mailing.runtime) as restarted:
        assert restarted.get(mailing.path("click", 2)).headers["location"] == REGISTRATION

    assert {event.link_number for event in mailing.seen()} == {1, 2}


def test_with_no_database_since_the_start_a_genuine_link_is_told_to_come_again(
    mailing: Mailing,
) -> None:
    with outage(mailing.runtime.database), open_reader(mailing.runtime) as reader:
        response = reader.get(mailing.path("click", 1))

        assert response.status_code == 503
        assert response.headers["retry-after"]
        assert reader.get("/c/made-up/1").status_code == 404
        assert reader.get(mailing.path("open_pixel")).content == PIXEL
