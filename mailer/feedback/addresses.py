"""Mail addresses in texts that others wrote."""

import re
from collections.abc import Iterable

# Letters of alphabets; scripts without blanks between words would stick to the address.
_LETTERS = r"A-Za-z0-9\u00c0-\u024f\u0370-\u06ff"
_ATOM = rf"{_LETTERS}_!#$%&*+/=?^`{{|}}~.'\-"
_ADDRESS = re.compile(
    rf"(?<![{_ATOM}@])(?:[{_ATOM}]{{1,64}}|\"[^\"\\\n]{{1,62}}\")@"
    rf"(?:[{_LETTERS}](?:[{_LETTERS}_.-]{{0,252}}[{_LETTERS}])?|\[[\d.]{{7,15}}\])"
)
"""One address (RFC 5321 §4.1.2, RFC 6531); also with the dots in a row that some carriers gave out."""
_UNWANTED = "'`*/=|"
_MACHINES = re.compile(
    r"(?:mailer-?daemon|mail\.?delivery\.?(?:system|subsystem)|postmaster|no-?reply|abuse)(?:[+@].*)?",
    re.IGNORECASE,
)


def find_addresses(text: str, *, most: int = 50) -> tuple[str, ...]:
    """The addresses in a text in order, each once, at most so many; their domains in lower case."""
    found: dict[str, None] = {}
    for match in _ADDRESS.finditer(text):
        address = tidy(match[0])
        if address and address not in found:
            found[address] = None
            if len(found) >= most:
                break
    return tuple(found)


def find_address(text: str) -> str | None:
    """The first address in a text."""
    return next(iter(find_addresses(text[:2000], most=1)), None)


def tidy(address: str) -> str | None:
    """The address without marks before it, its domain in lower case; None when nothing is left."""
    local, _, domain = address.rpartition("@")
    local = local.lstrip(_UNWANTED) if not local.startswith('"') else local
    if not local or len(domain) > 253 or len(local) > 64:
        return None
    return f"{local}@{domain.lower()}"


def is_machine(address: str) -> bool:
    """Whether a mail system stands behind an address, by its name."""
    return _MACHINES.fullmatch(address) is not None


def fold(addresses: Iterable[str]) -> frozenset[str]:
    """Addresses for comparing."""
    return frozenset(address.casefold() for address in addresses)
