"""Which services one machine runs, and the command line of each."""

import contextlib
import errno
import http.client
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from mailer.embedded.errors import ServiceFailed
from mailer.embedded.redis import redis_service
from mailer.embedded.supervisor import Service
from mailer.foundation.settings import Settings

LOOPBACK = "127.0.0.1"
QUEUES = ("sending", "reminders")
MAILER = (sys.executable, "-m", "mailer.cli")
_CELERY = (sys.executable, "-m", "celery")
_WORKER = (sys.executable, "-m", "mailer.tasks.celery_worker")
"""The same for a worker alone: in memory it is smaller."""


def services(settings: Settings, *, port: int) -> list[Service]:
    """Everything `mailer up` keeps running; the Redis server only if none is named in the settings.

    Raises:
        ProgramMissing: there is no Redis-protocol server to start.
        ServiceFailed: the port is taken.
    """
    require_free(port)
    chosen = [redis_service(settings)] if settings.embedded_redis else []
    return [*chosen, web_service(port), worker_service(settings), scheduler_service(settings)]


def web_service(port: int) -> Service:
    """The web application."""
    return Service(
        name="web",
        command=(*MAILER, "web", "--port", str(port)),
        tells=f"on http://{LOOPBACK}:{port}",
        is_ready=lambda: answers_http(port),
    )


def worker_service(settings: Settings) -> Service:
    """The Celery worker with its pool."""
    return Service(
        name="worker",
        command=(
            *(*_WORKER, "-A", "worker", "worker", "--pool", "prefork"),
            *("--concurrency", str(settings.worker_processes), "--queues", ",".join(QUEUES)),
            *("--without-gossip", "--without-mingle", "--loglevel", "INFO"),
        ),
        tells=f"with {settings.worker_processes} processes",
    )


def scheduler_service(settings: Settings) -> Service:
    """Celery Beat; its schedule file lies in the state folder."""
    schedule = settings.state_dir / "beat-schedule"
    return Service(
        name="scheduler",
        command=(
            *(*_CELERY, "-A", "scheduler", "beat", "--schedule", str(schedule), "--pidfile="),
            *("--loglevel", "INFO"),
        ),
        tells="for what is due",
    )


def sink_service(folder: Path, *, port: int, keep: int, faults: Path, lenient: bool = False) -> Service:
    """Our own mail sink.

    Args:
        lenient: it does not look at the content of letters it does not keep.
    """
    return Service(
        name="sink",
        command=(
            *(*MAILER, "sink", "--port", str(port), "--folder", str(folder)),
            *("--keep", str(keep), "--faults", str(faults)),
            *(["--lenient"] if lenient else []),
        ),
        tells=f"on smtp://{LOOPBACK}:{port}",
        is_ready=lambda: greets(port),
    )


def child_environment(flags: Mapping[str, object]) -> dict[str, str]:
    """The environment in which children see the settings of this call.

    Args:
        flags: settings given on the command line; they beat everything else in the children too.
    """
    given = {f"MAILER_{name.upper()}": str(value) for name, value in flags.items()}
    return {**os.environ, **given, "PYTHONUNBUFFERED": "1"}


def require_free(port: int) -> None:
    """Return if the loopback port can be listened on.

    Raises:
        ServiceFailed: it cannot.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            reason = "is taken; choose another with --port" if taken else str(error.strerror)
            raise ServiceFailed(f"port {port} on {LOOPBACK} {reason}") from error


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def answers_http(port: int) -> bool:
    """Whether the web application says that it lives."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def greets(port: int) -> bool:
    """Whether a mail server greets us."""
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), 2) as connection:
        return connection.recv(3) == b"220"
    return False
