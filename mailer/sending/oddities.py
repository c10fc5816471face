"""What is odd about a value a letter prints: people see it before the readers do."""

import functools
import re

_PLAIN_NAME = re.compile(r"[A-Za-zÀÁÄ-ÖØ-öø-ÿ '’.-]{2,99}")
"""Names made of nothing else are looked at only for capitals and placeholders."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_CODE = re.compile(r"\{\{|\}\}|\{%|%\}|<%|\$\{")
_MARKUP = re.compile(r"</?[A-Za-z][^>]*>|&(?:[a-z]+|#\d+);")
_MISREAD = re.compile(
    r"[ÃÂ][\x80-\xbf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]"
)
"""The two bytes of a UTF-8 letter, read as two letters of cp1252 or Latin-1."""
_LOST = re.compile(r"\ufffd|\w\?\w")
_PLACEHOLDERS = frozenset(
    {
        *("test", "n/a", "-", "--", ".", "?", "x", "xx", "xxx", "null", "none", "nan", "undefined"),
        *("ukendt", "unknown", "ingen", "navn", "name", "fornavn", "efternavn", "intet", "#n/a"),
    }
)
_ODD = (
    (_CONTROL, "invisible or control characters"),
    (_CODE, "template syntax"),
    (_MISREAD, "letters read in the wrong encoding, such as Ã¸ for ø"),
    (_LOST, "letters lost on the way, such as ? for ø"),
    (_MARKUP, "HTML"),
)
_PLACEHOLDER = "a placeholder such as test or n/a"
_LONG = 100
_INITIALS = 3
_NAME = "name"


def oddity(field: str, value: str) -> str | None:
    """What is odd about a field's value, in words that do not repeat it; None if nothing is.

    Digits, capitals and an ``@`` are odd in a person's name only: offices have them.
    """
    if field != _NAME:
        return _odd_in_text(value)
    if not _PLAIN_NAME.fullmatch(value):
        odd = _odd_in_text(value)
        if odd:
            return odd
        if "@" in value:
            return "an @"
        if any(character.isdigit() for character in value):
            return "digits"
    if len(value) > _INITIALS and value.isupper():
        return "capitals only"
    return _PLACEHOLDER if value.casefold() in _PLACEHOLDERS else None


@functools.lru_cache(maxsize=1 << 14)
def _odd_in_text(value: str) -> str | None:
    """The same, of any text; offices and workplaces come again and again."""
    for pattern, words in _ODD:
        if pattern.search(value):
            return words
    if len(value) >= _LONG:
        return f"{_LONG} characters or more"
    return _PLACEHOLDER if value.casefold().strip() in _PLACEHOLDERS else None
