"""`mailer bounce`: from a letter that really left to the recipient who gets no more."""

import io
import json
import mailbox
import re
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

from mailer.campaigns.heartbeats import POLL_LEASE, take_lease
from mailer.campaigns.models import DeliveryState
from mailer.feedback.processing import LEASE
from mailer.foundation.clock import real_now
from mailer.foundation.settings import Settings
from mailer.launch import launch_campaign
from mailer.runtime import Runtime
from mailer.sending.work import send_batches
from mailer.tracking.tokens import Purpose
from tests.cli.calling import Caller
from tests.conftest import NOW
from tests.feedback.making import (
    Mailing,
    bounce_message,
    complaint_message,
    mail,
    mail_out,
    plus,
)
from tests.feedback.servers import PASSWORD, USER, MailboxServer, imap_running
from tests.making import ScriptedRelay, make_campaign, make_recipient, relay_running, with_relay

UNSUBSCRIBING, UNTOUCHED = "siger-nej@kommune.example", "bliver@kommune.example"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough: what follows from a message is tested on both."""
    return sqlite_url


@pytest.fixture
def mailer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Caller:
    return Caller(settings, monkeypatch, capsys)


@pytest.fixture
def mailing(runtime: Runtime) -> Mailing:
    return mail_out(runtime)


@pytest.fixture
def relay(runtime: Runtime) -> Iterator[ScriptedRelay]:
    """A relay that has taken a real letter to two people."""
    with relay_running(ScriptedRelay()) as running:
        sending = with_relay(runtime, running.port)
        with runtime.database.write() as db:
            for address in (UNSUBSCRIBING, UNTOUCHED):
                make_recipient(db, address=address)
            campaign = make_campaign(db, name="brev")
            launched = launch_campaign(sending.launch_tools, db, campaign, now=NOW).campaign_id
        with sending.sending_tools() as tools:
            send_batches(tools, campaign_id=launched)
        assert set(running.recipients) == {UNSUBSCRIBING, UNTOUCHED}
        yield running


def mailto_of(letter: EmailMessage) -> str:
    """Where the letter's header says one can unsubscribe by mail (RFC 2369)."""
    found = re.search(r"<mailto:([^>?]+)", "".join(str(letter["List-Unsubscribe"]).split()))
    assert found
    return unquote(found[1])


def return_path_of(relay: ScriptedRelay, recipient: str) -> str:
    """Where the relay would return the letter to: several connections told it, each in its order."""
    for path in [what for _, what in relay.begun if what.startswith("MAIL")]:
        token = path.partition("+")[2].partition("@")[0]
        letter = relay.letter_to(recipient)
        if str(letter["Message-ID"]).partition("-")[2][:1] == token.partition("-")[2][:1]:
            return path.split("<")[1].split(">")[0]
    raise AssertionError("the letter never left")


def test_a_mail_to_the_letters_own_address_is_believed_the_first_time(
    mailer: Caller, relay: ScriptedRelay, tmp_path: Path
) -> None:
    letter = relay.letter_to(UNSUBSCRIBING)
    maildir = mailbox.Maildir(tmp_path / "Maildir")
    maildir.add(mail(mailto_of(letter)))
    answer = mailer("bounce", "process", str(tmp_path / "Maildir"), "--json")

    assert answer.code == 0
    (message,) = answer.data["messages"]
    assert (message["kind"], message["asks"]) == ("reply", "unsubscribe")
    assert (message["recipients"], message["result"]) == ([], "applied")
    assert message["delivery"]["campaign"] == "brev"
    shown = mailer("recipient", "show", UNSUBSCRIBING, "--json").data
    assert (shown["suppressed"], shown["suppressed_scope"]) == ("unsubscribed", "everything")
    assert mailer("recipient", "show", UNTOUCHED, "--json").data["suppressed"] is False
    counted = mailer("report", "campaign", "brev", "--json").data["engagement"]["unsubscribes"]
    assert (counted["recipients"], counted["people"]) == (1, 1)
    again = mailer("bounce", "process", str(tmp_path / "Maildir"), "--json")
    assert (again.code, again.data["messages"][0]["result"]) == (0, "known")
    assert len(maildir) == 1


def test_a_letter_that_left_comes_back_to_its_return_path(
    mailer: Caller, relay: ScriptedRelay, tmp_path: Path
) -> None:
    (tmp_path / "bounce.eml").write_bytes(
        bounce_message(return_path_of(relay, UNSUBSCRIBING), UNSUBSCRIBING)
    )
    answer = mailer("bounce", "process", str(tmp_path / "bounce.eml"), "--json")

    assert answer.code == 0
    (message,) = answer.data["messages"]
    assert message["path"] == str(tmp_path / "bounce.eml")
    assert message["kind"] == "bounce"
    (recipient,) = message["recipients"]
    assert (recipient["address"], recipient["hard"], recipient["status"]) == (
        UNSUBSCRIBING,
        True,
        "5.1.1",
    )
    assert mailer("recipient", "show", UNSUBSCRIBING, "--json").data["suppressed"] == "bounced"
    assert mailer("campaign", "status", "brev", "--json").data["deliveries"]["bounced"] == 1
    assert mailer("campaign", "reconcile", "brev").code == 0


def test_a_feedback_loop_names_the_letter_by_its_message_id(
    mailer: Caller, relay: ScriptedRelay, tmp_path: Path
) -> None:
    letter = relay.letter_to(UNSUBSCRIBING)
    (tmp_path / "fbl.eml").write_bytes(complaint_message(str(letter["Message-ID"])))
    answer = mailer("bounce", "process", str(tmp_path / "fbl.eml"), "--json")

    assert [each["kind"] for each in answer.data["messages"]] == ["complaint"]
    assert mailer("recipient", "show", UNSUBSCRIBING, "--json").data["suppressed"] == "complained"
    assert mailer("campaign", "status", "brev", "--json").data["deliveries"]["complained"] == 1


def test_a_dry_run_says_all_and_changes_nothing(
    mailer: Caller, mailing: Mailing, tmp_path: Path
) -> None:
    (tmp_path / "1.eml").write_bytes(bounce_message(mailing.to(Purpose.BOUNCE), mailing.address()))
    (tmp_path / "2.eml").write_bytes(mail(mailing.to(Purpose.UNSUBSCRIBE, 2)))
    answer = mailer("bounce", "process", str(tmp_path), "--dry-run", "--json")

    assert [each["result"] for each in answer.data["messages"]] == ["applied", "applied"]
    assert answer.data["messages"][0]["delivery"]["state"] == "bounced"
    assert answer.data["dry_run"] is True
    assert mailing.delivery().state is DeliveryState.SENT
    assert [mailing.suppression(position) for position in (1, 2)] == [None, None]
    assert mailing.events() == []


def test_nobody_suppresses_a_stranger(mailer: Caller, mailing: Mailing, tmp_path: Path) -> None:
    victim = mailing.address()
    genuine = mailing.token(Purpose.UNSUBSCRIBE)
    forged = {
        "no token": bounce_message("bounce@coi.example", victim),
        "made up": bounce_message(plus("v0" + genuine[2:]), victim),
        "another's token": bounce_message(mailing.to(Purpose.BOUNCE, 2), victim),
        "wrong purpose": bounce_message(mailing.to(Purpose.UNSUBSCRIBE), victim),
        "unsubscribe by bounce token": mail(mailing.to(Purpose.BOUNCE)),
        "out of office": mail(
            mailing.to(Purpose.UNSUBSCRIBE), subject="Ikke på kontoret", Auto_Submitted="auto-replied"
        ),
        "complaint": complaint_message("<1@coi.example>"),
        "made-up id": bounce_message(
            "bounce@coi.example", victim, message_id=f"<{genuine}@coi.example>"
        ),
    }
    for number, message in enumerate(forged.values()):
        (tmp_path / f"{number}.eml").write_bytes(message)
    answer = mailer("bounce", "process", str(tmp_path), "--json")

    assert answer.code == 0
    results = dict(zip(forged, [each["result"] for each in answer.data["messages"]], strict=True))
    assert results.pop("another's token") == "applied"  # its holder's own letter bounced, no more
    assert results.pop("out of office") == "nothing"
    assert set(results.values()) == {"unverified"}
    assert [mailing.suppression(position) for position in (1, 2, 3)] == [None] * 3
    assert mailing.delivery(1).state is DeliveryState.SENT


def test_control_characters_reach_neither_terminal_nor_logs(
    mailer: Caller, mailing: Mailing, tmp_path: Path
) -> None:
    evil = "550 5.1.1 \x1b]0;owned\x07\x1b[31m \x9b2J \u202e gone"
    (tmp_path / "evil.eml").write_bytes(
        bounce_message(mailing.to(Purpose.BOUNCE), mailing.address(), said=evil)
    )
    shown = mailer("bounce", "process", str(tmp_path / "evil.eml"))
    parsed = mailer("bounce", "process", str(tmp_path / "evil.eml"), "--json")
    ledger = mailer("campaign", "ledger", "brev", "--state", "bounced")

    for text in (shown.stdout, shown.stderr, parsed.stdout, parsed.stderr, ledger.stdout):
        assert text.replace("\n", "").replace("\r", "").isprintable()
    assert mailing.address() in shown.stdout
    assert mailing.address() not in shown.stderr + parsed.stderr


def test_standard_input_is_read_and_counted(
    mailer: Caller, mailing: Mailing, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = bounce_message(mailing.to(Purpose.BOUNCE), mailing.address())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(message)))
    answer = mailer("bounce", "process", "-")

    assert answer.code == 0
    assert "1 message: bounce 1" in answer.stderr
    assert "no such user" in answer.stdout


def test_what_cannot_be_read_is_named_and_the_rest_is_done(
    mailer: Caller, mailing: Mailing, tmp_path: Path
) -> None:
    (tmp_path / "1.eml").mkdir()
    (tmp_path / "2.eml").write_bytes(mail(mailing.to(Purpose.UNSUBSCRIBE)))
    answer = mailer("bounce", "process", str(tmp_path), "--json")

    assert answer.code == 3
    assert [each["path"] for each in answer.data["unread"]] == [str(tmp_path / "1.eml")]
    assert mailing.suppression() is not None
    assert mailer("bounce", "process", str(tmp_path / "none")).code == 4
    assert mailer("bounce", "process").code == 2


def test_a_poll_acts_on_the_configured_mailboxes(mailer: Caller, mailing: Mailing) -> None:
    assert mailer("bounce", "poll").code == 78
    server = MailboxServer()
    server.add(mail(mailing.to(Purpose.UNSUBSCRIBE)))
    secret = quote(PASSWORD, safe="")
    with imap_running(server):
        url = f"imap://{quote(USER, safe='')}:{secret}@127.0.0.1:{server.port}/INBOX?starttls=never"
        mailer.set("BOUNCE_MAILBOXES", f"{url} imaps://me:geheim@127.0.0.1:1")
        answer = mailer("bounce", "poll", "--json")
        status = json.loads(mailer("status", "--json").stdout)
        mailer.set("BOUNCE_MAILBOXES", url)
        alone = mailer("bounce", "poll", "--json")
        well = json.loads(mailer("status", "--json").stdout)

    assert answer.code == 69
    assert [each["ok"] for each in answer.data["mailboxes"]] == [True, False]
    assert [each["path"] for each in answer.data["messages"]] == ["127.0.0.1/INBOX#1"]
    assert mailing.suppression() is not None
    assert "geheim" not in answer.stdout + answer.stderr
    assert (alone.code, alone.data["messages"]) == (0, [])
    for looked, ok in ((status, False), (well, True)):
        assert {p["name"]: p["ok"] for p in looked["processes"]}["bounce mailboxes"] is ok


def test_a_mailbox_setting_is_masked_and_read_strictly(mailer: Caller) -> None:
    mailer.set("BOUNCE_MAILBOXES", "imaps://me:geheim@mail.example/x")
    assert "geheim" not in mailer("settings", "show").stdout
    mailer.set("BOUNCE_MAILBOXES", "imap:me:geheim@mail.example/x")
    refused = mailer("bounce", "poll")

    assert refused.code == 78
    assert "geheim" not in refused.stderr


def test_a_second_poll_at_once_is_told_to_wait(mailer: Caller, mailing: Mailing) -> None:
    mailer.set("BOUNCE_MAILBOXES", "imaps://me:geheim@127.0.0.1:1")
    with mailing.database.write() as db:
        take_lease(db, POLL_LEASE, now=real_now(), length=LEASE)

    assert mailer("bounce", "poll").code == 5


def test_nothing_found_is_said(mailer: Caller, mailing: Mailing, tmp_path: Path) -> None:
    del mailing
    answer = mailer("bounce", "process", str(tmp_path))

    assert (answer.code, answer.stdout) == (0, "")
    assert answer.stderr.startswith("0 messages\nnothing was given")


def test_no_kind_is_told_that_was_not_agreed_on(
    mailer: Caller, mailing: Mailing, tmp_path: Path
) -> None:
    (tmp_path / "1.eml").write_bytes(mail(mailing.to(Purpose.BOUNCE), subject="Hej", text="Tak"))
    (tmp_path / "2.eml").write_bytes(mail(mailing.to(Purpose.UNSUBSCRIBE)))
    (tmp_path / "3.eml").write_bytes(mail(plus("v1-none")))
    answer = mailer("bounce", "process", str(tmp_path), "--json")
    shown = mailer("bounce", "process", str(tmp_path))

    assert [(each["kind"], each["asks"], each["result"]) for each in answer.data["messages"]] == [
        ("reply", None, "nothing"),
        ("reply", "unsubscribe", "applied"),
        ("reply", "unsubscribe", "unverified"),
    ]
    assert "asks" in shown.stdout.splitlines()[0]


def test_no_more_is_shown_than_anybody_reads(mailer: Caller, mailing: Mailing, tmp_path: Path) -> None:
    del mailing
    groups = "".join(
        f"Final-Recipient: rfc822; u{number}@isp.example\nAction: failed\nStatus: 5.1.1\n\n"
        for number in range(40)
    )
    report = (
        "From: MAILER-DAEMON@isp.example\nTo: bounce@coi.example\nReturn-Path: <>\n"
        f"Content-Type: message/delivery-status\n\nReporting-MTA: dns; isp.example\n\n{groups}"
    )
    (tmp_path / "mbox").write_text(f"From x\n{report}\n" * 20)
    answer = mailer("bounce", "process", str(tmp_path / "mbox"), "--json")
    shown = mailer("bounce", "process", str(tmp_path / "mbox"))

    assert [len(each["recipients"]) for each in answer.data["messages"]] == [20] * 20
    assert 300 < len(shown.stdout.splitlines()) < 330
    assert "20 messages: bounce 20" in shown.stderr
