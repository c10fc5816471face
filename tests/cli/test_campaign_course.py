"""`mailer campaign queue --spread …`, `resend`, `resume`, and `mailer stop --all`."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from mailer.campaigns.lifecycle import find_campaign
from mailer.campaigns.models import Batch, CampaignState, DeliveryState
from mailer.foundation.database import Database
from mailer.foundation.settings import Settings
from tests.campaigns.making import finalise, sending
from tests.cli.calling import Caller
from tests.conftest import NOW
from tests.making import make_campaign, make_recipients


@pytest.fixture
def mailer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Caller:
    """Nine o'clock on Friday 7 March 2014, with a relay nobody will talk to and no Redis."""
    caller = Caller(settings, monkeypatch, capsys)
    caller.set("SMTP_RELAYS", "smtp://127.0.0.1:9?starttls=never")
    caller.set("CLOCK", "2014-03-07T09:00+01:00")
    return caller


@pytest.fixture
def draft(database: Database) -> str:
    with database.write() as db:
        make_recipients(db, 6)
        make_campaign(db, name="brev")
    return "brev"


def state_of(database: Database, name: str) -> CampaignState:
    with database.read() as db:
        return find_campaign(db, name).state


def test_a_spread_campaign_tells_its_plan(mailer: Caller, draft: str, database: Database) -> None:
    wishes = ("--spread", "2d", "--hours", "8-16", "--workdays", "--at", "2014-03-07T20:00")
    answer = mailer("campaign", "queue", draft, *wishes, "--yes", "--json")

    assert answer.code == 0
    assert "6 letters in 6 parts from Mon 10 March 08:00 to Tue 11 March 13:20" in answer.stderr
    assert (answer.data["state"], answer.data["parts"]) == ("scheduled", 6)
    assert answer.data["first_at"] == "2014-03-10T08:00:00+01:00"
    assert answer.data["last_at"] == "2014-03-11T13:20:00+01:00"
    with database.read() as db:
        parts = db.scalars(select(Batch).order_by(Batch.id)).all()
        campaign = find_campaign(db, draft)
    assert [part.due_at for part in parts] == [None] * 6
    assert parts[1].planned_at == NOW + timedelta(days=3, hours=1, minutes=40)
    assert (campaign.hours, campaign.workdays) == ("8-16", True)
    assert campaign.opens_at == NOW + timedelta(days=3, hours=-1)


def test_hours_alone_hold_the_letters_and_say_until_when(mailer: Caller, draft: str) -> None:
    answer = mailer("campaign", "queue", draft, "--hours", "13-14:30", "--yes")
    assert answer.code == 0
    assert "6 letters queued for Fri 7 March 13:00" in answer.stderr
    waiting = mailer("campaign", "status", draft, "--json").data["waiting_for"]
    assert waiting == "its hours, 13-14:30: it goes on Fri 7 March 13:00"


def test_a_time_that_is_past_is_now(mailer: Caller, draft: str, database: Database) -> None:
    answer = mailer("campaign", "queue", draft, "--at", "2013-12-24T18:00", "--yes", "--json")
    assert answer.data["state"] == "sending"
    with database.read() as db:
        campaign = find_campaign(db, draft)
    assert campaign.due_at is None
    assert campaign.dated_at is not None
    assert abs(campaign.dated_at - NOW) < timedelta(minutes=1)


def test_an_hour_that_clocks_skip_is_the_one_after(mailer: Caller, draft: str) -> None:
    mailer("campaign", "queue", draft, "--at", "2014-03-30T02:30", "--yes")
    waiting = mailer("campaign", "status", draft, "--json").data["waiting_for"]
    assert waiting == "its time, Sun 30 March 03:30"


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        (("--spread", "3 days"), "write minutes, hours or days as  90m,  6h  or  3d"),
        (("--spread", "0d"), "write minutes, hours or days"),
        (("--hours", "16-8"), "hours begin before they end"),
        (("--hours", "office"), "write them as  8-16"),
        (("--spread", "366d", "--workdays"), "would take more than a year"),
        (("--at", "tomorrow"), "write a time such as 2014-03-07T09:00"),
    ],
)
def test_a_wrong_form_says_what_to_write_and_launches_nothing(
    mailer: Caller, draft: str, database: Database, wishes: tuple[str, ...], words: str
) -> None:
    answer = mailer("campaign", "queue", draft, *wishes, "--yes")
    assert answer.code == 2
    assert words in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert state_of(database, draft) == "draft"


def bounced(database: Database, name: str = "brev") -> None:
    with database.write() as db:
        campaign = sending(db, 4, name=name)
        finalise(db, campaign, {1: DeliveryState.BOUNCED, 2: DeliveryState.UNCERTAIN})
        campaign.state = CampaignState.FINISHED


def test_a_resend_asks_first_and_says_what_it_means(mailer: Caller, database: Database) -> None:
    bounced(database)
    answer = mailer("campaign", "resend", "brev", "--state", "uncertain")
    assert answer.code == 2
    assert "Offer 1 letter of brev once more? 1 may get the letter twice. Add --yes" in answer.stderr
    assert state_of(database, "brev") == "finished"


def test_a_resend_reopens_a_finished_campaign_without_redis(mailer: Caller, database: Database) -> None:
    bounced(database)
    answer = mailer("campaign", "resend", "brev", "--state", "bounced", "--yes", "--json")
    assert answer.code == 0
    told = {key: answer.data[key] for key in ("state", "resent", "left_out", "rung")}
    assert told == {"state": "sending", "resent": 1, "left_out": 0, "rung": False}
    again = mailer("campaign", "resend", "brev", "--state", "bounced")
    assert again.code == 0, "nothing to do needs no question"
    assert "no letter of brev is bounced" in again.stderr


def test_a_resend_of_a_campaign_that_never_left_is_not_allowed(mailer: Caller, draft: str) -> None:
    answer = mailer("campaign", "resend", draft, "--state", "failed", "--yes")
    assert answer.code == 5
    assert "is draft" in answer.stderr


@pytest.mark.parametrize("state", [(), ("--state", "sent"), ("--state", "complained")])
def test_letters_that_arrived_cannot_be_resent(mailer: Caller, state: tuple[str, ...]) -> None:
    assert mailer("campaign", "resend", "brev", *state, "--yes").code == 2


def test_stop_pauses_every_campaign_and_resume_undoes_one(mailer: Caller, database: Database) -> None:
    with database.write() as db:
        sending(db, 2, name="a")
        sending(db, 2, name="b", state=CampaignState.SCHEDULED, due_at=NOW)
        make_campaign(db, name="c")
    assert mailer("stop").code == 2
    assert state_of(database, "a") == "sending"

    answer = mailer("stop", "--all", "--json")

    assert answer.code == 0
    assert answer.data["paused"] == ["a", "b"]
    assert "mailer campaign resume a" in answer.stderr
    assert [state_of(database, name) for name in "abc"] == ["paused", "paused", "draft"]
    assert mailer("campaign", "resume", "b", "--yes").code == 0
    assert [state_of(database, name) for name in "abc"] == ["paused", "scheduled", "draft"]
    assert mailer("stop", "--all", "--json").data["paused"] == ["b"]


def test_after_a_resume_the_parts_of_a_spread_campaign_keep_their_distance(
    mailer: Caller, draft: str, database: Database
) -> None:
    mailer("campaign", "queue", draft, "--spread", "1h", "--yes")
    with database.write() as db:
        for part in db.scalars(select(Batch)):
            assert part.planned_at is not None
            part.planned_at -= timedelta(hours=5)
    mailer("campaign", "pause", draft)
    mailer("campaign", "resume", draft, "--yes")
    with database.read() as db:
        planned = db.scalars(select(Batch.planned_at).order_by(Batch.id)).all()
    first = planned[0]
    assert first is not None
    assert abs(first - NOW) < timedelta(minutes=1)
    assert [moment - first for moment in planned if moment] == [
        part * timedelta(minutes=10) for part in range(6)
    ]
