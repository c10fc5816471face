"""Child processes end with whoever began them, and are found again where they did not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mailer.embedded.processes import (
    PidFile,
    Stop,
    begin,
    end,
    end_leftovers,
    find_leftovers,
    has_ended,
    start_time,
)

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


def begin_quietly(command: list[str], folder: Path) -> "subprocess.Popen[bytes]":
    with (folder / "log").open("ab") as log:
        return begin(command, run_folder=folder, environment=dict(os.environ), log=log)


def wait_for(path: Path) -> str:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if path.exists() and path.read_text().endswith("\n"):
            return path.read_text().strip()
        time.sleep(0.02)
    raise AssertionError(f"{path.name} was never written")


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while start_time(pid) is not None:
        assert time.monotonic() < deadline, "the process still lives"
        time.sleep(0.02)


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    parent_code = (
        "import os, pathlib, sys, time\n"
        "from mailer.embedded.processes import begin\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "log = open(folder / 'log', 'ab')\n"
        f"child = begin({SLEEPER!r}, run_folder=folder, environment=os.environ, log=log)\n"
        "time.sleep(0.5)\n"
        f"pathlib.Path({str(told)!r}).write_text(f'{{child.pid}}\\n')\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", parent_code])
    child = int(wait_for(told))
    assert start_time(child) is not None

    parent.kill()
    parent.wait()

    wait_until_gone(child)


def test_what_a_killed_child_began_ends_too(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    code = (
        "import pathlib, subprocess, sys, time\n"
        f"grandchild = subprocess.Popen({SLEEPER!r})\n"
        f"pathlib.Path({str(told)!r}).write_text(f'{{grandchild.pid}}\\n')\n"
        "time.sleep(60)\n"
    )
    child = begin_quietly([sys.executable, "-c", code], tmp_path)
    grandchild = int(wait_for(told))

    child.kill()
    while not has_ended(child):
        time.sleep(0.02)

    wait_until_gone(grandchild)


def test_a_remembered_process_is_not_taken_for_another_of_its_number(tmp_path: Path) -> None:
    path = tmp_path / "web.pid"
    PidFile(path).write(os.getpid())
    assert PidFile(path).read() == (os.getpid(), True)

    path.write_text(path.read_text().replace(f'"{start_time(os.getpid())}"', '"1"'))

    assert PidFile(path).read() == (os.getpid(), False)
    assert find_leftovers(tmp_path) == []


def test_leftovers_of_an_earlier_run_are_ended_with_what_they_began(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    code = (
        "import pathlib, subprocess, sys, time\n"
        f"grandchild = subprocess.Popen({SLEEPER!r})\n"
        f"pathlib.Path({str(told)!r}).write_text(f'{{grandchild.pid}}\\n')\n"
        "time.sleep(60)\n"
    )
    child = begin_quietly([sys.executable, "-c", code], tmp_path)
    PidFile(tmp_path / "worker.pid").write(child.pid)
    grandchild = int(wait_for(told))
    os.kill(child.pid, signal.SIGKILL)  # the master is gone, its pool is not
    child.wait()

    ended = end_leftovers(tmp_path, grace_seconds=5)

    assert ended == 1
    assert start_time(grandchild) is None
    assert list(tmp_path.glob("*.pid")) == []


def test_a_child_that_ignores_term_is_killed_after_the_grace(tmp_path: Path) -> None:
    told = tmp_path / "ready"
    code = (
        "import pathlib, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(told)!r}).write_text('yes\\n')\n"
        "time.sleep(60)\n"
    )
    child = begin_quietly([sys.executable, "-c", code], tmp_path)
    wait_for(told)

    end([child], grace_seconds=0.2, stop=Stop())

    assert child.returncode == -signal.SIGKILL


def test_the_second_request_to_stop_hurries() -> None:
    stop = Stop()
    stop.ask()
    assert (stop.asked, stop.hurried) == (True, False)
    stop.ask()
    assert (stop.asked, stop.hurried) == (True, True)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_zombie_counts_as_gone(tmp_path: Path) -> None:
    child = begin_quietly([sys.executable, "-c", ""], tmp_path)
    wait_until_gone(child.pid)
    assert child.wait() == 0
