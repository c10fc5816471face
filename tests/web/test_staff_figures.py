"""What staff see from one look to the next tells nobody's own act, and one report is of one moment."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from mailer.campaigns.attention import Alarm, Trouble
from mailer.campaigns.models import Campaign, Delivery
from mailer.events.models import Event, Registration, RegistrationState
from mailer.foundation.database import Database
from mailer.reports.figures import CountedReport
from mailer.reports.report import CampaignReport, Dimension
from mailer.runtime import Runtime
from mailer.tracking.models import TrackingEvent, TrackingKind
from mailer.web.staff import figures
from mailer.web.staff.answers import Answers
from mailer.web.staff.figures import StaffFigures
from mailer.web.staff.words import alarm, waiting
from recipients.models import Recipient, Role
from tests.reports.factories import (
    act,
    deliver,
    make_campaign,
    make_event,
    make_link,
    make_recipient,
    register,
)

AUDIENCE = 200
MAYORS, EMPLOYEES = Role.MAYOR.value, Role.EMPLOYEE.value
Answer = TypeVar("Answer")


@pytest.fixture
def campaign_id(runtime: Runtime) -> int:
    """A campaign to two hundred: of each of two roles forty have opened, and ten have a seat."""
    with runtime.database.write() as db:
        campaign = make_campaign(db)
        make_link(db, campaign, "events.registration/odense", kind="registration", event="odense")
        event = make_event(db, "odense", "Møde i Odense")
        for number in range(AUDIENCE):
            role = Role.MAYOR if number % 2 else Role.EMPLOYEE
            recipient = make_recipient(db, f"{number}@x.example", role=role)
            deliver(db, campaign, recipient)
            if number < 20:
                register(db, event, recipient)
        for position in range(1, 81):
            act(db, campaign, TrackingKind.OPEN, position)
        return campaign.id


class Watcher:
    """Somebody who looks again and again, and for whom ten minutes and a day pass at once."""

    def __init__(self, runtime: Runtime, campaign_id: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self._runtime = runtime
        self._campaign_id = campaign_id
        self._now = 1000.0
        self.answers = Answers(runtime.database)
        self.figures = StaffFigures(runtime, self.answers)
        monkeypatch.setattr(figures.time, "monotonic", lambda: self._now)

    def look(self) -> CampaignReport | None:
        return asyncio.run(self.figures.groups(self._campaign_id))

    def opened(self, *, after: float) -> int:
        """How many are shown to have opened, in all groups."""
        return sum(count or 0 for count in self.by_role("opened", after=after).values())

    def by_role(self, measure: str, *, after: float) -> dict[str | None, int | None]:
        """What each role is shown to have done."""
        self._now += after
        report = self.look()
        assert report
        return {row.value: getattr(row, measure) for row in report.by[Dimension.ROLE]}

    def open_until(self, last: int, *, first: int) -> None:
        with self._runtime.database.write() as db:
            campaign = db.scalars(select(Campaign)).one()
            for position in range(first, last + 1):
                act(db, campaign, TrackingKind.OPEN, position)

    def swap_seats(self) -> None:
        """A mayor gives a seat back, and an employee takes it."""
        with self._runtime.database.write() as db:
            given_back = db.scalars(
                select(Registration)
                .join(Recipient, Recipient.id == Registration.recipient_id)
                .where(Recipient.role == Role.MAYOR)
            ).first()
            assert given_back
            given_back.state = RegistrationState.CANCELLED
            other = db.scalars(select(Recipient).where(Recipient.email == "198@x.example")).one()
            register(db, db.scalars(select(Event)).one(), other)

    def swap_readers(self) -> None:
        """A mayor who opened is erased with what was known of the reading, and an employee opens."""
        with self._runtime.database.write() as db:
            db.execute(delete(TrackingEvent).where(TrackingEvent.position == 40))
            db.execute(update(Delivery).where(Delivery.position == 40).values(recipient_id=None))
        self.open_until(81, first=81)


@pytest.fixture
def watcher(runtime: Runtime, campaign_id: int, monkeypatch: pytest.MonkeyPatch) -> Watcher:
    return Watcher(runtime, campaign_id, monkeypatch)


def test_groups_are_not_shown_anew_because_of_one_reader(watcher: Watcher) -> None:
    assert watcher.opened(after=0) == 80
    watcher.open_until(81, first=81)

    assert watcher.opened(after=601) == 80
    assert watcher.opened(after=601) == 80

    watcher.open_until(130, first=82)
    assert watcher.opened(after=1) == 80
    assert watcher.opened(after=601) == 130


def test_groups_are_shown_anew_after_a_day(watcher: Watcher) -> None:
    assert watcher.opened(after=0) == 80
    watcher.open_until(81, first=81)

    assert watcher.opened(after=86_401) == 81


def test_a_seat_that_changes_hands_shows_no_groups_anew(watcher: Watcher) -> None:
    assert watcher.by_role("registered", after=0) == {MAYORS: 10, EMPLOYEES: 10}
    watcher.swap_seats()

    assert watcher.by_role("registered", after=601) == {MAYORS: 10, EMPLOYEES: 10}
    watcher.open_until(130, first=81)  # by many, but the seats not
    assert watcher.by_role("registered", after=601) == {MAYORS: 10, EMPLOYEES: 10}
    assert watcher.opened(after=1) == 80
    assert watcher.by_role("registered", after=86_401) == {MAYORS: 9, EMPLOYEES: 11}


def test_a_reader_in_place_of_one_who_is_erased_shows_no_groups_anew(watcher: Watcher) -> None:
    assert watcher.by_role("opened", after=0) == {MAYORS: 40, EMPLOYEES: 40}
    watcher.swap_readers()

    assert watcher.by_role("opened", after=601) == {MAYORS: 40, EMPLOYEES: 40}


def test_many_readers_show_groups_anew_where_nobody_did_anything_else(watcher: Watcher) -> None:
    assert watcher.opened(after=0) == 80
    watcher.open_until(130, first=81)

    assert watcher.by_role("opened", after=601) == {MAYORS: 65, EMPLOYEES: 65}
    assert watcher.by_role("registered", after=1) == {MAYORS: 10, EMPLOYEES: 10}


class Overheard(Answers):
    """Answers that remember what the database was let go of with."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.said: list[object] = []

    def read(self, question: Callable[[Session], Answer]) -> Answer:
        answer = super().read(question)
        self.said.append(answer)
        return answer


def test_groups_are_hidden_when_the_database_is_let_go_of(runtime: Runtime, campaign_id: int) -> None:
    answers = Overheard(runtime.database)
    figures = StaffFigures(runtime, answers)

    shown = asyncio.run(figures.groups(campaign_id))
    look = asyncio.run(figures.campaign(campaign_id))

    assert shown
    assert [row.audience for row in shown.by[Dimension.ROLE]] == [100, 100]
    assert look
    assert look.report.delivery["audience"] == AUDIENCE
    groups, campaign = answers.said
    assert isinstance(groups, CountedReport)
    assert isinstance(campaign.report, CountedReport)  # type: ignore[attr-defined]


def test_asking_for_campaigns_that_do_not_exist_shows_no_groups_anew(watcher: Watcher) -> None:
    assert watcher.opened(after=0) == 80
    watcher.open_until(140, first=81)

    async def ask_for_others() -> None:
        for number in range(1000, 1600):
            assert await watcher.figures.groups(number) is None

    asyncio.run(ask_for_others())
    assert watcher.opened(after=1) == 80
    assert len(watcher.answers) < 10


def test_a_snapshot_does_not_see_what_is_written_meanwhile(
    database: Database, runtime: Runtime, campaign_id: int
) -> None:
    names = select(Campaign.name)
    with runtime.database.snapshot() as db:
        before = db.scalars(names).all()
        with database.write() as writing:
            writing.execute(update(Campaign).values(name="andet"))
        assert db.scalars(names).all() == before
    with runtime.database.read() as db:
        assert db.scalars(names).all() == ["andet"]


def test_the_overview_names_no_domain_that_takes_few_letters_at_a_time() -> None:
    words = waiting("the pace at which letters are taken at kimhansen.example and 2 more")

    assert words
    assert words.language == "da"
    assert "kimhansen" not in words.text


def test_the_overview_tells_in_danish_that_the_work_breaks_off() -> None:
    words = waiting("somebody to mend a fault: the work on some letters has broken off 3 times")

    assert words
    assert words.language == "da"
    assert "går i stå igen og igen" in words.text
    assert "gået i stå 3 gange" in alarm(Alarm(Trouble.BROKEN, "brev", 3))
