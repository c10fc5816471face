"""Many messages, one after the other, on both databases; and the scheduler's own look."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import update

from mailer.campaigns.heartbeats import POLL_LEASE, POLLED, last_heartbeat
from mailer.campaigns.models import Delivery, DeliveryState
from mailer.feedback.applying import Result
from mailer.feedback.findings import MailKind
from mailer.feedback.inbox import RawMessage, Unread
from mailer.feedback.mailboxes import parse_mailbox
from mailer.feedback.processing import Processed, poll, process
from mailer.foundation.clock import real_now
from mailer.foundation.settings import Settings
from mailer.runtime import Runtime
from mailer.tracking.tokens import Purpose
from recipients.models import Suppression, SuppressionReason
from recipients.suppression import suppress
from tests.conftest import NOW
from tests.feedback.making import (
    BOUNCES_TO,
    Mailing,
    bounce_message,
    complaint_message,
    mail,
    mail_out,
)
from tests.feedback.servers import PASSWORD, USER, MailboxServer, imap_running

ROOT = Path(__file__).parents[2]


@pytest.fixture
def mailing(runtime: Runtime) -> Mailing:
    return mail_out(runtime)


def messages(mailing: Mailing) -> list[RawMessage | Unread]:
    """Reports among answers."""
    wanted = [
        bounce_message(mailing.to(Purpose.BOUNCE, 1), mailing.address(1)),
        *[mail(BOUNCES_TO, subject=f"Tak {number}", text="Hej") for number in range(5)],
        mail(mailing.to(Purpose.UNSUBSCRIBE, 2)),
    ]
    read: list[RawMessage | Unread] = [RawMessage(str(at), data) for at, data in enumerate(wanted)]
    return [*read, Unread("x", "it is no file")]


def act(mailing: Mailing, *, dry_run: bool) -> Sequence[Result | None]:
    done = process(mailing.runtime.feedback_tools, messages(mailing), dry_run=dry_run)
    return [each.applied.result if isinstance(each, Processed) else None for each in done]


def test_each_message_is_acted_on_in_order_and_only_once(mailing: Mailing) -> None:
    middle = [Result.NOTHING] * 5
    assert act(mailing, dry_run=True) == [Result.APPLIED, *middle, Result.APPLIED, None]
    assert (mailing.delivery().state, mailing.suppression(2)) == (DeliveryState.SENT, None)

    assert act(mailing, dry_run=False) == [Result.APPLIED, *middle, Result.APPLIED, None]
    assert mailing.delivery().state is DeliveryState.BOUNCED
    assert mailing.suppression(2) is not None
    assert act(mailing, dry_run=False) == [Result.KNOWN, *middle, Result.KNOWN, None]
    assert len(mailing.events()) == 1


def test_a_look_into_a_mailbox_is_noted_and_its_lease_given_back(mailing: Mailing) -> None:
    server, before = MailboxServer(), real_now()
    server.add(*[each.data for each in messages(mailing) if isinstance(each, RawMessage)])
    with imap_running(server):
        tools, place = mailing.runtime.feedback_tools, parse_mailbox(url_of(server))
        assert len(poll(tools, [place]).messages) == 7
        assert poll(tools, [place]).messages == []

    with mailing.database.read() as db:
        polled, lease = last_heartbeat(db, POLLED), last_heartbeat(db, POLL_LEASE)
    assert polled is not None
    assert lease is not None
    assert lease < before <= polled


def test_the_scheduler_looks_where_a_mailbox_is_set_and_the_task_acts(
    mailing: Mailing, settings: Settings
) -> None:
    server = MailboxServer()
    server.add(mail(mailing.to(Purpose.UNSUBSCRIBE)))
    program = (
        "import json, scheduler; from mailer.tasks.feedback import poll_task;"
        "print(json.dumps([each['task'] for each in scheduler.app.conf.beat_schedule.values()]));"
        "'feedback.poll' in scheduler.app.tasks and poll_task()"
    )
    with imap_running(server):
        with_mailbox = run(program, settings, MAILER_BOUNCE_MAILBOXES=url_of(server))
    without = run(
        "import json, scheduler; print(json.dumps([each['task'] for each in"
        " scheduler.app.conf.beat_schedule.values()]))",
        settings,
    )

    assert json.loads(with_mailbox) == [*json.loads(without), "feedback.poll"]
    assert mailing.suppression() is not None
    assert server.contents() == []


def url_of(server: MailboxServer) -> str:
    who = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}"
    return f"imap://{who}@127.0.0.1:{server.port}?starttls=never"


def run(program: str, settings: Settings, **more: str) -> str:
    """What a process of its own, with these settings, writes."""
    assert settings.secret_key
    assert settings.suppression_key
    told = {
        "MAILER_STATE_DIR": str(settings.state_dir),
        "MAILER_DATABASE_URL": settings.database,
        "MAILER_SECRET_KEY": settings.secret_key.get_secret_value(),
        "MAILER_SUPPRESSION_KEY": settings.suppression_key.get_secret_value(),
        "MAILER_SENDER": settings.sender or "",
        **more,
    }
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **told},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    ).stdout


@pytest.mark.parametrize("action", ["delayed", "relayed", "delivered", "expanded"])
def test_a_report_that_an_uncertain_letter_is_on_its_way_settles_it(
    runtime: Runtime, action: str
) -> None:
    mailing = mail_out(runtime, {1: DeliveryState.UNCERTAIN, 2: DeliveryState.UNCERTAIN})
    status = "4.4.1" if action == "delayed" else "2.0.0"
    report = bounce_message(
        mailing.to(Purpose.BOUNCE), mailing.address(), status=status, said="later", action=action
    )
    tools = runtime.feedback_tools
    for dry_run, state in ((True, DeliveryState.UNCERTAIN), (False, DeliveryState.SENT)):
        (done,) = process(tools, [RawMessage("1", report)], dry_run=dry_run)
        assert isinstance(done, Processed)
        assert (done.finding.kind, done.applied.result) == (MailKind.UNKNOWN, Result.APPLIED)
        assert mailing.delivery().state is state
    assert mailing.delivery(2).state is DeliveryState.UNCERTAIN
    assert mailing.suppression() is None


def test_a_persons_answer_settles_its_letter_and_stays_to_be_read(runtime: Runtime) -> None:
    mailing = mail_out(runtime, {1: DeliveryState.UNCERTAIN})
    message_id = f"<{mailing.token(Purpose.MESSAGE_ID)}@coi.example>"
    server = MailboxServer()
    server.add(mail(BOUNCES_TO, subject="Sv: Invitation", text="Tak", In_Reply_To=message_id))
    with imap_running(server):
        looked = poll(runtime.feedback_tools, [parse_mailbox(url_of(server))])

    (done,) = looked.messages
    assert isinstance(done, Processed)
    assert (done.finding.kind, done.applied.result) == (MailKind.REPLY, Result.APPLIED)
    assert mailing.delivery().state is DeliveryState.SENT
    assert len(server.contents()) == 1


def test_what_a_person_quotes_of_a_letter_is_no_wish(mailing: Mailing) -> None:
    quoted = (
        f"Hvem skriver I til?\n\n> List-Unsubscribe: <mailto:{mailing.to(Purpose.UNSUBSCRIBE)}>\n"
        f"> Return-Path: <{mailing.to(Purpose.UNSUBSCRIBE)}>\n"
    )
    reply = RawMessage("1", mail(BOUNCES_TO, subject="Sv: Invitation", text=quoted))
    (done,) = process(mailing.runtime.feedback_tools, [reply], dry_run=False)

    assert isinstance(done, Processed)
    assert (done.finding.kind, done.applied.result) == (MailKind.REPLY, Result.NOTHING)
    assert mailing.suppression() is None


@pytest.mark.parametrize(
    "marks",
    [{"Auto-Submitted": "auto-generated"}, {"Precedence": "bulk"}, {"From": ""}],
    ids=["generated", "bulk", "from nobody"],
)
@pytest.mark.parametrize(
    ("subject", "is_wish"),
    [("unsubscribe", True), ("Ikke på kontoret: unsubscribe", False), ("Ferie", False), ("Tak", False)],
)
def test_a_mail_program_may_mark_the_wish_as_automatic(
    mailing: Mailing, marks: dict[str, str], subject: str, *, is_wish: bool
) -> None:
    message = EmailMessage()
    message["From"], message["To"] = "aase@kommune.example", mailing.to(Purpose.UNSUBSCRIBE)
    message["Subject"] = subject
    for name, value in marks.items():
        del message[name]
        if value:
            message[name] = value
    message.set_content("This message was automatically generated.\n")
    raw = RawMessage("1", message.as_bytes())
    (done,) = process(mailing.runtime.feedback_tools, [raw], dry_run=False)

    assert isinstance(done, Processed)
    assert (done.applied.result is Result.APPLIED) is is_wish
    assert (mailing.suppression() is not None) is is_wish


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)  # SQLite has one writer
def test_a_deadlock_costs_no_message(mailing: Mailing) -> None:
    hashed, deadlock = mailing.hash_of(), threading.Event()
    with mailing.database.write() as db:
        suppress(db, hashed, SuppressionReason.MANUAL, now=NOW)
    done: list[Processed | Unread] = []

    def act_on_it() -> None:
        token = mailing.to(Purpose.BOUNCE)
        message = RawMessage("1", complaint_message("<1@x.example>", to=token))
        done.extend(process(mailing.runtime.feedback_tools, [message], dry_run=False))

    thread = threading.Thread(target=act_on_it)
    with mailing.database.write() as db:
        db.execute(update(Suppression).values(note="held"))
        thread.start()
        deadlock.wait(0.4)  # by now it has the delivery, and waits for the suppression
        db.execute(update(Delivery).values(reason="held"))
    thread.join(20)

    (processed,) = done
    assert isinstance(processed, Processed)
    assert processed.applied.result is Result.APPLIED
    assert mailing.delivery().state is DeliveryState.COMPLAINED


def test_the_task_ends_though_a_server_holds_it_up() -> None:
    program = (
        "import json; from mailer.tasks.feedback import poll_task;"
        "print(json.dumps([poll_task.soft_time_limit, poll_task.time_limit]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert json.loads(done.stdout) == [45, 60]
