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


@dataclass(frozen=True, slots=True)
class MessageFields:
    """What stands in the header beside the subject."""

    from_name: str
    from_address: str
    to_name: str
    to_address: str
    reply_to: str | None
    """A bare address."""
    date: datetime
    message_id: str
    """Without angle brackets; the same for every copy of a delivery."""
    list_id: str
    unsubscribe_url: str
    unsubscribe_mailto: str
    feedback_id: str
    """Names campaign and sender, never a person."""
    auto_submitted: bool


def compose(letter: RenderedLetter, fields: MessageFields) -> bytes:
    """The message, every line ending in CRLF, none longer than 998 octets (RFC 5322 §2.1.1).

    Nothing in it depends on when or where it is composed: a copy is the same bytes.
    """
    # Quoted-printable never writes "=_": no body can hold the boundary (RFC 2045 §6.7).
    boundary = "=_" + hashlib.blake2b(fields.message_id.encode(), digest_size=10).hexdigest()
    return b"".join(
        [
            *_header(letter.subject, fields),
            headers.structured("MIME-Version", "1.0"),
            headers.structured("Content-Type", f'multipart/alternative; boundary="{boundary}"'),
            b"\r\n",
            *_part(boundary, "plain", letter.text),
            *_part(boundary, "html", letter.html),
            f"--{boundary}--\r\n".encode(),
        ]
    )


def _header(subject: str, fields: MessageFields) -> list[bytes]:
    lines = [
        headers.mailbox("From", fields.from_name, fields.from_address),
        headers.mailbox("To", fields.to_name, fields.to_address),
    ]
    if fields.reply_to:
        lines.append(headers.mailbox("Reply-To", "", fields.reply_to))
    lines += [
        headers.unstructured("Subject", subject),
        headers.structured("Date", format_datetime(fields.date)),
        headers.structured("Message-ID", f"<{fields.message_id}>"),
        headers.structured("List-Id", f"<{fields.list_id}>"),
        headers.structured(
            "List-Unsubscribe", f"<{fields.unsubscribe_url}>, <{fields.unsubscribe_mailto}>"
        ),
        headers.structured("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        headers.structured("Feedback-ID", fields.feedback_id),
    ]
    if fields.auto_submitted:
        lines.append(headers.structured("Auto-Submitted", "auto-generated"))
    return lines


def _part(boundary: str, subtype: str, text: str) -> list[bytes]:
    return [
        f"--{boundary}\r\n".encode(),
        headers.structured("Content-Type", f"text/{subtype}; charset=utf-8"),
        headers.structured("Content-Transfer-Encoding", "quoted-printable"),
        b"\r\n",
        quoted_printable(text),
    ]


def quoted_printable(text: str) -> bytes:
    """Text in quoted-printable (RFC 2045 §6.7), its lines ending in CRLF, the last one too."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        whole = lines.encode()
    except UnicodeEncodeError:
        whole = _LONE_SURROGATE.sub("\ufffd", lines).encode()
    encoded = binascii.b2a_qp(whole, istext=True)
    encoded = encoded.replace(b"\r", b"=0D").replace(b"\n", b"\r\n").replace(b"\0", b"=00")
    return encoded if encoded.endswith(b"\r\n") else encoded + b"\r\n"
