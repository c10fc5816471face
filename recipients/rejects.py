"""The rejects file: every refused row with its line and reason, openable in a Danish Excel."""

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from mailer.foundation.files import create_new, is_stream
from recipients.cells import defuse
from recipients.columns import REJECT_HEADINGS

_LONGEST_STEM = 40
"""Characters, of up to four bytes; a file's name has 255 and the rejects file's is longer."""


class Rejects:
    """Refused rows, written as they come; a file stands under its name only when it is whole."""

    def __init__(self, path: Path, headings: Sequence[str]) -> None:
        self.path = path
        self._headings = headings
        self._partial: Path | None = None
        to: Path | int = path
        if not is_stream(path):
            self._partial = path.with_name(f".{path.name}.{os.getpid()}")
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Refused rows are personal data: nobody but the owner may read them.
            to = create_new(self._partial)
        self._file = open(to, "w", encoding="utf-8-sig", newline="")  # noqa: PTH123, SIM115
        self._writer = csv.writer(self._file, delimiter=";")
        self._write([*REJECT_HEADINGS, *headings])

    def add(
        self, file: str, line: int, reason: str, headings: Sequence[str], cells: Sequence[str]
    ) -> None:
        """Write one refused row, each cell under its own heading.

        Args:
            headings: of the file the row stands in; cells beyond them follow at the end.
        """
        by_heading = dict(zip(headings, cells, strict=False))
        placed = [by_heading.get(heading, "") for heading in self._headings]
        self._write([file, str(line), reason, *placed, *cells[len(headings) :]])

    def keep(self) -> None:
        """Give the whole file its name."""
        self._file.flush()
        if self._partial is not None:
            os.fsync(self._file.fileno())
            self._partial.replace(self.path)

    def close(self) -> None:
        """Close the file; one that was not kept is gone."""
        self._file.close()
        if self._partial is not None:
            self._partial.unlink(missing_ok=True)

    def _write(self, cells: Sequence[str]) -> None:
        self._writer.writerow([defuse(cell) for cell in cells])


def name_rejects(folder: Path, path: Path, moment: datetime) -> Path:
    """Where the refused rows of a list go if nobody says where.

    Args:
        moment: when the list is read, in real time.
    """
    return folder / f"{path.stem[:_LONGEST_STEM]}-{moment:%Y%m%d-%H%M%S-%f}.csv"


@contextmanager
def open_rejects(path: Path, headings: Sequence[str]) -> Iterator[Rejects]:
    """A rejects file to be filled and kept; it is gone if nobody keeps it.

    Args:
        headings: of all files, each once.
    """
    rejects = Rejects(path, headings)
    try:
        yield rejects
    finally:
        rejects.close()
