r"""What a misbehaving mail server does to whom: rules for the sink, told in TOML, the same every run.

```toml
[[fault]]
recipient = "@traeg\\."         # a regular expression searched in the address; default: everybody
share = 0.02                  # of the addresses it matches, chosen by their hash; default: all
at = "rcpt"                   # rcpt or dot; default: rcpt
reply = "550 5.1.1 No such user"
times = 1                     # only so many first attempts of an address; default: every attempt
delay = 0.5                   # seconds before the reply
drop = "after-dot"            # or before-dot: hang up instead of replying
recorded = true               # with after-dot: whether the letter counts as received; default: yes
```
The first rule that applies at a point of the dialogue decides; a rule may only delay.
"""

import hashlib
import re
import tomllib
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mailer.embedded.errors import BadFaults, FaultsNotFound

POINTS = ("rcpt", "dot")
DROPS = ("before-dot", "after-dot")
_REPLY = re.compile(r"[45][0-9]{2} [\x20-\x7e]{1,400}")


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule."""

    recipient: str = ""
    share: float = 1.0
    at: str = "rcpt"
    reply: str | None = None
    times: int | None = None
    delay: float = 0.0
    drop: str | None = None
    recorded: bool = True

    @property
    def point(self) -> str:
        """Where in the dialogue the rule acts; hanging up belongs to the content."""
        return "dot" if self.drop else self.at


@dataclass(slots=True)
class Faults:
    """All rules of a run, and how often each address has met them."""

    rules: tuple[Fault, ...] = ()
    _met: Counter[tuple[int, str]] = field(default_factory=Counter)

    def find(self, point: str, address: str) -> Fault | None:
        """The rule that acts on this attempt of an address; asking counts as the attempt.

        Args:
            point: ``rcpt`` or ``dot``.
        """
        key = address.casefold()
        for number, rule in enumerate(self.rules):
            if rule.point != point or not _concerns(rule, number, key):
                continue
            self._met[number, key] += 1
            if rule.times is None or self._met[number, key] <= rule.times:
                return rule
        return None


def load_faults(path: Path) -> Faults:
    """Read the rules.

    Raises:
        FaultsNotFound: there is no such file.
        BadFaults: the file or a rule cannot be used; the message says which and why.
    """
    try:
        told = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise FaultsNotFound(f"no such file: {path}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadFaults(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    entries = told.pop("fault", [])
    if told or not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise BadFaults(f"{path}: rules are written as [[fault]]; there is nothing else in the file")
    rules = []
    for number, entry in enumerate(entries, start=1):
        try:
            rules.append(_rule(entry))
        except ValueError as error:
            raise BadFaults(f"{path}: rule {number}: {error}") from error
    return Faults(tuple(rules))


def _rule(entry: dict[str, Any]) -> Fault:
    known = {each.name: each for each in fields(Fault)}
    unknown = sorted(set(entry) - set(known))
    if unknown:
        raise ValueError(f"no such field: {', '.join(unknown)}; there are {', '.join(known)}")
    for name, kind in (("recipient", str), ("at", str), ("reply", str), ("drop", str)):
        if name in entry and not isinstance(entry[name], kind):
            raise ValueError(f"{name} must be text")
    for name in ("share", "delay", "times"):
        if name in entry and (isinstance(entry[name], bool) or not isinstance(entry[name], int | float)):
            raise ValueError(f"{name} must be a number")
    rule = Fault(**entry)
    _check(rule)
    return rule


def _check(rule: Fault) -> None:
    try:
        re.compile(rule.recipient)
    except re.error as error:
        raise ValueError(f"recipient is no regular expression: {error}") from error
    if rule.at not in POINTS:
        raise ValueError(f"at must be one of {', '.join(POINTS)}")
    if rule.drop is not None and rule.drop not in DROPS:
        raise ValueError(f"drop must be one of {', '.join(DROPS)}")
    if rule.reply is not None and not _REPLY.fullmatch(rule.reply):
        raise ValueError('reply must look like "450 4.2.1 Try again later"')
    if not 0 <= rule.share <= 1 or rule.delay < 0:
        raise ValueError("share lies between 0 and 1, delay is not below 0")
    if rule.reply is None and rule.drop is None and not rule.delay:
        raise ValueError("a rule needs a reply, a drop or a delay")


def _concerns(rule: Fault, number: int, key: str) -> bool:
    if rule.recipient and not re.search(rule.recipient, key, re.IGNORECASE):
        return False
    if rule.share >= 1:
        return True
    digest = hashlib.blake2b(f"{number}:{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < rule.share * 2**64
