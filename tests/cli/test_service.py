"""`mailer up` runs everything over SQLite, starts again what dies, and cleans up after itself."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailer.embedded.processes import PidFile, start_time
from mailer.embedded.redis import answers
from mailer.embedded.services import answers_http, free_port, greets
from mailer.foundation.settings import load_settings

MAILER = [sys.executable, "-m", "mailer.cli"]
SERVICES = ("redis", "web", "worker", "scheduler")


def mailer(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*MAILER, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )


def wait_for(is_so: Callable[[], object], *, seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def pid_of(folder: Path, name: str) -> int:
    found = PidFile(folder / "var" / "run" / f"{name}.pid").read()
    return found[0] if found and found[1] else 0


def begin(folder: Path, port: int) -> "subprocess.Popen[str]":
    with (folder / "up.log").open("a") as log:
        up = subprocess.Popen([*MAILER, "up", "--port", str(port)], cwd=folder, stderr=log, text=True)
    wait_for(lambda: "ready in" in (folder / "up.log").read_text() or up.poll() is not None)
    assert up.poll() is None, (folder / "up.log").read_text()
    return up


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    assert mailer(tmp_path, "init").returncode == 0
    yield tmp_path
    for name in SERVICES:  # whatever a failed test left
        if pid := pid_of(tmp_path, name):
            os.kill(pid, signal.SIGKILL)


def test_up_serves_restarts_and_ends_everything(folder: Path) -> None:
    port = free_port()
    up = begin(folder, port)
    redis_socket = load_settings(state_dir=folder / "var").redis_socket
    try:
        assert answers_http(port)
        assert answers(redis_socket)
        first = {name: pid_of(folder, name) for name in SERVICES}
        assert all(first.values())
        worker = Path(f"/proc/{first['worker']}/cmdline").read_bytes()
        assert b"celery" in worker
        assert b"worker" in worker

        second = mailer(folder, "up", "--port", str(free_port()))
        assert second.returncode == 5
        assert f"already served by process {up.pid}" in second.stderr

        for name in ("worker", "web"):
            os.kill(first[name], signal.SIGKILL)
        wait_for(lambda: pid_of(folder, "worker") not in {0, first["worker"]}, seconds=5)
        wait_for(lambda: pid_of(folder, "web") not in {0, first["web"]}, seconds=5)
        wait_for(lambda: answers_http(port))
    finally:
        up.send_signal(signal.SIGINT)
        assert up.wait(30) == 0
    assert not answers(redis_socket)
    assert not any(pid_of(folder, name) for name in SERVICES)


def test_after_its_own_kill_everything_ends_and_the_next_start_works(folder: Path) -> None:
    port = free_port()
    up = begin(folder, port)
    left = [pid_of(folder, name) for name in SERVICES]
    up.kill()
    up.wait()
    (folder / "up.log").write_text("")

    again = begin(folder, port)
    try:
        assert not any(start_time(pid) for pid in left)
        assert answers_http(port)
    finally:
        again.terminate()
        assert again.wait(30) == 0


def test_up_refuses_a_database_that_does_not_fit(tmp_path: Path) -> None:
    mailer(tmp_path, "init")
    (tmp_path / "var" / "mailer.sqlite").unlink()
    refused = mailer(tmp_path, "up")
    assert refused.returncode == 78
    assert refused.stderr == "error: the database is empty: run  mailer init\n"


def test_up_refuses_a_taken_port_before_anything_is_started(folder: Path) -> None:
    sink = subprocess.Popen([*MAILER, "sink", "--port", str(port := free_port())], cwd=folder)
    try:
        wait_for(lambda: greets(port))
        refused = mailer(folder, "up", "--port", str(port))
    finally:
        sink.terminate()
        assert sink.wait(10) == 0
    assert refused.returncode == 1
    assert refused.stderr == (f"error: port {port} on 127.0.0.1 is taken; choose another with --port\n")
    assert not any(pid_of(folder, name) for name in SERVICES)


def test_the_sink_names_a_bad_fault_file(tmp_path: Path) -> None:
    missing = mailer(tmp_path, "sink", "--faults", "faults.toml")
    assert missing.returncode == 4
    assert "no such file: faults.toml" in missing.stderr
    (tmp_path / "faults.toml").write_text("[[fault]]\nshare = 3\ndelay = 1\n")
    bad = mailer(tmp_path, "sink", "--faults", "faults.toml")
    assert bad.returncode == 1
    assert "faults.toml: rule 1: share lies between 0 and 1" in bad.stderr
