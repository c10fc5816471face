"""From a rendered letter to the bytes of one message (RFC 5322, RFC 2045, RFC 2046 §5.1.4)."""

import binascii
import functools
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from mailer.rendering import headers
from mailer.rendering.enclosures import Enclosure
from mailer.rendering.letter import RenderedLetter

_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
LINE_BYTES = 76
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
    enclosures: tuple[Enclosure, ...] = ()


@dataclass(slots=True)
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


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around the text and the HTML of every message of a campaign."""

    content_type: str
    """The value of the message's own Content-Type."""
    before_text: bytes
    before_html: bytes
    end: bytes


def compose(letter: RenderedLetter, common: CommonFields, personal: PersonalFields) -> bytes:
    """The message, every line ending in CRLF, none longer than 998 octets (RFC 5322 §2.1.1).

    Nothing in it depends on when or where it is composed: a copy is the same bytes. No line begins
    with a dot, so that it needs no stuffing (RFC 5321 §4.5.2).
    """
    frame = body_frame(common)
    return b"".join(
        [
            common_header(common),
            headers.mailbox("To", personal.to_name, personal.to_address),
            reply_to_field(personal.reply_to),
            headers.unstructured("Subject", letter.subject),
            delivery_fields(personal),
            frame.before_text,
            quoted_printable(letter.text),
            frame.before_html,
            quoted_printable(letter.html),
            frame.end,
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
        headers.structured("Content-Type", body_frame(fields).content_type),
    ]
    return b"".join(lines)


def reply_to_field(address: str | None) -> bytes:
    """Where answers go, if not to the sender."""
    return headers.mailbox("Reply-To", "", address) if address else b""


def delivery_fields(fields: PersonalFields) -> bytes:
    """The header fields that name one delivery, and the end of the header."""
    unsubscribe = f"<{fields.unsubscribe_url}>, <{fields.unsubscribe_mailto}>"
    return b"".join(
        [
            headers.structured("Message-ID", f"<{fields.message_id}>"),
            headers.structured("List-Unsubscribe", unsubscribe),
            b"\r\n",
        ]
    )


@functools.lru_cache(maxsize=2)
def body_frame(fields: CommonFields) -> Frame:
    """The parts around text and HTML.

    Images stand beside the HTML that shows them (RFC 2387), both beside the text as its alternative
    (RFC 2046 §5.1.4), and attachments beside all of it.
    """
    attachments = [each for each in fields.enclosures if each.inline_as is None]
    images = [each for each in fields.enclosures if each.inline_as is not None]
    mixed, alternative, related = (_boundary(fields, name) for name in ("mixed", "", "related"))

    def text(subtype: str) -> str:
        return (
            f"Content-Type: text/{subtype}; charset=utf-8\r\n"
            "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
        )

    before_text = f"--{alternative}\r\n{text('plain')}"
    before_html, end = f"--{alternative}\r\n", f"--{alternative}--\r\n"
    content_type = f'multipart/alternative; boundary="{alternative}"'
    if images:
        before_html += (
            f'Content-Type: multipart/related; type="text/html";\r\n boundary="{related}"\r\n\r\n'
            f"--{related}\r\n"
        )
        end = _parts(images, related, fields.list_id) + end
    if attachments:
        before_text = f"--{mixed}\r\nContent-Type: {content_type}\r\n\r\n{before_text}"
        content_type = f'multipart/mixed; boundary="{mixed}"'
        end += _parts(attachments, mixed, fields.list_id)
    return Frame(content_type, before_text.encode(), (before_html + text("html")).encode(), end.encode())


def _parts(enclosures: Iterable[Enclosure], boundary: str, domain: str) -> str:
    """Files behind what is already in a multipart, and its end."""
    parts = "".join(f"--{boundary}\r\n{enclosure.part(domain)}" for enclosure in enclosures)
    return f"{parts}--{boundary}--\r\n"


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
    if b"=20\n" in encoded or b"=09\n" in encoded or encoded.endswith((b"=20", b"=09")):
        encoded = b"\n".join(map(_with_its_last_blank, encoded.split(b"\n")))
    if encoded.startswith(b".") or b"\n." in encoded:
        encoded = b"\n".join(_without_leading_dot(line) for line in encoded.split(b"\n"))
    return encoded.replace(b"\n", b"\r\n").replace(b"\0", b"=00")


def _boundary(fields: CommonFields, name: str) -> str:
    # Quoted-printable never writes "=_" and base64 no "_": no body can hold it (RFC 2045 §6.7).
    seed = fields.feedback_id + name
    return "=_" + hashlib.blake2b(seed.encode(), digest_size=10).hexdigest()


def _with_its_last_blank(line: bytes) -> bytes:
    """A line that ends in an encoded blank, for which the standard library leaves no room."""
    return line if len(line) <= LINE_BYTES else line[:-3] + b"=\n" + line[-3:]


def _without_leading_dot(line: bytes) -> bytes:
    wire_lines = []
    while line.startswith(b"."):
        line = b"=2E" + line[1:]
        if len(line) <= LINE_BYTES:
            break
        cut = LINE_BYTES - 1
        cut -= next((back for back in (1, 2) if line[cut - back : cut - back + 1] == b"="), 0)
        wire_lines.append(line[:cut] + b"=")
        line = line[cut:]
    return b"\n".join([*wire_lines, line])
