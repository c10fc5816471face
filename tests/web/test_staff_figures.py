"""What staff see from one look to the next tells nobody's own act, and one report is of one moment."""

import asyncio

import pytest
from sqlalchemy import select, update

from mailer.campaigns.attention import Alarm, Trouble
from mailer.campaigns.models import Campaign
from mailer.foundation.database import Database
from mailer.reports.report import CampaignReport, Dimension
from mailer.runtime import Runtime
from mailer.tracking.models import TrackingKind
from mailer.web.staff import figures
from mailer.web.staff.answers import Answers
from mailer.web.staff.figures import StaffFigures
from mailer.web.staff.words import alarm, waiting
from recipients.models import Role
from tests.reports.factories import act, deliver, make_campaign, make_recipient

AUDIENCE = 200


@pytest.fixture
def campaign_id(runtime: Runtime) -> int:
    """A campaign to two hundred, of whom forty of each of two roles have opened."""
    with runtime.database.write() as db:
        campaign = make_campaign(db)
        for number in range(AUDIENCE):
            role = Role.MAYOR if number % 2 else Role.EMPLOYEE
            deliver(db, campaign, make_recipient(db, f"{number}@x.example", role=role))
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
        self._now += after
        report = self.look()
        assert report
        return sum(row.opened or 0 for row in report.by[Dimension.ROLE])

    def open_until(self, last: int, *, first: int) -> None:
        with self._runtime.database.write() as db:
            campaign = db.scalars(select(Campaign)).one()
            for position in range(first, last + 1):
                act(db, campaign, TrackingKind.OPEN, position)


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
