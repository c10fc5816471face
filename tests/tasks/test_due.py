"""What is due is never overlooked, and what is not is not launched: the look agrees with the launch."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from mailer.events.registering import register
from mailer.runtime import Runtime
from mailer.tasks.due import IS_DUE
from mailer.tasks.launching import LAUNCH
from recipients.segments import create_segment
from tests.conftest import NOW
from tests.events.making import make_event
from tests.making import make_recipient, with_relay

REPORT_DUE = datetime(2014, 4, 8, 7, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def office(runtime: Runtime) -> Runtime:
    """A runtime with a relay that nobody calls, and a segment of staff."""
    with runtime.database.write() as db:
        make_recipient(db, address="anna@parterne.example", role="andet")
        create_segment(db, "sekretariater", "domain = parterne.example", NOW)
    return with_relay(runtime, 1, report_segment="sekretariater")


def test_every_kind_that_is_launched_is_looked_for() -> None:
    assert list(IS_DUE) == list(LAUNCH)


def test_nothing_is_due_where_nothing_happens(office: Runtime) -> None:
    assert [kind for kind, is_due in IS_DUE.items() if is_due(office, NOW)] == []
    assert [launch(office, NOW) for launch in LAUNCH.values()] == [[], [], []]


def test_a_report_is_due_from_its_moment_until_it_has_gone(office: Runtime) -> None:
    is_due, launch = IS_DUE["report"], LAUNCH["report"]
    assert not is_due(office, REPORT_DUE - SECOND)
    assert launch(office, REPORT_DUE - SECOND) == []
    assert is_due(office, REPORT_DUE)
    assert len(launch(office, REPORT_DUE)) == 1
    assert not is_due(office, REPORT_DUE + SECOND)
    assert launch(office, REPORT_DUE + SECOND) == []


def test_no_report_is_due_that_nobody_is_to_get(office: Runtime) -> None:
    settings = office.settings.model_copy(update={"report_segment": None})
    assert not IS_DUE["report"](replace(office, settings=settings), REPORT_DUE)


def test_meetings_that_cannot_be_read_are_left_to_the_launch(office: Runtime, tmp_path: Path) -> None:
    (tmp_path / "meetings.toml").write_text("meeting = 1", "utf-8")
    settings = office.settings.model_copy(update={"templates_dir": tmp_path})
    assert IS_DUE["report"](replace(office, settings=settings), NOW)


def test_who_registered_is_to_be_answered_once(office: Runtime) -> None:
    with office.database.write() as db:
        event = make_event(db, "aalborg")
        event.hosted, event.capacity = True, 1
        person = make_recipient(db, address="tr@kommune.example")
        register(db, "aalborg", person.id, now=NOW)
    assert IS_DUE["confirmations"](office, NOW)
    assert len(LAUNCH["confirmations"](office, NOW)) == 1
    assert not IS_DUE["confirmations"](office, NOW)


def test_a_reminder_is_due_from_its_moment_until_it_has_gone(office: Runtime) -> None:
    with office.database.write() as db:
        make_event(db, "aalborg", day=date(2014, 3, 21))
        make_recipient(db, address="tr@kommune.example")
    moments = [NOW + hours * timedelta(hours=1) for hours in range(0, 24 * 16, 6)]
    seen = False
    for now in moments:
        due = IS_DUE["reminders"](office, now)
        seen |= due
        assert due or LAUNCH["reminders"](office, now) == []
        if due:
            LAUNCH["reminders"](office, now)
            assert not IS_DUE["reminders"](office, now)
    assert seen
