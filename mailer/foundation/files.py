"""Making files that hold what not everybody may read."""

import os
from pathlib import Path

_NO_FILES = ("dev", "proc")


def create_new(path: Path, *, mode: int = 0o600) -> int:
    """Make a file anew and return its descriptor, open for writing.

    Whatever lay under that name is gone first; a link put there meanwhile by somebody else is refused,
    not followed.

    Raises:
        OSError: it cannot be made.
    """
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, mode)


def is_stream(path: Path) -> bool:
    """Whether what lies there is written to as it stands: a pipe, a device, ``/dev/stdout``.

    Replacing it by a file would break it for everybody, though it may lead to a file.
    """
    return path.exists() and (not path.is_file() or path.absolute().parts[1] in _NO_FILES)
