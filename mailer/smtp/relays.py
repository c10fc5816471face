"""Relays as the settings name them."""

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
    connections: int = 8
    rate: float | None = None
    domain_rate: float | None = None

    @property
    def name(self) -> str:
        """What the ledger and the logs call it."""
        return f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return self.host in {"127.0.0.1", "::1", "localhost"}


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
        if "starttls" in options:
            known["starttls"] = StartTLS(options.pop("starttls"))
        if "connections" in options:
            known["connections"] = int(options.pop("connections"))
        for name in ("rate", "domain_rate"):
            if name in options:
                known[name] = float(options.pop(name))
    except ValueError as error:
        raise BadRelay(f"relay {parts.hostname}: {error}") from error
    if any(known.get(name, 1) <= 0 for name in ("connections", "rate", "domain_rate")):
        raise BadRelay(f"relay {parts.hostname}: connections and rates must be above nought")
    return known
