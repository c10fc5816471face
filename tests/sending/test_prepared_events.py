"""Events as a letter is frozen with them."""

from collections.abc import Sequence

import pytest
from sqlalchemy.orm import Session

from mailer.events.models import Event, EventState
from mailer.events.registering import register
from mailer.runtime import Runtime
from mailer.sending.preparing import prepare_letter
from tests.conftest import NOW
from tests.events.making import make_event, make_recipient
from tests.making import make_campaign


@pytest.fixture
def events(db: Session) -> Sequence[Event]:
    made = [make_event(db, slug) for slug in ("aalborg", "kolding", "odense", "vejle")]
    for event in made[:2]:
        event.hosted, event.capacity = True, 2
    for event, people in zip(made, (2, 1), strict=False):
        for _ in range(people):
            register(db, event.slug, make_recipient(db).id, now=NOW)
    made[2].state, made[3].state = EventState.FULL, EventState.CANCELLED
    db.flush()
    return made


def test_an_event_without_a_free_seat_is_full_in_letters(
    db: Session, runtime: Runtime, events: Sequence[Event]
) -> None:
    campaign = make_campaign(db, letter="stadig-plads")
    told = {}
    for event in events:
        letter = prepare_letter(runtime.letter_tools, db, campaign, now=NOW, about=event.slug)
        told[event.slug] = letter.events[0].state
    assert told == {"aalborg": "full", "kolding": "open", "odense": "full", "vejle": "cancelled"}
