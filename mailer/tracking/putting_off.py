"""Deeds that wait for a row somebody else is writing: a file of lines beside the journals they stood in.

The journal goes on past them. A line is put here before that is committed, and taken away after its deed
is; so after a kill it may be done again, never forgotten.
"""

import os
from collections.abc import Collection, Iterable
from datetime import datetime
from pathlib import Path

from mailer.tracking.journals import PUT_OFF
from mailer.tracking.sightings import BadLine, Sighting, read_line

_Lines = dict[tuple[object, ...], tuple[bytes, Sighting | None]]


class PutOff:
    """The deeds of a folder that wait, at most one of a kind for each letter; longest tried first."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read yet."""
        self._path = folder / PUT_OFF
        self._lines: _Lines = {}

    def read(self) -> None:
        """Read what the file holds; another drainer may have been here since."""
        found: _Lines = {}
        try:
            written = self._path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            written = []
        for raw in written:
            try:
                seen = read_line(raw)
            except BadLine:
                seen = None
            found.setdefault(_name(raw, seen), (raw, seen))
        known = {name: line for name, line in self._lines.items() if name in found}
        self._lines = known | found

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def letters(self) -> Collection[tuple[int, int]]:
        """Campaign and position of those whose deeds wait."""
        return {
            (seen.campaign_id, seen.position)
            for _, seen in self._lines.values()
            if seen is not None and seen.campaign_id is not None
        }

    @property
    def oldest(self) -> datetime | None:
        """When the first of those that wait was asked for."""
        return min((seen.at for _, seen in self._lines.values() if seen is not None), default=None)

    def first(self, most: int) -> list[tuple[bytes, Sighting | None]]:
        """Those that were not tried for longest; None where a line cannot be read."""
        return list(self._lines.values())[:most]

    def add(self, lines: Iterable[tuple[bytes, Sighting]]) -> None:
        """Keep lines; when this returns, not even a power cut can lose them.

        Raises:
            OSError: the disk does not take them; they are to stay where they are.
        """
        named = {_name(raw, seen): (raw, seen) for raw, seen in lines}
        if named.keys() - self._lines.keys():
            self._write(self._lines | {**named, **self._lines})

    def note_tried(
        self, tried: Iterable[tuple[bytes, Sighting | None]], still: Iterable[tuple[bytes, Sighting]]
    ) -> None:
        """Forget those that were tried, but for some that wait on, behind all others.

        Raises:
            OSError: the disk does not take it; they are all tried again.
        """
        gone = {_name(raw, seen) for raw, seen in tried}
        waiting = {name: line for name, line in self._lines.items() if name not in gone}
        waiting |= {_name(raw, seen): (raw, seen) for raw, seen in still}
        if len(waiting) == len(self._lines):
            self._lines = waiting  # the file says the same
        else:
            self._write(waiting)

    def _write(self, lines: _Lines) -> None:
        if lines:
            temporary = self._path.with_suffix(".new")
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
                file.write(b"".join(raw for raw, _ in lines.values()))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
            self._sync_folder()
        else:
            self._path.unlink(missing_ok=True)
        self._lines = lines

    def _sync_folder(self) -> None:
        descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _name(raw: bytes, seen: Sighting | None) -> tuple[object, ...]:
    return (raw,) if seen is None else (seen.kind, seen.campaign_id, seen.position)
