"""Which column of a list is which field: by its heading, in Danish or English, or as told."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from recipients.errors import UnreadableFile
from recipients.words import fold

REJECT_HEADINGS = ("rejected file", "rejected line", "rejected reason")
"""Stand first in a rejects file; such a file may be corrected and imported as it is."""
_LONGEST_KEY = 100
_SHOWN_HEADINGS = 40


class Column(StrEnum):
    """What a column may hold."""

    EMAIL = "email"
    NAME = "name"
    FIRST_NAME = "first_name"
    LAST_NAME = "last_name"
    ROLE = "role"
    SECTOR = "sector"
    ORGANISATION = "organisation"
    MUNICIPALITY = "municipality"
    """Fills organisation and sector."""
    WORKPLACE = "workplace"
    CONFEDERATION = "confederation"
    REGION = "region"
    LANGUAGE = "language"
    SOURCE = "source"
    TRACKING = "tracking"
    """What the person said about being tracked."""


_HEADINGS: dict[Column, tuple[str, ...]] = {
    Column.EMAIL: (
        "e-mail",
        "e-mailadresse",
        "mail",
        "mailadresse",
        "e-post",
        "e-postadresse",
        "email address",
        "mail address",
    ),
    Column.NAME: ("navn", "name", "fulde navn", "fuldt navn", "full name", "kontaktperson"),
    Column.FIRST_NAME: ("fornavn", "fornavne", "first name", "given name"),
    Column.LAST_NAME: ("efternavn", "last name", "surname", "family name"),
    Column.ROLE: (
        "rolle",
        "role",
        "stilling",
        "hverv",
        "stillingsbetegnelse",
        "position",
        "titel",
        "title",
        "funktion",
    ),
    Column.SECTOR: ("sektor", "sector"),
    Column.ORGANISATION: (
        "organisation",
        "organization",
        "myndighed",
        "authority",
        "ministerium",
        "arbejdsgiver",
        "employer",
    ),
    Column.MUNICIPALITY: ("kommune", "kommunenavn", "municipality"),
    Column.WORKPLACE: (
        "arbejdsplads",
        "arbejdssted",
        "workplace",
        "tjenestested",
        "institution",
        "afdeling",
    ),
    Column.CONFEDERATION: ("hovedorganisation", "confederation", "centralorganisation", "forbund"),
    Column.REGION: ("region", "regionsnavn"),
    Column.LANGUAGE: ("sprog", "language"),
    Column.SOURCE: ("kilde", "source", "liste", "part"),
    Column.TRACKING: (
        "sporing",
        "samtykke til sporing",
        "sporingssamtykke",
        "tracking consent",
        "consent to tracking",
        "samtykke",
        "consent",
    ),
}
_UNCERTAIN = frozenset({"samtykke", "consent"})
"""Headings that in most lists mean consent to being written to: a yes there is none to being tracked."""
_BY_HEADING = {
    fold(heading).replace(" ", ""): (place, column)
    for column, headings in _HEADINGS.items()
    for place, heading in enumerate((column.value, *headings))
}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a table keeps what."""

    headings: tuple[str, ...]
    columns: Mapping[Column, int]
    extras: tuple[tuple[int, str], ...]
    """Columns nobody knows, with the key they get among the attributes."""
    uncertain: str | None = None
    """The heading of the column about tracking, where it may be about something else: a no holds, a yes
    is none."""

    def attribute_key(self, column: Column) -> str:
        """The key under which a column's text is kept that is none of the stored words."""
        return _attribute_key(self.headings[self.columns[column]])


def recognise(headings: Sequence[str], mapping: Mapping[Column, str]) -> Layout:
    """Find the columns by their headings.

    Where two headings mean the same field, the more usual word wins, then the first column; the
    other's values go to the attributes.

    Args:
        mapping: headings somebody named; they come before what their words would mean.

    Raises:
        UnreadableFile: a heading of the mapping is not there.
    """
    compact = [fold(heading).replace(" ", "") for heading in headings]
    columns: dict[Column, int] = {}
    for column, heading in mapping.items():
        wanted = fold(heading).replace(" ", "")
        exact = [index for index, text in enumerate(headings) if text == heading]
        found = exact or [index for index, text in enumerate(compact) if text == wanted]
        if not found or not heading.strip():
            raise UnreadableFile(f"no heading {heading!r}; the headings are: {_shown(headings)}")
        columns[column] = found[0]
    taken = set(columns.values())
    ranked = sorted(
        (*_BY_HEADING[text], index) for index, text in enumerate(compact) if text in _BY_HEADING
    )
    for _, column, index in ranked:
        if column not in columns and index not in taken:
            columns[column] = index
            taken.add(index)
    skipped = taken | _reject_columns(headings)
    extras = tuple(
        (index, _attribute_key(heading))
        for index, heading in enumerate(headings)
        if index not in skipped
    )
    uncertain = None
    if Column.TRACKING in columns and Column.TRACKING not in mapping:
        index = columns[Column.TRACKING]
        uncertain = headings[index] if compact[index] in _UNCERTAIN else None
    return Layout(tuple(headings), columns, extras, uncertain)


def count_known(headings: Sequence[str], mapping: Mapping[Column, str]) -> int:
    """How many cells of a row are headings we know; 0 unless one of them is the e-mail column."""
    try:
        layout = recognise(headings, mapping)
    except UnreadableFile:
        return 0
    return len(layout.columns) if Column.EMAIL in layout.columns else 0


def describe_headings(headings: Sequence[str]) -> str:
    """Why these headings will not do, without repeating addresses."""
    if headings and headings[0].upper() == "BEGIN:VCALENDAR":  # RFC 5545 §3.4
        return "it is a calendar file, not a list of people"
    if any("@" in heading for heading in headings):
        return "its first row holds an address, not headings: put a row with headings above it"
    return (
        "it has no e-mail column (name it with --map email=HEADING); the headings are:"
        f" {_shown(headings)}"
    )


def _shown(headings: Iterable[str]) -> str:
    named = [heading[:40] for heading in headings if heading]
    more = f" and {len(named) - _SHOWN_HEADINGS:,} more" if len(named) > _SHOWN_HEADINGS else ""
    return ", ".join(named[:_SHOWN_HEADINGS]) + more or "none"


def _reject_columns(headings: Sequence[str]) -> set[int]:
    return {0, 1, 2} if tuple(headings[:3]) == REJECT_HEADINGS else set()


def _attribute_key(heading: str) -> str:
    r"""A heading as a key that a JSON path can name: no ``"`` and no ``\``."""
    return heading.replace('"', "'").replace("\\", "/")[:_LONGEST_KEY]
