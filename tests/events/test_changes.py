from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailer.campaigns.errors import NotAllowedNow
from mailer.campaigns.models import Link
from mailer.events.catalogue import find_event
from mailer.events.changes import cancel_event, list_history, untold_changes, update_event
from mailer.events.errors import BadEventValue
from mailer.events.models import (
    Event,
    EventState,
    Registration,
    RegistrationState,
    Reminder,
    ReminderState,
)
from mailer.events.registering import register
from mailer.events.requests import request_reminder
from tests.events.making import (
    EARLY,
    LAST,
    NOW,
    make_campaign,
    make_event,
    make_recipient,
    plan,
    policy,
)

LATER = NOW + timedelta(days=1)


def test_an_update_tells_what_changed_and_is_one_revision(db: Session) -> None:
    make_event(db, "kolding", start=time(10))

    done = update_event(
        db, "kolding", {"time": "09.30", "place": "Rådhuset", "capacity": "80"}, now=LATER
    )

    event = find_event(db, "kolding")
    assert done.changed == ("time", "place", "capacity", "state")
    assert (event.time, event.place, event.capacity) == (time(9, 30), "Rådhuset", 80)
    assert (event.sequence, event.updated_at) == (1, LATER)


def test_an_empty_value_clears_what_may_be_missing_and_nothing_else(db: Session) -> None:
    make_event(db, "kolding")
    update_event(db, "kolding", {"place": ""}, now=LATER)
    assert find_event(db, "kolding").place is None
    with pytest.raises(BadEventValue, match="date is missing"):
        update_event(db, "kolding", {"date": ""}, now=LATER)


def test_a_bad_value_changes_nothing(db: Session) -> None:
    make_event(db, "kolding")
    with pytest.raises(BadEventValue, match="time must be"):
        update_event(db, "kolding", {"place": "Rådhuset", "time": "ti"}, now=LATER)
    assert find_event(db, "kolding").place == "Medicinerhuset"


def test_a_slug_is_for_ever(db: Session) -> None:
    make_event(db, "kolding")
    with pytest.raises(BadEventValue, match="slug cannot be changed"):
        update_event(db, "kolding", {"slug": "vejle"}, now=LATER)


def targets(db: Session, slug: str) -> dict[str, str]:
    rows = db.execute(select(Link.key, Link.target).where(Link.event_slug == slug))
    return {row.key: row.target for row in rows}


def test_links_in_letters_that_have_left_follow_the_event(db: Session) -> None:
    for slug in ("kolding", "vejle"):
        make_event(db, slug)
        make_campaign(db, [make_recipient(db)], event_slug=slug)

    update_event(db, "kolding", {"programme_url": "https://program.example/k"}, now=LATER)
    assert targets(db, "kolding") == {
        "events.programme/kolding": "https://program.example/k",
        "events.registration/kolding": "/events/kolding",
    }

    update_event(db, "kolding", {"registration_url": "https://tilmeld.example/k"}, now=LATER)
    assert targets(db, "kolding")["events.registration/kolding"] == "https://tilmeld.example/k"
    assert targets(db, "vejle") == {
        "events.programme/vejle": "/events/vejle",
        "events.registration/vejle": "/events/vejle",
    }


def test_a_programme_withdrawn_opens_our_page_of_the_event_again(db: Session) -> None:
    make_event(db, "kolding")
    make_campaign(db, [make_recipient(db)], event_slug="kolding")
    update_event(db, "kolding", {"programme_url": "https://program.example/k"}, now=LATER)

    update_event(db, "kolding", {"programme_url": ""}, now=LATER)

    assert targets(db, "kolding")["events.programme/kolding"] == "/events/kolding"


def test_links_to_registration_open_our_page_while_the_event_is_hosted(db: Session) -> None:
    make_event(db, "kolding")
    make_campaign(db, [make_recipient(db)], event_slug="kolding")
    update_event(db, "kolding", {"registration_url": "https://tilmeld.example/k"}, now=LATER)

    update_event(db, "kolding", {"hosted": "ja"}, now=LATER)
    assert targets(db, "kolding")["events.registration/kolding"] == "/events/kolding"

    update_event(db, "kolding", {"registration_url": "https://tilmeld.example/k2"}, now=LATER)
    assert targets(db, "kolding")["events.registration/kolding"] == "/events/kolding"

    update_event(db, "kolding", {"hosted": ""}, now=LATER)
    assert targets(db, "kolding")["events.registration/kolding"] == "https://tilmeld.example/k2"


OPEN, MOVED, FULL, CANCELLED = EventState
Step = Mapping[str, object] | EventState


def take(db: Session, *steps: Step, slug: str = "kolding", now: datetime = LATER) -> Event:
    """Change the event step by step: by fields, or to a state somebody says."""
    for step in steps:
        if step is CANCELLED:
            cancel_event(db, slug, policy([EARLY, LAST]), now=now)
        elif isinstance(step, EventState):
            update_event(db, slug, {}, now=now, state=step)
        else:
            update_event(db, slug, step, now=now)
    return find_event(db, slug)


def take_each(
    db: Session,
    cases: Iterable[Sequence[Step]],
    start: time | None = time(9, 30),
    *,
    is_read: bool = False,
) -> Iterator[Event]:
    """Events of their own, each changed step by step."""
    for number, steps in enumerate(cases):
        slug = f"moede-{number}"
        make_event(db, slug, start=start)
        if is_read:
            request_reminder(db, slug, make_recipient(db).id, now=NOW)
        yield take(db, *steps, slug=slug)


STATES: list[tuple[list[Step], EventState]] = [
    ([{"date": "2014-06-17"}], MOVED),
    ([{"time": "10:00"}], MOVED),
    ([{"place": "Rådhuset"}], MOVED),
    ([{"address": "Rådhuspladsen 1"}], OPEN),  # was not known
    ([{"title": "Inspirationsmøde"}], OPEN),
    ([{"place": ""}], OPEN),
    ([{"place": ""}, {"place": "Rådhuset"}], MOVED),
    ([{"place": ""}, {"place": "Medicinerhuset"}], OPEN),
    ([{"date": "2014-06-17"}, {"date": "2014-06-16"}], OPEN),
    ([{"date": "2014-06-17"}, {"place": "Rådhuset"}, {"date": "2014-06-16"}], MOVED),
    ([{"place": "Medicinerhuset, sal 2"}, OPEN], OPEN),
    ([{"place": "Medicinerhuset, sal 2"}, OPEN, {"address": "Mølleparkvej 4"}], OPEN),
    ([{"place": "Medicinerhuset, sal 2"}, OPEN, {"place": "Rådhuset"}], MOVED),
    ([FULL], FULL),
    ([FULL, {"place": "Rådhuset"}], FULL),
    ([FULL, {"place": "Rådhuset"}, OPEN], MOVED),
    ([FULL, OPEN], OPEN),
    ([CANCELLED, {"place": "Rådhuset"}], CANCELLED),
    ([{"place": "Rådhuset"}, CANCELLED, OPEN], MOVED),
    ([CANCELLED, OPEN], OPEN),
]


def test_the_state_says_what_has_become_of_the_event(db: Session) -> None:
    events = take_each(db, [steps for steps, _ in STATES])
    assert [event.state for event in events] == [state for _, state in STATES]


def test_what_an_event_was_before_is_kept(db: Session) -> None:
    make_event(db, "kolding", start=time(9, 30))

    take(db, {"date": "2014-06-17", "time": "", "capacity": "80", "hosted": True})
    take(db, {"title": "Møde i kolding", "time": ""})

    history = [
        (one.field, one.old, one.new, one.at)
        for one, _ in list_history(db, find_event(db, "kolding").id)
    ]
    assert history == [
        ("date", "2014-06-16", "2014-06-17", LATER),
        ("time", "09:30:00", None, LATER),
        ("capacity", None, "80", LATER),
        ("hosted", "false", "true", LATER),
        ("state", "open", "moved", LATER),
    ]


def test_a_new_date_is_remembered_with_its_moment(db: Session) -> None:
    moving: list[Step] = [{"date": "2014-06-17"}]
    others: list[Step] = [{"time": "10:00"}, {"place": "Rådhuset"}, {"date": "2014-06-16"}]
    events = take_each(db, [[step] for step in (*moving, *others)])
    assert [event.moved_at for event in events] == [LATER, None, None, None]


def test_a_time_that_is_filled_in_moves_nothing(db: Session) -> None:
    make_event(db, "kolding")
    event = take(db, {"time": "09:30"})
    assert (event.state, event.moved_at, event.sequence) == (OPEN, None, 1)


def test_calendars_hear_of_what_they_show(db: Session) -> None:
    cases: list[tuple[list[Step], int]] = [
        ([CANCELLED], 1),
        ([CANCELLED, OPEN], 2),
        ([FULL], 0),
        ([{"programme_url": "https://program.example/k"}], 1),
        ([{"date": "2014-06-17", "place": "Rådhuset"}], 1),
        ([{"place": "Medicinerhuset"}], 0),
        ([{"capacity": 80}], 0),
        ([{"registration_url": "https://tilmeld.example/"}], 0),
        ([{"hosted": True, "reminders": "none"}], 0),
    ]
    events = take_each(db, [steps for steps, _ in cases])
    assert [event.sequence for event in events] == [sequence for _, sequence in cases]


UNTOLD: list[tuple[list[Step], list[tuple[str, str | None, str | None]]]] = [
    ([{"place": "A"}, {"place": "B"}], [("place", "Medicinerhuset", "B")]),
    ([{"date": "2014-06-17"}, {"date": "2014-06-16"}], []),
    ([{"time": "10:00"}], [("time", None, "10:00:00")]),
    ([{"capacity": "80", "hosted": "true", "reminders": "none", "region": "Sjælland"}], []),
    ([FULL], [("state", "open", "full")]),
    ([{"place": "B"}, FULL, OPEN], [("place", "Medicinerhuset", "B")]),
    ([CANCELLED], [("state", "open", "cancelled")]),
    ([CANCELLED, OPEN], []),
    ([{"registration_url": "https://a.example"}], [("registration_url", None, "https://a.example")]),
    ([{"registration_url": "https://a.example", "hosted": "true"}], []),
]


def test_what_is_told_is_the_difference(db: Session) -> None:
    events = take_each(db, [steps for steps, _ in UNTOLD], start=None, is_read=True)
    untold = [untold_changes(db, event)[1] for event in events]
    assert [[(one.field, one.old, one.new) for one in told] for told in untold] == [
        told for _, told in UNTOLD
    ]


def test_what_changed_before_anybody_was_interested_is_nobodys_news(db: Session) -> None:
    make_event(db, "kolding")
    event = take(db, {"place": "Rådhuset"})
    request_reminder(db, "kolding", make_recipient(db).id, now=LATER)
    assert untold_changes(db, event)[1] == []

    take(db, {"place": "Trapholt"})
    assert [(one.old, one.new) for one in untold_changes(db, event)[1]] == [("Rådhuset", "Trapholt")]


def test_an_event_known_to_be_cancelled_has_no_more_news(db: Session) -> None:
    make_event(db, "kolding")
    request_reminder(db, "kolding", make_recipient(db).id, now=NOW)
    event = take(db, CANCELLED)
    for row in untold_changes(db, event)[0]:
        row.told_at = LATER

    take(db, {"place": "Rådhuset"})
    assert untold_changes(db, event)[1] == []

    take(db, OPEN)
    told = [(one.field, one.new) for one in untold_changes(db, event)[1]]
    assert told == [("place", "Rådhuset"), ("state", "open")]


def test_with_an_event_its_reminders_are_called_off_and_its_registrations_stay(db: Session) -> None:
    make_event(db, "vejle")
    make_event(db, "kolding", start=time(9, 30)).hosted = True
    register(db, "kolding", make_recipient(db).id, now=NOW)

    called_off = cancel_event(db, "kolding", policy([EARLY, LAST]), now=NOW)

    rows = db.scalars(select(Reminder)).all()
    assert {(row.event_id, row.state) for row in rows} == {
        (find_event(db, "kolding").id, ReminderState.CANCELLED)
    }
    assert called_off.reminders == len(rows) > 0
    assert [row.state for row in db.scalars(select(Registration))] == [RegistrationState.SEATED]


def test_an_event_that_takes_place_after_all_is_reminded_of_again(db: Session) -> None:
    make_event(db, "kolding", start=time(9, 30))
    before = plan(db)

    take(db, CANCELLED, now=NOW)
    assert {one.state for one in plan(db).values()} == {ReminderState.CANCELLED}

    take(db, OPEN, now=NOW)
    assert plan(db) == before


def test_an_event_is_cancelled_once(db: Session) -> None:
    make_event(db, "kolding")
    event = take(db, CANCELLED)
    with pytest.raises(NotAllowedNow, match="kolding was cancelled already"):
        take(db, CANCELLED)
    assert event.sequence == 1


@pytest.mark.parametrize(
    ("change", "moved_up"), [({"capacity": "2"}, 1), ({"capacity": ""}, 2), ({"place": "B"}, 0)]
)
def test_who_waits_moves_up_when_there_are_more_seats(
    db: Session, change: dict[str, object], moved_up: int
) -> None:
    event = make_event(db, "kolding")
    event.hosted, event.capacity = True, 1
    for _ in range(3):
        register(db, "kolding", make_recipient(db).id, now=NOW)

    assert update_event(db, "kolding", change, now=LATER).moved_up == moved_up

    seated = select(Registration.number).where(Registration.state == RegistrationState.SEATED)
    assert db.scalars(seated.order_by(Registration.number)).all() == list(range(1, moved_up + 2))


def test_who_waits_moves_up_when_the_event_is_not_full_any_more(db: Session) -> None:
    make_event(db, "kolding").hosted = True
    take(db, FULL)
    register(db, "kolding", make_recipient(db).id, now=LATER)
    assert update_event(db, "kolding", {}, now=LATER, state=OPEN).moved_up == 1


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("hosted", "måske", "hosted must be true or false"),
        ("hosted", 1, "hosted must be true or false"),
        ("reminders", "14 dage", "reminders make no sense: '14 dage' is no lead"),
        ("date", "4/7/2014", "date must be a day such as 2014-03-24"),
        ("date", "0214-03-24", "date must be a day"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_what_would(
    db: Session, field: str, value: object, reason: str
) -> None:
    make_event(db, "kolding")
    with pytest.raises(BadEventValue, match=reason):
        update_event(db, "kolding", {field: value}, now=LATER)


def test_a_day_may_be_written_as_danes_do(db: Session) -> None:
    make_event(db, "kolding")
    assert take(db, {"date": "24-03-2014"}).date == date(2014, 3, 24)
    assert take(db, {"date": "7.4.2014", "time": "kl. 9.30"}).date == date(2014, 4, 7)
