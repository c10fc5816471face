"""The sink breaks what it is told to break, nothing else, and records that it did."""

import base64
import hmac
import socket
import ssl
import time
from concurrent.futures import Future
from pathlib import Path

import pytest

from mailer.embedded.certificates import AUTHORITY
from mailer.embedded.errors import BadFaults
from mailer.embedded.faults import (
    Behaviour,
    Fault,
    Faults,
    Latency,
    Limits,
    Pieces,
    Rate,
    SignIn,
    Tls,
)
from mailer.embedded.mailstore import read_faults, read_record
from mailer.embedded.sink import Behave
from tests.embedded.talking import ENVELOPE, LETTER, Client, caller, client, serving

BUSY = "451 4.3.0 Busy"
SIGN_IN = SignIn("brev", "hemmelig", plaintext=True)


def hits(folder: Path) -> list[tuple[str, str, str]]:
    return [(each.kind, each.point, each.recipient) for each in read_faults(folder)]


@pytest.mark.parametrize(
    ("at", "recipient"),
    [("mail", ""), ("rcpt", "b@modtager.example"), ("data", "b@modtager.example")],
)
def test_a_refusal_comes_where_it_was_told_and_only_there(
    tmp_path: Path, at: str, recipient: str
) -> None:
    with serving(tmp_path, Fault(at=at, reply=BUSY, times=1)) as port, client(port) as relay:
        relay.say("EHLO x")
        assert relay.deliver() == BUSY
        relay.say("RSET")
        assert relay.deliver() == "250 2.0.0 Kept"
    assert hits(tmp_path) == [("reply", at, recipient)]
    assert len(read_record(tmp_path)) == 1


def test_a_refused_greeting_ends_the_connection(tmp_path: Path) -> None:
    with serving(tmp_path, Fault(at="connect", reply="554 5.3.2 Away", times=1)) as port:
        with caller(port) as relay:
            assert relay.line() == "554 5.3.2 Away\r\n"
            assert relay.line() == ""
        with client(port) as relay:
            assert relay.say("NOOP").startswith("250")
    assert hits(tmp_path) == [("reply", "connect", "")]


def test_a_refused_ehlo_may_be_tried_again(tmp_path: Path) -> None:
    with serving(tmp_path, Fault(at="ehlo", reply=BUSY, times=1)) as port, client(port) as relay:
        assert relay.say("EHLO x") == BUSY
        assert relay.say("MAIL FROM:<a@b.example>").startswith("503")
        assert relay.say("EHLO x").startswith("250")


def test_421_and_close_end_the_connection_after_the_reply(tmp_path: Path) -> None:
    going = Fault(recipient="^vaek", reply="421 4.3.2 Going down")
    closing = Fault(recipient="^luk", reply="550 5.7.1 No", close=True)
    with serving(tmp_path, going, closing) as port:
        for name, code in (("vaek@c.example", "421"), ("luk@c.example", "550")):
            with client(port) as relay:
                assert relay.begin(name).startswith(code)
                assert relay.line() == ""


def test_a_reply_may_have_several_lines(tmp_path: Path) -> None:
    with serving(tmp_path, Fault(reply="550 5.7.1 No\nSee our page")) as port, client(port) as relay:
        relay.say("EHLO x")
        relay.say("MAIL FROM:<a@b.example>")
        assert relay.reply_to("RCPT TO:<b@c.example>") == ["550-5.7.1 No", "550 See our page"]


def test_rules_may_look_at_the_sender(tmp_path: Path) -> None:
    rule = Fault(sender="^a@", reply=BUSY)
    with serving(tmp_path, rule) as port, client(port) as relay:
        relay.say("EHLO x")
        assert relay.deliver() == BUSY
        relay.say("RSET")
        relay.say("MAIL FROM:<>")
        assert relay.say("RCPT TO:<a@modtager.example>").startswith("250")


@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_in_the_content_loses_the_letter(tmp_path: Path, reset: bool) -> None:
    with serving(tmp_path, Fault(drop="in-content", reset=reset)) as port, client(port) as relay:
        relay.begin()
        assert relay.say("DATA").startswith("354")
        relay.send(b"Subject: x\r\n")
        if reset:
            with pytest.raises(ConnectionResetError):
                relay.arrived()
        else:
            assert relay.arrived() == b""
    assert read_record(tmp_path) == []
    assert hits(tmp_path) == [("drop-in-content", "dot", "b@modtager.example")]


@pytest.mark.parametrize(("recorded", "kept"), [(True, 1), (False, 0)])
def test_a_cut_in_the_reply_leaves_half_of_it(tmp_path: Path, recorded: bool, kept: int) -> None:
    rule = Fault(at="dot", drop="in-reply", recorded=recorded)
    with serving(tmp_path, rule) as port, client(port) as relay:
        relay.begin()
        relay.say("DATA")
        relay.send(LETTER + b".\r\n")
        half = relay.line()
        assert half
        assert "250 2.0.0 Kept\r\n".startswith(half)
        assert not half.endswith("\n")
    assert len(read_record(tmp_path)) == kept


def test_a_server_may_hang_up_instead_of_any_reply(tmp_path: Path) -> None:
    with serving(tmp_path, Fault(at="mail", drop="instead")) as port, client(port) as relay:
        relay.say("EHLO x")
        assert relay.say("MAIL FROM:<a@b.example>") == ""
    assert hits(tmp_path) == [("drop-instead", "mail", "")]


def test_broken_pipelining_forgets_what_came_behind_a_refusal(tmp_path: Path) -> None:
    rule = Fault(recipient="^vaek", reply="550 5.1.1 No", forget=True)
    with serving(tmp_path, rule) as port, client(port) as relay:
        relay.say("EHLO x")
        relay.send(ENVELOPE % b"vaek@c.example")
        assert relay.lines(2) == ["250", "550"]
        assert relay.say("RSET") == "250 2.0.0 OK"


def test_broken_pipelining_forgets_what_came_behind_the_dot(tmp_path: Path) -> None:
    with serving(tmp_path, Fault(at="dot", forget=True)) as port, client(port) as relay:
        relay.begin()
        relay.say("DATA")
        relay.send(LETTER + b".\r\n" + ENVELOPE % b"c@d.example")
        assert relay.lines(1) == ["250"]
        assert relay.say("RCPT TO:<c@d.example>").startswith("503")


def test_a_line_nobody_asked_for_follows_the_reply(tmp_path: Path) -> None:
    rule = Fault(at="dot", extra="250 2.0.0 Kept once more")
    with serving(tmp_path, rule) as port, client(port) as relay:
        relay.say("EHLO x")
        assert relay.deliver() == "250 2.0.0 Kept"
        assert relay.line() == "250 2.0.0 Kept once more\r\n"


def test_a_reply_may_never_come_and_the_dialogue_goes_on(tmp_path: Path) -> None:
    with serving(tmp_path, Fault(silent=True)) as port, client(port) as relay:
        relay.say("EHLO x")
        relay.send(ENVELOPE % b"c@d.example")
        assert relay.lines(2) == ["250", "354"]


def test_replies_may_arrive_byte_by_byte(tmp_path: Path) -> None:
    slow = Behaviour(pieces=Pieces(size=1, gap=0.005))
    with serving(tmp_path, behaviour=slow) as port, client(port) as relay:
        relay.send(b"NOOP\r\n")
        pieces = []
        while not b"".join(pieces).endswith(b"\n"):
            pieces.append(relay.arrived())
        assert b"".join(pieces) == b"250 2.0.0 OK\r\n"
        assert len(pieces) > 3


def test_far_away_replies_wait_a_round_trip_and_keep_their_order(tmp_path: Path) -> None:
    far = Behaviour(latency=Latency(round_trip=0.15))
    with serving(tmp_path, behaviour=far) as port, client(port) as relay:
        relay.say("EHLO x")
        began = time.monotonic()
        relay.send(ENVELOPE % b"c@d.example")
        relay.send(b"QUIT\r\n")
        assert relay.lines(3) == ["250", "250", "354"]
        assert time.monotonic() - began >= 0.15


def test_letters_of_one_connection_are_worked_off_one_after_the_other(tmp_path: Path) -> None:
    slow = Behaviour(latency=Latency(letter=0.1))
    with serving(tmp_path, behaviour=slow) as port, client(port) as relay:
        relay.say("EHLO x")
        began = time.monotonic()
        chunk = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nBDAT 2 LAST\r\n\r\n"
        relay.send(chunk * 3)
        assert relay.lines(9) == ["250"] * 9
        assert time.monotonic() - began >= 0.3
    assert len(read_record(tmp_path)) == 3


def test_a_slow_address_holds_up_no_other_connection(tmp_path: Path) -> None:
    slow = Fault(recipient="^langsom", delay=30)
    with serving(tmp_path, slow) as port, client(port) as waiting, client(port) as other:
        waiting.say("EHLO x")
        waiting.send(ENVELOPE % b"langsom@d.example")
        assert waiting.lines(1) == ["250"]
        other.say("EHLO x")
        assert other.deliver() == "250 2.0.0 Kept"


def test_who_talks_before_a_late_greeting_is_answered_after_it(tmp_path: Path) -> None:
    late = Fault(at="connect", delay=0.2)
    with serving(tmp_path, late) as port, caller(port) as relay:
        relay.send(b"EHLO x\r\n" + b"NOOP\r\n" * 20_000)
        assert relay.line().startswith("220")
        assert relay.lines(20_007) == ["250"] * 20_007


def test_who_leaves_while_replies_are_on_their_way_is_let_go(tmp_path: Path) -> None:
    far = Behaviour(latency=Latency(round_trip=0.1), limits=Limits(connections=1))
    with serving(tmp_path, behaviour=far) as port:
        with client(port) as leaving:
            leaving.send(b"NOOP\r\n" * 9)
        time.sleep(0.3)
        with client(port) as relay:
            assert relay.say("NOOP").startswith("250")


def test_missing_extensions_are_neither_offered_nor_understood(tmp_path: Path) -> None:
    poor = Behaviour(without=frozenset({"PIPELINING", "SMTPUTF8", "8BITMIME", "SIZE", "CHUNKING"}))
    with serving(tmp_path, behaviour=poor) as port, client(port) as relay:
        assert [line[4:] for line in relay.reply_to("EHLO x")[1:]] == ["ENHANCEDSTATUSCODES"]
        for parameter in ("SMTPUTF8", "BODY=8BITMIME", "SIZE=5"):
            assert relay.say(f"MAIL FROM:<a@b.example> {parameter}").startswith("555")
        assert relay.say("BDAT 0 LAST").startswith("500")
        assert relay.deliver() == "250 2.0.0 Kept"


def test_the_size_limit_is_told_and_kept(tmp_path: Path) -> None:
    small = Behaviour(limits=Limits(size=1000))
    with serving(tmp_path, behaviour=small) as port, client(port) as relay:
        assert "250-SIZE 1000" in relay.reply_to("EHLO x")
        assert relay.say("MAIL FROM:<a@b.example> SIZE=1001").startswith("552")
        relay.begin()
        relay.say("DATA")
        relay.send((b"x" * 98 + b"\r\n") * 5000 + b".\r\n" + ENVELOPE % b"c@d.example")
        assert relay.lines(4) == ["552", "250", "250", "354"]
        relay.send(LETTER + b".\r\n")
        assert relay.lines(1) == ["250"]
        relay.begin()
        relay.send(b"BDAT 1001\r\n" + b"x" * 1001 + b"BDAT 3 LAST\r\nx\r\n")
        assert relay.lines(2) == ["552", "503"]
    assert {kind for kind, _, _ in hits(tmp_path)} == {"limit-size"}
    assert len(read_record(tmp_path)) == 1


def test_too_many_connections_and_letters_are_turned_away(tmp_path: Path) -> None:
    narrow = Behaviour(limits=Limits(connections=1, letters_per_connection=1))
    with serving(tmp_path, behaviour=narrow) as port, client(port) as relay:
        with caller(port) as second:
            assert second.line() == "421 4.7.0 Too many connections\r\n"
            assert second.line() == ""
        relay.say("EHLO x")
        assert relay.deliver().startswith("250")
        assert relay.say("MAIL FROM:<a@b.example>").startswith("421 4.7.0")
        assert relay.line() == ""
    assert [kind for kind, _, _ in hits(tmp_path)] == ["limit-connections", "limit-letters"]


def test_a_domain_gets_its_letters_a_second_and_no_more(tmp_path: Path) -> None:
    held = Behaviour(rates=(Rate(0.001, domain="^holdt", burst=2),))
    with serving(tmp_path, behaviour=held) as port, client(port) as relay:
        relay.begin("a@holdt.example")
        assert relay.say("RCPT TO:<b@holdt.example>").startswith("250")
        assert relay.say("RCPT TO:<c@HOLDT.example>") == "450 4.7.28 Rate limited"
        assert relay.say("RCPT TO:<c@fri.example>").startswith("250")
    assert hits(tmp_path) == [("rate", "rcpt", "c@HOLDT.example")]


@pytest.mark.parametrize("code", [354, 503, 554])
def test_data_without_recipients_is_answered_as_told(tmp_path: Path, code: int) -> None:
    told = Behaviour(data_without_recipients=code)
    with serving(tmp_path, behaviour=told) as port, client(port) as relay:
        relay.say("EHLO x")
        relay.say("MAIL FROM:<a@b.example>")
        assert relay.say("DATA").startswith(str(code))
        if code == 354:
            relay.send(b".\r\n")
            assert relay.line().startswith("554 5.5.1")
        assert relay.say("RSET").startswith("250")
    assert read_record(tmp_path) == []


def test_faults_may_change_while_the_sink_runs_and_remember_whom_they_met(tmp_path: Path) -> None:
    once = Fault(recipient="^b@", reply=BUSY, times=1)
    told: Future[Behave] = Future()
    with serving(tmp_path, once, when_open=told.set_result) as port, client(port) as relay:
        behave = told.result(5)
        assert relay.begin() == BUSY
        behave(Faults((Fault(recipient="^c@", reply=BUSY), once)))
        assert relay.say("RCPT TO:<b@modtager.example>").startswith("250")
        assert relay.say("RCPT TO:<c@modtager.example>") == BUSY
        with pytest.raises(BadFaults, match="cannot be used"):
            behave(Faults((), Behaviour(tls=Tls(certificate="missing.pem"))))
        assert relay.say("RCPT TO:<c@modtager.example>") == BUSY


# Chunks


def test_a_letter_may_come_in_chunks(tmp_path: Path) -> None:
    with serving(tmp_path) as port, client(port) as relay:
        relay.begin()
        relay.send(b"BDAT 10\r\n" + LETTER[:10] + b"BDAT %d LAST\r\n" % (len(LETTER) - 10) + LETTER[10:])
        assert relay.lines(2) == ["250", "250"]
        relay.begin()
        relay.send(b"BDAT %d LAST\r\n" % len(LETTER) + LETTER[:9])
        relay.send(LETTER[9:])
        assert relay.lines(1) == ["250"]
        relay.begin()
        large = b"x\r\n" * 200_000
        relay.send(b"BDAT %d\r\n" % len(large) + large + b"BDAT 0 LAST\r\n")
        assert relay.lines(2) == ["250", "250"]
    record = read_record(tmp_path)
    assert [(tmp_path / kept.file).read_bytes() for kept in record] == [LETTER, LETTER, large]


def test_chunks_of_a_refused_recipient_are_swallowed(tmp_path: Path) -> None:
    gone = Fault(recipient="^vaek", reply="550 5.1.1 No")
    with serving(tmp_path, gone) as port, client(port) as relay:
        relay.say("EHLO x")
        for name in (b"vaek@c.example", b"her@c.example"):
            relay.send(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<%b>\r\n" % name)
            relay.send(b"BDAT 12 LAST\r\nRSET\r\nQUIT\r\n")
        assert relay.lines(6) == ["250", "550", "554", "250", "250", "250"]
    assert [kept.recipient for kept in read_record(tmp_path)] == ["her@c.example"]


def test_a_chunk_of_unknown_size_ends_the_connection(tmp_path: Path) -> None:
    with serving(tmp_path) as port, client(port) as relay:
        relay.begin()
        relay.send(b"BDAT -1 LAST\r\nQUIT\r\n")
        assert relay.line().startswith("501")
        assert relay.line() == ""


@pytest.mark.parametrize("drop", ["before-dot", "in-content", "after-dot"])
def test_a_letter_in_chunks_is_cut_as_others_are(tmp_path: Path, drop: str) -> None:
    with serving(tmp_path, Fault(drop=drop)) as port, client(port) as relay:
        relay.begin()
        relay.send(b"BDAT 3 LAST\r\nx\r\n")
        assert relay.line() == ""
    assert len(read_record(tmp_path)) == (drop == "after-dot")
    assert hits(tmp_path) == [(f"drop-{drop}", "dot", "b@modtager.example")]


# TLS


def test_a_good_certificate_is_good_to_whoever_trusts_the_authority(tmp_path: Path) -> None:
    with serving(tmp_path, behaviour=Behaviour(tls=Tls(required=True))) as port, client(port) as relay:
        assert "250-STARTTLS" in relay.reply_to("EHLO x")
        assert relay.say("MAIL FROM:<a@b.example>").startswith("530")
        assert relay.say("STARTTLS").startswith("220")
        relay.secure(tmp_path / AUTHORITY)
        assert relay.say("MAIL FROM:<a@b.example>").startswith("503")
        assert "250-STARTTLS" not in relay.reply_to("EHLO x")
        assert relay.deliver() == "250 2.0.0 Kept"
        assert relay.say("STARTTLS").startswith("503")
        assert relay.say("QUIT").startswith("221")
    assert len(read_record(tmp_path)) == 1


def test_what_came_in_plaintext_behind_starttls_is_never_obeyed(tmp_path: Path) -> None:
    with serving(tmp_path, behaviour=Behaviour(tls=Tls())) as port, client(port) as relay:
        relay.say("EHLO x")
        relay.send(b"STARTTLS\r\nEHLO x\r\nMAIL FROM:<forbryder@b.example>\r\n")
        assert relay.lines(1) == ["220"]
        relay.secure(tmp_path / AUTHORITY)
        assert relay.say("RCPT TO:<b@c.example>").startswith("503")


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        ("expired", "certificate has expired"),
        ("wrong-name", "certificate is not valid for 'localhost'"),
        ("self-signed", "self.signed certificate"),
    ],
)
def test_a_bad_certificate_is_bad_for_the_reason_told(
    tmp_path: Path, certificate: str, reason: str
) -> None:
    bad = Behaviour(tls=Tls(certificate=certificate))
    with serving(tmp_path, behaviour=bad) as port, client(port) as relay:
        relay.say("EHLO x")
        relay.say("STARTTLS")
        with pytest.raises(ssl.SSLCertVerificationError, match=reason):
            relay.secure(tmp_path / AUTHORITY)
    assert hits(tmp_path) == [(f"tls-{certificate}", "tls", "")]


def test_tls_may_come_before_everything(tmp_path: Path) -> None:
    with serving(tmp_path, behaviour=Behaviour(tls=Tls(implicit=True))) as port, caller(port) as relay:
        relay.secure(tmp_path / AUTHORITY)
        assert relay.line().startswith("220")
        assert "250-STARTTLS" not in relay.reply_to("EHLO x")
        assert relay.deliver() == "250 2.0.0 Kept"


@pytest.mark.parametrize("implicit", [False, True])
def test_the_handshake_may_fail(tmp_path: Path, implicit: bool) -> None:
    broken = Behaviour(tls=Tls(broken=True, implicit=implicit))
    with serving(tmp_path, behaviour=broken) as port, caller(port) as relay:
        if not implicit:
            relay.line()
            relay.say("EHLO x")
            relay.say("STARTTLS")
        with pytest.raises(ssl.SSLError):
            relay.secure(tmp_path / AUTHORITY)
    assert hits(tmp_path) == [("tls-broken", "tls", "")]


def test_a_line_may_be_injected_before_the_handshake(tmp_path: Path) -> None:
    injected = Behaviour(tls=Tls(inject="250 OK"))
    with serving(tmp_path, behaviour=injected) as port, client(port) as relay:
        relay.say("EHLO x")
        assert relay.say("STARTTLS").startswith("220")
        assert relay.line() == "250 OK\r\n"
    assert hits(tmp_path) == [("tls-inject", "starttls", "")]


def test_the_authority_outlives_the_sink(tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        with serving(tmp_path, behaviour=Behaviour(tls=Tls())):
            seen.append((tmp_path / AUTHORITY).read_bytes())
    assert seen[0] == seen[1]


# AUTH


def encoded(*parts: str) -> str:
    return base64.b64encode("\0".join(parts).encode()).decode()


def test_nobody_sends_before_signing_in_and_the_password_goes_nowhere(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(tmp_path, behaviour=Behaviour(sign_in=SIGN_IN)) as port, client(port) as relay:
        assert "250-AUTH PLAIN LOGIN CRAM-MD5 XOAUTH2" in relay.reply_to("EHLO x")
        assert relay.say("MAIL FROM:<a@b.example>").startswith("530")
        assert relay.say("AUTH PLAIN " + encoded("", "brev", "forkert")).startswith("535")
        assert relay.say("AUTH PLAIN " + encoded("", "brev", "hemmelig")).startswith("235")
        assert relay.deliver() == "250 2.0.0 Kept"
    told = "".join(path.read_text() for path in tmp_path.iterdir())
    assert "hemmelig" not in told + "".join(capfd.readouterr()) + repr(SIGN_IN)


def test_every_mechanism_is_spoken(tmp_path: Path) -> None:
    def plain(relay: Client) -> str:
        assert relay.say("AUTH PLAIN") == "334"
        return relay.say(encoded("", "brev", "hemmelig"))

    def login(relay: Client) -> str:
        assert relay.say("auth login") == "334 VXNlcm5hbWU6"
        assert relay.say(encoded("brev")) == "334 UGFzc3dvcmQ6"
        return relay.say(encoded("hemmelig"))

    def cram(relay: Client) -> str:
        challenge = base64.b64decode(relay.say("AUTH CRAM-MD5")[4:])
        return relay.say(encoded("brev " + hmac.new(b"hemmelig", challenge, "md5").hexdigest()))

    def xoauth2(relay: Client) -> str:
        told = "user=brev\1auth=Bearer hemmelig\1\1"
        return relay.say("AUTH XOAUTH2 " + encoded(told))

    with serving(tmp_path, behaviour=Behaviour(sign_in=SIGN_IN)) as port:
        for sign_in in (plain, login, cram, xoauth2):
            with client(port) as relay:
                relay.say("EHLO x")
                assert sign_in(relay).startswith("235"), sign_in.__name__


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        (["AUTH PLAIN %%%"], "501"),
        (["AUTH PLAIN " + encoded("brev")], "501"),
        (["AUTH LOGIN", "*"], "501"),
        (["AUTH LOGIN", "ø"], "501"),
        (["AUTH GSSAPI"], "504"),
        (["AUTH XOAUTH2 " + encoded("user=brev\1auth=Bearer x\1\1"), ""], "535"),
        (["AUTH CRAM-MD5", encoded("brev 00")], "535"),
        (["AUTH PLAIN " + "x" * 13_000], "500"),
    ],
)
def test_who_signs_in_wrongly_is_told_so(tmp_path: Path, said: list[str], reply: str) -> None:
    with serving(tmp_path, behaviour=Behaviour(sign_in=SIGN_IN)) as port, client(port) as relay:
        relay.say("EHLO x")
        for line in said[:-1]:
            assert relay.say(line).startswith("334")
        assert relay.say(said[-1]).startswith(reply)


def test_a_refused_sign_in_is_no_sign_in(tmp_path: Path) -> None:
    rule = Fault(at="auth", reply="454 4.7.0 Not now")
    with serving(tmp_path, rule, behaviour=Behaviour(sign_in=SIGN_IN)) as port, client(port) as relay:
        relay.say("EHLO x")
        assert relay.say("AUTH PLAIN " + encoded("", "brev", "hemmelig")) == "454 4.7.0 Not now"
        assert relay.say("MAIL FROM:<a@b.example>").startswith("530")
    assert hits(tmp_path) == [("reply", "auth", "")]


def test_without_tls_no_password_is_asked_for_where_that_is_told(tmp_path: Path) -> None:
    careful = Behaviour(tls=Tls(), sign_in=SignIn("brev", "hemmelig", plaintext=False))
    with serving(tmp_path, behaviour=careful) as port, client(port) as relay:
        assert not any("AUTH" in line for line in relay.reply_to("EHLO x"))
        relay.say("STARTTLS")
        relay.secure(tmp_path / AUTHORITY)
        assert "250-AUTH PLAIN LOGIN CRAM-MD5 XOAUTH2" in relay.reply_to("EHLO x")


def test_a_client_that_leaves_in_the_handshake_is_forgotten(tmp_path: Path) -> None:
    narrow = Behaviour(tls=Tls(implicit=True), limits=Limits(connections=1))
    with serving(tmp_path, behaviour=narrow) as port:
        for rubbish in (b"", b"EHLO x\r\n" * 9):
            with socket.create_connection(("127.0.0.1", port), 5) as leaving:
                leaving.sendall(rubbish)
                leaving.shutdown(socket.SHUT_WR)
                while leaving.recv(100):
                    pass
        with caller(port) as relay:
            relay.secure(tmp_path / AUTHORITY)
            assert relay.line().startswith("220")
