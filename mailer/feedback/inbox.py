"""Messages that lie in files: one alone, an mbox, a Maildir, a folder, standard input.

Nothing is written or moved. Whoever writes to the return path decides what stands in a message and how
long it is; so no more of each is read than any report needs.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from recipients.errors import InputNotFound

STANDARD_INPUT = "-"
LARGEST_BYTES = 2_000_000
"""Read of one message; the rest is cut off. A bounce returns a letter at most."""
_LONGEST_LINE = 65_536
_SEPARATOR = b"From "
"""So begins each message of an mbox, after an empty line (RFC 4155)."""
_QUOTED = re.compile(rb">+From ")
_EMPTY = frozenset({b"\n", b"\r\n", b"\r"})
_MAILDIR = ("new", "cur")
_ENDING = ".eml"


@dataclass(frozen=True, slots=True)
class RawMessage:
    """One message as it came."""

    path: str
    """Where it lies, in characters that a terminal can show."""
    data: bytes
    """Of ``LARGEST_BYTES`` at most."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A message or file that could not be read, or whose content the database does not take."""

    path: str
    reason: str


def read_paths(paths: Sequence[Path], *, stdin: BinaryIO) -> Iterator[RawMessage | Unread]:
    """Every message that the paths name, one at a time.

    Args:
        paths: ``-`` is standard input.

    Raises:
        InputNotFound: one of them is not there; nothing was read.
    """
    for path in paths:
        if str(path) != STANDARD_INPUT and not path.exists():
            raise InputNotFound(f"no such file: {printable(path)}")
    return _read_all(paths, stdin)


def printable(path: Path | str) -> str:
    """A name as it may be shown: no control characters, nothing that is no text."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in str(path))


def cut_messages(stream: BinaryIO) -> Iterator[bytes]:
    """The messages in a stream: those of an mbox, or the one that it is; none if it is empty.

    In an mbox, one ``>`` is taken from lines that begin with ``>From `` after any number of them. Lines
    may end in LF, CRLF or CR.
    """
    first = stream.readline(_LONGEST_LINE)
    if not first.startswith(_SEPARATOR):
        data = first + stream.read(LARGEST_BYTES - len(first))
        if data:
            yield data
        return
    lines = _lines(first, stream)
    next(lines)
    message, after_empty = bytearray(), False
    for line in lines:
        if after_empty and line.startswith(_SEPARATOR):
            yield bytes(message)
            message.clear()
            after_empty = False
            continue
        after_empty = line in _EMPTY
        message += (line[1:] if _QUOTED.match(line) else line)[: LARGEST_BYTES - len(message)]
    yield bytes(message)


def _lines(chunk: bytes, stream: BinaryIO) -> Iterator[bytes]:
    """The lines of what was read and what comes, with their ends; one that is too long in pieces."""
    begun = b""
    while chunk:
        lines = (begun + chunk).splitlines(keepends=True)
        is_whole = lines[-1].endswith(b"\n") or len(lines[-1]) >= _LONGEST_LINE
        begun = b"" if is_whole else lines.pop()  # also after a CR: perhaps an LF comes
        yield from lines
        chunk = stream.readline(_LONGEST_LINE)
    if begun:
        yield begun


def _read_all(paths: Iterable[Path], stdin: BinaryIO) -> Iterator[RawMessage | Unread]:
    for path in paths:
        if str(path) == STANDARD_INPUT:
            yield from _read_stream(stdin, STANDARD_INPUT)
        elif path.is_dir():
            yield from _read_folder(path)
        else:
            yield from _read_file(path, os.O_RDONLY)


def _read_folder(folder: Path) -> Iterator[RawMessage | Unread]:
    """The messages of a Maildir, else of the folder's .eml files; links and devices are no messages."""
    inside = [folder / name for name in _MAILDIR if (folder / name).is_dir()]
    try:
        found = [path for each in inside or [folder] for path in sorted(each.iterdir())]
    except OSError as error:
        yield Unread(printable(folder), error.strerror or type(error).__name__)
        return
    for path in found:
        if path.name.startswith(".") or not (inside or path.suffix.casefold() == _ENDING):
            continue
        yield from _read_file(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, only_regular=True)


def _read_file(path: Path, flags: int, *, only_regular: bool = False) -> Iterator[RawMessage | Unread]:
    name = printable(path)
    try:
        with closing(os.fdopen(os.open(path, flags | os.O_CLOEXEC), "rb")) as file:
            if only_regular and not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                yield Unread(name, "it is no file")
            else:
                yield from _read_stream(file, name)
    except OSError as error:
        yield Unread(name, error.strerror or type(error).__name__)


def _read_stream(stream: BinaryIO, name: str) -> Iterator[RawMessage]:
    """The messages in a stream; the second and those after it are named by their number too."""
    for number, data in enumerate(cut_messages(stream), 1):
        yield RawMessage(name if number == 1 else f"{name}#{number}", data)
