"""What all connections of the sink share: its records, its faults, its memory."""

import asyncio
from pathlib import Path
from typing import Protocol

import structlog

from mailer.embedded.certificates import Certificates
from mailer.embedded.errors import BadFaults
from mailer.embedded.faults import Faults
from mailer.embedded.mailstore import MailStore

_USUAL_SIZE = 10_000_000

_log = structlog.get_logger(__name__)


class Guest(Protocol):
    """A connection, as the reception sees it."""

    quiet_sweeps: int
    """Sweeps since something was heard."""

    def send_replies(self) -> None:
        """Send what was held back until the record was written."""

    def break_off(self) -> None:
        """End the connection without a reply: what was to be acknowledged could not be recorded."""

    def time_out(self) -> None:
        """End the connection because nothing was heard for too long."""


class Reception:
    """Lets replies leave once the record tells of what they acknowledge."""

    def __init__(self, store: MailStore, faults: Faults, folder: Path, *, lenient: bool) -> None:
        self.store = store
        self.certificates = Certificates(folder, self._note_handshake)
        self.lenient = lenient
        self.guests: set[Guest] = set()
        self.connections = 0
        """Since the start."""
        self._waiting: list[Guest] = []
        self._held_bytes = 0
        self.implicit_tls = _is_implicit(faults)
        self._follow(faults)

    def behave(self, faults: Faults) -> None:
        """Follow these faults from now on, on open connections too.

        Raises:
            BadFaults: their certificate cannot be read, or they would need another kind of port; the
                earlier faults stay in force.
        """
        if _is_implicit(faults) != self.implicit_tls:
            raise BadFaults("[tls]: implicit cannot change while the sink runs")
        earlier = self.faults
        self._follow(faults)
        faults.take_over(earlier)

    def _follow(self, faults: Faults) -> None:
        self.certificates.prepare(faults.behaviour.tls)
        self.faults = faults
        behaviour = faults.behaviour
        self.usual = (
            not faults.rules
            and not behaviour.rates
            and not behaviour.without
            and behaviour.sign_in is None
            and behaviour.tls is None
            and behaviour.limits.letters_per_connection is None
            and behaviour.limits.size >= _USUAL_SIZE
            and behaviour.latency.letter == 0
        )
        """Whether no fault can touch an ordinary envelope of a letter below 10 MB."""

    @property
    def trusts(self) -> bool:
        """Whether the next letter's content need not be looked at."""
        return self.lenient and not self.store.keeps_next

    def answer(self, guest: Guest) -> None:
        """Send a guest's replies: at once, or together with all others when the record is written."""
        if not self.store.has_notes:
            guest.send_replies()
            return
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.settle)
        self._waiting.append(guest)

    def settle(self, guest: Guest | None = None) -> None:
        """Write the record, then send all replies that waited for it, and this guest's too."""
        if guest is not None:
            self._waiting.append(guest)
        waiting, self._waiting = self._waiting, []
        try:
            self.store.write()
        except OSError as error:
            _log.error("record not written", reason=error.strerror)
            for guest in waiting:
                guest.break_off()
            return
        for guest in waiting:
            guest.send_replies()

    def sweep(self, most: int) -> None:
        """End the connections on which nothing was heard in so many sweeps."""
        for guest in list(self.guests):
            guest.quiet_sweeps += 1
            if guest.quiet_sweeps > most:
                guest.time_out()

    def close(self) -> None:
        """Acknowledge what is recorded, and end all connections."""
        self.settle()
        for guest in list(self.guests):
            guest.break_off()

    def _note_handshake(self, kind: str) -> None:
        self.store.note_fault(kind, "tls")
        self.settle()

    def reserve(self, size: int) -> bool:
        """Whether so many bytes may be buffered; they are then taken until released."""
        if self._held_bytes + size > self.faults.behaviour.limits.memory:
            return False
        self._held_bytes += size
        return True

    def release(self, size: int) -> None:
        """Give back what was reserved."""
        self._held_bytes -= size


def _is_implicit(faults: Faults) -> bool:
    return faults.behaviour.tls is not None and faults.behaviour.tls.implicit
