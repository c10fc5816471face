"""The supervisor keeps alive what it started, and ends all of it."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mailer.embedded.errors import AlreadyRunning, ServiceFailed
from mailer.embedded.processes import PidFile, start_time
from mailer.embedded.supervisor import (
    LONGEST_PAUSE_SECONDS,
    Service,
    Supervisor,
    only_one,
    pause_before_restart,
)


def service(name: str, code: str = "import time; time.sleep(60)", **more: object) -> Service:
    return Service(name, (sys.executable, "-c", code), "tests", **more)  # type: ignore[arg-type]


def make_supervisor(folder: Path) -> tuple[Supervisor, list[str]]:
    told: list[str] = []
    return Supervisor(folder, dict(os.environ), told.append, folder / "logs"), told


@contextmanager
def running(supervisor: Supervisor, *services: Service) -> Iterator[None]:
    ready = threading.Event()
    thread = threading.Thread(target=supervisor.run, args=(services,), kwargs={"when_ready": ready.set})
    thread.start()
    try:
        assert ready.wait(20)
        yield
    finally:
        supervisor.stop.ask()
        thread.join(30)
    assert not thread.is_alive()


def pid_of(supervisor: Supervisor, name: str) -> int:
    found = PidFile(supervisor.run_folder / f"{name}.pid").read()
    return found[0] if found and found[1] else 0


def wait_for(is_so: Callable[[], bool], *, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_service_is_back_within_five_seconds(tmp_path: Path) -> None:
    supervisor, told = make_supervisor(tmp_path)
    with running(supervisor, service("worker")):
        first = pid_of(supervisor, "worker")
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: pid_of(supervisor, "worker") not in {0, first}, seconds=5)
    assert any("killed by signal 9" in line for line in told)
    assert any("is back" in line for line in told)


def test_what_keeps_dying_is_started_more_slowly_but_always_within_five_seconds() -> None:
    pauses = [pause_before_restart(deaths) for deaths in range(1, 12)]
    assert pauses[0] < 0.5
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_SECONDS < 5
    assert pause_before_restart(5000) == LONGEST_PAUSE_SECONDS


def test_stopping_ends_every_service_those_that_serve_others_last(tmp_path: Path) -> None:
    supervisor, _ = make_supervisor(tmp_path)
    trace = tmp_path / "trace"
    note = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        f"    print('{{name}}', file=open({str(trace)!r}, 'a'), flush=True)\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        f"open({str(tmp_path)!r} + '/{{name}}.ready', 'w').close()\n"
        "time.sleep(60)\n"
    )

    def is_ready(name: str) -> Callable[[], bool]:
        return (tmp_path / f"{name}.ready").exists

    redis = service("redis", note.format(name="redis"), serves_others=True, is_ready=is_ready("redis"))
    web = service("web", note.format(name="web"), is_ready=is_ready("web"))
    with running(supervisor, web, redis):
        pids = [pid_of(supervisor, name) for name in ("web", "redis")]
    assert trace.read_text().split() == ["web", "redis"]
    assert [start_time(pid) for pid in pids] == [None, None]
    assert list(supervisor.run_folder.glob("*.pid")) == []


def test_a_service_that_dies_before_it_is_ready_fails_the_start_and_says_why(tmp_path: Path) -> None:
    supervisor, _ = make_supervisor(tmp_path)
    broken = service("web", "import sys; sys.exit('no such template')", is_ready=lambda: False)
    with pytest.raises(ServiceFailed, match=r"web ended \(exit code 1; no such template; log: "):
        supervisor.run([service("redis", serves_others=True), broken])
    assert list(supervisor.run_folder.glob("*.pid")) == []


def test_a_state_folder_has_one_supervisor(tmp_path: Path) -> None:
    refused = pytest.raises(AlreadyRunning, match=f"process {os.getpid()}")
    with only_one(tmp_path), refused, only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass


def test_what_a_service_writes_is_for_its_owner_only(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir(mode=0o755)
    supervisor, _ = make_supervisor(tmp_path)
    made = tmp_path / "made"
    code = f"open({str(made)!r}, 'w').close(); import time; time.sleep(60)"
    before = os.umask(0o022)
    with running(supervisor, service("a", code)):
        wait_for(made.exists)
    os.umask(before)

    assert made.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "logs" / "a.log").stat().st_mode & 0o777 == 0o600
