"""What the sink keeps: a line for every letter to every recipient, and the first letters themselves."""

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mailer.foundation.files import create_new

RECORD = "letters.tsv"
COLUMNS = ("received_at", "recipient", "message_id", "sender", "size", "file")
_MESSAGE_ID = re.compile(rb"^message-id:[ \t]*(?:\r\n[ \t]+)?([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Kept:
    """One line of the record."""

    received_at: str
    recipient: str
    message_id: str
    sender: str
    size: int
    file: str
    """The kept letter's file name; empty when only the line was kept."""


class MailStore:
    """Appends to the record before a letter is acknowledged; what it holds survives a kill -9."""

    def __init__(self, folder: Path, *, keep: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._record = os.open(
            folder / RECORD, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        if os.fstat(self._record).st_size == 0:
            os.write(self._record, ("\t".join(COLUMNS) + "\n").encode())
        self._files = sum(1 for _ in folder.glob("*.eml"))
        self._keep = keep
        self.received = 0
        """Letters since this store was opened, one per recipient."""

    def store(self, sender: str, recipients: list[str], content: bytes) -> None:
        """Keep one letter, in one write: all of its lines are there or none."""
        head = content[: content.find(b"\r\n\r\n") + 2]
        found = _MESSAGE_ID.search(head)
        message_id = found[1].decode("utf-8", "replace").strip() if found else ""
        file = self._store_content(content) if self._files < self._keep else ""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        tail = "\t".join([message_id.replace("\t", " "), sender, str(len(content)), file])
        lines = "".join(f"{now}\t{recipient}\t{tail}\n" for recipient in recipients)
        os.write(self._record, lines.encode("utf-8"))
        self.received += len(recipients)

    def close(self) -> None:
        """Nothing more is kept."""
        os.close(self._record)

    def _store_content(self, content: bytes) -> str:
        self._files += 1
        name = f"{self._files:06}.eml"
        with os.fdopen(create_new(self._folder / name), "wb") as file:
            file.write(content)
        return name


def read_record(folder: Path) -> list[Kept]:
    """Every letter the sink acknowledged, in order; none if it never ran."""
    try:
        lines = (folder / RECORD).read_text("utf-8").splitlines()[1:]
    except FileNotFoundError:
        return []
    kept = []
    for line in lines:
        received_at, recipient, message_id, sender, size, file = line.split("\t")
        kept.append(Kept(received_at, recipient, message_id, sender, int(size), file))
    return kept
