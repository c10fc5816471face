"""What each worker process opens once, after the fork, and how it learns that it is to end."""

import functools
import mmap
from contextlib import ExitStack
from typing import Any

from celery.signals import worker_process_shutdown, worker_shutting_down

from mailer.runtime import Runtime, open_runtime
from mailer.sending.tools import SendingTools
from mailer.tasks.app import settings

_ending = mmap.mmap(-1, 1)
"""One byte shared by the parent and all its children: set when the worker is asked to end."""
_opened = ExitStack()


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


@worker_shutting_down.connect
def _tell_children(**_: Any) -> None:
    _ending[0] = 1


@worker_process_shutdown.connect
def _close(**_: Any) -> None:
    _opened.close()
