"""The shipped worker with a stopwatch around its transactions and its journal.

CPU time of the thread alone: waiting for PostgreSQL or the disk does not count. Each pool process writes
its sums beside the settings file when it ends.
"""

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import thread_time
from typing import Any

from celery.signals import worker_process_shutdown

from mailer.foundation.database import Database
from mailer.foundation.journal import Journal
from worker import app

__all__ = ["app"]

SUMS = "timed-{}.json"
_sums: defaultdict[str, float] = defaultdict(float)


def _time_block(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @contextmanager
    def timed(self: Database) -> Iterator[Any]:
        began = thread_time()
        try:
            with method(self) as db:
                yield db
        finally:
            _sums[name] += thread_time() - began

    return timed


def _time_call(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*arguments: Any) -> Any:
        began = thread_time()
        try:
            return method(*arguments)
        finally:
            _sums[name] += thread_time() - began

    return timed


for _name, _method in (("write", "claim_and_finalise"), ("read", "read_batch")):
    setattr(Database, _name, _time_block(_method, getattr(Database, _name)))
for _name in ("write", "sync", "clear"):
    setattr(Journal, _name, _time_call("journal", getattr(Journal, _name)))


@worker_process_shutdown.connect
def _write_sums(**_: Any) -> None:
    folder = Path(os.environ["MAILER_CONFIG"]).parent
    (folder / SUMS.format(os.getpid())).write_text(json.dumps(_sums), encoding="utf-8")
