import contextlib
import re
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select

from mailer.campaigns.models import Campaign, Delivery
from mailer.events.models import Reminder
from mailer.events.requests import request_reminder
from mailer.foundation.database import Database
from mailer.foundation.settings import Settings
from mailer.notices.reminders import launch_due_reminders
from mailer.runtime import Runtime
from tests.cli.calling import Caller, Terminal
from tests.events.making import NOW, make_campaign, make_recipient

SHIPPED = str(Path(__file__).parents[2] / "templates/letters/startpakke/events.toml")
RELAY = "smtp://127.0.0.1:2525?starttls=never"
BEFORE, DUE, LATER = "2014-03-10T08:59", "2014-03-10T09:00+01:00", "2014-03-10T11:00"


@pytest.fixture
def mailer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Caller:
    caller = Caller(settings, monkeypatch, capsys)
    caller.set("SMTP_RELAYS", RELAY)
    caller.set("CLOCK", "2014-03-07T09:00+01:00")
    assert caller("event", "import", SHIPPED).code == 0
    return caller


def ask(database: Database, slug: str, *, people: int, at: datetime = NOW) -> None:
    """People who got the letter and asked to be reminded."""
    with database.write() as db:
        asking = [make_recipient(db) for _ in range(people)]
        make_campaign(db, asking, event_slug=slug)
        for recipient in asking:
            request_reminder(db, slug, recipient.id, now=at)


def one(answer: dict[str, Any], event: str, lead: str, rule: str = "asked") -> dict[str, Any]:
    wanted = (event, lead, rule)
    found = [row for row in answer["reminders"] if (row["event"], row["lead"], row["rule"]) == wanted]
    assert len(found) == 1
    row: dict[str, Any] = found[0]
    return row


def test_the_plan_says_when_to_how_many_and_why_not(mailer: Caller, database: Database) -> None:
    ask(database, "hovedstaden", people=2)
    answer = mailer("reminder", "plan", "--json")
    assert answer.code == 0
    assert len(answer.data["reminders"]) == 5 * 3 * 3
    assert one(answer.data, "hovedstaden", "14 days") == {
        "event": "hovedstaden",
        "event_date": "2014-03-24",
        "lead": "14 days",
        "rule": "asked",
        "due_at": "2014-03-10T08:00:00+00:00",
        "local_time": "2014-03-10T09:00:00+01:00",
        "audience": 2,
        "state": "planned",
        "late": False,
        "reason": None,
        "letter": "paamindelse",
        "campaign_id": None,
        "campaign": None,
        "at": None,
    }
    blocked = one(answer.data, "sjaelland", "1 day")
    assert (blocked["state"], blocked["local_time"]) == ("blocked", "2014-06-16T09:00:00+02:00")
    assert blocked["reason"] == "no place and no time yet"
    letters = {
        rule: one(answer.data, "hovedstaden", "7 days", rule)["letter"]
        for rule in ("registered", "asked", "clicked")
    }
    assert letters == {"registered": "vi-ses", "asked": "paamindelse", "clicked": "stadig-plads"}


def test_the_plan_as_a_table_has_a_line_per_event_and_lead_and_a_number_per_rule(
    mailer: Caller, database: Database
) -> None:
    ask(database, "midtjylland", people=7)
    heading, *lines = mailer("reminder", "plan").stdout.splitlines()
    assert heading.split() == [
        *("event", "lead", "when", "(local)", "registered", "asked", "clicked", "state"),
    ]
    assert len(lines) == 15
    (line,) = [line for line in lines if "midtjylland" in line and "7 days" in line]
    assert " ".join(line.split()) == ("midtjylland 7 days Mon 2014-03-31 09:00 0 7 0 planned")


def test_the_plan_fits_a_terminal_of_100_columns_on_two_lines_a_row(
    mailer: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Terminal()
    monkeypatch.setenv("COLUMNS", "100")
    with contextlib.redirect_stdout(screen):
        mailer("reminder", "plan")
    lines = screen.lines()
    starts = [n for n, line in enumerate(lines) if not line.startswith(" ")]
    assert max(map(len, lines)) <= 100
    assert len(starts) == 1 + 5 * 3
    assert max(end - start for start, end in pairwise([*starts, len(lines)])) <= 2
    assert all(re.match(r"[a-z]+ +(14 days|7 days |1 day  )  \w{3} 2014-", lines[n]) for n in starts[1:])


def test_rules_that_stand_differently_are_told_apart(mailer: Caller) -> None:
    mailer("event", "update", "midtjylland", "--reminders", "7 days, 7 days: invitation-igen")
    mailer("event", "update", "midtjylland", "--state", "full")
    table = mailer("reminder", "plan").stdout
    lines = [" ".join(line.split()) for line in table.splitlines() if "midtjylland" in line]
    assert lines == [
        "midtjylland 7 days Mon 2014-03-31 09:00 0 0 – – planned",
        "midtjylland 7 days Mon 2014-03-31 09:00 – – 0 0 not while all seats are taken",
    ]
    assert "region" in table.splitlines()[0]


def test_a_letter_nobody_has_blocks_and_says_so(mailer: Caller) -> None:
    mailer("event", "update", "midtjylland", "--reminders", "7 days: vi-sess")
    answer = mailer("reminder", "plan")
    assert "no reminder letter 'vi-sess'; there are: " in answer.stdout
    assert "mailer event update midtjylland --reminders …" in answer.stderr
    assert mailer("reminder", "run", "--now", "2014-03-31T09:00", "--yes").code == 0


def test_the_plan_as_a_table_says_what_would_unblock(mailer: Caller) -> None:
    answer = mailer("reminder", "plan")
    assert "Fri 2014-03-21 09:00" in answer.stdout
    assert "mailer event update sjaelland --place … --time …" in answer.stderr
    assert "mailer event update hovedstaden --time …" in answer.stderr


@pytest.mark.parametrize(
    ("now", "state", "late"),
    [
        (BEFORE, "planned", False),
        (DUE, "due", False),
        (LATER, "due", True),
        ("2014-03-11T09:01", "missed", False),
    ],
)
def test_any_moment_can_be_rehearsed(mailer: Caller, now: str, state: str, late: bool) -> None:
    found = one(mailer("reminder", "plan", "--now", now, "--json").data, "hovedstaden", "14 days")
    assert (found["state"], found["late"]) == (state, late)


@pytest.mark.parametrize("moment", ["i morgen", "0001-01-01T00:00", "9999-12-31T23:59-14:00"])
@pytest.mark.parametrize("verb", ["plan", "run"])
def test_a_moment_nobody_can_read_is_wrong_usage(mailer: Caller, verb: str, moment: str) -> None:
    answer = mailer("reminder", verb, "--now", moment)
    assert answer.code == 2
    assert "2014-03-21T09:00" in answer.stderr


def test_running_twice_sends_once(mailer: Caller, database: Database) -> None:
    ask(database, "hovedstaden", people=3)

    first = mailer("reminder", "run", "--now", LATER, "--yes", "--json")
    again = mailer("reminder", "run", "--now", LATER, "--yes", "--json")

    assert (first.code, again.code) == (0, 0)
    (sent,) = first.data["reminders"]
    assert (sent["event"], sent["lead"], sent["audience"]) == ("hovedstaden", "14 days", 3)
    assert sent["late"] is True
    assert first.data["rung"] is False
    assert again.data["reminders"] == []
    with database.read() as db:
        campaign = db.scalar(select(Campaign).where(Campaign.name == sent["campaign"]))
        assert campaign is not None
        assert campaign.auto_submitted
        deliveries = select(func.count()).where(Delivery.campaign_id == campaign.id)
        assert db.scalar(deliveries) == 3
    planned = mailer("reminder", "plan", "--json").data
    assert one(planned, "hovedstaden", "14 days")["state"] == "sent"
    listed = one(mailer("reminder", "list", "--json").data, "hovedstaden", "14 days")
    assert listed["event_date"] == "2014-03-24"
    assert (listed["event"], listed["lead"], listed["late"]) == ("hovedstaden", "14 days", True)
    assert listed["campaign"] == sent["campaign"]
    assert "sent, late" in mailer("reminder", "list").stdout


def test_who_asked_after_the_due_moment_is_left_for_the_next(mailer: Caller, database: Database) -> None:
    ask(database, "hovedstaden", people=1)
    ask(database, "hovedstaden", people=2, at=datetime(2014, 3, 10, 8, 30, tzinfo=UTC))
    (sent,) = mailer("reminder", "run", "--now", LATER, "--yes", "--json").data["reminders"]
    assert sent["audience"] == 1
    (sent,) = mailer("reminder", "run", "--now", "2014-03-17T09:00", "--yes", "--json").data["reminders"]
    assert sent["audience"] == 3


def test_nothing_goes_without_a_yes_off_a_terminal(mailer: Caller, database: Database) -> None:
    ask(database, "hovedstaden", people=3)
    answer = mailer("reminder", "run", "--now", DUE)
    assert answer.code == 2
    assert "Send 1 reminder to 3 recipients?" in answer.stderr
    with database.read() as db:
        assert db.scalar(select(func.count()).select_from(Reminder)) == 0


def test_nothing_due_is_no_error(mailer: Caller) -> None:
    answer = mailer("reminder", "run", "--yes")
    assert (answer.code, answer.stdout, answer.stderr) == (0, "", "nothing is due\n")


def test_what_is_due_to_nobody_is_said_to_be(mailer: Caller) -> None:
    answer = mailer("reminder", "run", "--now", DUE, "--yes")
    assert (answer.code, answer.stderr) == (0, "nobody is to be reminded\n")


def test_a_reminder_that_cannot_go_is_a_failure(
    mailer: Caller, database: Database, tmp_path: Path
) -> None:
    ask(database, "hovedstaden", people=1)
    folder = tmp_path / "letters/paamindelse"
    folder.mkdir(parents=True)
    (folder / "letter.toml").write_text('leads = ["14 days"]')
    for part in ("subject.txt", "body.txt", "body.html"):
        (folder / part).write_text("{{ recipient.nothing }}")
    mailer.set("TEMPLATES_DIR", str(tmp_path))
    answer = mailer("reminder", "run", "--now", DUE, "--yes")
    assert answer.code == 1
    assert "1 reminder could not go" in answer.stderr
    assert (
        one(mailer("reminder", "plan", "--now", DUE, "--json").data, "hovedstaden", "14 days")["state"]
        == "due"
    )


def test_a_blocked_reminder_is_not_sent(mailer: Caller, database: Database) -> None:
    ask(database, "hovedstaden", people=1)
    day_before = ("--now", "2014-03-21T09:00", "--yes", "--json")
    assert mailer("reminder", "run", *day_before).data["reminders"] == []
    mailer("event", "update", "hovedstaden", "--time", "09:30")
    (sent,) = mailer("reminder", "run", *day_before).data["reminders"]
    assert sent["lead"] == "1 day"


def test_of_ticks_at_the_same_moment_one_sends(
    mailer: Caller, settings: Settings, runtime: Runtime, database: Database
) -> None:
    ask(database, "hovedstaden", people=5)
    ready = settings.model_copy(update={"smtp_relays": SecretStr(RELAY)})
    ticking = Runtime(ready, database, runtime.clock, runtime.tokens)
    barrier, sent, failed = Barrier(3), [], []

    def tick() -> None:
        barrier.wait()
        try:
            sent.extend(
                launch_due_reminders(ticking.launch_tools, database, now=datetime.fromisoformat(DUE))
            )
        except Exception as error:  # noqa: BLE001 - the assertion below shows it
            failed.append(error)

    threads = [Thread(target=tick) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert sorted(reminder.audience for reminder in sent) == [0, 0, 5]
    with database.read() as db:
        assert db.scalar(select(func.count()).select_from(Reminder)) == 3
        letters = (
            select(func.count())
            .select_from(Delivery)
            .join(Campaign, Campaign.id == Delivery.campaign_id)
        )
        assert db.scalar(letters.where(Campaign.auto_submitted)) == 5
