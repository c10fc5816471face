"""A mailbox over POP3 (RFC 1939)."""

import poplib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from mailer.feedback.errors import MailboxUnavailable
from mailer.feedback.inbox import LARGEST_BYTES
from mailer.feedback.mailboxes import PATIENCE_SECONDS, MailboxPlace, protection_for, unavailable

_MOST_LINES = 2000
"""Of a message larger than any report: its head and beginning."""
_MOST_IN_A_ROW = 3
"""Messages that are not given, before the rest waits for the next look."""
_TROUBLE = (poplib.error_proto, OSError, EOFError, ValueError, LookupError)


class _ClosedIfRefused(poplib.POP3):
    """A connection that is closed where the greeting is none: the library leaves it open."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        try:
            super().__init__(*args, **kwargs)
        except BaseException:
            with suppress(AttributeError):  # there was no connection yet
                self.close()
            raise


class _Protected(_ClosedIfRefused, poplib.POP3_SSL):
    """The same, with TLS from the first byte."""


class Pop3Mailbox:
    """One mailbox. What is finished is deleted, for good once it is closed; what is set aside stays."""

    def __init__(self, place: MailboxPlace) -> None:
        """Connect and sign in.

        Raises:
            MailboxUnavailable: any of it failed.
        """
        self._place = place
        self._indexes: dict[str, int] = {}
        self._sizes: dict[int, int] = {}
        self._finished: set[str] = set()
        self._open()

    def messages(self) -> Iterator[tuple[str, bytes | None]]:
        """Number (its unique id, where the server has such) and content of each message.

        A message of which the server sends what is no answer costs the connection, and no more: those
        after it are read over a new one. Several in a row are the server's own trouble.
        """
        seen: set[str] = set()
        failed_in_a_row = 0
        while waiting := [number for number in self._indexes if number not in seen]:
            for number in waiting:
                seen.add(number)
                try:
                    with self._named_errors():
                        data = self._retrieve(self._indexes[number])
                except poplib.error_proto as error:
                    failed_in_a_row += 1
                    self._reopen()
                    yield number, None
                    if failed_in_a_row >= _MOST_IN_A_ROW:
                        raise unavailable(self._place, error) from error
                    break
                failed_in_a_row = 0
                yield number, data

    def finish(self, number: str) -> None:
        """Delete the message."""
        self._finished.add(number)
        with self._unspoken_errors():
            self._connection.dele(self._indexes[number])

    def set_aside(self, number: str) -> None:
        """Leave the message where it is."""

    def close(self) -> None:
        """Let the server delete what is finished (RFC 1939 §6), and leave."""
        try:
            with self._unspoken_errors():
                self._connection.quit()
        finally:
            self._drop()

    def _open(self) -> None:
        place = self._place
        with self._unspoken_errors():
            self._connection = self._connect()
        try:
            self._connection.user(place.username)
            self._connection.pass_(place.password.get_secret_value())
        except poplib.error_proto:  # which may repeat what was said
            self._drop()
            raise MailboxUnavailable(f"mailbox {place.name}: it does not let us in") from None
        except (OSError, EOFError) as error:
            self._drop()
            raise unavailable(place, error) from error
        with self._unspoken_errors():
            self._list()

    def _reopen(self) -> None:
        """Connect anew; the server has forgotten what was deleted before the connection was dropped."""
        self._drop()
        self._open()
        with self._unspoken_errors():
            for number in self._finished & self._indexes.keys():
                self._connection.dele(self._indexes[number])

    def _connect(self) -> poplib.POP3:
        place = self._place
        if place.implicit_tls:
            return _Protected(
                place.host, place.port, timeout=PATIENCE_SECONDS, context=protection_for(place)
            )
        connection = _ClosedIfRefused(place.host, place.port, timeout=PATIENCE_SECONDS)
        if place.starttls:
            try:
                connection.stls(protection_for(place))
            except BaseException:
                connection.close()
                raise
        return connection

    def _list(self) -> None:
        """Ask for sizes and unique ids; where the server knows no ids (UIDL is optional), by index."""
        listed = [line.split() for line in self._connection.list()[1]]
        self._sizes = {int(index): int(size) for index, size, *_ in listed}
        try:
            ids = [line.decode("ascii").split(maxsplit=1) for line in self._connection.uidl()[1]]
            self._indexes = {number: int(index) for index, number in ids}
        except poplib.error_proto:
            self._indexes = {str(index): index for index in self._sizes}

    def _retrieve(self, index: int) -> bytes:
        if self._sizes.get(index, 0) > LARGEST_BYTES:
            lines = self._connection.top(index, _MOST_LINES)[1]
        else:
            lines = self._connection.retr(index)[1]
        return b"\r\n".join([*lines, b""])[:LARGEST_BYTES]

    def _drop(self) -> None:
        with suppress(*_TROUBLE):
            self._connection.close()

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """All troubles but those of a single answer."""
        try:
            yield
        except (OSError, EOFError) as error:
            raise unavailable(self._place, error) from error

    @contextmanager
    def _unspoken_errors(self) -> Iterator[None]:
        """All troubles, without the server's own words."""
        try:
            yield
        except _TROUBLE as error:
            raise unavailable(self._place, error) from error
