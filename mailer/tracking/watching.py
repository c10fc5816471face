"""How the journals of the web are doing, for those who watch over a machine; nothing is changed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from mailer.tracking.journals import (
    drainer_lives,
    find_journals,
    put_off_bytes,
    read_losses,
    read_progress,
)
from mailer.tracking.putting_off import PutOff
from mailer.tracking.sightings import BadLine, read_line

LATE = timedelta(seconds=60)
"""Moving takes a second; a minute means that the database is away, or the drainer."""
WAITING_LONG = timedelta(minutes=15)
"""An import holds its rows for a minute or a few; nothing else holds one for so long."""
_LONGEST_LINE = 65_536


@dataclass(frozen=True, slots=True)
class JournalWatch:
    """One look at a folder of journals."""

    journals: int
    written_bytes: int
    """In all journals that are there."""
    unmoved_bytes: int
    oldest_unmoved: datetime | None
    """When the oldest sighting that is not in the database was made; the clock people see."""
    oldest_put_off: datetime | None
    """When the first deed was asked for that waits for a row somebody else is writing."""
    lost: int
    """Sightings that no disk took, since somebody last set the count to nothing."""
    set_aside: int
    """Lines that the database refused for what they are."""
    trouble: str | None
    """Why the drainer moves nothing, in its words."""
    drainer_lives: bool


def find_alarms(watch: JournalWatch, *, now: datetime) -> list[str]:
    """What is wrong with the journals, a line each.

    Args:
        now: the clock people see.
    """
    alarms = []
    if watch.lost:
        alarms.append(
            f"{watch.lost:,} opens, clicks or visits were lost: the disk did not take them; make room,"
            " then remove  web/lost  in the state folder"
        )
    if watch.set_aside:
        alarms.append(
            f"{watch.set_aside:,} lines of the web's journals could not be taken in; they are kept in"
            "  web/set-aside.log  in the state folder"
        )
    oldest = watch.oldest_unmoved
    if oldest is not None and now - oldest > LATE:
        alarms.append(
            f"what readers did is not in the database since {_ago(now - oldest)}"
            + (f": {watch.trouble}" if watch.trouble else "")
        )
    waiting = watch.oldest_put_off
    if waiting is not None and now - waiting > WAITING_LONG:
        alarms.append(
            f"an objection to being tracked waits since {_ago(now - waiting)}: some import, or another"
            " session of the database, holds its recipient's row"
        )
    if watch.unmoved_bytes and not watch.drainer_lives:
        alarms.append(
            "nobody moves what readers did into the database: start  mailer web  or  mailer drain"
        )
    return alarms


def _ago(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60:,} minutes"


def watch_journals(folder: Path) -> JournalWatch:
    """How the journals stand now; a folder that is not there has none."""
    progress = read_progress(folder)
    written = journals = 0
    unmoved, put_off = put_off_bytes(folder), PutOff(folder)
    put_off.read()
    oldest: datetime | None = None
    for path in find_journals(folder):
        moved = progress.moved.get(path.name, 0)
        try:
            size = path.stat().st_size
            first = _moment_at(path, moved) if size > moved else None
        except FileNotFoundError:  # moved and removed meanwhile
            continue
        journals += 1
        written += size
        unmoved += max(0, size - moved)
        if first is not None and (oldest is None or first < oldest):
            oldest = first
    return JournalWatch(
        journals=journals,
        written_bytes=written,
        unmoved_bytes=unmoved,
        oldest_unmoved=oldest,
        oldest_put_off=put_off.oldest,
        lost=read_losses(folder),
        set_aside=progress.set_aside,
        trouble=progress.trouble,
        drainer_lives=drainer_lives(folder),
    )


def _moment_at(path: Path, begins: int) -> datetime | None:
    """When the sighting of the line that begins there was made; None if it is none."""
    with path.open("rb") as file:
        file.seek(begins)
        try:
            return read_line(file.readline(_LONGEST_LINE)).at
        except BadLine:
            return None
