"""How long an answer of a mailbox server is waited for, however slowly it drips in."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PATIENCE_SECONDS = 15.0
"""For each answer of a server, and for all it takes to be let in."""


class Patience:
    """Cuts a connection whose answer is not whole in time.

    The time limit of a socket begins anew with each byte; so does that of the libraries built on it.
    """

    def __init__(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait for each answer so long."""
        self._seconds = seconds
        self._line: socket.socket | None = None
        self.is_spent = False
        """Whether an answer was not whole in time, and the connection is cut."""

    def hold(self, line: socket.socket) -> socket.socket:
        """The connection; from now on it is this one that is cut, whatever protects it by then."""
        self.let_go()
        self._line = line.dup()
        if self.is_spent:
            self._cut()
        return line

    def let_go(self) -> None:
        """Let the connection be; another may come."""
        if self._line is not None:
            self._line.close()
            self._line = None

    @contextmanager
    def limit(self) -> Iterator[None]:
        """What is done inside may take so long."""
        timer = threading.Timer(self._seconds, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _cut(self) -> None:
        self.is_spent = True
        line = self._line
        if line is not None:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
