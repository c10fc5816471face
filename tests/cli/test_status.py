"""`mailer status`: one screen, with real processes, a real relay and a real Redis behind it."""

import http.server
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from mailer.campaigns.heartbeats import SWEEP, TICKED, note_heartbeat
from mailer.campaigns.models import CampaignState, DeliveryState
from mailer.embedded.processes import PidFile
from mailer.embedded.redis import find_server
from mailer.foundation.clock import real_now
from mailer.foundation.database import open_database
from mailer.foundation.settings import Settings
from mailer.sending.tools import open_own_journal
from mailer.tracking.journals import add_losses, new_journal, web_folder
from mailer.tracking.models import TrackingKind
from mailer.tracking.sightings import Sighting, write_line
from tests.campaigns.making import finalise, sending
from tests.cli.calling import Answer, Caller
from tests.making import ScriptedRelay, relay_running


class _Web(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Say that the process lives, as the web application does."""
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough: what is read from it is tested on both."""
    return sqlite_url


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """The URL of a real server."""
    path = tmp_path / "r.sock"
    child = subprocess.Popen(
        [find_server(), "--port", "0", "--unixsocket", str(path), "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    while not path.exists():
        time.sleep(0.01)
    yield f"unix://{path}"
    child.terminate()
    child.wait(10)


@pytest.fixture
def web() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Web)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def relay() -> Iterator[ScriptedRelay]:
    with relay_running(ScriptedRelay()) as running:
        yield running


@pytest.fixture
def mailer(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    redis: str,
    web: str,
    relay: ScriptedRelay,
) -> Caller:
    """A service in which all is well."""
    caller = Caller(settings, monkeypatch, capsys)
    caller.set("REDIS_URL", redis)
    caller.set("PUBLIC_URL", web)
    caller.set("SMTP_RELAYS", f"smtp://127.0.0.1:{relay.port}?starttls=never")
    beat(settings, SWEEP, seconds_ago=3)
    return caller


def beat(settings: Settings, name: str, *, seconds_ago: int) -> None:
    database = open_database(settings.database)
    with database.write() as db:
        note_heartbeat(db, name, now=real_now() - timedelta(seconds=seconds_ago))
    database.dispose()


def parts(answer: Answer, kind: str = "processes") -> dict[str, tuple[bool | None, str]]:
    return {part["name"]: (part["ok"], part["detail"]) for part in answer.data[kind]}


def wrong(answer: Answer) -> list[str]:
    """The names of what is wrong."""
    everything = parts(answer) | parts(answer, "relays")
    return [name for name, (ok, _) in everything.items() if ok is False]


def test_when_all_is_well_it_says_so(mailer: Caller, relay: ScriptedRelay) -> None:
    answer = mailer("status", "--json")
    assert wrong(answer) == []
    assert answer.code == 0
    assert (answer.data["ok"], answer.data["alarms"]) == (True, [])
    assert parts(answer)["redis"] == (True, "answers")
    assert parts(answer)["scheduler, worker"][0] is True
    assert parts(answer)["reminders"] == (None, "nobody has looked yet for what is due")
    assert parts(answer)["senders"] == (None, "0 sending processes on this machine")
    assert parts(answer, "relays") == {f"127.0.0.1:{relay.port}": (True, "lets us in")}
    screen = mailer("status")
    assert screen.code == 0
    assert "all is well" in screen.stderr


@pytest.mark.parametrize(
    ("setting", "value", "name"),
    [
        ("PUBLIC_URL", "http://127.0.0.1:9", "web"),
        ("REDIS_URL", "redis://127.0.0.1:9/0", "redis"),
        ("SMTP_RELAYS", "smtp://127.0.0.1:9?starttls=never", "127.0.0.1:9"),
        ("SMTP_RELAYS", "", "none"),
    ],
)
def test_what_does_not_answer_is_named(mailer: Caller, setting: str, value: str, name: str) -> None:
    mailer.set(setting, value)
    answer = mailer("status", "--json")
    assert answer.code == 1
    assert wrong(answer) == [name]


def test_a_relay_that_never_greets_does_not_hold_the_screen_up(mailer: Caller) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        mailer.set("SMTP_RELAYS", f"smtp://user:hemmeligt@127.0.0.1:{port}?starttls=never")
        answer = mailer("status", "--json")
    assert wrong(answer) == [f"127.0.0.1:{port}"]
    assert "hemmeligt" not in answer.stdout + answer.stderr


def test_a_sweep_that_no_longer_runs_is_wrong(mailer: Caller, settings: Settings) -> None:
    beat(settings, SWEEP, seconds_ago=300)
    answer = mailer("status", "--json")
    assert wrong(answer) == ["scheduler, worker"]
    assert "not run for 5 minutes" in parts(answer)["scheduler, worker"][1]


@pytest.mark.parametrize(
    ("seconds", "is_well", "said"),
    [
        (70, True, "whatever was due 70 s ago has been started"),
        (310, False, "what is due has not been started for 5 minutes; it should every minute"),
    ],
)
def test_a_tick_that_does_not_succeed_for_five_minutes_is_wrong(
    mailer: Caller, settings: Settings, seconds: int, is_well: bool, said: str
) -> None:
    beat(settings, TICKED, seconds_ago=seconds)
    answer = mailer("status", "--json")
    assert wrong(answer) == ([] if is_well else ["reminders"])
    assert said in parts(answer)["reminders"][1]


def test_a_child_of_up_that_is_gone_is_wrong_and_one_that_lives_is_not(
    mailer: Caller, settings: Settings
) -> None:
    run = settings.state_dir / "run"
    run.mkdir()
    PidFile(run / "web.pid").write(os.getpid())
    with subprocess.Popen(["true"]) as gone:
        PidFile(run / "worker.pid").write(gone.pid)
    answer = mailer("status", "--json")
    assert wrong(answer) == ["worker of mailer up"]
    assert parts(answer)["web of mailer up"] == (True, f"process {os.getpid()}")


def test_journals_of_the_dead_are_an_alarm_and_those_of_the_living_are_counted(
    mailer: Caller, settings: Settings
) -> None:
    alive, dead = open_own_journal(settings.state_dir), open_own_journal(settings.state_dir)
    dead.write("a note")
    dead.close()
    for journal in (alive, dead):
        os.utime(journal.path, (1, 1))
    answer = mailer("status", "--json")
    alive.close()
    assert answer.code == 1
    assert parts(answer)["senders"] == (True, "1 sending processes on this machine")
    (alarm,) = answer.data["alarms"]
    assert alarm.startswith("1 journals of processes that are gone")


def test_what_readers_did_and_nobody_moves_is_an_alarm(mailer: Caller, settings: Settings) -> None:
    folder = web_folder(settings.state_dir)
    folder.mkdir()
    seen = Sighting(TrackingKind.VISIT, real_now() - timedelta(minutes=5))
    new_journal(folder).write_bytes(write_line(seen))
    add_losses(folder, 2)
    answer = mailer("status", "--json")
    assert answer.code == 1
    lost, late, nobody = answer.data["alarms"]
    assert lost.startswith("2 opens, clicks or visits were lost")
    assert "since 5 minutes" in late
    assert nobody.startswith("nobody moves")
    assert parts(answer)["drainer"] == (None, "none runs here")
    doctor = {one["name"]: one for one in mailer("doctor", "--json").data["checks"]}
    assert not doctor["web journals"]["ok"]


def test_campaigns_under_way_and_their_alarms_are_shown(mailer: Caller, settings: Settings) -> None:
    database = open_database(settings.database)
    with database.write() as db:
        campaign = sending(db, 4)
        finalise(db, campaign, dict.fromkeys((1, 2), DeliveryState.UNCERTAIN), real=real_now())
        sending(db, 1, name="pause", state=CampaignState.PAUSED)
    database.dispose()
    answer = mailer("status", "--json")
    assert answer.code == 0
    shown = {one["campaign"]: one["waiting_for"] for one in answer.data["campaigns"]}
    assert shown == {"brev": None, "pause": "somebody to resume it"}
    mailer.set("UNCERTAIN_ALARM", "2")
    answer = mailer("status")
    assert answer.code == 1
    assert "alarm: brev: 2 letters are uncertain" in answer.stderr
    assert "something is wrong" in answer.stderr


def test_a_missed_reminder_is_an_alarm_for_a_week(mailer: Caller, tmp_path: Path) -> None:
    events = tmp_path / "events.toml"
    events.write_text('[[event]]\nslug = "moede"\ntitle = "Møde"\ndate = 2014-03-14\nplace = "Odense"\n')
    assert mailer("event", "import", str(events)).code == 0
    mailer.set("CLOCK", "2014-03-11T12:00+01:00")
    (alarm,) = [one for one in mailer("status", "--json").data["alarms"] if "7 days" in one]
    assert alarm.startswith("reminder of moede, 7 days before, was missed")
    mailer.set("STATE_DIR", str(tmp_path / "later"))
    mailer.set("CLOCK", "2014-03-22T12:00+01:00")
    assert mailer("status", "--json").data["alarms"] == []


def test_a_blocked_reminder_is_an_alarm_in_good_time_and_says_what_mends_it(
    mailer: Caller, tmp_path: Path
) -> None:
    events = tmp_path / "events.toml"
    events.write_text('[[event]]\nslug = "moede"\ntitle = "Møde"\ndate = 2014-06-17\n')
    mailer.set("CLOCK", "2014-05-20T12:00+02:00")
    assert mailer("event", "import", str(events)).code == 0
    assert mailer("status", "--json").data["alarms"] == []
    mailer.set("REMINDER_WARNING_DAYS", "14")
    (alarm,) = mailer("status", "--json").data["alarms"]
    assert alarm == (
        "reminder of moede, 14 days before, is due Tue 2014-06-03 09:00 and blocked: no place yet;"
        " see  mailer event update moede --place …"
    )
    assert mailer("event", "update", "moede", "--place", "Ringsted").code == 0
    assert mailer("status", "--json").data["alarms"] == []


def test_a_letter_that_makes_no_sense_is_an_alarm(mailer: Caller, tmp_path: Path) -> None:
    folder = tmp_path / "letters/snart"
    folder.mkdir(parents=True)
    (folder / "letter.toml").write_text('leads = ["snart"]')
    for part in ("subject.txt", "body.txt", "body.html"):
        (folder / part).write_text("x")
    mailer.set("TEMPLATES_DIR", str(tmp_path))
    (alarm,) = mailer("status", "--json").data["alarms"]
    assert alarm.startswith("letter snart: leads: 'snart' is no lead")


def test_a_database_that_is_behind_is_shown_beside_all_that_works(
    mailer: Caller, settings: Settings
) -> None:
    database = open_database(settings.database)
    with database.write() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    database.dispose()
    answer = mailer("status", "--json")
    assert answer.code == 1
    assert wrong(answer) == ["database"]
    assert "mailer database upgrade" in parts(answer)["database"][1]


def test_a_database_that_is_gone_is_one_line_of_the_screen(mailer: Caller) -> None:
    mailer.set("DATABASE_URL", "postgresql://nobody:hemmeligt@127.0.0.1:9/nothing")
    answer = mailer("status", "--json")
    assert answer.code == 1
    assert wrong(answer) == ["database"]
    assert "hemmeligt" not in answer.stdout + answer.stderr
