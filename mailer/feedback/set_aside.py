"""What stays in a POP3 mailbox for somebody to look at: the server has no mark for it (RFC 1939)."""

import hashlib
import json
import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from mailer.feedback.mailboxes import MailboxPlace
from mailer.foundation.files import create_new
from mailer.foundation.log import get_log

MOST = 100_000
"""Remembered of one mailbox: some 7 MB, as an id has 70 characters at most (RFC 1939 §7)."""
_LONGEST_BYTES = 16_000_000

_log = get_log(__name__)


class SetAside:
    """The unique ids of one mailbox's messages that were looked at and stay; kept in a file.

    A file that is missing or unreadable costs no more than reading those messages again.
    """

    def __init__(self, state_dir: Path, place: MailboxPlace) -> None:
        """Read what is remembered; the file's name tells no more than the host."""
        who = hashlib.blake2b(place.username.encode(), digest_size=8).hexdigest()
        self._path = state_dir / "feedback" / f"{place.host}-{who}.seen"
        self._ids: dict[str, None] = dict.fromkeys(_read(self._path))
        self._before = list(self._ids)

    def among(self, numbers: Collection[str]) -> list[str]:
        """Those of the messages that were set aside, the one whose turn was longest ago first."""
        return [number for number in self._ids if number in numbers]

    def add(self, number: str) -> None:
        """Remember a message as the one that was looked at last."""
        self._ids.pop(number, None)
        self._ids[number] = None

    def keep(self, numbers: Collection[str]) -> None:
        """Write it down, without what is not in the mailbox any more."""
        ids = self.among(numbers)[-MOST:]
        if ids == self._before:
            return
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(create_new(beside), "w", encoding="ascii") as file:
                json.dump(ids, file)
            beside.replace(self._path)
        except OSError as error:
            _log.warning("what was set aside cannot be remembered", why=error.strerror)
            with suppress(OSError):
                beside.unlink(missing_ok=True)


def _read(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            ids = json.loads(file.read(_LONGEST_BYTES))
    except (OSError, ValueError):
        return []
    return [each for each in ids if isinstance(each, str)] if isinstance(ids, list) else []
