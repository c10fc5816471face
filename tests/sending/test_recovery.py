"""A worker that dies: what its journal says is kept, what nobody can know is named."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from mailer.campaigns.account import count_states, reconcile
from mailer.campaigns.attention import Trouble, find_alarms
from mailer.campaigns.ledger import Outcome
from mailer.campaigns.lifecycle import find_campaign
from mailer.campaigns.models import Delivery, DeliveryState, UncertainPolicy
from mailer.campaigns.progress import Waiting, kind_of, look_at
from mailer.foundation.clock import real_now
from mailer.foundation.database import Database, DatabaseUnavailable
from mailer.foundation.journal import Journal, JournalHeld, take_over
from mailer.launch import launch_campaign
from mailer.runtime import Runtime
from mailer.sending.claims import claim_batch
from mailer.sending.letters import message_id_of
from mailer.sending.notes import NO_NOTE, Notes, read_notes
from mailer.sending.recovery import NOT_WRITTEN, NOTES_DAMAGED
from mailer.sending.tools import SendingTools, journal_folder, new_journal
from mailer.sending.work import send_batches, sweep
from recipients.models import Suppression
from tests.conftest import NOW, SECRET_KEY, SUPPRESSION_KEY
from tests.making import ScriptedRelay, make_campaign, make_recipients, relay_running, with_relay

CONNECTIONS = 4
"""Of one process: half of what a relay has by default."""


@pytest.fixture
def relay() -> Iterator[ScriptedRelay]:
    with relay_running(ScriptedRelay()) as running:
        yield running


def launch(runtime: Runtime, count: int) -> int:
    with runtime.database.write() as db:
        make_recipients(db, count)
        campaign = make_campaign(db, name="brev")
        return launch_campaign(runtime.launch_tools, db, campaign, now=NOW).campaign_id


def die_with_notes(runtime: Runtime, campaign_id: int, *lines_for: object) -> None:
    """Claim a batch as a process that then dies, leaving these notes behind."""
    with runtime.sending_tools() as dead:
        with runtime.database.write() as db:
            batch = claim_batch(
                db,
                campaign_id,
                owner=dead.owner,
                host=dead.host,
                boot=dead.boot,
                now=real_now(),
                shown=NOW,
            )
        assert batch is not None
        notes = Notes(dead.journal, batch)
        for note in lines_for:
            if isinstance(note, Outcome):
                notes.outcome(note)
            else:
                assert isinstance(note, int)
                notes.dot(note, "relay")
        notes.flush()


def states(runtime: Runtime) -> dict[int, str]:
    with runtime.database.read() as db:
        rows = db.execute(select(Delivery.position, Delivery.state).order_by(Delivery.position))
        return {position: state.value for position, state in rows}


def worker_environment(runtime: Runtime, relay: ScriptedRelay, database_url: str) -> dict[str, str]:
    """What a process of its own needs to send over the relay."""
    return {
        **os.environ,
        "MAILER_STATE_DIR": str(runtime.settings.state_dir),
        "MAILER_DATABASE_URL": database_url,
        "MAILER_SECRET_KEY": SECRET_KEY,
        "MAILER_SUPPRESSION_KEY": SUPPRESSION_KEY,
        "MAILER_SENDER": "brev@coi.example",
        "MAILER_SMTP_RELAYS": f"smtp://127.0.0.1:{relay.port}?starttls=never",
    }


def test_a_lost_claim_is_recovered_from_its_journal(runtime: Runtime, relay: ScriptedRelay) -> None:
    runtime = with_relay(runtime, relay.port)
    campaign_id = launch(runtime, 4)
    sent = Outcome(1, DeliveryState.SENT, relay="relay", code=250)
    bounced = Outcome(2, DeliveryState.BOUNCED, relay="relay", code=550, reason="gone")
    die_with_notes(runtime, campaign_id, bounced, 1, sent, 3)

    with runtime.sending_tools() as tools:
        sweep(tools, workers=1)

        assert states(runtime) == {1: "sent", 2: "bounced", 3: "uncertain", 4: "pending"}
        send_batches(tools, campaign_id=campaign_id)

    assert states(runtime) == {1: "sent", 2: "bounced", 3: "uncertain", 4: "sent"}
    assert len(relay.accepted) == 1
    with runtime.database.read() as db:
        assert reconcile(db, find_campaign(db, "brev")).complete


def test_who_was_refused_last_before_a_kill_is_offered_again(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    """The relay may have begun to refuse everybody, and too few had heard it to know."""
    runtime = with_relay(runtime, relay.port)
    campaign_id = launch(runtime, 22)
    taken, *refused = range(1, 22)
    die_with_notes(
        runtime,
        campaign_id,
        taken,
        Outcome(taken, DeliveryState.SENT, relay="relay", code=250),
        *(
            Outcome(n, DeliveryState.BOUNCED, relay="relay", code=554, reason="access denied")
            for n in refused
        ),
        22,
    )
    with runtime.sending_tools() as tools:
        sweep(tools, workers=1)

        assert states(runtime) == {taken: "sent", **dict.fromkeys(refused, "pending"), 22: "uncertain"}
        with runtime.database.read() as db:
            assert db.scalar(select(func.count()).select_from(Suppression)) == 0
        send_batches(tools, campaign_id=campaign_id)

    assert states(runtime) == {**dict.fromkeys(range(1, 22), "sent"), 22: "uncertain"}
    with runtime.database.read() as db:
        assert reconcile(db, find_campaign(db, "brev")).complete


def test_a_batch_that_could_not_be_finalised_is_by_the_process_that_sent_it(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    runtime = with_relay(runtime, relay.port, batch_size=3)
    campaign_id = launch(runtime, 6)

    @dataclass(frozen=True, slots=True)
    class AwayOnceLettersHaveLeft(Database):
        @contextmanager
        def write(self) -> Iterator[Session]:
            if relay.accepted:
                raise DatabaseUnavailable("the connection was lost")
            with runtime.database.write() as db:
                yield db

    kept = {each.name: getattr(runtime.database, each.name) for each in fields(Database)}
    with runtime.sending_tools() as tools:
        losing = replace(tools, database=AwayOnceLettersHaveLeft(**kept))
        with pytest.raises(DatabaseUnavailable):
            send_batches(losing, campaign_id=campaign_id)
        assert len(relay.accepted) == 3
        with runtime.database.read() as db:
            assert count_states(db, campaign_id)["claimed"] == 3

        send_batches(tools, campaign_id=campaign_id)

    assert set(states(runtime).values()) == {"sent"}
    assert len(relay.recipients) == len(set(relay.recipients)) == 6
    with runtime.database.read() as db:
        assert reconcile(db, find_campaign(db, "brev")).complete


def test_letters_at_which_one_process_after_the_other_dies_are_an_alarm(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    runtime = with_relay(runtime, relay.port)
    campaign_id = launch(runtime, 3)

    def alarms() -> list[str]:
        with runtime.database.read() as db:
            return [str(each) for each in find_alarms(db, now=real_now(), shown=NOW, uncertain_alarm=9)]

    with runtime.sending_tools() as tools:
        for _ in range(3):
            assert alarms() == []
            die_with_notes(runtime, campaign_id)
            sweep(tools, workers=1)
        (alarm,) = alarms()
        assert alarm.startswith("brev: the work on some letters has broken off 3 times")
        with runtime.database.read() as db:
            campaign = find_campaign(db, "brev")
            told = look_at(
                db, campaign, now=real_now(), shown=NOW, zone=runtime.settings.zone
            ).waiting_for
        assert told is not None
        assert told.startswith("somebody to mend a fault")

        send_batches(tools, campaign_id=campaign_id)
    assert alarms() == []
    assert set(states(runtime).values()) == {"sent"}


def test_after_another_boot_notes_may_be_gone_so_all_is_uncertain(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    runtime = with_relay(runtime, relay.port)
    campaign_id = launch(runtime, 2)
    with runtime.sending_tools() as dead, runtime.database.write() as db:
        claim_batch(
            db, campaign_id, owner=dead.owner, host=dead.host, boot="before", now=real_now(), shown=NOW
        )

    with runtime.sending_tools() as tools:
        sweep(tools, workers=1)

    assert states(runtime) == {1: "uncertain", 2: "uncertain"}


def test_a_claim_whose_worker_lives_is_left_alone(runtime: Runtime, relay: ScriptedRelay) -> None:
    runtime = with_relay(runtime, relay.port)
    campaign_id = launch(runtime, 1)
    with runtime.sending_tools() as alive:
        with runtime.database.write() as db:
            claim_batch(
                db,
                campaign_id,
                owner=alive.owner,
                host=alive.host,
                boot=alive.boot,
                now=real_now(),
                shown=NOW,
            )
        with runtime.sending_tools() as tools:
            sweep(tools, workers=1)
        with runtime.database.read() as db:
            assert count_states(db, campaign_id)["claimed"] == 1


def test_journals_of_the_dead_are_cleared_away(runtime: Runtime, relay: ScriptedRelay) -> None:
    runtime = with_relay(runtime, relay.port)
    with runtime.sending_tools():
        pass
    with runtime.sending_tools() as tools:
        sweep(tools, workers=1)
        left = list(journal_folder(runtime.settings.state_dir).iterdir())
        assert left == [tools.journal.path]


def test_notes_of_another_claim_of_the_same_batch_do_not_count() -> None:
    lines = ["d 7 1 10 r", "d 7 2 11 r", "d 8 2 12 r", "d 17 2 13 r"]
    assert list(read_notes(lines, 7, 2).outcomes) == [11]


@pytest.mark.parametrize(
    "damaged",
    [
        "d 7 2 1",
        "d 7 2 12 re lay",
        "d 7 2",
        "d 7",
        "",
        "s 7 2 12 r 25",
        "s 7 2 12 r x -",
        'o 7 2 12 {"po',
        "o 7 2 12 []",
        'o 7 2 12 {"due_at": null}',
        'o 7 2 12 {"position": 13, "state": "bounced", "due_at": null}',
        'o 7 2 12 {"position": 12, "state": "none", "due_at": null}',
        "w 7 2 11 r",
        "x 7 2 12 r",
        "d seven 2 12 r",
        "\0\0\0d 7 2 12 r",
    ],
)
def test_a_note_that_cannot_be_read_hides_no_other(damaged: str) -> None:
    told = read_notes(["d 7 2 11 r", damaged, "s 7 2 12 r 250 2.0.0"], 7, 2)

    assert told.outcomes.keys() == {11, 12}
    assert told.unreadable == 1
    assert told.outcomes[12].state is DeliveryState.SENT


def test_notes_that_cannot_be_read_make_a_letter_uncertain_and_never_two(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    """What cannot be read may have told of the dot of any letter."""
    runtime = with_relay(runtime, relay.port)
    campaign_id = launch(runtime, 3)
    die_with_notes(runtime, campaign_id, Outcome(1, DeliveryState.SENT, relay="relay", code=250), 2)
    (path,) = journal_folder(runtime.settings.state_dir).iterdir()
    path.write_bytes(path.read_bytes() + b"\xff 1 3 relay\n")

    with runtime.sending_tools() as tools:
        sweep(tools, workers=1)
        send_batches(tools, campaign_id=campaign_id)

    assert states(runtime) == {1: "sent", 2: "uncertain", 3: "uncertain"}
    assert relay.accepted == []
    with runtime.database.read() as db:
        reasons = set(db.scalars(select(Delivery.reason).where(Delivery.position >= 2)))
        assert reasons == {NO_NOTE, NOTES_DAMAGED}
        assert reconcile(db, find_campaign(db, "brev")).complete


ON_A_FULL_DISK = """
import resource, sys
from mailer.foundation.settings import load_settings
from mailer.runtime import open_runtime
from mailer.sending.work import send_batches

FILLED = 8_000_000
campaign_id, failed = int(sys.argv[1]), 0
runtime = open_runtime(load_settings())
usual = resource.getrlimit(resource.RLIMIT_FSIZE)
with runtime.sending_tools() as tools:
    for cut in range(0, 160, 4):
        tools.journal.clear()
        tools.journal.write("o 0 0 1 " + "x" * (FILLED - 9))
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILLED + 20 + cut, usual[1]))
        try:
            send_batches(tools, campaign_id=campaign_id)
        except OSError:
            failed += 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    while send_batches(tools, campaign_id=campaign_id):
        pass
print(failed)
"""


def test_no_letter_is_sent_twice_wherever_a_full_disk_cuts_its_notes(
    runtime: Runtime, relay: ScriptedRelay, database_url: str
) -> None:
    runtime = with_relay(runtime, relay.port)
    campaign_id = launch(runtime, 400)
    environment = worker_environment(runtime, relay, database_url)
    environment["MAILER_SMTP_RELAYS"] += "&connections=1"

    done = subprocess.run(
        [sys.executable, "-c", ON_A_FULL_DISK, str(campaign_id)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    got = Counter(relay.recipients)
    with runtime.database.read() as db:
        proof = reconcile(db, find_campaign(db, "brev"))
    assert int(done.stdout.splitlines()[-1]) == 40, "the disk must have been full each time"
    assert max(got.values()) == 1
    assert proof.complete
    assert proof.deliveries["sent"] <= len(got) <= 400
    assert proof.deliveries["sent"] + proof.deliveries["uncertain"] == 400


class FullAtOneWrite(Journal):
    """A journal on a disk that is full at one write, and has room again at the next."""

    full_in = 0
    """Writes until then."""
    room = 0
    """Bytes of that write for which there is room."""

    def write(self, lines: str) -> None:
        self.full_in -= 1
        if self.full_in:
            super().write(lines)
            return
        usual = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size + self.room, usual[1]))
        try:
            super().write(lines)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def test_no_letter_is_uncertain_that_stayed_here_since_its_note_found_no_room(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    url = SecretStr(f"smtp://127.0.0.1:{relay.port}?starttls=never&connections=1")
    runtime = with_relay(runtime, smtp_relays=url)
    campaign_id = launch(runtime, 80)
    with runtime.sending_tools() as usual:
        journal = FullAtOneWrite(new_journal(runtime.settings.state_dir))
        tools = replace(usual, journal=journal)
        for full_in in range(1, 9):
            journal.full_in, journal.room = full_in, full_in % 3 * 9
            with pytest.raises(OSError, match=r"too large|short write"):
                send_batches(tools, campaign_id=campaign_id)
            assert set(states(runtime).values()) <= {"sent", "pending"}
        send_batches(tools, campaign_id=campaign_id)
        journal.close()

    assert set(states(runtime).values()) == {"sent"}
    assert len(relay.recipients) == len(set(relay.recipients)) == 80
    with runtime.database.read() as db:
        assert reconcile(db, find_campaign(db, "brev")).complete


NO_CODE = 10**30
"""As a reply's code, no database takes it."""


def what_it_waits_for(runtime: Runtime) -> str | None:
    with runtime.database.read() as db:
        campaign = find_campaign(db, "brev")
        return look_at(db, campaign, now=real_now(), shown=NOW, zone=runtime.settings.zone).waiting_for


def mend_notes(path: Path) -> None:
    path.write_text(path.read_text().replace(str(NO_CODE), "554"))


def test_a_lost_claim_that_cannot_be_finalised_stops_no_other_and_is_tried_again(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    runtime = with_relay(runtime, relay.port, batch_size=2)
    campaign_id = launch(runtime, 6)
    impossible = Outcome(1, DeliveryState.FAILED, code=NO_CODE, reason="none")
    die_with_notes(runtime, campaign_id, impossible, 2)
    (path,) = journal_folder(runtime.settings.state_dir).iterdir()
    die_with_notes(runtime, campaign_id, Outcome(3, DeliveryState.SENT, relay="relay", code=250), 4)

    with runtime.sending_tools() as tools:
        with capture_logs() as logs:
            sweep(tools, workers=1)
        assert [each["batch"] for each in logs if each["log_level"] == "error"] == [1]
        came_to = {1: "pending", 2: "pending", 3: "sent", 4: "uncertain", 5: "pending", 6: "pending"}
        assert states(runtime) == came_to
        assert what_it_waits_for(runtime) == NOT_WRITTEN
        assert kind_of(NOT_WRITTEN) is Waiting.FAULT
        send_batches(tools, campaign_id=campaign_id)
        sweep(tools, workers=1)
        assert states(runtime) == came_to | {5: "sent", 6: "sent"}
        assert what_it_waits_for(runtime) == NOT_WRITTEN
        with runtime.database.read() as db:
            later = real_now() + timedelta(minutes=2)
            alarms = find_alarms(db, now=later, shown=NOW, uncertain_alarm=9)
            assert [alarm.trouble for alarm in alarms] == [Trouble.LOST]

        mend_notes(path)
        sweep(tools, workers=1)

    assert states(runtime) == came_to | {1: "failed", 2: "uncertain", 5: "sent", 6: "sent"}
    assert len(relay.accepted) == 2
    with runtime.database.read() as db:
        assert find_campaign(db, "brev").waiting_for is None
        assert reconcile(db, find_campaign(db, "brev")).complete


def test_a_process_that_cannot_finalise_its_own_claim_keeps_the_notes_and_sends_the_rest(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    runtime = with_relay(runtime, relay.port, batch_size=2)
    campaign_id = launch(runtime, 8)
    with runtime.sending_tools() as tools:
        with runtime.database.write() as db:
            batch = claim_batch(
                db,
                campaign_id,
                owner=tools.owner,
                host=tools.host,
                boot=tools.boot,
                now=real_now(),
                shown=NOW,
            )
        assert batch is not None
        path = tools.journal.path
        notes = Notes(tools.journal, batch)
        notes.outcome(Outcome(1, DeliveryState.FAILED, code=NO_CODE, reason="none"))
        notes.dot(2, "relay")
        notes.flush()

        send_batches(tools, campaign_id=campaign_id)
        sweep(tools, workers=1)

        came_to = dict.fromkeys(range(3, 9), "sent")
        assert states(runtime) == {1: "pending", 2: "pending", **came_to}
        assert what_it_waits_for(runtime) == NOT_WRITTEN
        assert tools.journal.path != path

        mend_notes(path)
        sweep(tools, workers=1)
        assert list(path.parent.iterdir()) == [tools.journal.path]

    assert states(runtime) == {1: "failed", 2: "uncertain", **came_to}
    assert len(relay.recipients) == len(set(relay.recipients)) == 6
    with runtime.database.read() as db:
        assert reconcile(db, find_campaign(db, "brev")).complete


def test_a_journal_that_cannot_go_on_elsewhere_stays_where_it_is(tmp_path: Path) -> None:
    journal, other = Journal(tmp_path / "j"), Journal(tmp_path / "other")
    journal.write("first")
    for path, error in ((other.path, JournalHeld), (tmp_path / "j" / "below", OSError)):
        with pytest.raises(error):
            journal.go_on_in(path)
    journal.write("second")
    assert list(journal.lines()) == ["first", "second"]

    journal.go_on_in(tmp_path / "third")
    journal.write("third")
    with take_over(tmp_path / "j") as left:
        assert list(left.lines()) == ["first", "second"]
    assert list(journal.lines()) == ["third"]
    journal.close()
    other.close()


def test_a_journal_is_held_by_one_process_and_a_torn_line_is_no_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.write("whole")
    with pytest.raises(JournalHeld):
        Journal(tmp_path / "j")
    with (tmp_path / "j").open("ab") as file:
        file.write(b"torn")
    assert list(journal.lines()) == ["whole"]
    journal.close()
    with take_over(tmp_path / "j") as taken:
        assert list(taken.lines()) == ["whole"]


def test_a_journal_cleared_away_before_it_was_held_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "j"
    stop, cleared = threading.Event(), 0

    def clear_away() -> None:
        nonlocal cleared
        while not stop.is_set():
            try:
                with take_over(path):
                    path.unlink(missing_ok=True)
                    cleared += 1
            except (JournalHeld, FileNotFoundError):
                continue

    clearing = threading.Thread(target=clear_away)
    clearing.start()
    try:
        for _ in range(300):
            try:
                journal = Journal(path)
            except JournalHeld:
                continue
            journal.write("whole")
            assert path.read_text() == "whole\n", "what is noted can be read by name"
            journal.clear()
            journal.close()
    finally:
        stop.set()
        clearing.join()
    assert cleared


def test_an_uncertain_letter_that_must_arrive_is_sent_once_more(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    runtime = with_relay(runtime, relay.port)
    with runtime.database.write() as db:
        (recipient,) = make_recipients(db, 1)
    with runtime.database.write() as db:
        campaign = make_campaign(db, name="brev", on_uncertain=UncertainPolicy.RESEND)
        campaign_id = launch_campaign(runtime.launch_tools, db, campaign, now=NOW).campaign_id
    relay.cut_after_dot.add(recipient.email)
    with runtime.sending_tools() as tools:
        send_batches(tools, campaign_id=campaign_id)
        assert states(runtime) == {1: "uncertain"}
        with runtime.database.read() as db:
            assert find_campaign(db, "brev").state == "sending"
        sweep(tools, workers=1)
        send_batches(tools, campaign_id=campaign_id)
        sweep(tools, workers=1)
        assert states(runtime) == {1: "uncertain"}, "once more, and not for ever"
        with runtime.database.read() as db:
            assert find_campaign(db, "brev").state == "finished"
            assert reconcile(db, find_campaign(db, "brev")).complete
    assert relay.recipients == []


def test_the_copy_of_an_uncertain_letter_arrives(runtime: Runtime, relay: ScriptedRelay) -> None:
    runtime = with_relay(runtime, relay.port)
    with runtime.database.write() as db:
        (recipient,) = make_recipients(db, 1)
    with runtime.database.write() as db:
        campaign = make_campaign(db, name="brev", on_uncertain=UncertainPolicy.RESEND)
        campaign_id = launch_campaign(runtime.launch_tools, db, campaign, now=NOW).campaign_id
    relay.cut_after_dot.add(recipient.email)
    with runtime.sending_tools() as tools:
        send_batches(tools, campaign_id=campaign_id)
        relay.cut_after_dot.clear()
        sweep(tools, workers=1)
        send_batches(tools, campaign_id=campaign_id)

    assert states(runtime) == {1: "sent"}
    letter = relay.letter_to(recipient.email)
    assert letter["Message-ID"] == f"<{message_id_of(runtime.letter_tools, campaign_id, 1)}>"


WORKER = """
import sys
from pydantic import SecretStr
from mailer.foundation.settings import load_settings
from mailer.runtime import open_runtime
from mailer.sending.work import send_batches, sweep

runtime = open_runtime(load_settings())
with runtime.sending_tools() as tools:
    sweep(tools, workers=1)
    while send_batches(tools, campaign_id=int(sys.argv[1])):
        pass
"""


def test_kill_9_in_the_middle_loses_nothing_and_repeats_nothing(
    runtime: Runtime, relay: ScriptedRelay, database_url: str
) -> None:
    relay.delay_dot_seconds = 0.002
    runtime = with_relay(runtime, relay.port, batch_size=50)
    campaign_id = launch(runtime, 400)
    environment = worker_environment(runtime, relay, database_url)
    kills = 0
    for target in (40, 120, 200, 280):
        worker = subprocess.Popen([sys.executable, "-c", WORKER, str(campaign_id)], env=environment)
        while len(relay.accepted) < target and worker.poll() is None:
            time.sleep(0.005)
        if worker.poll() is None:
            kills += 1
        worker.send_signal(signal.SIGKILL)
        worker.wait(10)
    with runtime.sending_tools() as tools:
        sweep(tools, workers=1)
        while send_batches(tools, campaign_id=campaign_id):
            pass

    got = Counter(relay.recipients)
    with runtime.database.read() as db:
        proof = reconcile(db, find_campaign(db, "brev"))
    assert kills == 4, "every kill must have hit a worker at work"
    assert max(got.values()) == 1
    assert proof.ok
    assert proof.complete
    uncertain = proof.deliveries["uncertain"]
    assert uncertain <= kills * CONNECTIONS, "one letter for each connection with its dot out"
    assert proof.deliveries["sent"] == 400 - uncertain
    assert 400 - uncertain <= len(got) <= 400


def test_asked_to_end_a_batch_hands_back_what_it_has_not_begun(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    runtime = with_relay(runtime, relay.port)
    campaign_id = launch(runtime, 40)
    with runtime.sending_tools(is_stopping=lambda: len(relay.accepted) >= 3) as tools:
        assert isinstance(tools, SendingTools)
        send_batches(tools, campaign_id=campaign_id)

    with runtime.database.read() as db:
        counts = count_states(db, campaign_id)
        assert reconcile(db, find_campaign(db, "brev")).ok
    assert counts["sent"] + counts["pending"] == 40
    assert 3 <= counts["sent"] <= 3 + 2 * CONNECTIONS, "dots that were out have their replies"
    assert counts["uncertain"] == 0
