"""Saying no: believed the first time, and told to nobody who looks."""

import pytest
from sqlalchemy import delete, update

from mailer.campaigns.models import Campaign
from mailer.tracking.models import Label, TrackingKind
from mailer.tracking.tokens import Purpose
from recipients.models import Recipient, SuppressionReason, SuppressionScope
from recipients.suppression import suppress
from tests.conftest import NOW
from tests.web.conftest import Mailing, Reader, open_reader, outage, stamp_in, without_stamp

ONE_CLICK = {"List-Unsubscribe": "One-Click"}
LETTERS, EVERYTHING = SuppressionScope.LETTERS, SuppressionScope.EVERYTHING


def scope_of(mailing: Mailing) -> SuppressionScope | None:
    found = mailing.suppressed()
    return found.scope if found else None


def visit(reader: Reader, mailing: Mailing) -> str:
    """The stamp of a visit to the page."""
    return stamp_in(reader.get(mailing.path("unsubscribe")))


@pytest.mark.parametrize("choice", ["letters", "everything", "undo"])
def test_the_page_looks_the_same_whatever_its_recipient_did(
    reader: Reader, mailing: Mailing, choice: str
) -> None:
    before = reader.get(mailing.path("unsubscribe"))
    reader.post(mailing.path("unsubscribe"), data={"choice": choice, "stamp": stamp_in(before)})
    mailing.drain()

    after = reader.get(mailing.path("unsubscribe"))
    assert without_stamp(after) == without_stamp(before)
    assert len(stamp_in(after)) == len(stamp_in(before))


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
    assert (suppression.reason, suppression.scope) == (SuppressionReason.UNSUBSCRIBED, EVERYTHING)
    (event,) = mailing.seen()
    assert (event.kind, event.position, event.label) == (TrackingKind.UNSUBSCRIBE, 1, Label.PERSON)


def test_a_second_post_changes_nothing(reader: Reader, mailing: Mailing) -> None:
    first = reader.post(mailing.path("unsubscribe"), data=ONE_CLICK)
    second = reader.post(mailing.path("unsubscribe"), data=ONE_CLICK)

    assert without_stamp(second) == without_stamp(first)
    assert len(mailing.seen()) == 1


def test_only_this_recipient_is_unsubscribed(reader: Reader, mailing: Mailing) -> None:
    reader.post(mailing.path("unsubscribe", position=2), data=ONE_CLICK)

    assert mailing.suppressed() is None


def test_with_the_database_away_an_unsubscription_is_taken_and_done_after_it(
    mailing: Mailing,
) -> None:
    with outage(mailing.runtime.database), open_reader(mailing.runtime) as reader:
        page = reader.get(mailing.path("unsubscribe"))
        said = reader.post(mailing.path("unsubscribe"), data=ONE_CLICK)
        reader.post(mailing.path("unsubscribe", position=2), data={"choice": "letters"})

    assert (page.status_code, said.status_code) == (200, 200)
    assert "Du får ikke mere fra os" in said.text
    assert scope_of(mailing) == EVERYTHING


def test_what_cannot_be_kept_is_not_promised(reader: Reader, mailing: Mailing) -> None:
    folder = mailing.runtime.settings.state_dir / "web"
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("no folder can be made here")  # as good as a full disk

    response = reader.post(mailing.path("unsubscribe"), data=ONE_CLICK)
    folder.unlink()

    assert response.status_code == 503
    assert "Tryk igen" in response.text
    assert mailing.suppressed() is None


@pytest.mark.parametrize(
    "form", [{"data": {"choice": "letters"}}, {"files": {"choice": (None, "letters")}}]
)
def test_reminders_only_lets_reminders_come(
    reader: Reader, mailing: Mailing, form: dict[str, object]
) -> None:
    page = reader.post(mailing.path("unsubscribe"), **form)

    assert "Du får ikke flere breve" in page.text
    assert scope_of(mailing) == LETTERS


def test_the_last_choice_counts_wider_or_narrower(reader: Reader, mailing: Mailing) -> None:
    stamp = visit(reader, mailing)
    for choice, scope in (
        ("letters", LETTERS),
        ("everything", EVERYTHING),
        ("letters", LETTERS),
        ("undo", None),
        ("everything", EVERYTHING),
    ):
        page = reader.post(mailing.path("unsubscribe"), data={"choice": choice, "stamp": stamp})
        stamp = stamp if choice == "undo" else stamp_in(page)
        assert scope_of(mailing) == scope


def test_choices_made_between_two_looks_are_done_in_their_order(
    reader: Reader, mailing: Mailing
) -> None:
    stamp = visit(reader, mailing)
    for choice in ("everything", "undo", "letters"):
        reader.post(mailing.path("unsubscribe"), data={"choice": choice, "stamp": stamp})

    assert scope_of(mailing) == LETTERS
    assert [event.kind for event in mailing.seen()] == [
        TrackingKind.UNSUBSCRIBE,
        TrackingKind.RESUBSCRIBE,
        TrackingKind.UNSUBSCRIBE,
    ]


@pytest.mark.parametrize("reason", ["bounced", "complained", "objected", "manual"])
def test_undo_takes_back_no_other_reason(reader: Reader, mailing: Mailing, reason: str) -> None:
    with mailing.runtime.database.write() as db:
        suppress(db, mailing.address_hash, SuppressionReason(reason), now=NOW)

    stamp = visit(reader, mailing)
    for choice in ("undo", "letters", "undo", "everything", "undo"):
        reader.post(mailing.path("unsubscribe"), data={"choice": choice, "stamp": stamp})
        assert scope_of(mailing) == EVERYTHING
    found = mailing.suppressed()
    assert found is not None
    assert found.reason == reason


def test_undo_with_nothing_to_undo_is_answered_all_the_same(reader: Reader, mailing: Mailing) -> None:
    form = {"choice": "undo", "stamp": visit(reader, mailing)}
    assert reader.post(mailing.path("unsubscribe"), data=form).status_code == 200
    assert mailing.suppressed() is None
    assert mailing.seen() == []


def test_somebody_erased_since_is_answered_like_anybody(reader: Reader, mailing: Mailing) -> None:
    known = reader.get(mailing.path("unsubscribe"))
    with mailing.runtime.database.write() as db:
        db.execute(delete(Recipient).where(Recipient.id == mailing.recipient_id))

    unknown = reader.get(mailing.path("unsubscribe"))
    assert without_stamp(unknown) == without_stamp(known)
    stamp = {"stamp": stamp_in(unknown)}
    for form in (ONE_CLICK, {"choice": "letters"} | stamp, {"choice": "undo"} | stamp):
        assert reader.post(mailing.path("unsubscribe"), data=form).status_code == 200
    assert mailing.suppressed() is None
    assert mailing.seen() == []


def test_a_letter_this_database_does_not_know_unsubscribes_nobody(
    reader: Reader, mailing: Mailing
) -> None:
    for campaign_id, position in ((999, 1), (mailing.campaign_id, 99), (2**63, 2**63)):
        token = mailing.runtime.tokens.sign(Purpose.UNSUBSCRIBE, campaign_id, position)
        assert reader.post(f"/u/{token}", data=ONE_CLICK).status_code == 200

    assert mailing.suppressed() is None
    assert reader.post(mailing.path("unsubscribe"), data=ONE_CLICK).status_code == 200
    assert scope_of(mailing) == EVERYTHING


@pytest.mark.parametrize("mode", ["none", "anonymous", "consent", "personal"])
def test_an_unsubscription_works_in_every_tracking_mode(
    reader: Reader, mailing: Mailing, mode: str
) -> None:
    with mailing.runtime.database.write() as db:
        db.execute(update(Campaign).values(tracking=mode))

    reader.post(mailing.path("unsubscribe"), data=ONE_CLICK)

    assert scope_of(mailing) == EVERYTHING
    assert [event.position for event in mailing.seen()] == ([1] if mode == "personal" else [])
    noted = {kind: total for (_, kind, _, _), total in mailing.counted().items()}
    assert noted == ({} if mode == "personal" else {TrackingKind.UNSUBSCRIBE: 1})
