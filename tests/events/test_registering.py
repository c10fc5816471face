"""Seats in the order of signing up, a waiting list that moves up, and all of it side by side."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from threading import Barrier

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailer.events.errors import EventNotFound, RegistrationClosed
from mailer.events.models import Event, EventState, Registration, RegistrationSource, RegistrationState
from mailer.events.registering import Seats, cancel_registration, count_seats, fill_seats, register
from mailer.foundation.database import Database
from tests.events.making import NOW, make_event, make_recipient

SEATED, WAITING, CANCELLED = RegistrationState
MINUTE = timedelta(minutes=1)


def make_hosted(db: Session, slug: str = "aalborg", *, capacity: int | None = 2) -> Event:
    event = make_event(db, slug)
    event.hosted, event.capacity = True, capacity
    db.flush()
    return event


def sign_up(db: Session, event: Event, count: int, *, now: datetime = NOW) -> list[Registration]:
    return [register(db, event.slug, make_recipient(db).id, now=now) for _ in range(count)]


def states(registrations: Sequence[Registration]) -> list[RegistrationState]:
    return [registration.state for registration in registrations]


def test_seats_go_in_the_order_of_signing_up_and_the_others_wait(db: Session) -> None:
    event = make_hosted(db)

    signed_up = sign_up(db, event, 4)

    assert states(signed_up) == [SEATED, SEATED, WAITING, WAITING]
    assert [each.number for each in signed_up] == [1, 2, 3, 4]
    assert {each.source for each in signed_up} == {RegistrationSource.HOSTED}
    assert {(each.registered_at, each.changed_at, each.told) for each in signed_up} == {(NOW, NOW, None)}


def test_registering_twice_changes_nothing(db: Session) -> None:
    event = make_hosted(db, capacity=1)
    _, waiting = sign_up(db, event, 2)
    assert waiting.recipient_id is not None

    again = register(db, event.slug, waiting.recipient_id, now=NOW + MINUTE)

    assert again is waiting
    assert (again.state, again.number, again.registered_at) == (WAITING, 2, NOW)


def test_without_a_capacity_everybody_has_a_seat(db: Session) -> None:
    event = make_hosted(db, capacity=None)

    assert set(states(sign_up(db, event, 5))) == {SEATED}


def test_a_seat_given_back_moves_up_exactly_the_first_that_waits(db: Session) -> None:
    event = make_hosted(db)
    first, second, third, fourth = sign_up(db, event, 4)

    moved = cancel_registration(db, first, now=NOW + MINUTE)

    assert moved is third
    assert states([first, second, third, fourth]) == [CANCELLED, SEATED, SEATED, WAITING]
    assert (third.changed_at, third.registered_at) == (NOW + MINUTE, NOW)
    assert cancel_registration(db, first, now=NOW + MINUTE) is None
    assert fourth.state is WAITING


def test_a_place_on_the_waiting_list_given_back_moves_nobody(db: Session) -> None:
    event = make_hosted(db)
    *_, third, fourth = sign_up(db, event, 4)

    assert cancel_registration(db, third, now=NOW + MINUTE) is None
    assert states([third, fourth]) == [CANCELLED, WAITING]


def test_whoever_signs_up_again_goes_to_the_end(db: Session) -> None:
    event = make_hosted(db, capacity=1)
    first, second, third = sign_up(db, event, 3)
    cancel_registration(db, first, now=NOW + MINUTE)
    assert first.recipient_id is not None

    again = register(db, event.slug, first.recipient_id, now=NOW + 2 * MINUTE)

    assert again is first
    assert (again.number, again.state, again.registered_at) == (4, WAITING, NOW + 2 * MINUTE)
    assert cancel_registration(db, second, now=NOW + 3 * MINUTE) is third


def test_what_comes_in_late_is_judged_by_its_moment(db: Session) -> None:
    event = make_hosted(db)
    (registration,) = sign_up(db, event, 1, now=NOW + 2 * MINUTE)
    assert registration.recipient_id is not None

    cancel_registration(db, registration, now=NOW + MINUTE)
    assert registration.state is SEATED

    cancel_registration(db, registration, now=NOW + 4 * MINUTE)
    register(db, event.slug, registration.recipient_id, now=NOW + 3 * MINUTE)
    assert registration.state is CANCELLED


def test_nobody_is_seated_while_staff_say_it_is_full(db: Session) -> None:
    event = make_hosted(db, capacity=10)
    (seated,) = sign_up(db, event, 1)
    event.state = EventState.FULL
    waiting, next_one = sign_up(db, event, 2)
    assert states([waiting, next_one]) == [WAITING, WAITING]
    assert fill_seats(db, event, now=NOW) == 0

    assert cancel_registration(db, seated, now=NOW) is waiting  # a seat for a seat

    event.state = EventState.OPEN
    assert fill_seats(db, event, now=NOW) == 1
    assert next_one.state is SEATED


def test_more_seats_move_up_as_many_in_their_order(db: Session) -> None:
    event = make_hosted(db, capacity=1)
    signed_up = sign_up(db, event, 5)
    event.capacity = 3

    assert fill_seats(db, event, now=NOW + MINUTE) == 2
    assert states(signed_up) == [SEATED, SEATED, SEATED, WAITING, WAITING]
    assert fill_seats(db, event, now=NOW + MINUTE) == 0
    event.capacity = None
    assert fill_seats(db, event, now=NOW + MINUTE) == 2


def test_fewer_seats_take_nobodys_away_and_give_none_on(db: Session) -> None:
    event = make_hosted(db, capacity=3)
    first, second, third, fourth = sign_up(db, event, 4)
    event.capacity = 2

    assert cancel_registration(db, first, now=NOW) is None
    assert states([second, third, fourth]) == [SEATED, SEATED, WAITING]
    assert cancel_registration(db, second, now=NOW) is fourth


def test_an_event_takes_registrations_to_the_end_of_its_day_where_it_is(db: Session) -> None:
    event = make_hosted(db)
    last = datetime.fromisoformat("2014-06-16T23:59:59+02:00")

    assert states(sign_up(db, event, 1, now=last)) == [SEATED]
    with pytest.raises(RegistrationClosed, match="over"):
        sign_up(db, event, 1, now=last + timedelta(seconds=1))


def test_who_waits_for_an_event_that_is_over_or_cancelled_moves_up_no_more(db: Session) -> None:
    for slug, state, day in (
        ("over", EventState.OPEN, date(2014, 3, 6)),
        ("called-off", EventState.CANCELLED, date(2014, 6, 16)),
    ):
        event = make_hosted(db, slug, capacity=1)
        first, second = sign_up(db, event, 2)
        event.state, event.date = state, day

        assert cancel_registration(db, first, now=NOW) is None
        event.capacity = 5
        assert fill_seats(db, event, now=NOW) == 0
        assert states([first, second]) == [CANCELLED, WAITING]


def test_nobody_registers_for_what_is_cancelled_elsewhere_or_unknown(db: Session) -> None:
    recipient = make_recipient(db)
    make_event(db, "elsewhere")
    make_hosted(db, "cancelled").state = EventState.CANCELLED

    for slug in ("cancelled", "elsewhere"):
        with pytest.raises(RegistrationClosed):
            register(db, slug, recipient.id, now=NOW)
    with pytest.raises(EventNotFound):
        register(db, "unknown", recipient.id, now=NOW)
    assert db.scalar(select(func.count()).select_from(Registration)) == 0


def test_seats_are_counted_for_each_event(db: Session) -> None:
    event, other = make_hosted(db), make_hosted(db, "kolding")
    first, *_ = sign_up(db, event, 4)
    cancel_registration(db, first, now=NOW)

    assert count_seats(db, [event.id, other.id]) == {
        event.id: Seats(seated=2, waiting=1, cancelled=1),
        other.id: Seats(),
    }
    assert count_seats(db, []) == {}


def test_two_hundred_at_once_for_fifty_seats(database: Database) -> None:
    with database.write() as db:
        event = make_hosted(db, capacity=50)
        slug, event_id = event.slug, event.id
        recipients = [make_recipient(db).id for _ in range(200)]

    def sign_up_one(recipient_id: int) -> None:
        with database.write() as db:
            register(db, slug, recipient_id, now=NOW)

    at_once(200, [lambda who=who: sign_up_one(who) for who in recipients])  # type: ignore[misc]

    with database.read() as db:
        line = db.scalars(select(Registration).order_by(Registration.number)).all()
        assert [each.number for each in line] == list(range(1, 201))
        assert states(line) == [SEATED] * 50 + [WAITING] * 150

    def give_back(registration_id: int) -> None:
        with database.write() as db:
            cancel_registration(db, db.get_one(Registration, registration_id), now=NOW)

    given = [line[place].id for place in (7, 7, 20, 20, 49, 49)]
    at_once(6, [lambda which=which: give_back(which) for which in given])  # type: ignore[misc]

    with database.read() as db:
        assert count_seats(db, [event_id])[event_id] == Seats(seated=50, waiting=147, cancelled=3)
        last = db.scalar(select(func.max(Registration.number)).where(Registration.state == SEATED))
        assert last == 53


def at_once(count: int, deeds: Sequence[Callable[[], None]]) -> None:
    """Do all of these in threads of their own, which begin together."""
    start = Barrier(count)

    def run(deed: Callable[[], None]) -> None:
        start.wait(30)
        deed()

    with ThreadPoolExecutor(count) as threads:
        assert Counter(threads.map(run, deeds)) == Counter({None: count})
