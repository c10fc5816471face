"""What the sink keeps: a line for every letter to every recipient, the first letters, its faults.

`letters.tsv` and `faults.tsv` are written before the reply that tells of them leaves: a line survives a
kill -9 as soon as anybody can know of it.
"""

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mailer.foundation.files import create_new

RECORD = "letters.tsv"
COLUMNS = ("received_at", "recipient", "message_id", "sender", "size", "file")
FAULT_RECORD = "faults.tsv"
FAULT_COLUMNS = ("at", "kind", "point", "recipient")
_LONGEST_CELL = 1_000
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Kept:
    """One line of the record."""

    received_at: str
    recipient: str
    message_id: str
    sender: str
    size: int
    """Bytes; of a letter that was not kept as a file, with the dots its sender doubled."""
    file: str
    """The kept letter's file name; empty when only the line was kept."""


@dataclass(frozen=True, slots=True)
class FaultHit:
    """One line of the record of faults: what the sink did wrong on purpose."""

    at: str
    kind: str
    """What happened; of several things at once, joined with ``+``."""
    point: str
    """Where in the dialogue."""
    recipient: str
    """Whom it hit; empty where the dialogue had named nobody yet."""


class MailStore:
    """Notes letters and faults, and appends all notes to the records in one write each.

    Args:
        keep: how many letters the folder keeps as files.

    Raises:
        OSError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path, *, keep: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._record = _open_record(folder / RECORD, COLUMNS)
        self._fault_record = _open_record(folder / FAULT_RECORD, FAULT_COLUMNS)
        numbers = [int(path.stem) for path in folder.glob("*.eml") if path.stem.isdecimal()]
        self._last_number = max(numbers, default=0)
        self._to_keep = keep - len(numbers)
        self._letters: list[bytes] = []
        self._faults: list[bytes] = []
        self._moment = 0
        self._moment_text = b""

    @property
    def keeps_next(self) -> bool:
        """Whether the next letter becomes a file."""
        return self._to_keep > 0

    @property
    def has_notes(self) -> bool:
        """Whether something is noted and not yet written."""
        return bool(self._letters or self._faults)

    def keep(self, content: bytes) -> bytes:
        """Keep a letter as a file; return the file's name, made by us alone.

        Raises:
            OSError: it cannot be written.
        """
        name = f"{self._last_number + 1:06}.eml"
        with os.fdopen(create_new(self._folder / name), "wb") as file:
            file.write(content)
        self._last_number += 1
        self._to_keep -= 1
        return name.encode()

    def note(
        self, sender: bytes, recipients: Sequence[bytes], message_id: bytes, size: int, file: bytes = b""
    ) -> None:
        """Note a letter for the next `write`; nothing given here may hold a control character."""
        now = self._now()
        for recipient in recipients:
            self._letters.append(
                b"%s\t%s\t%s\t%s\t%d\t%s\n" % (now, recipient, message_id, sender, size, file)
            )

    def note_fault(self, kind: str, point: str, recipient: bytes = b"") -> None:
        """Note a fault that is about to be seen, for the next `write`."""
        self._faults.append(
            b"%s\t%s\t%s\t%s\n" % (self._now(), kind.encode(), point.encode(), recipient)
        )

    def write(self) -> None:
        """Put all notes since the last call into the records: all lines are there, or none.

        Raises:
            OSError: the disk is full or broken; the notes are forgotten.
        """
        if self._letters:
            lines, self._letters = b"".join(self._letters), []
            _append(self._record, lines)
        if self._faults:
            lines, self._faults = b"".join(self._faults), []
            _append(self._fault_record, lines)

    def close(self) -> None:
        """Write what is noted; nothing more is kept.

        Raises:
            OSError: the last notes cannot be written.
        """
        try:
            self.write()
        finally:
            os.close(self._record)
            os.close(self._fault_record)

    def _now(self) -> bytes:
        moment = time.time_ns() // 1_000_000
        if moment != self._moment:
            self._moment = moment
            told = datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="milliseconds")
            self._moment_text = told.encode()
        return self._moment_text


def printable(text: str) -> bytes:
    """A text as one cell of a record: no character in it moves a reader's line or column."""
    if not text.isprintable():
        text = _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return text[:_LONGEST_CELL].encode("utf-8", "replace")


def read_record(folder: Path) -> list[Kept]:
    """Every letter the sink acknowledged, in order; none if it never ran."""
    return [
        Kept(received_at, recipient, message_id, sender, int(size), file)
        for received_at, recipient, message_id, sender, size, file in _read_lines(folder / RECORD)
    ]


def read_faults(folder: Path) -> list[FaultHit]:
    """Every fault that hit, in order; none if the sink never ran or behaved."""
    return [FaultHit(*cells) for cells in _read_lines(folder / FAULT_RECORD)]


def _read_lines(path: Path) -> list[list[str]]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    complete = content[: content.rfind(b"\n") + 1].decode("utf-8")
    return [line.split("\t") for line in complete.split("\n")[1:-1]]


def _open_record(path: Path, columns: tuple[str, ...]) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    record = os.open(path, flags, 0o600)
    size = os.fstat(record).st_size
    tail = os.pread(record, 65_536, max(0, size - 65_536))
    if tail and not tail.endswith(b"\n"):
        # Killed in the middle of a write: nobody was told of that line.
        os.ftruncate(record, size - len(tail) + tail.rfind(b"\n") + 1)
    if os.fstat(record).st_size == 0:
        _append(record, ("\t".join(columns) + "\n").encode())
    return record


def _append(record: int, lines: bytes) -> None:
    written = os.write(record, lines)
    try:
        while written < len(lines):
            written += os.write(record, lines[written:])
    except OSError:
        os.ftruncate(record, os.fstat(record).st_size - written)
        raise
