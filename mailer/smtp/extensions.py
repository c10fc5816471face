"""What a relay says it can do (RFC 5321 §4.1.1.1)."""

from dataclasses import dataclass

from mailer.smtp.relays import Sign


@dataclass(frozen=True, slots=True)
class Extensions:
    """The parts of a reply to EHLO that matter here."""

    pipelining: bool = False
    chunking: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    starttls: bool = False
    announces_size: bool = False
    largest_bytes: int = 0
    """No letter may be longer (RFC 1870); 0: no limit is known."""
    signs: frozenset[Sign] = frozenset()


def read_extensions(text: bytes) -> Extensions:
    """Read the text of a reply to EHLO; its first line is the relay's name."""
    offers: dict[str, list[str]] = {}
    for line in text.decode("ascii", "replace").upper().split("\n")[1:]:
        # Some old servers write AUTH=PLAIN, and some of those both.
        keyword, *values = line.replace("AUTH=", "AUTH ").split() or [""]
        offers.setdefault(keyword, []).extend(values)
    size = next(iter(offers.get("SIZE", [])), "")
    return Extensions(
        pipelining="PIPELINING" in offers,
        chunking="CHUNKING" in offers,
        eight_bit="8BITMIME" in offers,
        smtputf8="SMTPUTF8" in offers,
        starttls="STARTTLS" in offers,
        announces_size="SIZE" in offers,
        largest_bytes=int(size) if size.isascii() and size.isdecimal() else 0,
        signs=frozenset(sign for sign in Sign if sign.value.upper() in offers.get("AUTH", [])),
    )
