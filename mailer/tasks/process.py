"""What each worker process opens once, after the fork, and how it learns that it is to end."""

import functools
import gc
import mmap
from contextlib import ExitStack
from typing import Any

from celery.signals import (
    worker_before_create_process,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)
from sqlalchemy import make_url

from mailer.runtime import Runtime, open_runtime
from mailer.sending.tools import SendingTools
from mailer.tasks.app import settings

_ending = mmap.mmap(-1, 1)
"""One byte shared by the parent and all its children: set when the worker is asked to end."""
_opened = ExitStack()
_NEW_OBJECTS = 50_000
"""A process that sends looks for cycles after so many more objects than it let go: a batch makes hardly
any cycles, and with the usual 700 looking for them is 3 to 5 % of its CPU."""


def is_ending() -> bool:
    """Whether the worker was asked to end: a batch begins no further letter."""
    return _ending[0] != 0


@functools.cache
def runtime() -> Runtime:
    """This process's runtime, opened at its first task."""
    return open_runtime(settings)


@functools.cache
def sending_tools() -> SendingTools:
    """This process's sending tools, with a journal of its own."""
    return _opened.enter_context(runtime().sending_tools(is_stopping=is_ending))


@worker_before_create_process.connect
def _share_what_is_loaded(**_: Any) -> None:
    """Load the database's driver, and take what lives for good out of the collector's sight.

    It would write to every page of it, and a page written to is not shared with the parent any more.
    """
    make_url(settings.database).get_dialect().import_dbapi()
    gc.collect()
    gc.freeze()


@worker_process_init.connect
def _collect_seldom(**_: Any) -> None:
    gc.set_threshold(_NEW_OBJECTS)


@worker_shutting_down.connect
def _tell_children(**_: Any) -> None:
    _ending[0] = 1


@worker_process_shutdown.connect
def _close(**_: Any) -> None:
    _opened.close()
