"""What the relay is told beside the letter itself (RFC 5321 §2.3.1)."""

import re
from dataclasses import dataclass

import idna

_UNFIT = re.compile(r"[\s<>\x00-\x1f\x7f-\x9f]")
"""What would end an address, or the command it stands in."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """Where bounce messages go, and whom the letter is for."""

    sender: str
    recipient: str

    @property
    def needs_smtputf8(self) -> bool:
        """Whether a local part is not ASCII, so that the relay must speak SMTPUTF8 (RFC 6531 §3)."""
        return not (self.sender.isascii() and self.recipient.isascii())


def ascii_domain(address: str) -> str:
    """The address with its domain in ASCII (RFC 5891); the local part stays as given.

    Raises:
        UnicodeError: the domain is no domain name, or the address would not stay in its command.
    """
    if _UNFIT.search(address):
        raise UnicodeError("the address holds a blank, an angle bracket or a control character")
    local, _, domain = address.rpartition("@")
    if domain.isascii():
        return address
    # The standard library's codec is of 2003: it makes another domain of one with an ß.
    return f"{local}@{idna.encode(domain, uts46=True).decode('ascii')}"
