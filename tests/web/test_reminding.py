"""Remind me of this event: GET shows, POST stores, and only what can still be kept."""

from typing import Any

import pytest
from sqlalchemy import delete, select, update

from mailer.campaigns.models import Campaign
from mailer.events.models import Event, EventState, ReminderRequest
from mailer.tracking.models import Label, TrackingKind
from recipients.models import Recipient, SuppressionReason, SuppressionScope
from recipients.suppression import suppress
from tests.conftest import NOW
from tests.web.conftest import Mailing, Reader, open_reader, outage


def asked(mailing: Mailing) -> list[Any]:
    """Who asked for what, once all that was asked for is done."""
    mailing.drain()
    with mailing.runtime.database.read() as db:
        wanted = select(Event.slug, ReminderRequest.recipient_id).join(
            Event, Event.id == ReminderRequest.event_id
        )
        return [tuple(row) for row in db.execute(wanted)]


def test_looking_stores_nothing(reader: Reader, mailing: Mailing) -> None:
    for method in ("GET", "HEAD"):
        for query in ("", "?choice=remind", "?remind=yes"):
            path = mailing.path("remind", "midtjylland") + query
            assert reader.request(method, path).status_code == 200

    assert asked(mailing) == []
    assert mailing.seen() == []


def test_the_page_shows_the_event_and_a_button(reader: Reader, mailing: Mailing) -> None:
    page = reader.get(mailing.path("remind", "midtjylland")).text

    assert "Mandag den 7. april 2014" in page
    assert "kl. 13.30" in page
    assert "Skanderborg Park" in page
    assert 'name="choice" value="remind"' in page


def test_posting_stores_once(reader: Reader, mailing: Mailing) -> None:
    first = reader.post(mailing.path("remind", "midtjylland"), data={"choice": "remind"})
    second = reader.post(mailing.path("remind", "midtjylland"))

    assert (first.status_code, second.status_code) == (200, 200)
    assert "Vi minder dig om mødet" in first.text
    assert second.text == first.text
    assert asked(mailing) == [("midtjylland", mailing.recipient_id)]
    (event,) = mailing.seen(TrackingKind.REMIND)
    assert (event.subject, event.position, event.label) == ("midtjylland", 1, Label.PERSON)


def test_it_can_be_taken_back_and_asked_for_again(reader: Reader, mailing: Mailing) -> None:
    path = mailing.path("remind", "midtjylland")
    wanted = [("midtjylland", mailing.recipient_id)]
    for choice, words, stored in (
        ("remind", "Vi minder dig om mødet", wanted),
        ("undo", "Vi minder dig ikke om mødet", []),
        ("undo", "Vi minder dig ikke om mødet", []),
        ("remind", "Vi minder dig om mødet", wanted),
    ):
        assert words in reader.post(path, data={"choice": choice}).text
        assert asked(mailing) == stored

    assert len(mailing.seen(TrackingKind.REMIND)) == 2


def test_the_page_looks_the_same_whatever_its_recipient_asked_for(
    reader: Reader, mailing: Mailing
) -> None:
    path = mailing.path("remind", "midtjylland")
    before = reader.get(path).text
    reader.post(path)
    assert asked(mailing) != []

    assert reader.get(path).text == before


def test_an_event_with_holes_can_be_asked_for(reader: Reader, mailing: Mailing) -> None:
    page = reader.get(mailing.path("remind", "sjaelland")).text
    assert "Tidspunktet følger." in page
    assert "Stedet er ikke på plads endnu." in page

    reader.post(mailing.path("remind", "sjaelland"))
    assert asked(mailing) == [("sjaelland", mailing.recipient_id)]


@pytest.mark.parametrize(
    ("slug", "words"), [("forrige", "Mødet er afholdt"), ("prøve", "Mødet er aflyst")]
)
def test_an_event_that_is_over_or_cancelled_is_told_plainly(
    reader: Reader, mailing: Mailing, slug: str, words: str
) -> None:
    for method in ("GET", "POST"):
        response = reader.request(method, mailing.path("remind", slug))
        assert response.status_code == 410
        assert words in response.text
    assert asked(mailing) == []


def test_an_event_cancelled_before_the_wish_is_done_is_not_asked_for(
    reader: Reader, mailing: Mailing
) -> None:
    reader.post(mailing.path("remind", "midtjylland"))
    with mailing.runtime.database.write() as db:
        db.execute(update(Event).values(state=EventState.CANCELLED))

    assert asked(mailing) == []


def test_an_unknown_event_is_no_page(reader: Reader, mailing: Mailing) -> None:
    for slug in ("findes-ikke", "x" * 65):
        for method in ("GET", "POST"):
            assert reader.request(method, mailing.path("remind", slug)).status_code == 404
    assert mailing.drain() == 0


def test_with_the_database_away_a_wish_is_taken_and_done_after_it(mailing: Mailing) -> None:
    with outage(mailing.runtime.database), open_reader(mailing.runtime) as reader:
        page = reader.get(mailing.path("remind", "midtjylland"))
        said = reader.post(mailing.path("remind", "midtjylland"))
        reader.post(mailing.path("remind", "findes-ikke"))
        reader.post(mailing.path("remind", "forrige"))

    assert (page.status_code, said.status_code) == (200, 200)
    assert 'name="choice" value="remind"' in page.text
    assert "Vi minder dig om mødet" in said.text
    assert asked(mailing) == [("midtjylland", mailing.recipient_id)]


@pytest.mark.parametrize("scope", SuppressionScope)
def test_only_who_said_no_to_everything_is_not_reminded(
    reader: Reader, mailing: Mailing, scope: SuppressionScope
) -> None:
    before = reader.get(mailing.path("remind", "midtjylland")).text
    with mailing.runtime.database.write() as db:
        suppress(db, mailing.address_hash, SuppressionReason.UNSUBSCRIBED, now=NOW, scope=scope)

    assert reader.get(mailing.path("remind", "midtjylland")).text == before
    said = reader.post(mailing.path("remind", "midtjylland")).text
    assert "sagt nej til alt" in said
    assert bool(asked(mailing)) is (scope is SuppressionScope.LETTERS)


def test_somebody_erased_since_has_no_page(reader: Reader, mailing: Mailing) -> None:
    with mailing.runtime.database.write() as db:
        db.execute(delete(Recipient).where(Recipient.id == mailing.recipient_id))

    for method in ("GET", "POST"):
        assert reader.request(method, mailing.path("remind", "midtjylland")).status_code == 404


def test_somebody_erased_before_the_wish_is_done_is_forgotten(reader: Reader, mailing: Mailing) -> None:
    reader.post(mailing.path("remind", "midtjylland"))
    with mailing.runtime.database.write() as db:
        db.execute(delete(Recipient).where(Recipient.id == mailing.recipient_id))

    assert asked(mailing) == []
    assert mailing.seen() == []


def test_the_page_speaks_the_recipients_language(reader: Reader, mailing: Mailing) -> None:
    path = mailing.path("remind", "midtjylland", position=2)
    page = reader.get(path).text

    assert '<html lang="en">' in page
    assert "Monday 7 April 2014" in page
    assert "Yes please, remind me" in page
    assert "Ja tak, mind mig om det" in reader.get(f"{path}?lang=da").text


@pytest.mark.parametrize("mode", ["none", "anonymous", "consent", "personal"])
def test_a_reminder_can_be_asked_for_in_every_tracking_mode(
    reader: Reader, mailing: Mailing, mode: str
) -> None:
    with mailing.runtime.database.write() as db:
        db.execute(update(Campaign).values(tracking=mode))

    reader.post(mailing.path("remind", "midtjylland"))

    assert asked(mailing) == [("midtjylland", mailing.recipient_id)]
    assert [event.position for event in mailing.seen()] == ([1] if mode == "personal" else [])
