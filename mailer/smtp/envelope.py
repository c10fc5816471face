"""What the relay is told beside the letter itself (RFC 5321 §2.3.1)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import idna

_UNFIT = re.compile(r"[\s<>\x00-\x1f\x7f-\x9f]")
"""What would end an address, or the command it stands in."""


@dataclass(slots=True)
class Envelope:
    """Where bounce messages go, and whom the letter is for; neither can end its command.

    Raises:
        UnicodeError: an address holds a blank, an angle bracket or a control character.
    """

    sender: str
    recipient: str

    def __post_init__(self) -> None:
        if _is_unfit(self.sender + self.recipient):
            raise UnicodeError("the address holds a blank, an angle bracket or a control character")

    @property
    def needs_smtputf8(self) -> bool:
        """Whether a local part is not ASCII, so that the relay must speak SMTPUTF8 (RFC 6531 §3)."""
        return not (self.sender.isascii() and self.recipient.isascii())


class Mail(Protocol):
    """One message on its way to a relay."""

    @property
    def envelope(self) -> Envelope:
        """Whom it is from and for."""
        ...

    @property
    def pieces(self) -> Sequence[bytes]:
        """The message, to be joined: lines end in CRLF, the last too, and none begins with a dot."""
        ...

    @property
    def size_bytes(self) -> int:
        """How long it is."""
        ...

    @property
    def is_ascii(self) -> bool:
        """Whether it holds nothing that a relay without 8BITMIME could not take (RFC 6152)."""
        ...


def ascii_domain(address: str) -> str:
    """The address with its domain in ASCII (RFC 5891); the local part stays as given.

    Raises:
        UnicodeError: the domain is no domain name, or the address would not stay in its command.
    """
    if _is_unfit(address):
        raise UnicodeError("the address holds a blank, an angle bracket or a control character")
    local, _, domain = address.rpartition("@")
    if domain.isascii():
        return address
    # The standard library's codec is of 2003: it makes another domain of one with an ß.
    return f"{local}@{idna.encode(domain, uts46=True).decode('ascii')}"


def _is_unfit(text: str) -> bool:
    if text.isascii() and text.isprintable():  # the quick way for nearly all
        return " " in text or "<" in text or ">" in text
    return _UNFIT.search(text) is not None
