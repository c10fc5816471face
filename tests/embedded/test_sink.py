"""The sink speaks SMTP strictly, records before it acknowledges, and breaks only as told."""

import asyncio
import os
import smtplib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest

from mailer.embedded.faults import Fault, Faults
from mailer.embedded.mailstore import MailStore, read_record
from mailer.embedded.sink import serve_sink

LETTER = b"Message-ID: <1@brev.example>\r\nSubject: Hej\r\n\r\n..prik\r\nslut\r\n"


@contextmanager
def serving(folder: Path, *faults: Fault, keep: int = 100) -> Iterator[int]:
    loop = asyncio.new_event_loop()
    port: Future[int] = Future()
    serving = serve_sink(
        folder, host="127.0.0.1", port=0, faults=Faults(faults), keep=keep, when_ready=port.set_result
    )
    task = loop.create_task(serving)

    def run() -> None:
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield port.result(10)
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
        loop.close()


class Client:
    """Writes raw bytes and reads reply lines."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        self._file = self._socket.makefile("rb")
        assert self.line().startswith("220 ")

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def line(self) -> str:
        return self._file.readline().decode()

    def lines(self, count: int) -> list[str]:
        return [self.line()[:3] for _ in range(count)]

    def say(self, command: str) -> str:
        self.send(command.encode() + b"\r\n")
        line = self.line()
        while line[3:4] == "-":
            line = self.line()
        return line.strip()

    def begin(self, recipient: str = "b@modtager.example") -> str:
        assert self.say("EHLO prøve").startswith("250")
        assert self.say("MAIL FROM:<a@afsender.example>").startswith("250")
        return self.say(f"RCPT TO:<{recipient}>")

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@contextmanager
def client(port: int) -> Iterator[Client]:
    opened = Client(port)
    try:
        yield opened
    finally:
        opened.close()


def test_a_letter_is_recorded_and_kept_as_it_was_sent(tmp_path: Path) -> None:
    with serving(tmp_path) as port, smtplib.SMTP("127.0.0.1", port) as relay:
        relay.sendmail("a@afsender.example", ["b@modtager.example", "c@modtager.example"], LETTER)
    record = read_record(tmp_path)
    assert [(kept.recipient, kept.message_id) for kept in record] == [
        ("b@modtager.example", "<1@brev.example>"),
        ("c@modtager.example", "<1@brev.example>"),
    ]
    assert record[0].size == len(LETTER)
    assert (tmp_path / record[0].file).read_bytes() == LETTER


def test_a_whole_pipeline_is_answered_in_order(tmp_path: Path) -> None:
    envelope = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<%d@c.example>\r\nDATA\r\n"
    with serving(tmp_path) as port, client(port) as relay:
        assert relay.say("EHLO x") == "250 ENHANCEDSTATUSCODES"
        relay.send(envelope % 1)
        assert relay.lines(3) == ["250", "250", "354"]
        relay.send(LETTER + b".\r\n" + envelope % 2)
        assert relay.lines(4) == ["250", "250", "250", "354"]
        for byte in LETTER + b".\r\n":
            relay.send(bytes([byte]))
        assert relay.lines(1) == ["250"]
        assert relay.say("QUIT").startswith("221")
    assert [kept.recipient for kept in read_record(tmp_path)] == ["1@c.example", "2@c.example"]


def test_only_the_first_letters_are_kept_as_files_and_all_are_recorded(tmp_path: Path) -> None:
    with serving(tmp_path, keep=2) as port, smtplib.SMTP("127.0.0.1", port) as relay:
        for number in range(4):
            relay.sendmail("a@b.example", f"{number}@c.example", LETTER)
    assert [kept.file for kept in read_record(tmp_path)] == ["000001.eml", "000002.eml", "", ""]
    assert len(list(tmp_path.glob("*.eml"))) == 2


def test_a_restarted_sink_goes_on_with_its_record(tmp_path: Path) -> None:
    for recipient in ("b@c.example", "d@c.example"):
        store = MailStore(tmp_path, keep=10)
        store.store("a@b.example", [recipient], LETTER)
        store.close()
    assert [kept.file for kept in read_record(tmp_path)] == ["000001.eml", "000002.eml"]


def test_a_folded_message_id_is_recorded(tmp_path: Path) -> None:
    store = MailStore(tmp_path, keep=0)
    store.store(
        "a@b.example", ["c@d.example"], b"Subject: x\r\nMessage-Id:\r\n <9@x.example>\r\n\r\nz\r\n"
    )
    store.close()
    assert read_record(tmp_path)[0].message_id == "<9@x.example>"


@pytest.mark.parametrize(
    ("commands", "reply"),
    [
        (["MAIL FROM:<a@b.example>"], "503"),
        (["EHLO x", "RCPT TO:<a@b.example>"], "503"),
        (["EHLO x", "DATA"], "503"),
        (["EHLO x", "MAIL FROM:<a@b.example>", "MAIL FROM:<a@b.example>"], "503"),
        (["EHLO x", "MAIL FROM:<a@b.example>", "DATA"], "554"),
        (["EHLO x", "MAIL FROM:<a@b.example>", "RSET", "RCPT TO:<a@b.example>"], "503"),
        (["EHLO"], "501"),
        (["EHLO x", "MAIL FROM: a@b.example"], "501"),
        (["EHLO x", "MAIL FROM:<ingen snabel>"], "501"),
        (["EHLO x", "MAIL FROM:<a@b.example> SIZE=99999999999"], "552"),
        (["EHLO x", "MAIL FROM:<a@b.example> XYZ=1"], "555"),
        (["EHLO x", "MAIL FROM:<a@b.example>", "RCPT TO:<søren@b.example>"], "553"),
        (["EHLO x", "MAIL FROM:<a@b.example> SMTPUTF8", "RCPT TO:<søren@b.example>"], "250"),
        (["EHLO x", "MAIL FROM:<>", "RCPT TO:<>"], "501"),
        (["HELO x", "NOOP"], "250"),
        (["VRFY root"], "252"),
        (["STARTTLS"], "500"),
        (["EHLO " + "x" * 3000], "500"),
    ],
)
def test_commands_are_answered_as_a_relay_would(tmp_path: Path, commands: list[str], reply: str) -> None:
    with serving(tmp_path) as port, client(port) as relay:
        for command in commands[:-1]:
            assert relay.say(command).startswith("250")
        assert relay.say(commands[-1]).startswith(reply)
    assert read_record(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "reply"),
    [
        (b"Subject: x\n\r\ny\r\n", "554 5.6.0"),
        (b"x" * 999 + b"\r\n", "554 5.6.0"),
        (b"x" * 998 + b"\r\n", "250"),
        ("Subject: x\r\n\r\næ\r\n".encode(), "554 5.6.1"),
        (b"", "250"),
    ],
)
def test_content_is_checked_as_a_careful_relay_would(tmp_path: Path, content: bytes, reply: str) -> None:
    with serving(tmp_path) as port, client(port) as relay:
        relay.begin()
        relay.say("DATA")
        relay.send(content + b".\r\n")
        assert relay.line().startswith(reply)
    assert len(read_record(tmp_path)) == (reply == "250")


def test_too_many_bad_commands_end_the_connection(tmp_path: Path) -> None:
    with serving(tmp_path) as port, client(port) as relay:
        relay.send(b"HVAD\r\n" * 30)
        assert relay.lines(21) == ["500"] * 20 + ["421"]
        assert relay.line() == ""


def test_a_refused_recipient_gets_the_reply_told(tmp_path: Path) -> None:
    gone = Fault(recipient="^vaek@", reply="550 5.1.1 No such user")
    with serving(tmp_path, gone) as port, client(port) as relay:
        assert relay.begin("vaek@c.example") == "550 5.1.1 No such user"
        assert relay.say("RCPT TO:<her@c.example>").startswith("250")


def test_a_refusal_at_the_dot_keeps_nothing_and_times_ends_it(tmp_path: Path) -> None:
    busy = Fault(at="dot", reply="451 4.3.0 Busy", times=1)
    with serving(tmp_path, busy) as port, client(port) as relay:
        for expected in ("451 4.3.0 Busy", "250 2.0.0 Kept"):
            relay.begin()
            relay.say("DATA")
            relay.send(LETTER + b".\r\n")
            assert relay.line().strip() == expected
    assert len(read_record(tmp_path)) == 1


@pytest.mark.parametrize(("recorded", "kept"), [(True, 1), (False, 0)])
def test_hanging_up_after_the_dot_leaves_the_sender_without_a_reply(
    tmp_path: Path, recorded: bool, kept: int
) -> None:
    with serving(tmp_path, Fault(drop="after-dot", recorded=recorded)) as port, client(port) as relay:
        relay.begin()
        assert relay.say("DATA").startswith("354")
        relay.send(LETTER + b".\r\n")
        assert relay.line() == ""
    assert len(read_record(tmp_path)) == kept


def test_hanging_up_before_the_dot_never_asks_for_the_content(tmp_path: Path) -> None:
    with serving(tmp_path, Fault(drop="before-dot", times=1)) as port:
        with client(port) as relay:
            relay.begin()
            assert relay.say("DATA") == ""
        with client(port) as relay:
            relay.begin()
            assert relay.say("DATA").startswith("354")


def test_a_late_reply_keeps_its_place_in_the_pipeline(tmp_path: Path) -> None:
    slow = Fault(recipient="^langsom@", delay=0.2, reply="450 4.2.1 Slow")
    with serving(tmp_path, slow) as port, client(port) as relay:
        relay.say("EHLO x")
        relay.send(
            b"MAIL FROM:<a@b.example>\r\nRCPT TO:<langsom@c.example>\r\n"
            b"RCPT TO:<rask@c.example>\r\nDATA\r\n"
        )
        assert relay.lines(4) == ["250", "450", "250", "354"]


def test_what_the_sink_keeps_is_for_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0o022)
    store = MailStore(tmp_path / "sink", keep=1)
    store.store("a@b.example", ["c@d.example"], LETTER)
    store.close()
    os.umask(before)

    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "sink").iterdir()}
    assert modes == {0o600}
    assert (tmp_path / "sink").stat().st_mode & 0o777 == 0o700
