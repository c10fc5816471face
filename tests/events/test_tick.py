"""The tick: one of many looks, each reminder goes once, and a lost day is accounted for."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Thread

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailer.campaigns.heartbeats import TICK_LEASE, TICKED, last_heartbeat, take_lease
from mailer.campaigns.models import Campaign, Delivery
from mailer.events.catalogue import find_event
from mailer.events.changes import update_event
from mailer.events.importing import import_events
from mailer.events.models import EventState, Reminder, ReminderState
from mailer.events.policy import policy_of
from mailer.events.reminders import PlannedReminder, plan_reminders
from mailer.foundation.clock import real_now
from mailer.foundation.database import Database
from mailer.foundation.settings import SettingsError
from mailer.launch import LaunchRefused, LaunchTools
from mailer.notices.reminders import LaunchedReminder, launch_due_reminders
from mailer.runtime import Runtime
from mailer.tasks.ticking import LEASE, tick
from recipients.models import Recipient
from tests.events.making import NOW, ask, click, make_campaign, make_recipient, seat

TEMPLATES = Path(__file__).parents[2] / "templates"
REAL = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
_ENDLESS = "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}"


def take(database: Database, now: datetime) -> bool:
    with database.write() as db:
        return take_lease(db, "x", now=now, length=LEASE)


# Whose turn it is


def test_a_lease_is_taken_once_until_it_ends(database: Database) -> None:
    assert take(database, REAL)
    assert not take(database, REAL)
    assert not take(database, REAL + LEASE - SECOND)
    assert take(database, REAL + LEASE)
    assert not take(database, REAL + LEASE + SECOND)


def test_a_clock_that_was_put_back_holds_nothing_up(database: Database) -> None:
    assert take(database, REAL)
    assert take(database, REAL - timedelta(hours=1))


@pytest.mark.parametrize("is_first", [True, False])
def test_of_many_who_come_at_once_one_takes_the_lease(database: Database, *, is_first: bool) -> None:
    if not is_first:
        take(database, REAL - 2 * LEASE)
    ready, taken = Barrier(3), []

    def come() -> None:
        ready.wait()
        taken.append(take(database, REAL))

    threads = [Thread(target=come) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False, False, True]


def test_of_many_beats_one_looks_and_the_next_minute_is_for_whoever_comes_first(
    database: Database,
) -> None:
    looked: list[int] = []

    def look() -> list[int]:
        looked.append(1)
        return [7]

    assert [tick(database, {"reminders": look}) for _ in range(3)] == [[7], [], []]
    assert len(looked) == 1
    with database.read() as db:
        assert last_heartbeat(db, TICKED) is not None


def test_a_tick_that_was_killed_is_taken_over_by_the_next(database: Database) -> None:
    """It had taken the lease, a little longer ago than the lease lasts, and noted nothing since."""
    with database.write() as db:
        take_lease(db, TICK_LEASE, now=real_now() - LEASE, length=LEASE)
    assert tick(database, {"reminders": lambda: [7]}) == [7]


@pytest.mark.parametrize(
    "trouble", [SettingsError("no relay"), LaunchRefused("reads wrong"), MemoryError()]
)
def test_what_goes_wrong_with_one_kind_stops_no_other_and_is_no_success(
    database: Database, trouble: Exception
) -> None:
    def fail() -> list[int]:
        raise trouble

    assert tick(database, {"reminders": fail, "confirmations": lambda: [8]}) == [8]
    with database.read() as db:
        assert last_heartbeat(db, TICKED) is None


# What it does


@pytest.fixture
def tools(runtime: Runtime) -> LaunchTools:
    relay = SecretStr("smtp://127.0.0.1:2525?starttls=never")
    settings = runtime.settings.model_copy(update={"smtp_relays": relay})
    return Runtime(settings, runtime.database, runtime.clock, runtime.tokens).launch_tools


@pytest.fixture
def people(database: Database) -> dict[str, list[Recipient]]:
    """The events of 2014, and those who asked for, registered for, and clicked those of Skanderborg."""
    with database.write() as db:
        import_events(db, TEMPLATES / "letters/startpakke/events.toml", NOW)
        event = find_event(db, "midtjylland")
        kinds = {
            kind: [make_recipient(db) for _ in range(number)]
            for number, kind in enumerate(("registered", "asked", "clicked"), start=1)
        }
        seat(db, event, *kinds["registered"])
        ask(db, event, *kinds["asked"], *kinds["registered"])
        campaign = make_campaign(db, kinds["clicked"] + kinds["asked"], event_slug=event.slug)
        for position in range(1, 6):
            click(db, campaign, position)
    return kinds


def reminded(db: Session) -> dict[str, list[int | None]]:
    """Who got which letter of the reminders so far."""
    rows = db.execute(
        select(Campaign.letter, Delivery.recipient_id)
        .join(Delivery, Delivery.campaign_id == Campaign.id)
        .where(Campaign.auto_submitted)
        .order_by(Delivery.recipient_id)
    )
    found: dict[str, list[int | None]] = {}
    for letter, recipient_id in rows:
        found.setdefault(letter, []).append(recipient_id)
    return found


def test_each_kind_of_recipient_gets_its_own_letter_once_though_three_tick_at_once(
    database: Database, tools: LaunchTools, people: dict[str, list[Recipient]]
) -> None:
    now = datetime.fromisoformat("2014-03-24T09:00+01:00")
    ready, sent, failed = Barrier(3), [], []

    def look() -> None:
        ready.wait()
        try:
            sent.extend(launch_due_reminders(tools, database, now=now))
        except Exception as error:  # noqa: BLE001 - the assertion below shows it
            failed.append(error)

    threads = [Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert sorted((one.rule, one.audience) for one in sent) == [
        ("asked", 2),
        ("clicked", 3),
        ("registered", 1),
    ]
    with database.read() as db:
        assert reminded(db) == {
            letter: [one.id for one in people[kind]]
            for letter, kind in (
                ("paamindelse", "asked"),
                ("stadig-plads", "clicked"),
                ("vi-ses", "registered"),
            )
        }


def test_a_reminder_whose_event_is_moved_this_moment_does_not_go(
    database: Database, tools: LaunchTools, people: dict[str, list[Recipient]]
) -> None:
    now = datetime.fromisoformat("2014-03-24T09:00+01:00")
    sent: list[LaunchedReminder] = []
    looking = Thread(target=lambda: sent.extend(launch_due_reminders(tools, database, now=now)))
    with database.write() as db:
        update_event(db, "midtjylland", {"date": "2014-05-07", "place": ""}, now=now)
        looking.start()
        looking.join(1)
        assert looking.is_alive()
    looking.join()

    assert [one for one in sent if one.event_slug == "midtjylland"] == []
    with database.read() as db:
        assert reminded(db) == {}
        assert db.scalar(select(func.count()).select_from(Reminder)) == 0


@pytest.mark.parametrize("trouble", ["{{ 'x' * 10 ** 18 }}", _ENDLESS], ids=["memory", "recursion"])
def test_trouble_with_one_letter_holds_up_no_other(
    database: Database,
    tools: LaunchTools,
    people: dict[str, list[Recipient]],
    tmp_path: Path,
    trouble: str,
) -> None:
    own = tmp_path / "own/letters/vi-ses"
    shutil.copytree(TEMPLATES / "letters/vi-ses", own)
    (own / "body.txt").write_text(trouble, "utf-8")
    letters = replace(tools.letters, folders=(tmp_path / "own", *tools.letters.folders))
    now = datetime.fromisoformat("2014-03-24T09:00+01:00")

    sent = launch_due_reminders(replace(tools, letters=letters), database, now=now)

    assert {one.rule for one in sent} == {"asked", "clicked"}
    with database.read() as db:
        due = [one for one in _fallen_due(db, tools, now) if one.state is ReminderState.DUE]
    assert {one.rule for one in due} == {"registered"}


def test_whoever_registers_between_two_late_reminders_gets_the_nearest_alone(
    database: Database, tools: LaunchTools, people: dict[str, list[Recipient]]
) -> None:
    """Two letters for two kinds, both late; somebody was of one kind then and is of the other now."""
    patient = tools.settings.model_copy(update={"reminder_grace_hours": 30 * 24})
    tools = replace(tools, letters=replace(tools.letters, settings=patient))
    with database.write() as db:
        event = find_event(db, "midtjylland")
        event.reminders = "14 days: paamindelse, 9 days: vi-ses"
        mover = people["asked"][0]
        seat(db, event, mover, at=datetime(2014, 3, 25, tzinfo=UTC))

    launch_due_reminders(tools, database, now=datetime(2014, 3, 31, 8, 0, tzinfo=UTC))

    with database.read() as db:
        got = [one for letter in reminded(db).values() for one in letter]
    assert len(got) == len(set(got))
    assert mover.id in got


def test_a_lost_day_is_accounted_for_reminder_by_reminder(
    database: Database, tools: LaunchTools, people: dict[str, list[Recipient]]
) -> None:
    """Beat stands still for days; one event is called off, one is full, one lacks its time."""
    with database.write() as db:
        find_event(db, "midtjylland").reminders = "10 days: paamindelse, 6 days: paamindelse, 7 days"
        find_event(db, "hovedstaden").state = EventState.FULL
        find_event(db, "syddanmark").state = EventState.CANCELLED
    ticks = [
        "2014-03-10T09:00+01:00",
        "2014-03-17T11:00+01:00",
        "2014-03-28T08:00+01:00",
        "2014-03-31T09:01+02:00",
        "2014-04-02T21:00+02:00",
        "2014-05-12T12:00+02:00",
    ]
    for moment in ticks:
        launch_due_reminders(tools, database, now=datetime.fromisoformat(moment))

    with database.read() as db:
        fallen = _fallen_due(db, tools, datetime.fromisoformat("2014-05-12T12:00+02:00"))
        sent = db.scalar(select(func.count()).select_from(Campaign).where(Campaign.auto_submitted))

    by_state: dict[str, int] = {}
    for one in fallen:
        name = one.state.value + (", late" if one.late else "")
        by_state[name] = by_state.get(name, 0) + 1
        assert one.reason or one.state is ReminderState.SENT
    assert sum(by_state.values()) == len(fallen)
    assert set(by_state) == {"sent", "sent, late", "missed", "cancelled"}
    assert sent == sum(one.campaign_id is not None for one in fallen)


def _fallen_due(db: Session, tools: LaunchTools, now: datetime) -> list[PlannedReminder]:
    planned = plan_reminders(
        db,
        policy_of(tools.settings, [TEMPLATES]),
        now=now,
    )
    return [one for one in planned if one.due_at <= now]
