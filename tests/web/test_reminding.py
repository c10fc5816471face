"""Remind me of this event: GET shows, POST stores, and only what can still be kept."""

from typing import Any

import pytest
from sqlalchemy import delete, select

from mailer.events.models import Event, ReminderRequest
from mailer.tracking.models import Label, TrackingKind
from recipients.models import Recipient, SuppressionReason
from recipients.suppression import suppress
from tests.conftest import NOW
from tests.web.conftest import Mailing, Reader


def asked(mailing: Mailing) -> list[Any]:
    """Who asked for what."""
    with mailing.runtime.database.read() as db:
        wanted = select(Event.slug, ReminderRequest.recipient_id).join(
            Event, Event.id == ReminderRequest.event_id
        )
        return [tuple(row) for row in db.execute(wanted)]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_looking_stores_nothing(reader: Reader, mailing: Mailing, method: str) -> None:
    response = reader.request(method, mailing.path("remind", "midtjylland"))

    assert response.status_code == 200
    assert asked(mailing) == []
    assert mailing.seen() == []


def test_the_page_shows_the_event_and_a_button(reader: Reader, mailing: Mailing) -> None:
    page = reader.get(mailing.path("remind", "midtjylland")).text

    assert "Mandag den 7. april 2014" in page
    assert "kl. 13.30" in page
    assert "Skanderborg Park" in page
    assert '<form method="post">' in page


def test_posting_stores_once(reader: Reader, mailing: Mailing) -> None:
    first = reader.post(mailing.path("remind", "midtjylland"), data={"remind": "yes"})
    second = reader.post(mailing.path("remind", "midtjylland"))

    assert (first.status_code, second.status_code) == (200, 200)
    assert "Vi minder dig om mødet" in first.text
    assert second.text == first.text
    assert asked(mailing) == [("midtjylland", mailing.recipient_id)]
    (event,) = mailing.seen(TrackingKind.REMIND)
    assert (event.subject, event.position, event.label) == ("midtjylland", 1, Label.PERSON)
    assert "Vi minder dig om mødet" in reader.get(mailing.path("remind", "midtjylland")).text


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


def test_an_unknown_event_is_no_page(reader: Reader, mailing: Mailing) -> None:
    for method in ("GET", "POST"):
        assert reader.request(method, mailing.path("remind", "findes-ikke")).status_code == 404


def test_who_gets_no_mail_is_told_so(reader: Reader, mailing: Mailing) -> None:
    with mailing.runtime.database.write() as db:
        suppress(db, mailing.address_hash, SuppressionReason.UNSUBSCRIBED, now=NOW)

    page = reader.post(mailing.path("remind", "midtjylland")).text

    assert "Du får ikke breve fra os" in page
    assert asked(mailing) == []


def test_somebody_erased_since_has_no_page(reader: Reader, mailing: Mailing) -> None:
    with mailing.runtime.database.write() as db:
        db.execute(delete(Recipient).where(Recipient.id == mailing.recipient_id))

    assert reader.post(mailing.path("remind", "midtjylland")).status_code == 404


def test_the_page_speaks_the_recipients_language(reader: Reader, mailing: Mailing) -> None:
    page = reader.get(mailing.path("remind", "midtjylland", position=2)).text

    assert '<html lang="en">' in page
    assert "Monday 7 April 2014" in page
    assert "Yes please, remind me" in page
