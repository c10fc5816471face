"""Links led elsewhere after the letters left: what follows, what stays, and what is on record."""

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mailer.campaigns.errors import LinkNotFound, NotAllowedNow
from mailer.campaigns.linking import (
    list_changes,
    list_links,
    pick_link,
    retarget,
    this_account,
)
from mailer.campaigns.models import Campaign, Link, LinkChange
from mailer.events.changes import update_event
from mailer.events.models import Event
from mailer.tracking.targets import BadTarget, check_target
from tests.conftest import NOW
from tests.making import make_campaign

OURS = "https://brev.eksempel.example"
PAGE, OUT = "/events/kolding", "https://program.example/kolding"


@pytest.fixture
def campaign(db: Session) -> Campaign:
    """A campaign with a programme, a registration, and a written-out link."""
    made = make_campaign(db)
    for number, (key, slug, target) in enumerate(
        (
            ("events.programme/kolding", "kolding", PAGE),
            ("events.registration/kolding", "kolding", PAGE),
            ("https://eksempel.example/pjece", None, "https://eksempel.example/pjece"),
            ("events.programme/vejle", "vejle", "/events/vejle"),
        ),
        start=1,
    ):
        db.add(
            Link(
                campaign_id=made.id,
                number=number,
                key=key,
                kind="link",
                event_slug=slug,
                target=target,
            )
        )
    db.add(Event(slug="kolding", title="Kolding", date=NOW.date(), created_at=NOW, updated_at=NOW))
    db.flush()
    return made


def targets(db: Session, campaign: Campaign) -> list[str]:
    db.expire_all()
    return [link.target for link in list_links(db, campaign)]


def test_a_link_is_named_by_number_or_key(db: Session, campaign: Campaign) -> None:
    links = list_links(db, campaign)
    assert pick_link(links, "2") is links[1]
    assert pick_link(links, "https://eksempel.example/pjece") is links[2]
    for unknown in ("5", "0", "02", "events.programme", ""):
        with pytest.raises(LinkNotFound):
            pick_link(links, unknown)


def test_a_change_keeps_old_and_new_and_who_and_why(db: Session, campaign: Campaign) -> None:
    link = list_links(db, campaign)[2]
    retarget(db, link, "https://ny.example/", reason="flyttet", now=NOW)

    (change,) = list_changes(db, campaign)
    assert (change.number, change.old_target, change.new_target) == (
        3,
        "https://eksempel.example/pjece",
        "https://ny.example/",
    )
    assert (change.by, change.reason, change.at) == (this_account(), "flyttet", NOW)
    assert targets(db, campaign)[2] == "https://ny.example/"


def test_the_account_is_not_what_a_variable_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USER", "LOGNAME", "SUDO_USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    assert this_account() != "somebody-else"


def test_the_same_target_again_is_no_change(db: Session, campaign: Campaign) -> None:
    assert retarget(db, list_links(db, campaign)[0], PAGE, reason=None, now=NOW) is None
    assert list_changes(db, campaign) == []


def test_of_two_changes_at_once_the_second_is_told(db: Session, campaign: Campaign) -> None:
    link = list_links(db, campaign)[0]
    db.execute(
        update(Link)
        .where(Link.campaign_id == campaign.id, Link.number == 1)
        .values(target="https://andre.example/")
        .execution_options(synchronize_session=False)
    )
    with pytest.raises(NotAllowedNow, match="somebody else"):
        retarget(db, link, "https://ny.example/", reason=None, now=NOW)
    assert targets(db, campaign)[0] == "https://andre.example/"
    assert list_changes(db, campaign) == []


def test_a_draft_has_no_links(db: Session) -> None:
    with pytest.raises(NotAllowedNow, match="launch"):
        list_links(db, make_campaign(db, name="kladde"))


def test_links_follow_when_the_programme_is_out_and_that_is_on_record(
    db: Session, campaign: Campaign
) -> None:
    update_event(db, "kolding", {"programme_url": OUT}, now=NOW)
    assert targets(db, campaign) == [OUT, PAGE, "https://eksempel.example/pjece", "/events/vejle"]

    update_event(db, "kolding", {"registration_url": "https://tilmeld.example/"}, now=NOW)
    assert targets(db, campaign)[:2] == [OUT, "https://tilmeld.example/"]

    update_event(db, "kolding", {"programme_url": OUT + "2"}, now=NOW)
    update_event(db, "kolding", {"programme_url": ""}, now=NOW)
    assert targets(db, campaign)[0] == PAGE
    changes = [(one.number, one.old_target, one.new_target) for one in list_changes(db, campaign)]
    assert changes == [
        (1, PAGE, OUT),
        (2, PAGE, "https://tilmeld.example/"),
        (1, OUT, OUT + "2"),
        (1, OUT + "2", PAGE),
    ]
    assert {one.by for one in list_changes(db, campaign)} == {this_account()}


def test_a_link_led_elsewhere_by_hand_stays_there(db: Session, campaign: Campaign) -> None:
    retarget(db, list_links(db, campaign)[0], "https://haand.example/", reason=None, now=NOW)

    update_event(db, "kolding", {"programme_url": OUT}, now=NOW)

    assert targets(db, campaign)[0] == "https://haand.example/"
    assert len(db.scalars(select(LinkChange)).all()) == 1


@pytest.mark.parametrize(
    "target",
    [
        "https://eksempel.example/side?a=1#top",
        "http://eksempel.example",
        "https://københavn.example/æ",
        "https://[2001:db8::1]:8443/",
        "/events",
        "/startpakke.pdf",
        OURS + "/events",
        OURS + "/p/x",
    ],
)
def test_readers_may_be_led_to_pages(target: str) -> None:
    assert check_target(OURS, target) == target


@pytest.mark.parametrize(
    "target",
    [
        "",
        "events",
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "data:text/html,x",
        "ftp://eksempel.example/",
        "mailto:a@b.example",
        "https://",
        "https:///side",
        "https://a:b@eksempel.example/",
        "https://a@eksempel.example/",
        "https://@eksempel.example/",
        "https://eksempel.example/\r\nSet-Cookie: a=b",
        "https://eksempel.example/\x00",
        "https://eksempel.example/\u2028",
        "https://eksempel.example\\@ond.example/",
        "https://ond example/",
        " https://eksempel.example/",
        "https://eksempel.example/ ",
        "https://eksempel.example:99999/",
        "/\\ond.example",
        "https://eksempel.example/" + "a" * 2000,
        "/u/0a1-1abc",
        "/c/0a1-1abc/1",
        OURS + "/r/0a1-1abc/kolding",
        OURS + "/%75/0a1-1abc",
        "/./u/0a1-1abc",
        "/x/../u/0a1-1abc",
        OURS.upper() + "/u/0a1-1abc",
    ],
)
def test_readers_are_led_nowhere_else(target: str) -> None:
    with pytest.raises(BadTarget):
        check_target(OURS, target)
