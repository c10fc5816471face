"""Saying no: a look changes nothing, a POST is believed the first time."""

import pytest
from sqlalchemy import delete

from mailer.campaigns.models import Campaign
from mailer.tracking.models import Label, TrackingKind
from recipients.models import Recipient, SuppressionReason
from tests.web.conftest import Mailing, Reader

ONE_CLICK = {"List-Unsubscribe": "One-Click"}


def test_looking_never_unsubscribes(reader: Reader, mailing: Mailing) -> None:
    for headers in (
        {},
        {"Sec-Purpose": "prefetch"},
        {"User-Agent": "BarracudaCentral"},
        {"User-Agent": ""},
    ):
        for method, status in (("GET", 200), ("HEAD", 200), ("OPTIONS", 405), ("PUT", 405)):
            response = reader.request(method, mailing.path("unsubscribe"), headers=headers)
            assert response.status_code == status

    assert mailing.suppressed() is None
    assert mailing.seen() == []


def test_a_query_that_looks_like_one_click_unsubscribes_nobody(reader: Reader, mailing: Mailing) -> None:
    reader.get(mailing.path("unsubscribe") + "?List-Unsubscribe=One-Click&confirm=yes")

    assert mailing.suppressed() is None


@pytest.mark.parametrize(
    "form",
    [
        pytest.param({"data": ONE_CLICK}, id="urlencoded"),
        pytest.param({"files": {"List-Unsubscribe": (None, "One-Click")}}, id="multipart"),
    ],
)
def test_one_click_suppresses_at_once_without_cookie_or_redirect(
    reader: Reader, mailing: Mailing, form: dict[str, object]
) -> None:
    response = reader.post(mailing.path("unsubscribe"), **form)

    assert response.status_code == 200
    assert "set-cookie" not in response.headers
    suppression = mailing.suppressed()
    assert suppression is not None
    assert suppression.reason is SuppressionReason.UNSUBSCRIBED
    (event,) = mailing.seen()
    assert (event.kind, event.position, event.label) == (
        TrackingKind.UNSUBSCRIBE,
        1,
        Label.PERSON,
    )


@pytest.mark.parametrize("content", [b"", b"List-Unsubscribe", b"\xff\x00"])
def test_a_post_is_believed_whatever_its_form(reader: Reader, mailing: Mailing, content: bytes) -> None:
    assert reader.post(mailing.path("unsubscribe"), content=content).status_code == 200
    assert mailing.suppressed() is not None


def test_a_second_post_changes_nothing(reader: Reader, mailing: Mailing) -> None:
    first = reader.post(mailing.path("unsubscribe"), data=ONE_CLICK)
    second = reader.post(mailing.path("unsubscribe"), data={"confirm": "yes"})

    assert second.text == first.text
    assert len(mailing.seen()) == 1


def test_only_this_recipient_is_unsubscribed(reader: Reader, mailing: Mailing) -> None:
    reader.post(mailing.path("unsubscribe", position=2), data=ONE_CLICK)

    assert mailing.suppressed() is None


def test_the_page_asks_once_and_confirms(reader: Reader, mailing: Mailing) -> None:
    before = reader.get(mailing.path("unsubscribe"))
    assert '<form method="post">' in before.text
    assert "Ja, stop alle breve" in before.text

    after = reader.post(mailing.path("unsubscribe"), data={"confirm": "yes"})
    assert "Du får ikke flere breve" in after.text
    assert "Du får ikke flere breve" in reader.get(mailing.path("unsubscribe")).text


def test_the_page_speaks_the_recipients_language(reader: Reader, mailing: Mailing) -> None:
    page = reader.get(mailing.path("unsubscribe", position=2))

    assert '<html lang="en">' in page.text
    assert "Yes, stop all letters" in page.text


def test_the_page_tells_no_name_and_no_address(reader: Reader, mailing: Mailing) -> None:
    for page in (
        reader.get(mailing.path("unsubscribe")),
        reader.post(mailing.path("unsubscribe")),
    ):
        assert "eksempelkommune" not in page.text
        assert "Sørensen" not in page.text


def test_somebody_erased_since_is_answered_like_anybody(reader: Reader, mailing: Mailing) -> None:
    with mailing.runtime.database.write() as db:
        db.execute(delete(Recipient).where(Recipient.id == mailing.recipient_id))

    assert reader.get(mailing.path("unsubscribe")).status_code == 200
    assert reader.post(mailing.path("unsubscribe"), data=ONE_CLICK).status_code == 200
    assert mailing.suppressed() is None
    assert mailing.seen() == []


def test_without_personal_tracking_the_log_keeps_no_person(reader: Reader, mailing: Mailing) -> None:
    with mailing.runtime.database.write() as db:
        campaign = db.get_one(Campaign, mailing.campaign_id)
        campaign.tracking = "anonymous"

    reader.post(mailing.path("unsubscribe"), data=ONE_CLICK)

    assert mailing.suppressed() is not None
    assert [event.position for event in mailing.seen()] == [None]
