r"""The sink's faults as a TOML file.

```toml
seed = 1                      # changes whom every share chooses; default: 0
without = ["PIPELINING"]      # extensions the server does not have

[limits]                      # size, connections, letters_per_connection, recipients, memory
connections = 20
[latency]                     # round_trip, letter: seconds
round_trip = 0.05
[pieces]                      # size, gap: replies arrive in pieces of so many bytes
size = 1
[tls]                         # starttls, implicit, required, certificate, key, inject, broken
certificate = "expired"       # good, expired, wrong-name, self-signed, or a PEM file
[auth]                        # user, password, mechanisms, required, plaintext
user = "brev"
password = "..."
[[rate]]                      # domain, letters_per_second, burst, reply
domain = "^langsom\\."
letters_per_second = 5

[[fault]]
recipient = "@traeg\\."       # a regular expression searched in the address; default: everybody
share = 0.02                  # of the addresses it matches, chosen by their hash; default: all
at = "rcpt"                   # connect, ehlo, auth, mail, rcpt, data, dot; default: rcpt
reply = "550 5.1.1 No such user"
```
The first rule that applies at a point of the dialogue decides. What each field means stands with the
dataclasses of `mailer.embedded.faults`, whose names the file uses.
"""

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from mailer.embedded.errors import BadFaults, FaultsNotFound
from mailer.embedded.faults import (
    CERTIFICATES,
    DROPS,
    EXTENSIONS,
    MECHANISMS,
    POINTS,
    SERVER_POINTS,
    Behaviour,
    Fault,
    Faults,
    Latency,
    Limits,
    Pieces,
    Rate,
    SignIn,
    Tls,
)

_REPLY = re.compile(r"[45][0-9]{2} [\x20-\x7e]{1,400}(?:\n[\x20-\x7e]{1,400})*")
_LINE = re.compile(r"[2-5][0-9]{2}[ -][\x20-\x7e]{1,400}")
_GREYLISTED = "451 4.7.1 Not yet: try again later"
_ANSWERS_TO_DATA = (354, 503, 554)
_NO_TABLES = "rules are written as [[fault]]; beside them there are"
_TABLES: dict[str, tuple[str, type]] = {
    "limits": ("limits", Limits),
    "latency": ("latency", Latency),
    "pieces": ("pieces", Pieces),
    "tls": ("tls", Tls),
    "auth": ("sign_in", SignIn),
}
_LISTS: dict[str, type] = {"rate": Rate, "fault": Fault}
_OWN = ("seed", "without", "data_without_recipients")
_KINDS: dict[Any, tuple[str, type | tuple[type, ...]]] = {
    str: ("text", str),
    bool: ("true or false", bool),
    int: ("a whole number", int),
    float: ("a number", (int, float)),
    tuple[str, ...]: ("a list of texts", list),
    frozenset[str]: ("a list of texts", list),
}
_T = TypeVar("_T", Fault, Rate, Limits, Latency, Pieces, Tls, SignIn, Behaviour)


def load_faults(path: Path) -> Faults:
    """Read the rules.

    Raises:
        FaultsNotFound: there is no such file.
        BadFaults: the file or a rule cannot be used; the message names every such rule, and why.
    """
    try:
        text = path.read_text("utf-8")
        told = tomllib.loads(text)
    except FileNotFoundError as error:
        raise FaultsNotFound(f"no such file: {path}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadFaults(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    reading = _Reading(path, text)
    behaviour = reading.take_behaviour(told)
    rules = [_greylisting(rule) for rule in reading.take_list("fault", Fault, told)]
    if reading.problems:
        raise BadFaults("\n".join(reading.problems))
    return Faults(tuple(rules), behaviour)


class _Reading:
    """Collects what is wrong with a file, so that one look tells all."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text
        self.problems: list[str] = []

    def take_behaviour(self, told: dict[str, Any]) -> Behaviour:
        unknown = sorted(set(told) - {*_OWN, *_TABLES, *_LISTS})
        if unknown:
            names = ", ".join([*_OWN, *(f"[{name}]" for name in _TABLES), "[[rate]]"])
            self.problems.append(
                f"{self._path}: no such field: {', '.join(unknown)}; {_NO_TABLES} {names}"
            )
        given: dict[str, Any] = {"rates": tuple(self.take_list("rate", Rate, told))}
        for key, (name, kind) in _TABLES.items():
            if key in told:
                lines = self._lines(rf"\[\s*{key}\s*\]")
                given[name] = self._fill(f"[{key}]", kind, told[key], lines[0] if lines else None)
        if (tls := given.get("tls")) is not None and tls.certificate not in CERTIFICATES:
            beside = self._path.absolute().parent
            key = tls.key and str(beside / tls.key)
            given["tls"] = dataclasses.replace(tls, certificate=str(beside / tls.certificate), key=key)
        own = self._fill("the file", Behaviour, {key: told[key] for key in _OWN if key in told}, None)
        if own is None or self.problems:
            return Behaviour()
        return dataclasses.replace(own, **given)

    def take_list(self, key: str, kind: type[_T], told: dict[str, Any]) -> list[_T]:
        entries = told.get(key, [])
        if not isinstance(entries, list):
            self.problems.append(f"{self._path}: {key}: write [[{key}]]")
            return []
        word = "rule" if key == "fault" else key
        lines = self._lines(rf"\[\[\s*{key}\s*\]\]")
        taken = []
        for number, entry in enumerate(entries, start=1):
            line = lines[number - 1] if len(lines) == len(entries) else None
            taken.append(self._fill(f"{word} {number}", kind, entry, line))
        return [each for each in taken if each is not None]

    def _fill(self, name: str, kind: type[_T], entry: object, line: int | None) -> _T | None:
        """Make one of our dataclasses of a table; None, and a problem told, if it is not fit."""
        reasons = _misfits(kind, entry)
        made = None
        if not reasons and isinstance(entry, dict):
            hints = get_type_hints(kind)
            made = kind(**{key: _convert(hints[key], value) for key, value in entry.items()})
            reasons = _contradictions(made)
        if reasons:
            at = f" (line {line})" if line else ""
            self.problems.append(f"{self._path}: {name}: {'; '.join(reasons)}{at}")
            return None
        return made

    def _lines(self, header: str) -> list[int]:
        found = re.finditer(rf"^[ \t]*{header}", self._text, re.MULTILINE)
        return [self._text.count("\n", 0, each.start()) + 1 for each in found]


def _misfits(kind: type, entry: object) -> list[str]:
    """What is wrong with names and types."""
    if not isinstance(entry, dict):
        return ["this is no table"]
    known = {each.name: each for each in dataclasses.fields(kind)}
    reasons = []
    if unknown := sorted(set(entry) - set(known)):
        reasons.append(f"no such field: {', '.join(unknown)}; there are {', '.join(known)}")
    for name, each in known.items():
        needed = each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
        if needed and name not in entry:
            reasons.append(f"{name} is missing")
    hints = get_type_hints(kind)
    for name in known.keys() & entry.keys():
        words, fitting = _KINDS[_plain(hints[name])]
        value = entry[name]
        fits = isinstance(value, fitting) and (fitting is bool or not isinstance(value, bool))
        if not fits or (fitting is list and not all(isinstance(each, str) for each in value)):
            reasons.append(f"{name} must be {words}")
    return sorted(reasons)


def _plain(hint: Any) -> Any:
    """The type of a field that may also be None."""
    return next((plain for plain in _KINDS if hint in {plain, plain | None}), hint)


def _convert(hint: Any, value: Any) -> Any:
    """The same value, hashable."""
    if isinstance(value, list):
        return frozenset(value) if _plain(hint) == frozenset[str] else tuple(value)
    return value


def _contradictions(made: object) -> list[str]:
    """What is wrong with values, each by itself and together."""
    match made:
        case Fault():
            checks = _check_fault(made)
        case Rate():
            checks = {
                "letters_per_second must be above 0, burst at least 1": made.letters_per_second > 0
                and made.burst >= 1,
                _not_regular("domain", made.domain): not _not_regular("domain", made.domain),
                _reply_example("reply"): _REPLY.fullmatch(made.reply) is not None,
            }
        case Limits():
            checks = {
                "limits must be above 0": all(
                    limit is None or limit > 0 for limit in dataclasses.astuple(made)
                )
            }
        case Latency():
            checks = {"no time is below 0": made.round_trip >= 0 and made.letter >= 0}
        case Pieces():
            checks = {"size and gap are not below 0": made.size >= 0 and made.gap >= 0}
        case Tls():
            checks = {
                "inject must be a reply line": made.inject is None or bool(_LINE.fullmatch(made.inject)),
                "key belongs to a certificate of your own": made.key is None
                or made.certificate not in CERTIFICATES,
            }
        case SignIn():
            checks = {
                f"mechanisms are {', '.join(MECHANISMS)}": bool(made.mechanisms)
                and set(made.mechanisms) <= set(MECHANISMS)
            }
        case Behaviour():
            checks = {
                f"without can name {', '.join(EXTENSIONS)}": made.without <= set(EXTENSIONS),
                f"data_without_recipients is one of {_ANSWERS_TO_DATA}": made.data_without_recipients
                in _ANSWERS_TO_DATA,
            }
        case _:
            checks = {}
    return [reason for reason, fine in checks.items() if not fine]


def _check_fault(rule: Fault) -> dict[str, bool]:
    acts = rule.reply or rule.drop or rule.delay or rule.spread or rule.greylist is not None
    return {
        _not_regular("recipient", rule.recipient): not _not_regular("recipient", rule.recipient),
        _not_regular("sender", rule.sender): not _not_regular("sender", rule.sender),
        f"at must be one of {', '.join(POINTS)}": rule.at in POINTS,
        f"drop must be one of {', '.join(DROPS)}": rule.drop is None or rule.drop in DROPS,
        "by must be address or attempt": rule.by in {"address", "attempt"},
        _reply_example("reply"): rule.reply is None or _REPLY.fullmatch(rule.reply) is not None,
        "extra must be one reply line": rule.extra is None or _LINE.fullmatch(rule.extra) is not None,
        "share lies between 0 and 1, delay and spread are not below 0": 0 <= rule.share <= 1
        and min(rule.delay, rule.spread) >= 0,
        "times and greylist are above 0": (rule.times is None or rule.times > 0)
        and (rule.greylist is None or rule.greylist > 0),
        f"nobody is named yet at {rule.point}": not (
            (rule.recipient and rule.point in {*SERVER_POINTS, "mail"})
            or (rule.sender and rule.point in SERVER_POINTS)
        ),
        "reset needs a drop": rule.drop is not None or not rule.reset,
        "a rule needs a reply, a drop or a delay, greylist, forget, extra, silent or close": bool(
            acts or rule.forget or rule.extra or rule.silent or rule.close
        ),
    }


def _reply_example(name: str) -> str:
    return f'{name} must look like "450 4.2.1 Try again later"'


def _not_regular(name: str, pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        return f"{name} is no regular expression: {error}"
    return ""


def _greylisting(rule: Fault) -> Fault:
    """The rule with the usual reply of greylisting, if it greylists and tells no other."""
    if rule.greylist is None or rule.reply is not None:
        return rule
    return dataclasses.replace(rule, reply=_GREYLISTED)
