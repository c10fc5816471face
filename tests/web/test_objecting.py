"""Saying no to being tracked: on the letter's page or to the office, and also for links already sent."""

import re

import pytest
from sqlalchemy import select

from mailer.foundation.settings import Settings
from mailer.tracking.models import Label, TrackingCount, TrackingKind
from recipients.choices import choose_tracking
from recipients.models import Recipient, SuppressionReason, SuppressionScope, TrackingChoice
from recipients.suppression import suppress
from tests.cli.calling import Caller
from tests.conftest import NOW
from tests.web.conftest import Mailing, Reader, open_reader, outage

OBJECT = {"choice": "object"}


@pytest.fixture
def mailer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Caller:
    return Caller(settings, monkeypatch, capsys)


def words(mailing: Mailing) -> list[TrackingChoice | None]:
    """What the two recipients said, once all that was asked for is done."""
    mailing.drain()
    with mailing.runtime.database.read() as db:
        return list(db.scalars(select(Recipient.tracking).order_by(Recipient.id)))


def say(mailing: Mailing, choice: TrackingChoice) -> None:
    with mailing.runtime.database.write() as db:
        choose_tracking(db, mailing.address_hash, choice, now=NOW)


def read_letter(reader: Reader, mailing: Mailing) -> None:
    for path in (
        mailing.path("click", 1),
        mailing.path("click", 2),
        mailing.path("open_pixel"),
    ):
        assert reader.get(path).status_code in {200, 302}


def test_objecting_on_the_page_silences_links_already_sent(reader: Reader, mailing: Mailing) -> None:
    read_letter(reader, mailing)
    assert len(mailing.seen()) == 3

    said = reader.post(mailing.path("unsubscribe"), data=OBJECT)
    assert said.status_code == 200
    assert "Vi måler ikke mere, hvad du læser" in said.text
    assert words(mailing) == [TrackingChoice.OBJECTION, None]
    read_letter(reader, mailing)

    assert len(mailing.seen()) == 3
    assert mailing.counted() == {
        (mailing.campaign_id, TrackingKind.OBJECT, 0, ""): 1,
        (mailing.campaign_id, TrackingKind.CLICK, 1, ""): 1,
        (mailing.campaign_id, TrackingKind.CLICK, 2, "midtjylland"): 1,
        (mailing.campaign_id, TrackingKind.OPEN, 0, ""): 1,
    }
    reader.get(mailing.path("click", 1, position=2))
    assert len(mailing.seen()) == 4
    assert mailing.suppressed() is None


@pytest.mark.parametrize(
    "told", [("tracking", "objection"), ("suppress", "--reason", "objected")], ids=["word", "no mail"]
)
def test_objecting_to_the_office_silences_links_already_sent(
    reader: Reader, mailing: Mailing, mailer: Caller, told: tuple[str, ...]
) -> None:
    read_letter(reader, mailing)
    assert len(mailing.seen()) == 3

    verb, *more = told
    assert mailer("recipient", verb, "aase@eksempelkommune.example", *more).code == 0
    read_letter(reader, mailing)

    assert len(mailing.seen()) == 3
    assert sum(mailing.counted().values()) == 3
    shown = mailer("recipient", "show", "aase@eksempelkommune.example", "--json").data
    assert shown["tracking"] == "objection"


def test_a_click_made_before_the_objection_and_moved_after_it_is_nobodys(
    reader: Reader, mailing: Mailing
) -> None:
    reader.get(mailing.path("click", 1))
    reader.post(mailing.path("unsubscribe"), data=OBJECT)

    assert mailing.seen() == []


def test_with_the_database_away_an_objection_is_taken_and_done_after_it(mailing: Mailing) -> None:
    with outage(mailing.runtime.database), open_reader(mailing.runtime) as reader:
        said = reader.post(f"{mailing.path('unsubscribe')}?lang=en", data=OBJECT)

    assert said.status_code == 200
    assert "We no longer track what you read" in said.text
    assert words(mailing) == [TrackingChoice.OBJECTION, None]


def test_objecting_twice_is_objecting_once(reader: Reader, mailing: Mailing) -> None:
    first = reader.post(mailing.path("unsubscribe"), data=OBJECT)
    second = reader.post(mailing.path("unsubscribe"), data=OBJECT)

    assert second.text == first.text
    assert words(mailing) == [TrackingChoice.OBJECTION, None]
    assert mailing.counted() == {(mailing.campaign_id, TrackingKind.OBJECT, 0, ""): 1}


def test_looking_never_objects(reader: Reader, mailing: Mailing) -> None:
    path = mailing.path("unsubscribe")
    for method in ("GET", "HEAD", "OPTIONS", "PUT"):
        reader.request(method, f"{path}?choice=object", headers={"X-HTTP-Method-Override": "POST"})

    assert words(mailing) == [None, None]


def test_one_click_is_no_objection_whatever_else_it_says(reader: Reader, mailing: Mailing) -> None:
    reader.post(mailing.path("unsubscribe"), data={"List-Unsubscribe": "One-Click"} | OBJECT)

    suppression = mailing.suppressed()
    assert suppression is not None
    assert suppression.scope is SuppressionScope.EVERYTHING
    assert words(mailing) == [None, None]


@pytest.mark.parametrize("choice", ["consent", "unsaid", "track", "undo", "letters", "everything"])
def test_no_page_gives_a_consent_or_lifts_an_objection(
    reader: Reader, mailing: Mailing, choice: str
) -> None:
    say(mailing, TrackingChoice.OBJECTION)
    for form in ({"choice": choice}, {"tracking": choice}, OBJECT | {"tracking": choice}):
        reader.post(mailing.path("unsubscribe"), data=form)
        reader.post(mailing.path("unsubscribe", position=2), data={"choice": choice})

    assert words(mailing) == [TrackingChoice.OBJECTION, None]


def test_objecting_takes_a_consent_back_and_no_suppression(reader: Reader, mailing: Mailing) -> None:
    say(mailing, TrackingChoice.CONSENT)
    with mailing.runtime.database.write() as db:
        suppress(db, mailing.address_hash, SuppressionReason.BOUNCED, now=NOW)

    reader.post(mailing.path("unsubscribe"), data=OBJECT)

    assert words(mailing) == [TrackingChoice.OBJECTION, None]
    suppression = mailing.suppressed()
    assert suppression is not None
    assert suppression.reason is SuppressionReason.BOUNCED


def test_no_other_token_objects(reader: Reader, mailing: Mailing) -> None:
    for purpose in ("open_pixel", "view"):
        token = mailing.path(purpose).rpartition("/")[2]
        assert reader.post(f"/u/{token}", data=OBJECT).status_code == 404

    assert words(mailing) == [None, None]


def test_an_objection_is_counted_by_day_and_tells_nobody(reader: Reader, mailing: Mailing) -> None:
    reader.post(mailing.path("unsubscribe"), data=OBJECT)
    mailing.drain()

    with mailing.runtime.database.read() as db:
        (count,) = db.scalars(select(TrackingCount)).all()
    assert (count.kind, count.day, count.label) == (TrackingKind.OBJECT, NOW.date(), Label.PERSON)


def test_the_page_offers_it_in_both_languages_and_looks_alike_for_all(
    reader: Reader, mailing: Mailing
) -> None:
    path = mailing.path("unsubscribe")

    def look() -> str:
        return re.sub(r'name="stamp" value="[^"]+"', "", reader.get(path).text)

    before = look()
    say(mailing, TrackingChoice.OBJECTION)

    assert "Mål ikke, hvad jeg læser" in before
    assert 'name="choice" value="object"' in before
    assert "Do not track what I read" in reader.get(f"{path}?lang=en").text
    assert look() == before
