"""Relays as the settings name them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pydantic import SecretStr

_ENCODED = "; in a password / ? # @ and the like are written %2F %3F %23 %40"


class StartTLS(StrEnum):
    """Whether a plain connection is turned into a protected one (RFC 3207)."""

    REQUIRE = "require"
    OFFER = "offer"
    NEVER = "never"


class Sign(StrEnum):
    """How we sign in (RFC 4616, RFC 2195, and two that everybody knows)."""

    PLAIN = "plain"
    LOGIN = "login"
    CRAM_MD5 = "cram-md5"
    XOAUTH2 = "xoauth2"


class BadRelay(ValueError):
    """A relay's URL makes no sense; the message does not repeat it, since it may hold a password."""


@dataclass(frozen=True, slots=True)
class Relay:
    """One SMTP server that takes our letters."""

    host: str
    port: int
    implicit_tls: bool = False
    starttls: StartTLS = StartTLS.REQUIRE
    username: str | None = None
    password: SecretStr | None = field(default=None, repr=False)
    auth: Sign | None = None
    """None: the best that is offered; with ``xoauth2`` the password is a token."""
    ca: str | None = None
    """A file with the certificates of the only authorities trusted for this relay."""
    connections: int = 8
    weight: int = 1
    """Its share where several relays can be used."""
    letters: int = 1000
    """So many a connection, then a new one."""
    chunking: int = 0
    """Letters in the pipe at once with BDAT (RFC 3030), where offered; 0: DATA, one at a time."""
    rate: float | None = None
    domain_rate: float | None = None
    name: str = field(init=False)
    """What the ledger and the logs call it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"{self.host}:{self.port}")

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return self.host in {"127.0.0.1", "::1", "localhost"}


_OPTIONS: dict[str, Callable[[str], Any]] = {
    "starttls": StartTLS,
    "auth": Sign,
    "ca": str,
    "connections": int,
    "weight": int,
    "letters": int,
    "chunking": int,
    "rate": float,
    "domain_rate": float,
}
_COUNTED = ("connections", "weight", "letters", "rate", "domain_rate")
_DEEPEST_PIPE = 8
"""After a cut, every letter in the pipe may or may not have arrived."""


def parse_relay(url: str) -> Relay:
    """Read ``smtp://user:password@host:587?starttls=require&connections=8&rate=100``.

    Raises:
        BadRelay: with the reason.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # which repeats what it took for a port: perhaps half of the password
        raise BadRelay(f"a relay's port must be a number{_ENCODED}") from None
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
        raise BadRelay("a relay must look like smtp://user:password@host:587")
    if "@" in parts.path + parts.query or parts.fragment:
        raise BadRelay(f"a relay must look like smtp://user:password@host:587{_ENCODED}")
    if parts.path.strip("/"):
        raise BadRelay(f"relay {parts.hostname}: nothing may follow the port but ?options")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = _read_options(parts, options)
    if options:
        raise BadRelay(f"relay {parts.hostname}: no such option: {', '.join(sorted(options))}")
    implicit = parts.scheme == "smtps"
    return Relay(
        host=parts.hostname,
        port=port or (465 if implicit else 587),
        implicit_tls=implicit,
        username=unquote(parts.username) if parts.username else None,
        password=SecretStr(unquote(parts.password)) if parts.password else None,
        **known,
    )


def _read_options(parts: SplitResult, options: dict[str, str]) -> dict[str, Any]:
    known: dict[str, Any] = {}
    try:
        for name, read in _OPTIONS.items():
            if name in options:
                known[name] = read(options.pop(name))
    except ValueError as error:
        raise BadRelay(f"relay {parts.hostname}: {error}") from error
    if any(known.get(name, 1) <= 0 for name in _COUNTED):
        raise BadRelay(f"relay {parts.hostname}: {', '.join(_COUNTED)} must be above nought")
    if not 0 <= known.get("chunking", 0) <= _DEEPEST_PIPE:
        raise BadRelay(f"relay {parts.hostname}: chunking must be from 1 to {_DEEPEST_PIPE}")
    return known
