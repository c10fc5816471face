"""What the relay is told beside the letter itself (RFC 5321 §2.3.1)."""

from dataclasses import dataclass


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
        UnicodeError: the domain is no domain name.
    """
    local, _, domain = address.rpartition("@")
    return f"{local}@{domain if domain.isascii() else domain.encode('idna').decode()}"
