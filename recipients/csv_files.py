"""CSV as offices save it: any separator, a Danish Excel's encodings, cells over several lines."""

import codecs
import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from recipients.errors import UnreadableFile
from recipients.tables import Row, Scorer, Table, filled, find_headings, name_headings

_DELIMITERS = ";,\t"
_LONGEST_QUOTE = 50
"""Lines; a quotation mark that is open longer was never meant to be."""
_CHUNK = 1 << 20
_LONGEST_LINE = 1 << 20
"""Characters; csv refuses a cell long before."""
_SEPARATOR_HINT = re.compile(r"sep=(.)\s*", re.IGNORECASE)
_MIXED = re.compile(rb"\xc3[\xa6\xb8\xa5\x86\x98\x85]")
"""A Danish letter in UTF-8; in cp1252 nobody writes such a pair."""


def open_csv(path: Path, head: bytes, score: Scorer, encoding: str | None) -> Table:
    """Find a CSV file's encoding, separator and headings.

    Args:
        head: the first bytes of the file.
        encoding: None finds it: byte order mark, then UTF-8, then cp1252.

    Raises:
        UnreadableFile: it is no such file; the message says why.
    """
    if not head:
        raise UnreadableFile(f"{path}: the file is empty")
    encoding = encoding or _find_encoding(path, head)
    _require_decodable(path, encoding)
    best = max(
        _try_delimiter(path, encoding, delimiter, score) for delimiter in _choices(path, encoding)
    )
    below = (row for row in _csv_rows(path, encoding, best.delimiter) if row.line > best.line)
    return Table(path.name, name_headings(best.cells), below)


@dataclass(frozen=True, order=True, slots=True)
class _Try:
    known: int
    width: int
    delimiter: str
    line: int
    cells: list[str]


def _choices(path: Path, encoding: str) -> str:
    """The separator the file itself names (``sep=;``, as Excel writes it), or all we know."""
    with path.open(encoding=encoding, newline="") as file:
        hint = _SEPARATOR_HINT.fullmatch(file.readline(16))
    return hint[1] if hint else _DELIMITERS


def _try_delimiter(path: Path, encoding: str, delimiter: str, score: Scorer) -> _Try:
    known, row = find_headings(_csv_rows(path, encoding, delimiter), score)
    if row is None:
        raise UnreadableFile(f"{path}: the file is empty")
    return _Try(known, len(row.cells), delimiter, row.line, row.cells)


def _csv_rows(path: Path, encoding: str, delimiter: str) -> Iterator[Row]:
    with path.open(encoding=encoding, newline="") as file:
        yield from filled(_records(_bounded_lines(file), delimiter))


def _bounded_lines(file: TextIO) -> Iterator[str]:
    """The lines; of one that would fill the memory only as much as is needed to refuse it."""
    while line := file.readline(_LONGEST_LINE):
        rest = line
        while len(rest) == _LONGEST_LINE and not rest.endswith(("\n", "\r")):
            rest = file.readline(_LONGEST_LINE)
        yield line


class _QuoteNeverClosed(Exception):
    """A quoted cell goes on for more lines than anybody writes."""


class _Lines:
    """The lines of one record, kept so that a record that cannot be read gives all but one back."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._again: deque[str] = deque()
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self.taken) == _LONGEST_QUOTE:
            raise _QuoteNeverClosed
        line = self._again.popleft() if self._again else next(self._lines)
        self.taken.append(line)
        return line

    def give_back(self) -> str:
        """Give back all lines but the first, which is returned."""
        self._again.extendleft(reversed(self.taken[1:]))
        return self.taken[0]


def _records(file: Iterator[str], delimiter: str) -> Iterator[Row]:
    """Read strictly (RFC 4180 §2): a stray quotation mark costs its own line and no other."""
    lines = _Lines(file)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    line = 1
    while True:
        lines.taken = []
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, _QuoteNeverClosed) as error:
            text = lines.give_back().rstrip("\r\n")
            yield Row(line, text.split(delimiter), _explain(error))
            line += 1
            continue
        if line > 1 or not _is_hint(lines.taken):
            yield Row(line, cells)
        line += len(lines.taken)


def _is_hint(taken: Sequence[str]) -> bool:
    return len(taken) == 1 and _SEPARATOR_HINT.fullmatch(taken[0]) is not None


def _explain(error: Exception) -> str:
    if "field limit" in str(error):
        return "a cell is too long"
    if isinstance(error, _QuoteNeverClosed) or "unexpected end" in str(error):
        return "a quotation mark is opened and never closed"
    return "a quotation mark inside a quoted cell must be doubled"


def _find_encoding(path: Path, head: bytes) -> str:
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in head:
        half = len(head) // 2
        if head[1::2].count(0) > half * 0.7:
            return "utf-16-le"
        if head[0::2].count(0) > half * 0.7:
            return "utf-16-be"
        raise UnreadableFile(f"{path}: this is no table (CSV, XLSX or ODS)")
    line = _find_undecodable(path, "utf-8")
    if line is None:
        return "utf-8"
    if _contains(path, _MIXED):
        raise UnreadableFile(
            f"{path}, line {line}: mixes UTF-8 with another encoding; save it anew as"
            " “CSV UTF-8”, or name the encoding with --encoding"
        )
    return "cp1252"


def _require_decodable(path: Path, encoding: str) -> None:
    line = _find_undecodable(path, encoding)
    if line is not None:
        raise UnreadableFile(
            f"{path}, line {line}: not readable as {encoding}; save it anew as “CSV UTF-8”,"
            " or name the encoding with --encoding"
        )


def _find_undecodable(path: Path, encoding: str) -> int | None:
    """The first line that is not written in this encoding."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with path.open("rb") as file:
        while True:
            chunk = file.read(_CHUNK)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                return line + error.object[: error.start].count(b"\n")
            line += text.count("\n")
            if not chunk:
                return None


def _contains(path: Path, pattern: re.Pattern[bytes]) -> bool:
    with path.open("rb") as file:
        tail = b""
        while chunk := file.read(_CHUNK):
            if pattern.search(tail + chunk):
                return True
            tail = chunk[-1:]
    return False
