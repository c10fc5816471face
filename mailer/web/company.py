"""A program kept running beside the web server: started again when it dies, ended with the server."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from mailer.foundation.log import get_log

_LOOK_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 4.0
_STEADY_SECONDS = 30.0
"""What lived so long was well; its death begins a new count."""
_GRACE_SECONDS = 5.0
"""To finish what it is at; what it leaves undone it finds when it is started next."""

log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class Program:
    """A command and the environment it runs in."""

    command: tuple[str, ...]
    environment: Mapping[str, str]


@contextmanager
def keeping(program: Program) -> Iterator[None]:
    """Keep a program running while the body does.

    It must end by itself when its parent is gone: a kill of the parent ends no child.
    """
    over = threading.Event()
    thread = threading.Thread(target=_keep, args=(program, over), name="company", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _keep(program: Program, over: threading.Event) -> None:
    deaths = 0
    while not over.is_set():
        child, began = _start(program), time.monotonic()
        while child is not None and child.poll() is None:
            if over.wait(_LOOK_SECONDS):
                _end(child)
                return
        deaths = 1 if time.monotonic() - began > _STEADY_SECONDS else deaths + 1
        pause = pause_before_restart(deaths)
        log.error("a process beside the web server ended; it is started again", pause_seconds=pause)
        over.wait(pause)


def pause_before_restart(deaths: int) -> float:
    """Seconds to wait before the next start, doubling for what keeps dying.

    Args:
        deaths: in a row, each soon after its start.
    """
    return min(_LOOK_SECONDS * 2.0 ** min(deaths, 64), _LONGEST_PAUSE_SECONDS)


def _start(program: Program) -> "subprocess.Popen[bytes] | None":
    try:
        return subprocess.Popen(  # noqa: S603 - our own command, no shell
            [*program.command, "--parent", str(os.getpid())],
            stdin=subprocess.DEVNULL,
            env=dict(program.environment),
            process_group=0,  # a terminal's Ctrl-C is for the server, which ends it in order
        )
    except OSError:  # no memory, no processes: later perhaps
        return None


def _end(child: "subprocess.Popen[bytes]") -> None:
    child.terminate()
    try:
        child.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
