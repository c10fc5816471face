"""What a misbehaving mail server does to whom: rules for the sink, the same every run."""

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

SERVER_POINTS = ("connect", "ehlo", "auth")
"""Points of the dialogue at which nobody is named yet: rules there choose among connections."""
POINTS = (*SERVER_POINTS, "mail", "rcpt", "data", "dot")
CONTENT_DROPS = ("before-dot", "in-content", "after-dot")
"""Cuts that belong to the content, wherever ``at`` points."""
DROPS = (*CONTENT_DROPS, "instead", "in-reply")
EXTENSIONS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE", "CHUNKING", "ENHANCEDSTATUSCODES")
_T = TypeVar("_T")
_MOST_REMEMBERED = 1_000_000
"""Addresses a rule counts; beyond, the one met first is forgotten."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule: whom it concerns, and what happens to them."""

    recipient: str = ""
    """A regular expression searched in the recipient's address; empty: everybody."""
    sender: str = ""
    """The same for the envelope's sender."""
    share: float = 1.0
    """Of those it matches, chosen by their hash."""
    by: str = "address"
    """``attempt``: the share is drawn anew for every attempt of an address."""
    at: str = "rcpt"
    times: int | None = None
    """Only so many first attempts of an address; at a server point: of all connections."""
    greylist: float | None = None
    """Seconds from an address's first attempt in which the rule applies."""
    reply: str | None = None
    """4xx or 5xx; further lines after a line feed. 421 ends the connection."""
    close: bool = False
    """End the connection after the reply."""
    delay: float = 0.0
    """Seconds before the reply."""
    spread: float = 0.0
    """Up to so many seconds more, by hash."""
    drop: str | None = None
    reset: bool = False
    """With ``drop``: break the connection (TCP RST) rather than end it."""
    recorded: bool = True
    """With a drop at the dot: whether the letter counts as received."""
    forget: bool = False
    """Throw away what had already arrived behind the command: a broken PIPELINING."""
    extra: str | None = None
    """A line nobody asked for, sent after the reply."""
    silent: bool = False
    """No reply at all; the dialogue goes on."""

    @property
    def point(self) -> str:
        """Where in the dialogue the rule acts."""
        return "dot" if self.drop in CONTENT_DROPS else self.at

    @property
    def kind(self) -> str:
        """What the rule does, as the record of faults calls it."""
        done = {
            "delay": self.delay or self.spread,
            "greylist": self.greylist is not None,
            "reply": self.reply and self.greylist is None,
            f"drop-{self.drop}": self.drop,
            "silent": self.silent,
            "forget": self.forget,
            "extra": self.extra,
            "close": self.close,
        }
        return "+".join(name for name, happens in done.items() if happens)


@dataclass(frozen=True, slots=True)
class Rate:
    """What one recipient domain may get."""

    letters_per_second: float
    domain: str = ""
    """A regular expression searched in the domain; empty: every domain, each for itself."""
    burst: float = 1.0
    """Letters that may come at once."""
    reply: str = "450 4.7.28 Rate limited"


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server takes at most."""

    size: int = 52_428_800
    """Bytes of a letter (RFC 1870)."""
    connections: int = 2_000
    """At the same time."""
    letters_per_connection: int | None = None
    recipients: int = 100
    """Of one letter."""
    memory: int = 536_870_912
    """Bytes of large letters on their way in, all connections together; 452 to what is more."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How far away, and how slow, the server seems."""

    round_trip: float = 0.0
    """Seconds; everything arrives, nothing is throttled, the replies leave so much later."""
    letter: float = 0.0
    """Seconds the server needs for a letter after its dot; one after the other per connection."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """Replies that arrive in pieces."""

    size: int = 0
    """Bytes of a piece; 0: replies arrive whole."""
    gap: float = 0.002
    """Seconds between two pieces."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How the server speaks TLS."""

    starttls: bool = True
    """Whether EHLO offers it and the command is known."""
    implicit: bool = False
    """TLS from the first byte (RFC 8314)."""
    required: bool = False
    """530 to whoever begins a letter without TLS."""
    certificate: str = "good"
    """One of `CERTIFICATES`, made at start, or the path of a PEM file."""
    key: str | None = None
    """The key's PEM file, where ``certificate`` is one."""
    inject: str | None = None
    """A line sent in plaintext behind the reply to STARTTLS, as an attacker on the way would."""
    broken: bool = False
    """The handshake fails."""


BAD_CERTIFICATES = ("expired", "wrong-name", "self-signed")
CERTIFICATES = ("good", *BAD_CERTIFICATES)
MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2")


@dataclass(frozen=True, slots=True)
class SignIn:
    """Who may send."""

    user: str
    password: str = field(repr=False)
    mechanisms: tuple[str, ...] = MECHANISMS
    required: bool = True
    plaintext: bool = True
    """Whether AUTH is offered without TLS too."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Everything a faults file tells beside its rules about letters."""

    seed: int = 0
    """Changes whom every share chooses."""
    without: frozenset[str] = frozenset()
    """Extensions the server does not have."""
    data_without_recipients: int = 554
    """The reply to DATA with no recipient accepted (RFC 2920 §3.1 allows 354, too)."""
    limits: Limits = Limits()
    latency: Latency = Latency()
    pieces: Pieces = Pieces()
    tls: Tls | None = None
    sign_in: SignIn | None = None
    rates: tuple[Rate, ...] = ()


class Faults:
    """All rules of a run, what each address has met of them, and how the server behaves at all."""

    def __init__(
        self,
        rules: tuple[Fault, ...] = (),
        behaviour: Behaviour | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rules = rules
        self.behaviour = behaviour or Behaviour()
        self._clock = clock
        self._rules_at = {
            point: [(number, rule) for number, rule in enumerate(rules) if rule.point == point]
            for point in POINTS
        }
        self._met: list[dict[str, tuple[int, float]]] = [{} for _ in rules]
        self._next_letter: list[dict[str, float]] = [{} for _ in self.behaviour.rates]

    def acts_at(self, *points: str) -> bool:
        """Whether any rule acts at one of these points."""
        return any(self._rules_at[point] for point in points)

    def find(self, point: str, address: str, *, sender: str | None = None) -> Fault | None:
        """The rule that acts on this attempt of an address; asking counts as the attempt.

        Args:
            point: one of `POINTS`.
            address: the recipient; at `mail` the sender; at a server point the connection's number.
        """
        if not self._rules_at[point]:
            return None
        key = address.casefold()
        for number, rule in self._rules_at[point]:
            if _matches(rule, key, key if sender is None else sender) and self._meets(number, rule, key):
                return rule
        return None

    def find_domain_limit(self, recipient: str) -> str | None:
        """The refusal for a recipient whose domain has had its letters for now; else one is counted."""
        if not self.behaviour.rates:
            return None
        domain = recipient.rpartition("@")[2].casefold()
        now = self._clock()
        for rate, next_letter in zip(self.behaviour.rates, self._next_letter, strict=True):
            if rate.domain and not re.search(rate.domain, domain, re.IGNORECASE):
                continue
            due = max(next_letter.get(domain, 0.0), now)
            if due - now > (rate.burst - 1) / rate.letters_per_second:
                return rate.reply
            _remember(next_letter, domain, due + 1 / rate.letters_per_second)
            return None
        return None

    def wait_seconds(self, fault: Fault, address: str) -> float:
        """How long this rule lets this address wait."""
        if not fault.spread:
            return fault.delay
        return fault.delay + fault.spread * self._draw("delay", address.casefold())

    def take_over(self, earlier: "Faults") -> None:
        """Remember what the same rules of an earlier reading have met."""
        for number, rule in enumerate(self.rules):
            if rule in earlier.rules:
                self._met[number] = earlier._met[earlier.rules.index(rule)]  # noqa: SLF001 - its own kind
        for number, rate in enumerate(self.behaviour.rates):
            if rate in earlier.behaviour.rates:
                before = earlier.behaviour.rates.index(rate)
                self._next_letter[number] = earlier._next_letter[before]  # noqa: SLF001

    def _meets(self, number: int, rule: Fault, key: str) -> bool:
        by_attempt = rule.by == "attempt"
        if not by_attempt and rule.share < 1 and self._draw(number, key) >= rule.share:
            return False
        if rule.times is None and rule.greylist is None and not by_attempt:
            return True
        met = self._met[number]
        counted = "" if rule.at in SERVER_POINTS else key
        attempts, first = met.get(counted, (0, self._clock()))
        _remember(met, counted, (attempts + 1, first))
        if by_attempt and self._draw(number, f"{key} {attempts}") >= rule.share:
            return False
        if rule.greylist is not None and self._clock() - first >= rule.greylist:
            return False
        return rule.times is None or attempts < rule.times

    def _draw(self, what: int | str, key: str) -> float:
        """A number from 0 to 1 that is the same every run."""
        seed = f"{self.behaviour.seed}:" if self.behaviour.seed else ""
        digest = hashlib.blake2b(f"{seed}{what}:{key}".encode(errors="replace"), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64


def _matches(rule: Fault, key: str, sender: str) -> bool:
    if rule.recipient and not re.search(rule.recipient, key, re.IGNORECASE):
        return False
    return not rule.sender or re.search(rule.sender, sender, re.IGNORECASE) is not None


def _remember(memory: dict[str, _T], key: str, value: _T) -> None:
    if key not in memory and len(memory) >= _MOST_REMEMBERED:
        del memory[next(iter(memory))]
    memory[key] = value
