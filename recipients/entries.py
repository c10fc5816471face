"""From a row's cells to what the recipient table keeps; from several rows of one address to one."""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from recipients.addresses import parse_address
from recipients.columns import Column, Layout
from recipients.models import Confederation, Region, Role, Sector, TrackingChoice
from recipients.words import (
    find_confederation,
    find_language,
    find_region,
    find_role,
    find_sector,
    find_tracking,
    fold,
    is_minister_title,
    precedence,
)

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_LONGEST_TEXT = 300
_LONGEST_SOURCE = 64
_LONGEST_CELL = 2000
_GENITIVES = {"koebenhavn": "Københavns Kommune", "bornholm": "Bornholms Regionskommune"}
"""Municipalities whose full name is not their name and ``Kommune``."""


Word = TypeVar("Word", bound=str)


class RowRefused(Exception):
    """The row cannot be imported; the message says why. All other rows can."""


class Entry(NamedTuple):
    """What one row says of one address; None is what it does not say."""

    email: str
    email_key: str
    domain: str
    name: str | None
    role: Role | None
    sector: Sector | None
    organisation: str | None
    workplace: str | None
    confederation: Confederation | None
    region: Region | None
    language: str | None
    source: str | None
    attributes: str | None
    """JSON; None for an empty object."""
    tracking: TrackingChoice | None = None
    """Consent or objection; what a list leaves unsaid, it does not say."""
    shared: bool = False
    """Several rows gave different names."""


def read_entry(cells: Sequence[str], layout: Layout, *, source: str | None = None) -> Entry:
    """What a row says, in stored words.

    Text that is none of the stored words is never lost: it is kept among the attributes; but what may
    be a yes or a no to being tracked is not guessed at.

    Args:
        source: the party whose list it is, unless the row names one.

    Raises:
        RowRefused: a cell is too long, there are more cells than headings, or it is not clear what is
            said about tracking.
        BadAddress: the address cannot be written to.
    """
    width = len(layout.headings)
    if len(cells) > width and any(cell.strip() for cell in cells[width:]):
        raise RowRefused(f"{len(cells)} cells under {width} headings: is a separator not quoted?")
    if max(map(len, cells)) > _LONGEST_CELL:
        raise RowRefused(f"a cell is longer than {_LONGEST_CELL} characters")
    filled = [tidy(cell) if cell else "" for cell in cells] + [""] * (width - len(cells))
    said = {column: text for column, index in layout.columns.items() if (text := filled[index])}
    address = parse_address(cells[layout.columns[Column.EMAIL]] if Column.EMAIL in said else "")
    kept = {key: text for index, key in layout.extras if (text := filled[index])}
    role = _read_role(said, layout, kept)
    sector = _find_word(said, Column.SECTOR, find_sector, layout, kept)
    confederation = _find_word(said, Column.CONFEDERATION, find_confederation, layout, kept)
    region = _find_word(said, Column.REGION, find_region, layout, kept)
    language = _find_word(said, Column.LANGUAGE, find_language, layout, kept)
    tracking = _read_tracking(said, layout, kept)
    organisation = said.get(Column.ORGANISATION)
    if municipality := said.get(Column.MUNICIPALITY):
        sector = sector or Sector.MUNICIPALITY
        organisation = organisation or _name_municipality(municipality)
    return Entry(
        email=address.email,
        email_key=address.key,
        domain=address.domain,
        name=_require_short(Column.NAME, _read_name(said) or tidy(address.name or "")),
        role=role,
        sector=sector,
        organisation=_require_short(Column.ORGANISATION, organisation),
        workplace=_require_short(Column.WORKPLACE, said.get(Column.WORKPLACE)),
        confederation=confederation,
        region=region,
        language=language,
        source=_require_short(Column.SOURCE, said.get(Column.SOURCE, source), _LONGEST_SOURCE),
        attributes=json.dumps(kept, ensure_ascii=False) if kept else None,
        tracking=tracking,
    )


def combine_entries(entries: Sequence[Entry]) -> Entry:
    """One entry from several rows of one address.

    The highest office wins, between equals the first; an empty cell never erases a value. Where
    names differ, that is remembered, so that the office is greeted. Whichever row objects to tracking,
    the address does; one person's consent is none of those who share an address with them.
    """
    best, *others = sorted(entries, key=lambda entry: precedence(entry.role))
    for other in others:
        gaps: dict[str, Any] = {
            field: value
            for field, mine, value in zip(Entry._fields, best, other, strict=True)
            if mine is None and field != "attributes"
        }
        best = best._replace(**gaps, attributes=_join_attributes(best, other))
    shared = len({entry.name.casefold() for entry in entries if entry.name}) > 1
    if any(entry.tracking == TrackingChoice.OBJECTION for entry in entries):
        best = best._replace(tracking=TrackingChoice.OBJECTION)
    elif shared:
        best = best._replace(tracking=None)
    return best._replace(shared=shared)


@lru_cache(maxsize=16_384)
def tidy(text: str) -> str:
    """A cell on one line, composed (NFC), without characters that cannot be seen."""
    text = " ".join(text.split())
    if text.isascii() and text.isprintable():
        return text
    return unicodedata.normalize("NFC", _UNSEEN.sub("", text)).strip()


def _join_attributes(best: Entry, other: Entry) -> str | None:
    if best.attributes and other.attributes:
        joined = json.loads(other.attributes) | json.loads(best.attributes)
        return json.dumps(joined, ensure_ascii=False)
    return best.attributes or other.attributes


def _read_name(said: Mapping[Column, str]) -> str | None:
    parts = (said.get(Column.FIRST_NAME), said.get(Column.LAST_NAME))
    return said.get(Column.NAME) or " ".join(filter(None, parts)) or None


def _read_role(said: Mapping[Column, str], layout: Layout, kept: dict[str, str]) -> Role | None:
    text = said.get(Column.ROLE)
    if text is None:
        return None
    role = find_role(text)
    if role is None:
        kept[layout.attribute_key(Column.ROLE)] = text
        role = Role.MINISTER if is_minister_title(text) else Role.OTHER
    return role


def _read_tracking(
    said: Mapping[Column, str], layout: Layout, kept: dict[str, str]
) -> TrackingChoice | None:
    text = said.get(Column.TRACKING)
    if text is None:
        return None
    choice = find_tracking(text)
    if choice is None:
        raise RowRefused(f"{Column.TRACKING}: neither yes (consent) nor no (objection)")
    if choice is TrackingChoice.CONSENT and layout.uncertain is not None:
        kept[layout.attribute_key(Column.TRACKING)] = text
        return None
    return None if choice is TrackingChoice.UNSAID else choice


def _find_word(
    said: Mapping[Column, str],
    column: Column,
    find: Callable[[str], Word | None],
    layout: Layout,
    kept: dict[str, str],
) -> Word | None:
    """The stored word of a cell; text that is none goes to the attributes."""
    text = said.get(column)
    word = find(text) if text else None
    if text and word is None:
        kept[layout.attribute_key(column)] = text
    return word


def _name_municipality(text: str) -> str:
    """The authority: ``Aarhus`` and ``Aarhus Kommune`` are both ``Aarhus Kommune``."""
    if fold(text).endswith("kommune"):
        return text
    return _GENITIVES.get(fold(text), f"{text} Kommune")


def _require_short(column: Column, text: str | None, longest: int = _LONGEST_TEXT) -> str | None:
    if text and len(text) > longest:
        raise RowRefused(f"{column}: longer than {longest} characters")
    return text or None
