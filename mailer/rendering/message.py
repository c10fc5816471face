"""From a rendered letter to the bytes of one message (RFC 5322, RFC 2045, RFC 2046 §5.1.4)."""

import binascii
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from mailer.rendering import headers
from mailer.rendering.letter import RenderedLetter

_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
_LINE_BYTES = 76
"""RFC 2045 §6.7, rule 5."""


@dataclass(frozen=True, slots=True)
class CommonFields:
    """What stands in the header of every message of a campaign."""

    from_name: str
    from_address: str
    date: datetime
    list_id: str
    feedback_id: str
    """Names campaign and sender, never a person."""
    auto_submitted: bool


@dataclass(frozen=True, slots=True)
class PersonalFields:
    """What stands in the header of one message alone, beside the subject."""

    to_name: str
    to_address: str
    reply_to: str | None
    """A bare address."""
    message_id: str
    """Without angle brackets; the same for every copy of a delivery."""
    unsubscribe_url: str
    unsubscribe_mailto: str


def compose(letter: RenderedLetter, common: CommonFields, personal: PersonalFields) -> bytes:
    """The message, every line ending in CRLF, none longer than 998 octets (RFC 5322 §2.1.1).

    Nothing in it depends on when or where it is composed: a copy is the same bytes. No line begins
    with a dot, so that it needs no stuffing (RFC 5321 §4.5.2).
    """
    subject = headers.unstructured("Subject", letter.subject)
    text_head, html_head, end = body_frame(common)
    return b"".join(
        [
            common_header(common),
            personal_header(personal, subject),
            text_head,
            quoted_printable(letter.text),
            html_head,
            quoted_printable(letter.html),
            end,
        ]
    )


def common_header(fields: CommonFields) -> bytes:
    """The header fields all messages of a campaign share."""
    lines = [
        headers.mailbox("From", fields.from_name, fields.from_address),
        headers.structured("Date", format_datetime(fields.date)),
        headers.structured("List-Id", f"<{fields.list_id}>"),
        headers.structured("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        headers.structured("Feedback-ID", fields.feedback_id),
    ]
    if fields.auto_submitted:
        lines.append(headers.structured("Auto-Submitted", "auto-generated"))
    lines += [
        headers.structured("MIME-Version", "1.0"),
        headers.structured("Content-Type", f'multipart/alternative; boundary="{_boundary(fields)}"'),
    ]
    return b"".join(lines)


def personal_header(fields: PersonalFields, subject: bytes) -> bytes:
    """The header fields of one message, and the end of the header.

    Args:
        subject: the whole Subject field, folded, with its CRLF.
    """
    reply_to = headers.mailbox("Reply-To", "", fields.reply_to) if fields.reply_to else b""
    return b"".join(
        [
            headers.mailbox("To", fields.to_name, fields.to_address),
            reply_to,
            subject,
            headers.structured("Message-ID", f"<{fields.message_id}>"),
            headers.structured(
                "List-Unsubscribe", f"<{fields.unsubscribe_url}>, <{fields.unsubscribe_mailto}>"
            ),
            b"\r\n",
        ]
    )


def body_frame(fields: CommonFields) -> tuple[bytes, bytes, bytes]:
    """What stands before the text, between it and the HTML, and after it."""
    boundary = _boundary(fields)

    def part(subtype: str) -> bytes:
        return (
            f"--{boundary}\r\nContent-Type: text/{subtype}; charset=utf-8\r\n"
            "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
        ).encode()

    return part("plain"), part("html"), f"--{boundary}--\r\n".encode()


def quoted_printable(text: str) -> bytes:
    """Text in quoted-printable (RFC 2045 §6.7), its lines ending in CRLF, the last one too."""
    encoded = quoted_printable_piece(text)
    return encoded if encoded.endswith(b"\r\n") else encoded + b"\r\n"


def quoted_printable_piece(text: str) -> bytes:
    """A piece of text in quoted-printable that stands on a line of its own from its first character."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        whole = lines.encode()
    except UnicodeEncodeError:
        whole = _LONE_SURROGATE.sub("\ufffd", lines).encode()
    encoded = binascii.b2a_qp(whole, istext=True)
    if encoded.startswith(b".") or b"\n." in encoded:
        encoded = b"\n".join(_without_leading_dot(line) for line in encoded.split(b"\n"))
    return encoded.replace(b"\n", b"\r\n").replace(b"\0", b"=00")


def _boundary(fields: CommonFields) -> str:
    # Quoted-printable never writes "=_": no body can hold the boundary (RFC 2045 §6.7).
    return "=_" + hashlib.blake2b(fields.feedback_id.encode(), digest_size=10).hexdigest()


def _without_leading_dot(line: bytes) -> bytes:
    wire_lines = []
    while line.startswith(b"."):
        line = b"=2E" + line[1:]
        if len(line) <= _LINE_BYTES:
            break
        cut = _LINE_BYTES - 1
        cut -= next((back for back in (1, 2) if line[cut - back : cut - back + 1] == b"="), 0)
        wire_lines.append(line[:cut] + b"=")
        line = line[cut:]
    return b"\n".join([*wire_lines, line])
