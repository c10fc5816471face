"""What a relay's replies say of a letter (RFC 5321 §4.2, RFC 3463), and how they are read."""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from mailer.smtp.errors import Garbled

CLOSING = 421
"""The relay closes the connection; may come at any time (RFC 5321 §3.8)."""
GO_ON = 354
"""The letter may come."""

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?![\d.])\s*")
_ADDRESS = re.compile(r"<?[^\s<>@:;,]+@[^\s<>@:;,]+>?")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\uffff]+")
_LONGEST_TEXT = 200
_LONGEST_LINE = 2_048
"""RFC 5321 §4.5.3.1.5 asks for 512."""
_MOST_LINES = 100
_LINE = re.compile(rb"([2-5][0-5]\d)(?:([ -])([^\r\n]*))?\r\n")


class ReplyClass(StrEnum):
    """What a final reply means for what was asked."""

    ACCEPTED = "accepted"
    REFUSED_FOR_NOW = "refused for now"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply; its text names nobody."""

    code: int
    enhanced_code: str | None
    text: str

    @property
    def kind(self) -> ReplyClass:
        """What it means.

        Raises:
            ValueError: it is no final reply.
        """
        return classify_reply(self.code)

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced_code, self.text) if part)


def classify_reply(code: int) -> ReplyClass:
    """Return what a reply code means (RFC 5321 §4.2.1: the first digit decides).

    Raises:
        ValueError: the code is no final reply (1xx, 3xx or out of range).
    """
    match code // 100:
        case 2:
            return ReplyClass.ACCEPTED
        case 4:
            return ReplyClass.REFUSED_FOR_NOW
        case 5:
            return ReplyClass.REFUSED
        case _:
            raise ValueError(f"{code} is no final reply")


def is_about_letters(code: int) -> bool:
    """Whether a code can answer MAIL, RCPT, DATA or a final dot (RFC 5321 §4.2.1).

    Of the positive ones, those whose second digit speaks of help (1), the connection (2) or signing
    in (3) cannot: a greeting or a farewell where an answer is due takes no letter.
    """
    return code // 100 in (4, 5) or (code // 100 == 2 and code // 10 not in (21, 22, 23))


def read_reply(code: int, text: bytes) -> Reply:
    """The reply with its enhanced code taken out and every address removed from its text.

    Relays like to repeat the recipient; what is kept goes into reports and logs.

    Args:
        text: the lines, without their codes, joined by line feeds.
    """
    enhanced_code = None
    words = []
    for line in text.decode("utf-8", "replace").split("\n"):
        enhanced = _ENHANCED.match(line)
        if enhanced and enhanced_code in (None, enhanced[1]):
            enhanced_code = enhanced[1]
            line = line[enhanced.end() :]  # noqa: PLW2901
        words.append(_ADDRESS.sub("<address>", _UNPRINTABLE.sub(" ", line)))
    return Reply(code, enhanced_code, " ".join(" ".join(words).split())[:_LONGEST_TEXT])


def read_acceptance(code: int, text: bytes) -> Reply:
    """The reply that took a letter, without its text, which is another for each letter."""
    return _acceptance(code, text.partition(b" ")[0][:12])


@lru_cache(maxsize=64)
def _acceptance(code: int, beginning: bytes) -> Reply:
    return Reply(code, read_reply(code, beginning).enhanced_code, "")


class ReplyReader:
    """Cuts what arrives into replies, however it was cut into packets; holds a few lines at most."""

    __slots__ = ("_buffer", "_code", "_lines")

    def __init__(self) -> None:
        self._buffer = b""
        self._code = b""
        self._lines: list[bytes] = []

    @property
    def is_empty(self) -> bool:
        """Whether every byte that arrived belonged to a reply already taken."""
        return not (self._buffer or self._lines)

    @property
    def is_flooded(self) -> bool:
        """Whether more waits than any reply should be long."""
        return len(self._buffer) > _LONGEST_LINE

    def add(self, data: bytes) -> None:
        """Take what arrived."""
        self._buffer = self._buffer + data if self._buffer else data

    def take(self) -> tuple[int, bytes] | None:
        """Code and text of the next whole reply, its lines joined by line feeds; None if none is whole.

        Raises:
            Garbled: what arrived is no reply (RFC 5321 §4.2), or longer than any should be.
        """
        position = 0
        buffer = self._buffer
        while line := _LINE.match(buffer, position):
            code, mark, text = line.groups(b"")
            if line.end() - position > _LONGEST_LINE or len(self._lines) >= _MOST_LINES:
                raise Garbled("its reply is too long")
            if self._lines and code != self._code:
                raise Garbled("the lines of its reply have different codes")
            position = line.end()
            self._lines.append(text)
            if mark != b"-":
                text = b"\n".join(self._lines)
                self._lines = []
                self._buffer = buffer[position:]
                return int(code), text
            self._code = code
        self._buffer = buffer = buffer[position:]
        if len(buffer) > _LONGEST_LINE:
            raise Garbled("its reply is too long")
        if b"\n" in buffer or not _may_become_a_line(buffer):
            raise Garbled("it does not speak SMTP")
        return None


def _may_become_a_line(beginning: bytes) -> bool:
    """Whether more bytes can make a reply's line of these."""
    code, mark = beginning[:3], beginning[3:4]
    return (
        all(
            byte in choice
            for byte, choice in zip(code, (b"2345", b"012345", b"0123456789"), strict=False)
        )
        and mark in (b"", b" ", b"-", b"\r")
        and b"\r" not in beginning[:-1]
    )
