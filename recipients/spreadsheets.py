"""Spreadsheets (XLSX, XLS, ODS) through calamine; refused when they would eat the machine."""

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time
from functools import partial
from pathlib import Path

from python_calamine import (
    CalamineError,
    CalamineSheet,
    CalamineWorkbook,
    PasswordError,
    SheetTypeEnum,
    SheetVisibleEnum,
)

from recipients import rehearsal
from recipients.errors import UnreadableFile
from recipients.tables import Row, Scorer, Table, filled, find_headings, name_headings

_CHUNK = 1 << 20
_LARGEST_WORKBOOK = 100 << 20
_LARGEST_UNPACKED = 800 << 20
_MOST_CELLS = 30_000_000
_CELL_REFERENCE = re.compile(rb'<(?:\w+:)?c [^>]*?r="([A-Z]{1,3})(\d{1,7})"')


def open_workbook(path: Path, score: Scorer) -> Table:
    """The first visible sheet with an e-mail column; without one, the first with anything in it.

    Raises:
        UnreadableFile: it is no spreadsheet that can be read safely; the message says why.
    """
    if path.stat().st_size > _LARGEST_WORKBOOK:
        raise UnreadableFile(
            f"{path}: larger than {_LARGEST_WORKBOOK >> 20} MB; save it as CSV and import that"
        )
    if zipfile.is_zipfile(path):
        _require_harmless(path)
    _rehearse(path)
    try:
        return _read_workbook(path, score)
    except PasswordError as error:
        raise UnreadableFile(f"{path}: protected by a password; save it without one") from error
    except CalamineError as error:
        raise UnreadableFile(f"{path}: not a readable spreadsheet: {error}") from error


def _rehearse(path: Path) -> None:
    """Let a process of its own open the file first: the reader takes its process down with it.

    Raises:
        UnreadableFile: it needs more memory or time than any list does.
    """
    command = [sys.executable, "-I", rehearsal.__file__, str(path.absolute())]
    ended = subprocess.run(command, stderr=subprocess.DEVNULL, check=False)  # noqa: S603 - no shell
    if ended.returncode:
        raise UnreadableFile(
            f"{path}: needs more memory or time than a list of recipients ever does; delete stray cells"
            " far from the table, or save it as CSV"
        )


def _read_workbook(path: Path, score: Scorer) -> Table:
    fallback = None
    with CalamineWorkbook.from_path(path) as workbook:
        for about in workbook.sheets_metadata:
            if about.typ != SheetTypeEnum.WorkSheet or about.visible != SheetVisibleEnum.Visible:
                continue
            sheet = workbook.get_sheet_by_name(about.name)
            known, row = find_headings(filled(_sheet_rows(sheet)), score)
            if row is None:
                continue
            table = Table(path.name, name_headings(row.cells), _below(sheet, row.line))
            if known:
                return table
            fallback = fallback or table
    if fallback is None:
        raise UnreadableFile(f"{path}: no sheet has anything in it")
    return fallback


def _below(sheet: CalamineSheet, line: int) -> Iterator[Row]:
    return (row for row in filled(_sheet_rows(sheet)) if row.line > line)


def _sheet_rows(sheet: CalamineSheet) -> Iterator[Row]:
    for line, cells in enumerate(sheet.iter_rows(), start=1):
        yield Row(line, [_text(cell) for cell in cells])


def _text(cell: object) -> str:
    """A cell as the sheet shows it, more or less: whole numbers without a point."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime):
        return cell.isoformat(" ", "minutes") if cell.time() != time() else cell.date().isoformat()
    return cell.isoformat() if isinstance(cell, date | time) else str(cell)


def _require_harmless(path: Path) -> None:
    """Refuse what would eat the machine: the reader unpacks everything and fills the whole rectangle.

    Raises:
        UnreadableFile: too large when unpacked, too many cells, or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > _LARGEST_UNPACKED:
                raise UnreadableFile(f"{path}: too large when unpacked; save it as CSV")
            for member in archive.infolist():
                with archive.open(member) as file:
                    _require_few_cells(path, iter(partial(file.read, _CHUNK), b""))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise UnreadableFile(f"{path}: damaged, or protected by a password") from error


def _require_few_cells(path: Path, chunks: Iterator[bytes]) -> None:
    """Look at every cell's place; reading to the end also proves the checksum."""
    widest = deepest = 0
    tail = b""
    for chunk in chunks:
        text = tail + chunk
        tail = text[-100:]
        for column, row in _CELL_REFERENCE.findall(text):
            widest = max(widest, _column_number(column))
            deepest = max(deepest, int(row))
    if widest * deepest > _MOST_CELLS:
        raise UnreadableFile(
            f"{path}: a sheet reaches down to row {deepest} and out to column {widest};"
            " delete the stray cells, or save it as CSV"
        )


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number
