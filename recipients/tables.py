"""What a table is, whatever file it came from: headings, and rows of text with their line numbers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

_HEADING_WITHIN = 20
"""Rows in which the headings are looked for: offices like a title above them."""

Scorer = Callable[[Sequence[str]], int]
"""How many cells of a row are headings we know; 0 if the row cannot be the headings."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table."""

    line: int
    """The line of the file, or the row of the sheet, on which it begins."""
    cells: list[str]
    fault: str | None = None
    """Why the row cannot be read; its cells are then only a guess."""


@dataclass(frozen=True, slots=True)
class Table:
    """A file whose headings are known."""

    name: str
    headings: list[str]
    rows: Iterator[Row]
    """Those below the headings, without the blank ones."""


def find_headings(rows: Iterator[Row], score: Scorer) -> tuple[int, Row | None]:
    """The headings among the first rows, with their score; without any, 0 and the first row."""
    first = None
    for row in islice(rows, _HEADING_WITHIN):
        first = first or row
        if known := score(tidy_headings(row.cells)):
            return known, row
    return 0, first


def filled(rows: Iterator[Row]) -> Iterator[Row]:
    """The rows without the blank ones."""
    return (row for row in rows if row.fault or any(cell.strip() for cell in row.cells))


def tidy_headings(cells: Sequence[str]) -> list[str]:
    """Cells as headings: on one line, without control characters."""
    return [" ".join("".join(c if c.isprintable() else " " for c in cell).split()) for cell in cells]


def name_headings(cells: Sequence[str]) -> list[str]:
    """Headings that name each column once: an empty or repeated one gets its column's number."""
    headings: list[str] = []
    taken: set[str] = set()
    for number, heading in enumerate(tidy_headings(cells), start=1):
        unique = heading if heading and heading not in taken else f"{heading or 'column'} {number}"
        headings.append(unique)
        taken.add(unique)
    return headings
