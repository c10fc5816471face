"""Child processes: begun on a leash, known by pid and start time, found again, and ended."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mailer.embedded import leash

MARK = "MAILER_SUPERVISED"
"""In the environment of every process begun here: the run folder it was begun for."""
_POLL_SECONDS = 0.02
_PROC = Path("/proc")


@dataclass(slots=True)
class Stop:
    """Tells a supervisor to end; plain flags, because a signal handler may take no lock."""

    asked: bool = False
    hurried: bool = False
    """Asked a second time: without the grace."""

    def ask(self) -> None:
        """Ask once, or hurry."""
        self.hurried, self.asked = self.asked, True


def begin(
    command: Sequence[str], *, run_folder: Path, environment: Mapping[str, str], log: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own; it ends when the calling thread does.

    A session of its own keeps a terminal's Ctrl-C from it: whoever began it ends it, in order. The
    files it makes are for the owner only, even if it gives them no thought.
    """
    leashed = [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *command]
    return subprocess.Popen(  # noqa: S603 - our own command, no shell
        leashed,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**environment, MARK: str(run_folder)},
        start_new_session=True,
        umask=0o077,
    )


def start_time(pid: int) -> str | None:
    """What tells a process from a later one of its number; None if it is gone or a zombie."""
    if _PROC.joinpath("self/stat").exists():
        fields = _stat(pid)
        return None if fields is None or fields[0] in "ZX" else fields[19]
    ps = shutil.which("ps")
    if ps is None:
        return None
    found = subprocess.run(  # noqa: S603 - a number we made
        [ps, "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None


@dataclass(frozen=True, slots=True)
class PidFile:
    """Remembers one process beyond the life of the one that began it."""

    path: Path

    def write(self, pid: int) -> None:
        """Remember a living process."""
        self.path.write_text(json.dumps({"pid": pid, "started": start_time(pid)}), "utf-8")

    def read(self) -> tuple[int, bool] | None:
        """The remembered number, and whether that very process still lives."""
        try:
            kept = json.loads(self.path.read_text("utf-8"))
            pid, started = int(kept["pid"]), kept["started"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return pid, started is not None and start_time(pid) == started

    def forget(self) -> None:
        """The process is known to be gone."""
        self.path.unlink(missing_ok=True)


def find_leftovers(run_folder: Path) -> list[int]:
    """Processes an earlier supervisor of this run folder began and could not end.

    A remembered process is told from a stranger by its start time; what it began itself (a pool's
    workers outlive the kill -9 of their master) by its session and the mark in its environment.
    """
    found = []
    for path in sorted(run_folder.glob("*.pid")):
        remembered = PidFile(path).read()
        if remembered is None:
            continue
        leader, alive = remembered
        if alive:
            found.append(leader)
        found += [pid for pid in _session(leader) if pid != leader and _is_marked(pid, run_folder)]
    return found


def end_leftovers(run_folder: Path, *, grace_seconds: float) -> int:
    """End what an earlier supervisor left behind; return how many processes that were."""
    leftovers = find_leftovers(run_folder)
    for how, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, grace_seconds)):
        for pid in leftovers:
            if start_time(pid) is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, how)
        deadline = time.monotonic() + seconds
        while any(start_time(pid) for pid in leftovers) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    for path in run_folder.glob("*.pid"):
        path.unlink(missing_ok=True)
    return len(leftovers)


def end_followers(child: "subprocess.Popen[bytes]") -> None:
    """Kill what a dead child left in its process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def has_ended(child: "subprocess.Popen[bytes]") -> bool:
    """Whether the child is dead; then what it began is ended too, before its number is free."""
    if child.returncode is None:
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        if os.waitid(os.P_PID, child.pid, options) is None:
            return False
        end_followers(child)
    return child.poll() is not None


def end(children: Sequence["subprocess.Popen[bytes]"], *, grace_seconds: float, stop: Stop) -> None:
    """Ask all at once to end, then make those that are still there after the grace."""
    for child in children:
        if not has_ended(child):
            child.terminate()
    deadline = time.monotonic() + grace_seconds
    while not all(has_ended(child) for child in children) and time.monotonic() < deadline:
        if stop.hurried:
            break
        time.sleep(_POLL_SECONDS)
    for child in children:
        if not has_ended(child):
            end_followers(child)
            child.wait()


def _stat(pid: int) -> list[str] | None:
    """The fields of proc_pid_stat(5) from the third on; the second may hold anything."""
    try:
        return (_PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None


def _session(leader: int) -> list[int]:
    members = []
    for entry in _PROC.glob("[0-9]*"):
        fields = _stat(int(entry.name))
        if fields is not None and fields[0] not in "ZX" and int(fields[3]) == leader:
            members.append(int(entry.name))
    return members


def _is_marked(pid: int, run_folder: Path) -> bool:
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return os.fsencode(f"{MARK}={run_folder}") in environment
