"""The connections all processes of this machine may have to one relay, counted by files held under lock.

A slot is let go by the kernel when its process ends, however it ends.
"""

import fcntl
import os
import re
from pathlib import Path

_UNSAFE = re.compile(r"[^a-z0-9.-]")


class Slot:
    """Leave for one connection."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Give it back; doing so twice is harmless."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class Slots:
    """All slots for one relay."""

    def __init__(self, folder: Path | None, relay: str, count: int) -> None:
        """Prepare; nothing is held yet.

        Args:
            folder: shared by the machine's processes; None: there are no others.
            relay: its name, of which the files are named.
        """
        self._folder = folder
        self._prefix = _UNSAFE.sub("_", relay.lower())
        self._count = count

    def take(self) -> Slot | None:
        """A slot nobody holds, or None.

        Raises:
            OSError: the folder cannot be written.
        """
        if self._folder is None:
            return Slot(None)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(self._count):
            path = self._folder / f"{self._prefix}.{number}"
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
            else:
                return Slot(descriptor)
        return None
