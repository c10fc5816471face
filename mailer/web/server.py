"""The web server in front of the application."""

import signal
import socket
import threading
from contextlib import nullcontext
from functools import partial
from types import FrameType
from typing import Literal

import uvicorn

from mailer.foundation.settings import SettingsError
from mailer.runtime import Runtime
from mailer.web.app import build_front
from mailer.web.bounded import BoundedProtocol, Turn
from mailer.web.company import Program, keeping
from mailer.web.guards import Guards, secret_headers
from mailer.web.site import open_site
from mailer.web.staff.pages import staff_alone

Only = Literal["public", "staff"]
"""Of which pages a process has only these."""

_BACKLOG = 2048
_GRACE_SECONDS = 5


def serve(
    runtime: Runtime,
    host: str,
    port: int,
    drainer: Program | None = None,
    *,
    only: Only | None = None,
) -> None:
    """Answer until the process is told to stop (SIGTERM, SIGINT); what was begun is finished first.

    Args:
        drainer: kept running beside the server; None: what is seen is moved by somebody else.
        only: the pages of this process; default: all.

    Raises:
        SettingsError: something else listens there.
    """
    listening = _listen(host, port)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _stay)
    with listening, keeping(drainer) if drainer else nullcontext():
        make_server(runtime, only=only).run(sockets=[listening])


def make_server(runtime: Runtime, *, only: Only | None = None) -> uvicorn.Server:
    """A server that logs no addresses of readers and believes no forwarded header."""
    site = open_site(runtime)
    front = None if only == "staff" else build_front(site, with_staff=only is None)
    return uvicorn.Server(
        uvicorn.Config(
            Guards(front or staff_alone(site), site),
            http=partial(BoundedProtocol, Turn(front), secret_headers(runtime.settings.public_url)),  # type: ignore[arg-type]  # called only
            access_log=False,
            log_config=None,
            proxy_headers=False,
            forwarded_allow_ips="",
            server_header=False,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            ws="none",
            lifespan="on",
        )
    )


def _stay(_number: int, _frame: FrameType | None) -> None:
    """The server ends by itself and then sends the signal once more; there is still a drainer to end."""


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason, _, _ = str(error.strerror).partition(" (while")  # what follows repeats the address
        raise SettingsError(
            f"cannot listen on {host}:{port} ({reason}): choose another with --port"
        ) from error
