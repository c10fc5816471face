"""What preflight finds, and how grave it is."""

from dataclasses import dataclass
from enum import StrEnum


class Gravity(StrEnum):
    """Whether a finding stands in the way."""

    ERROR = "error"
    """A reader would get no letter, or one that is wrong."""
    WARNING = "warning"
    """Somebody should look before the letters leave."""


@dataclass(frozen=True, slots=True)
class Example:
    """One of the recipients a finding is about."""

    recipient: int
    """The recipient's id."""
    address: str
    """Masked, unless the whole was asked for."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong or odd; it names no person but in its examples."""

    check: str
    """Which check found it; stays the same for scripts."""
    gravity: Gravity
    detail: str
    recipients: int | None = None
    """How many letters are concerned; None where it is about all of them."""
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing about one recipient, for the list of them all."""

    recipient: int
    address: str
    check: str
    gravity: Gravity
    detail: str


def error(check: str, detail: str) -> Finding:
    """A finding that stands in the way."""
    return Finding(check, Gravity.ERROR, detail)


def warning(check: str, detail: str) -> Finding:
    """A finding that somebody should look at."""
    return Finding(check, Gravity.WARNING, detail)


def masked(address: str) -> str:
    """An address of which the domain and the first letter are left: ``t…@kommune.example``."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1] if len(local) > 1 else ''}…@{domain}"
