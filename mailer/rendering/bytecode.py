"""Templates that were compiled once in this process and need not be again."""

import threading
from types import CodeType

from jinja2 import BytecodeCache
from jinja2.bccache import Bucket

_KEPT = 128
"""Templates: the shipped letters with all their parts, and some to spare."""


class KeptBytecode(BytecodeCache):
    """The bytecode of the templates compiled last, shared by environments that are made alike.

    A template goes by its name, its file and its text, so that one that has changed is compiled anew.
    Environments that differ in how they compile (escaping, filters, whitespace) must not share one.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], CodeType] = {}
        self._lock = threading.Lock()

    def load_bytecode(self, bucket: Bucket) -> None:
        """Give the bucket its bytecode, if there is any."""
        bucket.code = self._kept.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep what was compiled, in place of the oldest when there is too much."""
        if bucket.code is None:
            return
        with self._lock:
            while len(self._kept) >= _KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[bucket.key, bucket.checksum] = bucket.code
