"""The journals of this machine's sending processes: which are alive, and what the dead left unread."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mailer.foundation.journal import JournalHeld, take_over
from mailer.sending.tools import journal_folder

_NEW_SECONDS = 1.0
"""A journal is made a moment before it is held; until then nobody may try its lock."""


@dataclass(frozen=True, slots=True)
class Journals:
    """What lies in the journal folder."""

    living: int
    """Held by a process that is alive."""
    unread: int
    """Not empty, and nobody holds it: notes of the dead that are not in the database yet."""


def look_at_journals(state_dir: Path) -> Journals:
    """Count the journals of this state folder; nothing in them is read or changed."""
    held, unread = 0, 0
    for path in _journals(state_dir):
        if _is_held(path):
            held += 1
        elif path.exists() and path.stat().st_size:
            unread += 1
    return Journals(held, unread)


def _journals(state_dir: Path) -> Iterator[Path]:
    return journal_folder(state_dir).glob("sending-*")


def _is_held(path: Path) -> bool:
    try:
        if time.time() - path.stat().st_mtime < _NEW_SECONDS:
            return True
        with take_over(path):
            return False
    except JournalHeld:
        return True
    except FileNotFoundError:
        return False
