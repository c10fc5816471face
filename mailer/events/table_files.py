"""Events in a table as offices keep them: headings in Danish or English, any encoding and separator."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mailer.events.entries import RawEntry
from mailer.events.errors import BadEventFile
from mailer.events.fields import FIELDS
from recipients.errors import InputNotFound, UnreadableFile
from recipients.reading import open_table
from recipients.tables import Table
from recipients.words import fold

_HEADINGS: Mapping[str, tuple[str, ...]] = {
    "slug": ("kortnavn",),
    "title": ("titel", "navn", "name", "møde", "arrangement", "event"),
    "date": ("dato", "day", "dag"),
    "time": ("tid", "tidspunkt", "klokkeslæt", "kl"),
    "place": ("sted", "lokation", "venue", "location"),
    "address": ("adresse",),
    "region": (),
    "programme_url": ("program", "programme", "program link", "link til program"),
    "registration_url": ("tilmelding", "registration", "tilmeldingslink", "link til tilmelding"),
    "capacity": ("pladser", "kapacitet", "antal pladser", "seats"),
    "hosted": ("egen tilmelding", "tilmelding hos os"),
    "reminders": ("påmindelser",),
}
_NEEDED = ("title", "date")


def _compact(heading: str) -> str:
    return fold(heading).replace(" ", "").replace("_", "")


_BY_HEADING = {
    _compact(heading): (place, field)
    for field, headings in _HEADINGS.items()
    for place, heading in enumerate((field, *headings))
}


def open_event_table(
    path: Path, *, encoding: str | None = None
) -> tuple[Iterator[RawEntry], tuple[str, ...]]:
    """The rows of a table as entries, and the headings that name no field of an event.

    An empty cell is no field; where two headings mean the same field, the more usual word wins, then
    the first column.

    Args:
        encoding: of a CSV file; None finds it.

    Raises:
        BadEventFile: it is no table, or none of its first rows has headings for title and date.
    """
    try:
        table = open_table(path, _count_known, encoding=encoding)
    except (UnreadableFile, InputNotFound) as error:
        raise BadEventFile(str(error)) from error
    columns = _recognise(table.headings)
    lacking = [field for field in _NEEDED if field not in columns]
    if lacking:
        raise BadEventFile(
            f"{path}: no column is headed {' and none '.join(lacking)}; the headings of an event table"
            f" are {', '.join(FIELDS)}, or in Danish: slug, titel, dato, tid, sted, adresse …"
        )
    known = set(columns.values())
    left_out = [heading for index, heading in enumerate(table.headings) if index not in known]
    return _entries(table, columns), tuple(left_out)


def _entries(table: Table, columns: Mapping[str, int]) -> Iterator[RawEntry]:
    for row in table.rows:
        cells = {field: row.cells[index] for field, index in columns.items() if index < len(row.cells)}
        given = {field: text.strip() for field, text in cells.items() if text.strip()}
        yield RawEntry(row.line, given, row.fault)


def _count_known(headings: Sequence[str]) -> int:
    columns = _recognise(headings)
    return len(columns) if columns.keys() >= set(_NEEDED) else 0


def _recognise(headings: Sequence[str]) -> dict[str, int]:
    ranked = sorted(
        (*_BY_HEADING[text], index)
        for index, heading in enumerate(headings)
        if (text := _compact(heading)) in _BY_HEADING
    )
    columns: dict[str, int] = {}
    for _, field, index in ranked:
        columns.setdefault(field, index)
    return columns
