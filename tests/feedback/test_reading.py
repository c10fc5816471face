"""What one message says: its kind, whom it is about, the token and the letter."""

import pytest

from mailer.feedback.findings import Finding, MailKind
from mailer.feedback.reading import read_mail
from tests.feedback.returned_mail import (
    BOUNCES_TO,
    LETTER,
    MESSAGE_ID,
    RETURN_PATH,
    TOKEN,
    failed,
    report,
    with_line_ends,
    written_by,
)

PER_MESSAGE = "Reporting-MTA: dns; mx.kommune.example\nArrival-Date: Mon, 10 Mar 2014 09:00:00 +0100\n\n"
GONE = PER_MESSAGE + failed("kim@kommune.example", "5.1.1", "550 5.1.1 User unknown")


def read(message: bytes) -> Finding:
    return read_mail(message, bounces_to=BOUNCES_TO)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r", "\r\r\n"])
def test_a_report_names_who_failed_and_why(line_end: str) -> None:
    found = read(with_line_ends(report(GONE), line_end))

    assert (found.kind, found.token, found.message_id) == (MailKind.BOUNCE, TOKEN, MESSAGE_ID)
    (recipient,) = found.recipients
    assert recipient.address == "kim@kommune.example"
    assert (recipient.hard, recipient.status) == (True, "5.1.1")
    assert recipient.reason == "550 5.1.1 User unknown"


def test_every_recipient_is_judged_by_its_own_fields() -> None:
    fields = GONE + failed("bo@kommune.example", "5.2.2", "552 5.2.2 Mailbox full")
    found = read(report(fields))
    assert [(each.address, each.hard) for each in found.recipients] == [
        ("kim@kommune.example", True),
        ("bo@kommune.example", False),
    ]


def test_a_report_is_understood_with_blank_lines_inside_or_none_between() -> None:
    torn = "Action: failed\n\nFinal-Recipient: rfc822; kim@kommune.example\nStatus: 5.1.1\n"
    assert [each.address for each in read(report(torn)).recipients] == ["kim@kommune.example"]

    glued = GONE.rstrip() + "\n" + failed("bo@kommune.example", "5.2.2", "552 Mailbox full")
    assert [each.hard for each in read(report(glued)).recipients] == [True, False]


def test_fields_in_plain_text_are_a_report_too() -> None:
    message = written_by("MAILER-DAEMON@mx.example", "Returned", "It failed.\n\n" + GONE + "\n" + LETTER)
    found = read(message)
    assert found.kind is MailKind.BOUNCE
    assert [each.hard for each in found.recipients] == [True]
    assert found.message_id == MESSAGE_ID


@pytest.mark.parametrize("action", ["delivered", "relayed", "expanded"])
def test_a_receipt_is_no_bounce(action: str) -> None:
    found = read(report(PER_MESSAGE + failed("kim@kommune.example", "2.0.0", "250 ok", action)))
    assert (found.kind, found.recipients, found.delayed) == (MailKind.UNKNOWN, (), False)


def test_a_warning_of_delay_is_no_bounce() -> None:
    fields = PER_MESSAGE + failed("kim@kommune.example", "4.4.1", "connection timed out", "delayed")
    found = read(report(fields))
    assert (found.kind, found.recipients, found.delayed) == (MailKind.UNKNOWN, (), True)


def test_who_failed_among_the_delayed_is_named_alone() -> None:
    fields = GONE + failed("bo@kommune.example", "4.4.1", "timed out", "delayed")
    assert [each.address for each in read(report(fields)).recipients] == ["kim@kommune.example"]


def test_the_original_recipient_stands_in_for_a_final_one_that_is_no_address() -> None:
    fields = (
        "Final-Recipient: X-Unix; |/usr/bin/vacation\nOriginal-Recipient: rfc822; kim@kommune.example\n"
        "Action: failed\nStatus: 5.3.0\n"
    )
    assert [each.address for each in read(report(fields)).recipients] == ["kim@kommune.example"]


def test_the_text_or_the_letter_says_who_failed_where_the_fields_do_not() -> None:
    fields = PER_MESSAGE + "Action: failed\nStatus: 5.1.1\n"
    in_words = read(report(fields, text="<bo@kommune.example>: 550 user unknown\n"))
    assert [(each.address, each.hard) for each in in_words.recipients] == [("bo@kommune.example", True)]
    by_letter = read(report(fields))
    assert [(each.address, each.hard) for each in by_letter.recipients] == [
        ("kim@kommune.example", True)
    ]


def test_a_domain_is_told_in_lower_case_and_an_international_address_whole() -> None:
    fields = PER_MESSAGE + failed("Søren@KØBENHAVN.example", "5.1.1", "550 5.1.1 unknown user")
    assert [each.address for each in read(report(fields)).recipients] == ["Søren@københavn.example"]
    escaped = PER_MESSAGE + failed("S\\x{F8}ren@kommune.example", "5.1.1", "550 no")
    assert [each.address for each in read(report(escaped)).recipients] == ["Søren@kommune.example"]


def test_a_reason_is_one_short_line_without_control_characters() -> None:
    nasty = "550 5.1.1 \x1b[31mno\x00\x07\u202euser\u2028here " + "x" * 3000
    (recipient,) = read(report(PER_MESSAGE + failed("kim@kommune.example", "5.1.1", nasty))).recipients
    assert len(recipient.reason) <= 500
    assert recipient.reason.startswith("550 5.1.1 [31mno user here xxx")
    assert all(character.isprintable() for character in recipient.reason)


@pytest.mark.parametrize(
    "header",
    ["Delivered-To", "X-Original-To", "Envelope-To", "To", "X-Forwarded-To", "Apparently-To"],
)
def test_the_token_is_found_where_servers_note_the_address(header: str) -> None:
    message = report(GONE, letter="Subject: x\n", to="bounce@coi.example")
    noted = f"{header}: <{RETURN_PATH.upper()}>\n".encode()
    assert read(noted + message).token == TOKEN.upper()


def test_the_token_is_found_in_received_lines_and_in_the_returned_letter() -> None:
    received = f"Received: by mx.coi.example\n\tfor <{RETURN_PATH}>; today\n".encode()
    assert read(received + report(GONE, letter="", to="x@coi.example")).token == TOKEN
    assert read(report(GONE, to="postmaster@coi.example")).token == TOKEN


def test_the_unsubscribing_token_of_the_returned_letter_is_left_alone() -> None:
    letter = LETTER.replace(f"Return-Path: <{RETURN_PATH}>\n", "")
    assert read(report(GONE, letter=letter, to="postmaster@coi.example")).token is None


@pytest.mark.parametrize(
    "address",
    [
        "bounce@coi.example",
        "xbounce+abc@coi.example",
        "bounce+abc@coi.example.evil.example",
        "bounce+abc@evil.example",
        "bounce+@coi.example",
        "bounce+" + "a" * 65 + "@coi.example",
    ],
)
def test_other_addresses_have_no_token(address: str) -> None:
    assert read(written_by("kim@kommune.example", "Hello", "Hello", to=address)).token is None


def test_the_address_is_taken_by_the_letter() -> None:
    """A dot in the configured address is a dot."""
    message = written_by("kim@kommune.example", "Hello", "Hello", to="a+abc@coiXexample")
    assert read_mail(message, bounces_to="a@coi.example").token is None


def test_a_token_is_found_in_either_spelling_of_an_international_domain() -> None:
    for domain in ("københavn.example", "xn--kbenhavn-54a.example", "XN--KBENHAVN-54A.example"):
        message = written_by("kim@kommune.example", "Hi", "Hi", to=f"bounce+abc@{domain}")
        assert read_mail(message, bounces_to="bounce@københavn.example").token == "abc"


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("In-Reply-To: <a@b.example>\n", "<a@b.example>"),
        ("References: <x@b.example> <a@b.example>\n", "<a@b.example>"),
        ("", None),
    ],
)
def test_an_answer_names_the_letter_it_answers(header: str, told: str | None) -> None:
    found = read(
        written_by(
            "Kim <kim@kommune.example>",
            "Sv: Invitation",
            "Tak!",
            headers=header,
            return_path="<kim@kommune.example>",
        )
    )
    assert (found.kind, found.message_id) == (MailKind.REPLY, told)


COMPLAINT = "Feedback-Type: abuse\nUser-Agent: Loop/1\nVersion: 1\n"


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_complaint_names_who_complained(line_end: str) -> None:
    fields = COMPLAINT + "Original-Rcpt-To: <kim@kommune.example>\n"
    found = read(with_line_ends(report(fields, kind="feedback-report"), line_end))
    assert (found.kind, found.token, found.message_id) == (MailKind.COMPLAINT, TOKEN, MESSAGE_ID)
    (recipient,) = found.recipients
    assert (recipient.address, recipient.hard, recipient.reason) == (
        "kim@kommune.example",
        None,
        "abuse",
    )


def test_a_complaint_with_its_names_taken_out_is_known_by_the_letter() -> None:
    letter = LETTER.replace("kim@kommune.example", "redacted@kommune.example")
    found = read(report(COMPLAINT, kind="feedback-report", letter=letter))
    assert (found.kind, found.recipients, found.token) == (MailKind.COMPLAINT, (), TOKEN)


@pytest.mark.parametrize("feedback", ["not-spam", "auth-failure"])
def test_feedback_of_another_kind_is_no_complaint(feedback: str) -> None:
    fields = COMPLAINT.replace("abuse", feedback)
    assert read(report(fields, kind="feedback-report")).kind is MailKind.UNKNOWN


def test_a_complaint_of_the_older_form_is_one() -> None:
    found = read(
        written_by(
            "staff@loop.example",
            "complaint about message from 192.0.2.1",
            "--x\nContent-Type: message/rfc822\n\nX-HmXmrOriginalRecipient: <kim@kommune.example>\n"
            f"{LETTER}--x--\n",
            headers="Content-Type: multipart/mixed; boundary=x\n",
            return_path="<staff@loop.example>",
        )
    )
    assert [each.address for each in found.recipients] == ["kim@kommune.example"]


PERSON = "Kim <kim@kommune.example>"
PATH = "<kim@kommune.example>"


@pytest.mark.parametrize(
    "subject",
    [
        "unsubscribe", "UNSUBSCRIBE", " unsubscribe ", "Re: unsubscribe", "Sv: SV: Afmeld",
        "Afmelding", "unsubscribe me please", "please unsubscribe", "=?utf-8?q?unsubscribe?=",
        "=?utf-8?b?dW5zdWJzY3JpYmU=?=", "Stop", "Slet mig", "remove", "Frameld",
    ],
)  # fmt: skip
def test_a_wish_to_unsubscribe_in_the_subject(subject: str) -> None:
    found = read(written_by(PERSON, subject, "", return_path=PATH))
    assert (found.kind, found.token) == (MailKind.UNSUBSCRIBE, TOKEN)


@pytest.mark.parametrize(
    "text",
    [
        "Unsubscribe", "stop", "Afmeld mig, tak", "Hej\n\nVil I være søde at afmeld mig fra listen?",
        "Jeg vil ikke have flere mails fra jer", "Please remove me from this list.",
    ],
)  # fmt: skip
def test_a_wish_to_unsubscribe_in_the_text(text: str) -> None:
    assert (
        read(written_by(PERSON, "Sv: Invitation", text, return_path=PATH)).kind is MailKind.UNSUBSCRIBE
    )


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("Stop bureaukratiet", "Et godt initiativ."),
        ("Sv: Invitation", "Jeg kunne ikke finde knappen."),
        ("Sv: Invitation", "Tak.\n\n> unsubscribe here\n> stop"),
        ("Invitation", "Hej\n" + "Jeg synes.\n" * 10 + "unsubscribe\n"),
        ("Fwd: Undelivered Mail Returned to Sender", "Hvad er det?\n\n" + GONE),
        ("Re: failure notice", "<x@y.example>: 550 5.1.1 user unknown"),
        ("", ""),
    ],
)
def test_what_a_person_writes_else_is_a_reply(subject: str, text: str) -> None:
    assert read(written_by(PERSON, subject, text, return_path=PATH)).kind is MailKind.REPLY


AUTOMATIC = [
    ("Auto-Submitted: auto-replied\n", PATH),
    ("Auto-Submitted: auto-generated (vacation)\n", PATH),
    ("Precedence: bulk\n", PATH),
    ("Precedence: auto_reply\n", PATH),
    ("X-Autoreply: yes\n", PATH),
    ("List-Id: <list.example>\n", PATH),
    ("", "<>"),
    ("", " <> "),
]


@pytest.mark.parametrize(("headers", "return_path"), AUTOMATIC)
@pytest.mark.parametrize("subject", ["unsubscribe", "Invitation", "Out of office"])
def test_a_machine_never_unsubscribes_anybody(subject: str, headers: str, return_path: str) -> None:
    message = written_by(PERSON, subject, "unsubscribe\n", headers=headers, return_path=return_path)
    assert read(message).kind is MailKind.AUTO_REPLY


@pytest.mark.parametrize(
    "subject",
    [
        "Automatic reply: Invitation", "Automatisk svar: Invitation", "Autosvar: x", "Out of Office",
        "Ikke til stede: Invitation", "Automatische Antwort: x", "=?utf-8?q?Frav=C3=A6r?=", "Read: x",
    ],
)  # fmt: skip
def test_an_automatic_answer_is_known_by_its_subject(subject: str) -> None:
    text = "Jeg er på ferie. Your message was not delivered to anybody. Unsubscribe"
    assert read(written_by(PERSON, subject, text, return_path=PATH)).kind is MailKind.AUTO_REPLY


def test_what_asks_for_no_automatic_answer_was_written_by_a_machine_unless_it_unsubscribes() -> None:
    header = "X-Auto-Response-Suppress: All\n"
    answer = written_by(PERSON, "Sv: Invitation", "Jeg er her ikke.", headers=header, return_path=PATH)
    assert read(answer).kind is MailKind.AUTO_REPLY
    wish = written_by(PERSON, "unsubscribe", "", headers=header, return_path=PATH)
    assert read(wish).kind is MailKind.UNSUBSCRIBE


def test_auto_submitted_no_is_written_by_hand() -> None:
    message = written_by(PERSON, "unsubscribe", "", headers="Auto-Submitted: no\n", return_path=PATH)
    assert read(message).kind is MailKind.UNSUBSCRIBE


def test_a_read_receipt_is_an_automatic_answer() -> None:
    fields = "Final-Recipient: rfc822; kim@kommune.example\nDisposition: manual-action; displayed\n"
    found = read(report(fields, kind="disposition-notification"))
    assert (found.kind, found.recipients) == (MailKind.AUTO_REPLY, ())


def test_a_report_that_asks_to_unsubscribe_is_a_report() -> None:
    message = report(GONE).replace(
        b"Subject: Undelivered Mail Returned to Sender", b"Subject: unsubscribe"
    )
    assert read(message).kind is MailKind.BOUNCE


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("Mon, 10 Mar 2014 09:00:00 +0100", "2014-03-10T08:00:00+00:00"),
        ("Mon, 10 Mar 2014 09:00:00 -0000", "2014-03-10T09:00:00+00:00"),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", "2000-12-31T00:01:00+00:00"),
        ("Mon, 10 Mar 2014 09:00:00 +" + "9" * 40, None),
        ("9" * 5000, None),
        ("soon", None),
        ("", None),
    ],
)
def test_a_message_tells_when_it_was_written(date: str, expected: str | None) -> None:
    found = read(f"From: kim@kommune.example\nDate: {date}\n\nHej".encode()).written_at

    assert (found and found.isoformat()) == expected
