"""The folder of the web's journals: what lies in it, how far it is moved, and what was lost.

```
events-<random>.log   a web process's sightings, a line each; held by the process while it lives
deeds-<random>.log    the same, of what somebody asked for: it does not wait behind what was only seen
drain.lock            held by the one drainer of the folder
drained.json          how far the drainer has come
put-off.log           deeds that wait for a row somebody else is writing; their journals have gone on
set-aside.log         lines that could not be taken in, each with where it stood and why
lost                  how many sightings no disk took: digits, overwritten in place
links.json            where tracked links lead
```
"""

import fcntl
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DRAIN_LOCK = "drain.lock"
SET_ASIDE = "set-aside.log"
PUT_OFF = "put-off.log"
LINKS_COPY = "links.json"
_DEEDS, _EVENTS = "deeds-", "events-"
_PROGRESS = "drained.json"
_LOST = "lost"
_LOST_DIGITS = 20


def web_folder(state_dir: Path) -> Path:
    """Where the web processes of a state folder keep what they see."""
    return state_dir / "web"


def new_journal(folder: Path, *, of_deeds: bool = False) -> Path:
    """A name for a journal that no other has."""
    return folder / f"{_DEEDS if of_deeds else _EVENTS}{secrets.token_hex(8)}.log"


def find_journals(folder: Path) -> list[Path]:
    """Every journal in the folder."""
    return sorted(path for begins in (_DEEDS, _EVENTS) for path in folder.glob(f"{begins}*.log"))


def is_of_deeds(journal: Path) -> bool:
    """Whether a journal holds what somebody asked for."""
    return journal.name.startswith(_DEEDS)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the drainer says it has come."""

    moved: Mapping[str, int] = field(default_factory=dict)
    """Bytes of each journal that are in the database, by the journal's name."""
    set_aside: int = 0
    """Lines that could not be taken in, ever."""
    trouble: str | None = None
    """Why nothing moves; None while it does."""


def read_progress(folder: Path) -> Progress:
    """What the drainer last wrote; nothing at all if it never did."""
    try:
        told = json.loads((folder / _PROGRESS).read_text("utf-8"))
        return Progress(
            {str(name): int(moved) for name, moved in told["moved"].items()},
            int(told["set_aside"]),
            told["trouble"],
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return Progress()


def write_progress(folder: Path, progress: Progress) -> None:
    """Say how far the drainer has come.

    Raises:
        OSError: the disk does not take it; what was said before stays.
    """
    temporary = folder / f"{_PROGRESS}.new"
    told = {
        "moved": dict(progress.moved),
        "set_aside": progress.set_aside,
        "trouble": progress.trouble,
    }
    temporary.write_text(json.dumps(told), "utf-8")
    temporary.replace(folder / _PROGRESS)


def unmoved_bytes(folder: Path) -> int:
    """How much stands in the journals, or is put off, that is not known to be in the database."""
    moved = read_progress(folder).moved
    total = put_off_bytes(folder)
    for path in find_journals(folder):
        try:
            total += max(0, path.stat().st_size - moved.get(path.name, 0))
        except FileNotFoundError:  # moved and removed meanwhile
            continue
    return total


def put_off_bytes(folder: Path) -> int:
    """How much stands in the file of deeds that wait for a row."""
    try:
        return (folder / PUT_OFF).stat().st_size
    except FileNotFoundError:
        return 0


def drainer_lives(folder: Path) -> bool:
    """Whether some process moves what stands in the journals."""
    try:
        descriptor = os.open(folder / DRAIN_LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def add_losses(folder: Path, count: int) -> None:
    """Count lost sightings beyond the life of the process.

    The number is overwritten in place, which a full disk allows; so its place is made early, by adding
    none.

    Raises:
        OSError: there is no place for it.
    """
    descriptor = os.open(folder / _LOST, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        so_far = _read_count(os.pread(descriptor, _LOST_DIGITS, 0))
        os.pwrite(descriptor, b"%0*d\n" % (_LOST_DIGITS - 1, so_far + count), 0)
    finally:
        os.close(descriptor)


def read_losses(folder: Path) -> int:
    """How many sightings no disk took, since the file was last removed."""
    try:
        return _read_count((folder / _LOST).read_bytes()[:_LOST_DIGITS])
    except OSError:
        return 0


def _read_count(digits: bytes) -> int:
    """The count in a file; none where a crash or a hand left something else."""
    digits = digits.strip()
    return int(digits) if digits.isdigit() else 0
