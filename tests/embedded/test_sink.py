"""The sink speaks SMTP strictly, records before it acknowledges, and breaks only as told."""

import os
import smtplib
import socket
from pathlib import Path

import pytest

from mailer.embedded.contents import find_message_id
from mailer.embedded.faults import Behaviour, Fault, Limits
from mailer.embedded.mailstore import MailStore, read_record
from tests.embedded.talking import ENVELOPE, LETTER, client, serving


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
    for recipient in (b"b@c.example", b"d@c.example"):
        store = MailStore(tmp_path, keep=10)
        store.note(b"a@b.example", [recipient], b"<1@x>", 9, store.keep(LETTER))
        store.close()
    assert [kept.file for kept in read_record(tmp_path)] == ["000001.eml", "000002.eml"]


@pytest.mark.parametrize(
    ("head", "message_id"),
    [
        (b"Subject: x\r\nMessage-ID: <9@x.example>\r\n", b"<9@x.example>"),
        (b"Message-ID: <9@x.example>\r\nSubject: x\r\n", b"<9@x.example>"),
        (b"Subject: x\r\nMessage-Id:\r\n <9@x.example>\r\n", b"<9@x.example>"),
        (b"Subject: x\r\nMessage-Id: <9@x.example>\r\n", b"<9@x.example>"),
        (b"message-id:<9@x.example>\r\n", b"<9@x.example>"),
        (b"Message-ID: <9@x.example> \t\r\n", b"<9@x.example>"),
        (b"Message-ID: <a\tb\x0b\xc2\x85c>\r\n", b"<a\\tb\\x0b\\x85c>"),
        (b"Subject: x\r\n", b""),
        (b"", b""),
    ],
)
def test_the_message_id_is_found_in_the_head_only_and_fits_the_record(
    head: bytes, message_id: bytes
) -> None:
    letter = head + b"\r\nMessage-ID: <attached@x.example>\r\n"
    before = b"\r\nMessage-ID: <other@x.example>\r\n"
    buffer = bytearray(before + letter + before)
    assert find_message_id(buffer, len(before), len(before) + len(letter)) == message_id


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
    store.keep(LETTER)
    store.close()
    os.umask(before)

    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "sink").iterdir()}
    assert modes == {0o600}
    assert (tmp_path / "sink").stat().st_mode & 0o777 == 0o700


def test_no_address_moves_a_line_or_a_column_of_the_record(tmp_path: Path) -> None:
    with serving(tmp_path) as port, client(port) as relay:
        relay.say("EHLO x")
        assert relay.say('MAIL FROM:<"a\tb"@c.example>').startswith("501")
        assert relay.say("MAIL FROM:<> SMTPUTF8").startswith("250")
        assert relay.say('RCPT TO:<"a\u2028b\x85"@c.example>').startswith("250")
        relay.say("DATA")
        relay.send(b"Message-ID: <../../etc\t\x1c>\r\n\r\n.\r\n")
        assert relay.line().startswith("250")
    assert len((tmp_path / "letters.tsv").read_text("utf-8").splitlines()) == 2
    [kept] = read_record(tmp_path)
    assert kept.recipient == '"a\\u2028b\\x85"@c.example'
    assert kept.message_id == r"<../../etc\t\x1c>"
    assert kept.file == "000001.eml"


def test_large_letters_share_what_memory_there_is(tmp_path: Path) -> None:
    narrow = Behaviour(limits=Limits(memory=100_000))
    with serving(tmp_path, behaviour=narrow) as port, client(port) as first, client(port) as second:
        # A connection's buffer, once grown, counts for as long as the connection stays.
        for relay, lines, reply in (
            (first, 50_000, "452"),
            (first, 30_000, "250"),
            (second, 30_000, "452"),
        ):
            relay.begin()
            relay.say("DATA")
            relay.send(b"x\r\n" * lines + b".\r\n")
            assert relay.line().startswith(reply)
    with serving(tmp_path, behaviour=narrow) as port, client(port) as relay:
        relay.begin()
        relay.send(b"BDAT 90000\r\n" + b"x\r\n" * 30_000 + b"BDAT 90000 LAST\r\n" + b"x\r\n" * 30_000)
        assert relay.lines(2) == ["250", "452"]
        assert relay.begin().startswith("250")
        relay.send(b"BDAT 90000 LAST\r\n" + b"x\r\n" * 30_000)
        assert relay.lines(1) == ["250"]
    assert [kept.size for kept in read_record(tmp_path)] == [90_000, 90_000]


def test_who_reads_no_replies_is_not_read_from(tmp_path: Path) -> None:
    with serving(tmp_path) as port, socket.create_connection(("127.0.0.1", port), 5) as deaf:
        deaf.settimeout(1)
        with pytest.raises(TimeoutError):
            deaf.sendall(b"EHLO x\r\n" * 4_000_000)


@pytest.mark.parametrize("lenient", [False, True])
def test_letters_longer_than_the_buffer_arrive_whole(tmp_path: Path, lenient: bool) -> None:
    letter = LETTER + b"0123456789\r\n" * 40_000
    envelope = ENVELOPE % b"b@c.example"
    with serving(tmp_path, keep=0 if lenient else 9, lenient=lenient) as port, client(port) as relay:
        relay.say("EHLO x")
        relay.send(envelope)
        for _ in range(3):
            assert relay.lines(3) == ["250", "250", "354"]
            relay.send(letter + b".\r\n" + envelope)
            assert relay.lines(1) == ["250"]
    record = read_record(tmp_path)
    assert [kept.message_id for kept in record] == ["<1@brev.example>"] * 3
    if lenient:
        assert {kept.size for kept in record} == {len(letter)}
    else:
        assert (tmp_path / record[2].file).read_bytes() == letter.replace(b"\r\n..", b"\r\n.")


def test_a_lenient_sink_looks_only_at_what_it_keeps(tmp_path: Path) -> None:
    bad = b"Message-ID: <1@x>\r\n\r\n" + b"x" * 2000 + b"\n\xff\r\n.\r\n"
    with serving(tmp_path, keep=1, lenient=True) as port, client(port) as relay:
        for reply in ("554", "250"):
            relay.begin()
            relay.say("DATA")
            relay.send(bad)
            assert relay.line().startswith(reply)
            relay.begin()
            relay.say("DATA")
            relay.send(LETTER + b".\r\n")
            assert relay.line().startswith("250")
    assert [kept.message_id for kept in read_record(tmp_path)][1] == "<1@x>"


def test_a_lenient_sink_finds_the_end_of_a_letter_however_it_is_cut(tmp_path: Path) -> None:
    data = b"Message-ID: <1@x>\r\n\r\nx\r\n.\r\n" + ENVELOPE % b"b@c.example"
    with serving(tmp_path, keep=0, lenient=True) as port, client(port) as relay:
        relay.say("EHLO x")
        relay.send(ENVELOPE % b"b@c.example")
        for cut in range(1, len(data)):
            assert relay.lines(3) == ["250", "250", "354"]
            relay.send(data[:cut])
            relay.send(data[cut:])
            assert relay.lines(1) == ["250"]
    assert {kept.size for kept in read_record(tmp_path)} == {len(b"Message-ID: <1@x>\r\n\r\nx\r\n")}


def test_a_line_torn_by_a_kill_is_taken_back(tmp_path: Path) -> None:
    store = MailStore(tmp_path, keep=0)
    store.note(b"a@b.example", [b"c@d.example"], b"<1@x>", 9)
    store.close()
    with (tmp_path / "letters.tsv").open("ab") as record:
        record.write(b"2014-03-07T09:00:00.000+00:00\tgone@d.exa")
    assert len(read_record(tmp_path)) == 1

    store = MailStore(tmp_path, keep=0)
    store.note(b"a@b.example", [b"e@d.example"], b"<2@x>", 9)
    store.close()
    assert [kept.recipient for kept in read_record(tmp_path)] == ["c@d.example", "e@d.example"]


def test_a_number_is_never_given_to_two_letters(tmp_path: Path) -> None:
    store = MailStore(tmp_path, keep=3)
    store.keep(b"one")
    store.keep(b"two")
    store.close()
    (tmp_path / "000001.eml").unlink()
    assert MailStore(tmp_path, keep=3).keep(b"three") == b"000003.eml"
    assert (tmp_path / "000002.eml").read_bytes() == b"two"
