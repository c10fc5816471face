"""Lists of people, whoever keeps them: opened, read row by row, and what became of each row."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from recipients.columns import Column, Layout, count_known, describe_headings, recognise
from recipients.entries import RowRefused
from recipients.errors import BadAddress, UnreadableFile
from recipients.reading import open_table
from recipients.rejects import Rejects
from recipients.tables import Row, Table

_SHOWN_REFUSALS = 5

Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class OpenedList:
    """A file with an e-mail column, and where it keeps what."""

    table: Table
    layout: Layout


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that was not imported, and why; what stood in it is in the rejects file alone."""

    file: str
    line: int
    reason: str


@dataclass(slots=True)
class ImportResult:
    """``rows = imported + updated + unchanged + duplicates + rejected``."""

    rows: int = 0
    imported: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicates: int = 0
    """Rows whose address stood in an earlier row of the same import."""
    rejected: int = 0
    rejects_file: Path | None = None
    seconds: float = 0.0
    refusals: list[Refusal] = field(default_factory=list)
    """The first few."""
    uncertain: str | None = None
    """The heading of a column of which no yes to being tracked was taken, for it may mean another."""

    @property
    def counts(self) -> dict[str, int]:
        """The six numbers."""
        names = ("rows", "imported", "updated", "unchanged", "duplicates", "rejected")
        return {name: getattr(self, name) for name in names}


def open_list(path: Path, mapping: Mapping[Column, str], *, encoding: str | None = None) -> OpenedList:
    """Open a list and find its columns.

    Args:
        mapping: headings named by hand.
        encoding: of a CSV file; None finds it.

    Raises:
        InputNotFound: there is no such file.
        UnreadableFile: it cannot be read, or has no e-mail column; the message says why.
    """
    table = open_table(path, partial(count_known, mapping=mapping), encoding=encoding)
    try:
        layout = recognise(table.headings, mapping)
    except UnreadableFile as error:
        raise UnreadableFile(f"{path}: {error}") from error
    if Column.EMAIL not in layout.columns:
        raise UnreadableFile(f"{path}: {describe_headings(table.headings)}")
    return OpenedList(table, layout)


def read_rows(
    opened: OpenedList, read: Callable[[Row], Read], result: ImportResult, rejects: Rejects
) -> Iterator[Read]:
    """What the rows say; those that cannot be read are counted and go to the rejects file.

    Args:
        read: raises ``RowRefused`` or ``BadAddress`` for a row that cannot be taken.
        result: is told of every row and every refusal.
    """
    for row in opened.table.rows:
        result.rows += 1
        try:
            if row.fault:
                raise RowRefused(row.fault)
            said = read(row)
        except (RowRefused, BadAddress) as error:
            result.rejected += 1
            rejects.add(opened.table.name, row.line, str(error), opened.layout.headings, row.cells)
            if len(result.refusals) < _SHOWN_REFUSALS:
                result.refusals.append(Refusal(opened.table.name, row.line, str(error)))
        else:
            yield said
