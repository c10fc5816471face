"""What sending and launching need of the rest of the house; a process's runtime builds it once."""

import asyncio
import fcntl
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from mailer.foundation.clock import Clock, real_now
from mailer.foundation.database import Database
from mailer.foundation.journal import Journal
from mailer.foundation.settings import Settings
from mailer.sending.letters import LetterTools
from mailer.sending.writer import LetterWriter
from mailer.smtp.pace import Pace
from mailer.smtp.pool import RelayPool
from mailer.smtp.relays import Relay

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class SendingTools:
    """One worker process's tools."""

    database: Database
    letters: LetterTools
    relays: Sequence[Relay]
    pool: RelayPool
    """Connections that stay open from batch to batch."""
    loop: asyncio.AbstractEventLoop
    """Runs while a batch is sent, and the pool's connections live on it."""
    pace: Pace
    journal: Journal
    """Held for as long as the process lives; its name is the owner in the claims."""
    clock: Clock
    """The clock people see."""
    host: str
    boot: str
    is_stopping: Callable[[], bool]
    """Whether the process was asked to end: no further letter is begun."""
    writers: dict[int, LetterWriter] = field(default_factory=dict)
    """Letters this process has compiled, by campaign."""
    real: Callable[[], datetime] = real_now
    """Leases and back-off run on real time."""

    @property
    def owner(self) -> str:
        """The name of this process's journal."""
        return self.journal.path.name


@dataclass(frozen=True, slots=True)
class LaunchTools:
    """What a launch needs beside the database."""

    letters: LetterTools
    relays: tuple[Relay, ...]

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.letters.settings


def journal_folder(state_dir: Path) -> Path:
    """Where this host's processes keep their journals."""
    return state_dir / "journal"


def open_own_journal(state_dir: Path) -> Journal:
    """A new journal for this process."""
    return Journal(new_journal(state_dir))


def new_journal(state_dir: Path) -> Path:
    """A name for a journal that no other has had."""
    return journal_folder(state_dir) / f"sending-{secrets.token_hex(8)}"


def host_id(state_dir: Path) -> str:
    """The random id of this state folder's host, made at the first call.

    All processes that begin at once get the same: whose claims bear another is taken for another host.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    with (state_dir / "host").open("a+", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        kept = file.read().strip()
        if not kept:
            kept = secrets.token_hex(16)
            file.write(kept)
    return kept


def boot_id() -> str:
    """What tells one run of the kernel from the next; empty where the kernel does not say."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
