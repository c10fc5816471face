"""The letter in a browser: what the recipient got, and the same for somebody else."""

import pytest
from sqlalchemy import delete

from mailer.campaigns.models import Campaign, Link
from mailer.sending.preparing import prepare_letter
from mailer.tracking.models import TrackingKind
from mailer.web.guards import LETTER_POLICY
from tests.conftest import NOW
from tests.web.conftest import Mailing, Reader


@pytest.fixture
def posted(mailing: Mailing) -> Mailing:
    """The campaign with its letter frozen, as a launch leaves it."""
    with mailing.runtime.database.write() as db:
        campaign = db.get_one(Campaign, mailing.campaign_id)
        letter = prepare_letter(mailing.runtime.letter_tools, db, campaign, now=NOW)
        campaign.frozen_letter, campaign.dated_at = letter.frozen, NOW
        db.execute(delete(Link).where(Link.campaign_id == campaign.id))
        for link in letter.links.values():
            db.add(
                Link(
                    campaign_id=campaign.id,
                    number=link.number,
                    key=link.key,
                    kind=link.kind,
                    event_slug=link.event_slug,
                    target=link.target,
                )
            )
    return mailing


def test_the_personal_letter_is_what_its_recipient_got(reader: Reader, posted: Mailing) -> None:
    response = reader.get(posted.path("view"))

    assert response.status_code == 200
    assert "Kære Åse Sørensen" in response.text
    assert posted.path("unsubscribe") in response.text
    assert [(event.kind, event.position) for event in posted.seen()] == [(TrackingKind.VIEW, 1)]


def test_the_letter_to_pass_on_is_nobodys(reader: Reader, posted: Mailing) -> None:
    response = reader.get(posted.path("pass_on", position=0))

    assert response.status_code == 200
    assert "Sørensen" not in response.text
    for door in ("/u/", "/v/", "/r/", "/o/"):
        assert f"{posted.addresses.public_url}{door}" not in response.text
    (event,) = posted.seen()
    assert (event.kind, event.campaign_id, event.position) == (
        TrackingKind.PASS_ON,
        posted.campaign_id,
        None,
    )


def test_every_tracked_link_of_the_letter_leads_somewhere(reader: Reader, posted: Mailing) -> None:
    html = reader.get(posted.path("view")).text
    base = posted.addresses.public_url
    links = {part.partition('"')[0] for part in html.split(f'href="{base}')[1:]}
    clicks = [path for path in links if path.startswith("/c/")]

    assert len(clicks) >= 5
    assert all(reader.get(path).status_code == 302 for path in clicks)
    assert all(reader.get(path).status_code < 400 for path in links)


def test_a_letter_may_bring_styles_and_nothing_else(reader: Reader, posted: Mailing) -> None:
    headers = reader.get(posted.path("view")).headers

    assert headers["content-security-policy"] == LETTER_POLICY
    assert headers["cache-control"] == "no-store"
    assert headers["x-robots-tag"] == "noindex, nofollow"


def test_a_letter_that_was_never_sent_has_no_page(reader: Reader, mailing: Mailing) -> None:
    assert reader.get(mailing.path("view")).status_code == 404
    assert reader.get(mailing.path("view", position=99)).status_code == 404
    assert reader.get(mailing.path("pass_on", position=0)).status_code == 404
    assert reader.get(mailing.path("pass_on", position=9999)).status_code == 404
    assert mailing.seen() == []
