"""Segments: named rules that select recipients, such as ``role = minister or region = Sjælland``.

A rule is read by a small parser and becomes one SELECT; what people write never becomes SQL text.
"""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, String, and_, false, func, not_, or_, select, true
from sqlalchemy import type_coerce as as_type
from sqlalchemy.orm import Session

from recipients.addresses import parse_address
from recipients.errors import BadAddress, BadRule, SegmentExists, SegmentNotFound
from recipients.models import (
    Confederation,
    Recipient,
    RecipientSource,
    Region,
    Role,
    Sector,
    Segment,
)
from recipients.words import (
    find_confederation,
    find_language,
    find_region,
    find_role,
    find_sector,
)

_LONGEST_RULE = 2000
_LONGEST_NAME = 100
_DEEPEST = 40
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<sign>!=|<>|=|\(|\)|,)
      | "(?P<double>[^"]*)"
      | '(?P<single>[^']*)'
      | (?P<word>[^\s()=!<>,"']+)
    )""",
    re.VERBOSE,
)
_KEYWORDS = frozenset({"and", "or", "not", "in"})
_ATTRIBUTES = "attributes."

Condition = ColumnElement[bool]


def select_segment(rule: str | None) -> Select[int]:
    """The ids of the recipients a rule selects; None selects everybody.

    A rule compares fields with ``=``, ``!=``, ``in (…)`` and ``not in (…)``, joined by ``and``, ``or``,
    ``not`` and parentheses. Values may be quoted; ``""`` is a missing value. Stored words may be written
    in Danish or English, in any case; all other values are compared as they are written.

    Raises:
        BadRule: the rule cannot be understood; the message says where.
    """
    if rule is None:
        return select(Recipient.id)
    return select(Recipient.id).where(_Parser(rule).parse())


def find_segment(db: Session, name: str) -> Segment:
    """The segment of that name.

    Raises:
        SegmentNotFound: there is none.
    """
    segment = db.scalar(select(Segment).where(Segment.name == name))
    if segment is None:
        known = ", ".join(db.scalars(select(Segment.name).order_by(Segment.name))) or "none"
        raise SegmentNotFound(f"no segment {name!r}; there are: {known}")
    return segment


def create_segment(db: Session, name: str, rule: str, now: datetime) -> Segment:
    """Keep a rule under a name.

    Raises:
        BadRule: the rule cannot be understood, or the name cannot be used; nothing was stored.
        SegmentExists: the name is taken; nothing was changed.
    """
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise BadRule(f"a segment's name has 1 to {_LONGEST_NAME} characters that can be seen")
    select_segment(rule)
    if db.scalar(select(Segment.id).where(Segment.name == name)) is not None:
        raise SegmentExists(f"there is a segment {name!r} already; choose another name")
    segment = Segment(name=name, rule=rule, created_at=now)
    db.add(segment)
    db.flush()
    return segment


def list_segments(db: Session) -> list[Segment]:
    """All segments, by name."""
    return list(db.scalars(select(Segment).order_by(Segment.name)))


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    position: int
    """Of its first character, counted from 1."""
    kind: str
    """``sign``, ``keyword``, ``word``, ``quoted`` or ``end``."""

    def shown(self) -> str:
        return "the end of the rule" if self.kind == "end" else f"{self.text!r}"


def _split(rule: str) -> list[_Token]:
    if len(rule) > _LONGEST_RULE:
        raise BadRule(f"the rule is longer than {_LONGEST_RULE} characters")
    tokens = []
    end = len(rule.rstrip())
    at = 0
    while at < end:
        match = _TOKEN.match(rule, at)
        start = at + len(rule[at:]) - len(rule[at:].lstrip())
        if match is None:
            raise BadRule(f"position {start + 1}: {rule[start]!r} cannot stand here")
        group = str(match.lastgroup)
        kind, text = group, match[group]
        if group in {"double", "single"}:
            kind = "quoted"
        elif group == "word" and text.casefold() in _KEYWORDS:
            kind, text = "keyword", text.casefold()
        tokens.append(_Token(text, start + 1, kind))
        at = match.end()
    tokens.append(_Token("", end + 1, "end"))
    return tokens


class _Parser:
    """Recursive descent over ``or``, ``and``, ``not``, comparison; the deepest nesting is bounded."""

    def __init__(self, rule: str) -> None:
        self._tokens = _split(rule)
        self._at = 0
        self._depth = 0

    def parse(self) -> Condition:
        if self._next.kind == "end":
            raise BadRule("the rule is empty; leave it out to select everybody")
        condition = self._alternatives()
        if self._next.kind != "end":
            raise self._unexpected("'and', 'or' or the end of the rule")
        return condition

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._next
        self._at += 1
        return token

    def _is(self, text: str) -> bool:
        return self._next.text == text and self._next.kind in {"sign", "keyword"}

    def _skip(self, text: str) -> bool:
        found = self._is(text)
        self._at += found
        return found

    def _unexpected(self, wanted: str) -> BadRule:
        token = self._next
        return BadRule(f"position {token.position}: expected {wanted}, found {token.shown()}")

    def _alternatives(self) -> Condition:
        parts = [self._conjunction()]
        while self._skip("or"):
            parts.append(self._conjunction())
        return or_(false(), *parts)

    def _conjunction(self) -> Condition:
        parts = [self._negation()]
        while self._skip("and"):
            parts.append(self._negation())
        return and_(true(), *parts)

    def _negation(self) -> Condition:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise BadRule(f"position {self._next.position}: nested more than {_DEEPEST} deep")
        if self._skip("not"):
            condition = not_(self._negation())
        elif self._skip("("):
            condition = self._alternatives()
            if not self._skip(")"):
                raise self._unexpected("')'")
        else:
            condition = self._comparison()
        self._depth -= 1
        return condition

    def _comparison(self) -> Condition:
        field = self._take_field()
        if self._skip("="):
            return field([self._take_value()])
        if self._skip("!=") or self._skip("<>"):
            return not_(field([self._take_value()]))
        negated = self._skip("not")
        if not self._skip("in"):
            raise self._unexpected("=, !=, in or not in")
        condition = field(self._take_list())
        return not_(condition) if negated else condition

    def _take_field(self) -> "_Test":
        token = self._next
        if token.kind != "word":
            raise self._unexpected("a field")
        self._at += 1
        if token.text.casefold() == _ATTRIBUTES and self._next.kind == "quoted":
            return _test_attribute(self._take())
        if token.text.casefold().startswith(_ATTRIBUTES):
            key = token.text[len(_ATTRIBUTES) :]
            return _test_attribute(_Token(key, token.position + len(_ATTRIBUTES), "word"))
        name = token.text.casefold()
        if name not in _TESTS:
            raise BadRule(f"position {token.position}: no such field {token.text!r}{_hint(name)}")
        return _TESTS[name]

    def _take_value(self) -> _Token:
        """One quoted value, or words up to the next sign or keyword."""
        first = self._next
        if first.kind == "quoted":
            return self._take()
        words = []
        while self._next.kind == "word":
            words.append(self._take().text)
        if not words:
            raise self._unexpected("a value")
        return _Token(" ".join(words), first.position, "word")

    def _take_list(self) -> list[_Token]:
        if not self._skip("("):
            raise self._unexpected("'('")
        values = [self._take_value()]
        while self._skip(","):
            values.append(self._take_value())
        if not self._skip(")"):
            raise self._unexpected("',' or ')'")
        return values


_Test = Callable[[Sequence[_Token]], Condition]
"""Makes the condition that a field is one of these values; it is never NULL, so that ``not`` holds."""


def _hint(name: str) -> str:
    close = difflib.get_close_matches(name, _TESTS, n=1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    return f"{meant} Fields: {', '.join(_TESTS)}, attributes.NAME"


def _test_text(column: Any) -> _Test:
    def test(values: Sequence[_Token]) -> Condition:
        found: Condition = func.coalesce(column, "").in_([value.text for value in values])
        return found

    return test


def _test_words(column: Any, find: Callable[[str], str | None], known: Sequence[str]) -> _Test:
    """Compare a column that holds one of a few stored words."""

    def stored(value: _Token) -> str:
        word = find(value.text) if value.text else ""
        if word is None:
            raise BadRule(f"position {value.position}: {value.text!r} is none of {', '.join(known)}")
        return str(word)

    def test(values: Sequence[_Token]) -> Condition:
        stored_as = func.coalesce(as_type(column, String), "")
        found: Condition = stored_as.in_([stored(value) for value in values])
        return found

    return test


def _test_email(values: Sequence[_Token]) -> Condition:
    keys = []
    for value in values:
        try:
            keys.append(parse_address(value.text).key)
        except BadAddress as error:
            raise BadRule(f"position {value.position}: {error}") from error
    return Recipient.email_key.in_(keys)


def _test_domain(values: Sequence[_Token]) -> Condition:
    domains = []
    for value in values:
        try:
            domains.append(parse_address(f"a@{value.text}").domain)
        except BadAddress as error:
            raise BadRule(f"position {value.position}: {error}") from error
    return Recipient.domain.in_(domains)


def _test_source(values: Sequence[_Token]) -> Condition:
    """On the list of one of these parties; ``""`` is on nobody's list."""
    of_recipient = select(RecipientSource.source).where(RecipientSource.recipient_id == Recipient.id)
    names = [value.text for value in values if value.text]
    parts: list[Condition] = [of_recipient.where(RecipientSource.source.in_(names)).exists()]
    if len(names) < len(values):
        parts.append(not_(of_recipient.exists()))
    return or_(*parts)


def _test_attribute(key: _Token) -> _Test:
    if not key.text or not key.text.isprintable() or '"' in key.text or "\\" in key.text:
        raise BadRule(f"position {key.position}: not an attribute's name")
    return _test_text(Recipient.attributes[key.text].as_string())


_TESTS: Mapping[str, _Test] = {
    "email": _test_email,
    "name": _test_text(Recipient.name),
    "role": _test_words(Recipient.role, find_role, list(Role)),
    "sector": _test_words(Recipient.sector, find_sector, list(Sector)),
    "organisation": _test_text(Recipient.organisation),
    "workplace": _test_text(Recipient.workplace),
    "confederation": _test_words(Recipient.confederation, find_confederation, list(Confederation)),
    "region": _test_words(Recipient.region, find_region, list(Region)),
    "language": _test_words(Recipient.language, find_language, ["da", "en"]),
    "domain": _test_domain,
    "source": _test_source,
}
