"""What a careful relay checks in a letter's content, and where its Message-ID stands."""

import io
import re

from mailer.embedded.mailstore import printable

LINE_LIMIT_BYTES = 1_000
"""RFC 5321 §4.5.3.1.6, with its CRLF."""
_HEAD_LIMIT_BYTES = 262_144
_NEAR_BYTES = 8_192
_USUAL_NAMES = (b"\nMessage-ID: <", b"\nMessage-Id: <")
_USUAL = re.compile(rb"<[!-~]{1,900}>\r\n")
_ANY = re.compile(rb"^message-id:[ \t]*(?:\r\n[ \t]+)?([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


def refuse_content(content: bytes, *, eight_bit: bool) -> str | None:
    """Return the refusal a careful relay gives to this content, or None.

    Args:
        content: all lines, as they came over the wire.
        eight_bit: whether the sender announced ``BODY=8BITMIME`` (RFC 6152).
    """
    if not eight_bit and not content.isascii():
        return "554 5.6.1 Eight-bit content without BODY=8BITMIME"
    ends = io.IncrementalNewlineDecoder(None, translate=False)
    ends.decode(content.decode("latin-1"), True)
    if ends.newlines not in {None, "\r\n"}:
        return "554 5.6.0 A line does not end in CRLF"
    begin, size = 0, len(content)
    # From the last line end within reach to the next: as many steps as there are kilobytes, not lines.
    while size - begin > LINE_LIMIT_BYTES:
        end = content.rfind(b"\n", begin, begin + LINE_LIMIT_BYTES) + 1
        if not end:
            return "554 5.6.0 A line is longer than 998 characters"
        begin = end
    return None


def find_message_id(letter: bytes | bytearray, begin: int, end: int) -> bytes:
    """Return the Message-ID of the letter between two positions, fit for the record; empty if none.

    Args:
        letter: a buffer that holds the letter; copied is only its head, and that only in unusual cases.
    """
    for name in _USUAL_NAMES:
        found = letter.find(name, begin, min(end, begin + _NEAR_BYTES))
        if found >= 0:
            usual = _USUAL.match(letter, found + len(name) - 1, end)
            in_head = letter.find(b"\r\n\r\n", begin, found + 1) < 0
            if usual is not None and in_head and not letter.startswith(b"\r\n", begin):
                return usual[0][:-2]
    within = min(end, begin + _HEAD_LIMIT_BYTES)
    head_end = letter.find(b"\r\n\r\n", begin, within)
    head = bytes(letter[begin : head_end + 2 if head_end >= 0 else within])
    unusual = None if head.startswith(b"\r\n") else _ANY.search(head)
    return printable(unusual[1].decode("utf-8", "replace").strip()) if unusual else b""


def unstuff(content: bytes) -> bytes:
    """Content without the dots its sender doubled (RFC 5321 §4.5.2)."""
    return (b"\r\n" + content).replace(b"\r\n.", b"\r\n")[2:]
