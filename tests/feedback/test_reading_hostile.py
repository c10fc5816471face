"""Whatever bytes come: reading ends soon, and raises nothing."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.feedback.findings import Finding, MailKind
from mailer.feedback.mail import MOST_PARTS, open_mail
from mailer.feedback.reading import read_mail
from tests.feedback.returned_mail import BOUNCES_TO, LETTER, failed, report, written_by

MANY = 1_000_000
MOST_SECONDS = 4.0
"""Of processor time, on a machine with other work; none of these takes half of it."""
HEAD = b"From: MAILER-DAEMON@x.example\nTo: bounce+abc@coi.example\nSubject: Delivery failure\n"
STATUS = HEAD + b"Content-Type: message/delivery-status\n\n"


def _nested(levels: int) -> bytes:
    level = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(levels))
    return HEAD + level.encode() + b"\nhello"


def _multipart(piece: bytes, kind: bytes = b"mixed") -> bytes:
    return HEAD + b"Content-Type: multipart/" + kind + b"; boundary=b\n\n" + piece * 20_000


HOSTILE = {
    "nothing": b"",
    "zeros": b"\x00" * MANY,
    "high bytes": b"\xff" * MANY,
    "returns": b"\r" * MANY,
    "line feeds": b"\n" * MANY,
    "three returns": b"\r\r\n" * MANY,
    "colons": b":" * MANY,
    "blanks": b" " * MANY,
    "nested": _nested(20_000),
    "nested messages": HEAD + b"Content-Type: message/rfc822\n\n" * 30_000,
    "digest": _multipart(b"--b\n", b"digest"),
    "images": _multipart(b"--b\nContent-Type: image/png\n\n"),
    "multiparts": _multipart(b"--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n"),
    "boundary of dashes": b"Content-Type: multipart/x; boundary=" + b"-" * 1900 + b"\n\n" + b"-" * MANY,
    "no boundary": b"Content-Type: multipart/report\n\n--x\n",
    "one line": HEAD + b"\n" + b"a" * MANY,
    "addresses in a row": HEAD + b"\n" + b"a@" * MANY,
    "quotes": HEAD + b"\n" + b'"a' * MANY,
    "recipients": HEAD + b"\n" + b"".join(b"<a%d@b.example>: user unknown\n" % n for n in range(30_000)),
    "recipients with much said": HEAD
    + b"\n"
    + b"".join(b"<a%d@b.example>: " % n + b"user " * 390 + b"\n" for n in range(1_000)),
    "few recipients with much said": HEAD
    + b"\n"
    + b"".join(b"<a%d@b.example>: x\n" % n for n in range(20))
    + (b"delivery mail user account host address box " * 13 + b"\n") * 580,
    "ids in reports": HEAD
    + b"Content-Type: multipart/report; boundary=b\n\n"
    + (b"--b\nContent-Type: message/delivery-status\n\n" + b"message-id:" * 1150 + b"\n") * 40,
    "announcements": HEAD + b"\n" + b"--- Below this line is a copy\n" * 30_000,
    "headers in the text": HEAD + b"\n" + b"Received: x\nX-Y: y\n" * 30_000,
    "tags": HEAD + b"Content-Type: text/html\n\n" + b"<a " * MANY,
    "openings": HEAD + b"Content-Type: text/html\n\n" + b"<" * MANY,
    "styles": HEAD + b"Content-Type: text/html\n\n" + b"<style>" * MANY,
    "entities": HEAD + b"Content-Type: text/html\n\n" + b"&#" * MANY,
    "headers": b"X-A: b\n" * 300_000,
    "a long header": b"X-A: " + b"b" * MANY,
    "folds": b"X-A: b\n" + b" c\n" * MANY,
    "received": b"Received: " + b"for <" * MANY + b"\n\n",
    "addressed": b"To: " + b"bounce+" * MANY + b"\n\n",
    "encoded words": b"Subject: " + b"=?utf-8?q?" * MANY + b"\n\n",
    "bad encoded words": b"From: a@b.example\nSubject: =?utf-8?b?a?= =?x?q?=ff?= =?punycode?q?a-?=\n\nx",
    "answers of answers": b"From: a@b.example\nSubject: " + b"re: " * MANY + b"\n\n",
    "wishes": b"From: a@b.example\nSubject: x\n\n" + b"unsubscribe " * MANY,
    "parameters": b"Content-Type: multipart/mixed; " + b'a="\\";' * MANY + b"\n\n",
    "a huge parameter number": b"Content-Type: multipart/mixed; boundary*" + b"9" * 5_000 + b"=a\n\n",
    "an odd parameter": b"Content-Type: multipart/mixed; boundary*0*=%ff''%ff\n\nx",
    "a slow codec": b"Content-Type: text/plain; charset=punycode\n\n" + b"a-" * MANY,
    "no codec": b"Content-Type: text/plain; charset=\x00zlib; charset*=zz''%ff\n\nabc",
    "half a character": b"Content-Type: text/plain; charset=utf-16\n\nabc",
    "escapes": b"Content-Type: text/plain; charset=iso-2022-jp\n\n" + b"\x1b$B\xff" * 100_000,
    "base64": b"Content-Transfer-Encoding: base64\n\n" + b"=" * MANY,
    "quoted-printable": b"Content-Transfer-Encoding: quoted-printable\n\n" + b"=" * MANY,
    "uuencode": b"Content-Transfer-Encoding: x-uuencode\n\nbegin 666 x\n" + b"M\n" * MANY,
    "bad uuencode": b"Content-Transfer-Encoding: x-uuencode\n\nbegin 666 x\n\xff\xff\n",
    "report without end": STATUS
    + b"Final-Recipient: rfc822;a@b.example\nAction: failed\n\n" * 30_000,
    "escaped address": STATUS + b"Final-Recipient: " + b"\\x{41}" * MANY,
    "diagnostic": STATUS
    + b"Final-Recipient: rfc822;a@b.example\nDiagnostic-Code: smtp; "
    + b"user " * MANY,
    "feedback": HEAD + b"Content-Type: message/feedback-report\n\n" + b"Original-Rcpt-To: a\n" * 100_000,
    "message ids": HEAD + b"References: " + b"<" * MANY + b"\n\nmessage-id:" + b" " * MANY,
} | {
    f"much of {word.decode()}": HEAD + b"\n" + word * MANY
    for word in (b"user ", b"mailbox ", b"fail", b"delivery ", b"mail message ", b"exceed",
                 b"sender ", b"domain ", b"unknown or or to ", b"unknown local", b"over its ",
                 b"box ful", b"message-id: ", b"rcpt to:<", b"to to ", b"1. ", b">", b"4.1.",
                 b"550", b"550 ")
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_message_is_read_soon(name: str) -> None:
    began = time.process_time()
    found = read_mail(HOSTILE[name], bounces_to=BOUNCES_TO)
    assert time.process_time() - began < MOST_SECONDS
    assert isinstance(found, Finding)
    assert len(found.recipients) <= 60


def test_parts_and_depth_are_bounded() -> None:
    assert len(open_mail(HOSTILE["images"]).parts) == MOST_PARTS
    assert len(open_mail(HOSTILE["nested"]).parts) == 1


WHOLE = [
    report(
        "Reporting-MTA: dns; x\n\n" + failed("kim@kommune.example", "5.1.1", "550 5.1.1 User unknown")
    ),
    report("Feedback-Type: abuse\nOriginal-Rcpt-To: kim@kommune.example\n", kind="feedback-report"),
    written_by(
        "MAILER-DAEMON@x.example",
        "failure notice",
        "<kim@kommune.example>:\n550 no such user\n\n" + LETTER,
    ),
]


@pytest.mark.parametrize("message", WHOLE)
def test_a_truncated_message_is_read_as_far_as_it_goes(message: bytes) -> None:
    for end in range(0, len(message), 7):
        assert isinstance(read_mail(message[:end], bounces_to=BOUNCES_TO), Finding)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(WHOLE), st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=6)), max_size=12)
)
def test_a_damaged_message_raises_nothing(message: bytes, damage: list[tuple[int, bytes]]) -> None:
    for place, bytes_there in damage:
        message = message[:place] + bytes_there + message[place + len(bytes_there) :]
    found = read_mail(message, bounces_to=BOUNCES_TO)
    assert all(len(each.reason) <= 500 and each.reason.isprintable() for each in found.recipients)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_rubbish_is_no_bounce(rubbish: bytes) -> None:
    assert read_mail(rubbish, bounces_to=BOUNCES_TO).kind is not MailKind.BOUNCE


@pytest.mark.parametrize(
    "head",
    [
        "Content-Type: text/plain; charset=nonsense",
        "Content-Type: ;;;",
        "Content-Transfer-Encoding: nonsense",
        "X",
        ":::",
        "\x00",
    ],
)
def test_an_odd_header_hides_nothing(head: str) -> None:
    message = written_by(
        "MAILER-DAEMON@x.example",
        "failure notice",
        "<kim@kommune.example>: 550 no such user",
        headers=head + "\n",
    )
    (recipient,) = read_mail(message, bounces_to=BOUNCES_TO).recipients
    assert recipient.hard


def test_a_report_in_another_charset_and_encoding_is_read() -> None:
    body = "kim@kommune.example konnte nicht zugestellt werden: Empfänger unbekannt, 550".encode(
        "utf-16"
    ).hex(" ")
    encoded = "=" + body.upper().replace(" ", "=").replace("=0A", "=0A") + "\n"
    message = written_by(
        "MAILER-DAEMON@x.example",
        "Unzustellbar",
        encoded,
        headers="Content-Type: text/plain; charset=utf-16\n"
        "Content-Transfer-Encoding: quoted-printable\n",
    )
    assert [each.address for each in read_mail(message, bounces_to=BOUNCES_TO).recipients] == [
        "kim@kommune.example"
    ]


def test_forged_addresses_stay_text() -> None:
    """No line break and no control character gets into an address."""
    fields = failed("kim@kommune.example\r\n\tX-Evil: 1", "5.1.1", "550 no such user")
    for recipient in read_mail(report(fields), bounces_to=BOUNCES_TO).recipients:
        assert recipient.address.isprintable()
        assert " " not in recipient.address
