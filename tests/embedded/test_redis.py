"""The embedded server: private, durable, and replaced when an earlier one was left behind."""

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from mailer.embedded.errors import ProgramMissing, ServiceFailed
from mailer.embedded.redis import answers, find_server, redis_service
from mailer.foundation.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(state_dir=tmp_path / "state with spaces")


def start(settings: Settings) -> "subprocess.Popen[bytes]":
    service = redis_service(settings)
    child = subprocess.Popen(service.command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while not answers(settings.redis_socket):
        assert time.monotonic() < deadline
        assert child.poll() is None
        time.sleep(0.02)
    return child


@pytest.fixture
def server(settings: Settings) -> "Iterator[subprocess.Popen[bytes]]":
    child = start(settings)
    yield child
    child.kill()
    child.wait()


def test_it_keeps_tasks_drops_none_and_listens_to_its_owner_only(
    settings: Settings, server: "subprocess.Popen[bytes]"
) -> None:
    with redis.Redis.from_url(settings.redis, decode_responses=True) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("port") == {"port": "0"}
    assert settings.redis_socket.stat().st_mode & 0o777 == 0o700
    assert settings.state_dir.stat().st_mode & 0o777 == 0o700


def test_what_was_rung_survives_a_kill(settings: Settings, server: "subprocess.Popen[bytes]") -> None:
    with redis.Redis.from_url(settings.redis) as client:
        client.lpush("sending", "a task")
        time.sleep(1.1)  # appendfsync everysec
    server.send_signal(signal.SIGKILL)
    server.wait()
    again = start(settings)
    try:
        with redis.Redis.from_url(settings.redis) as client:
            assert client.lrange("sending", 0, -1) == [b"a task"]
    finally:
        again.kill()
        again.wait()


def test_a_server_nobody_remembers_gives_way(
    settings: Settings, server: "subprocess.Popen[bytes]"
) -> None:
    redis_service(settings)
    assert server.wait(10) == 0
    assert not settings.redis_socket.exists()


def test_a_server_on_path_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() == program


def test_without_any_server_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("platform.machine", lambda: "sparc64")
    with pytest.raises(ProgramMissing, match=r"install valkey-server or redis-server"):
        find_server()


def test_a_long_state_folder_moves_the_socket_to_a_private_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Path(tempfile.mkdtemp())
    monkeypatch.setenv("TMPDIR", str(short))
    settings = load_settings(state_dir=tmp_path / ("x" * 60) / ("y" * 60))
    child = start(settings)
    try:
        folder = settings.redis_socket.parent
        assert folder.parent == short
        assert folder.stat().st_mode & 0o777 == 0o700
    finally:
        child.kill()
        child.wait()
        shutil.rmtree(short)


def test_a_socket_folder_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    settings = load_settings(state_dir=tmp_path / ("x" * 110))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    settings.redis_socket.parent.symlink_to(elsewhere)
    with pytest.raises(ServiceFailed, match="belongs to somebody else"):
        redis_service(settings)
