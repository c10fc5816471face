from datetime import date

import pytest
from sqlalchemy.orm import Session

from mailer.events.catalogue import find_event, upcoming_events
from mailer.events.errors import EventNotFound
from mailer.events.models import EventState
from tests.events.making import make_event


def test_an_unknown_slug_is_answered_with_the_known_ones(db: Session) -> None:
    make_event(db, "kolding")
    with pytest.raises(EventNotFound, match="no event 'koldin'; there are: kolding"):
        find_event(db, "koldin")


def test_upcoming_events_are_open_and_not_past(db: Session) -> None:
    make_event(db, "past", day=date(2014, 3, 6))
    make_event(db, "later", day=date(2014, 4, 1))
    make_event(db, "today", day=date(2014, 3, 7))
    make_event(db, "off").state = EventState.CANCELLED

    coming = upcoming_events(db, date(2014, 3, 7))

    assert [event.slug for event in coming] == ["today", "later"]
