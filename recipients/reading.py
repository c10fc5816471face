"""Opening a recipient file, whatever form an office saved it in."""

from pathlib import Path

from recipients.csv_files import open_csv
from recipients.errors import InputNotFound, UnreadableFile
from recipients.spreadsheets import open_workbook
from recipients.tables import Scorer, Table

_WORKBOOKS = frozenset({".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"})
_ZIP, _COMPOUND_FILE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"


def open_table(path: Path, score: Scorer, *, encoding: str | None = None) -> Table:
    """Find a file's form and its headings.

    Args:
        score: tells headings from other rows.
        encoding: of a CSV file; None finds it: byte order mark, then UTF-8, then cp1252.

    Raises:
        InputNotFound: there is no such file.
        UnreadableFile: it is no table, or none that can be read; the message says why.
    """
    if not path.exists():
        raise InputNotFound(f"no such file: {path}")
    try:
        with path.open("rb") as file:
            head = file.read(4096)
        if head.startswith((_ZIP, _COMPOUND_FILE)):
            return open_workbook(path, score)
        if path.suffix.lower() in _WORKBOOKS:
            raise UnreadableFile(
                f"{path}: not a workbook, though its name says so;"
                " save it anew from the spreadsheet program"
            )
        return open_csv(path, head, score, encoding)
    except OSError as error:
        raise UnreadableFile(f"{path}: {error.strerror or error}") from error
