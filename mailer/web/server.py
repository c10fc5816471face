"""The web server in front of the application."""

import socket

import uvicorn

from mailer.foundation.settings import SettingsError
from mailer.runtime import Runtime
from mailer.web.app import create_app
from mailer.web.bounded import BoundedProtocol

_BACKLOG = 2048
_GRACE_SECONDS = 5


def serve(runtime: Runtime, host: str, port: int) -> None:
    """Answer until the process is told to stop (SIGTERM, SIGINT); what was begun is finished first.

    Raises:
        SettingsError: something else listens there.
    """
    listening = _listen(host, port)
    with listening:
        make_server(runtime).run(sockets=[listening])


def make_server(runtime: Runtime) -> uvicorn.Server:
    """A server that logs no addresses of readers and believes no forwarded header."""
    return uvicorn.Server(
        uvicorn.Config(
            create_app(runtime),
            http=BoundedProtocol,
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


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason, _, _ = str(error.strerror).partition(" (while")  # what follows repeats the address
        raise SettingsError(
            f"cannot listen on {host}:{port} ({reason}): choose another with --port"
        ) from error
