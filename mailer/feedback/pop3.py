"""A mailbox over POP3 (RFC 1939)."""

import poplib
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from mailer.feedback.errors import MailboxUnavailable
from mailer.feedback.inbox import LARGEST_BYTES
from mailer.feedback.mailboxes import MailboxPlace, protection_for, unavailable
from mailer.feedback.patience import PATIENCE_SECONDS, Patience
from mailer.feedback.set_aside import SetAside

_MOST_LINES = 2000
"""Of a message larger than any report: its head and beginning."""
_MOST_IN_A_ROW = 3
"""Messages that are not given, before the rest waits for the next look."""
_CUT = ("-ERR EOF",)
"""What the library makes of a connection that ends in the middle of an answer."""
_TROUBLE = (poplib.error_proto, OSError, EOFError, ValueError, LookupError)
_MOST_AGAIN = 100
"""Of the messages set aside at earlier looks, read again after all that is new: perhaps the reason is
gone, such as a key that was missing."""


class _Connection(poplib.POP3):
    """A connection that is cut when an answer takes too long, under TLS from its first byte or not."""

    def __init__(self, place: MailboxPlace, patience: Patience) -> None:
        self._patience = patience
        self._protection = protection_for(place) if place.implicit_tls else None
        try:
            super().__init__(place.host, place.port, timeout=PATIENCE_SECONDS)
        except BaseException:
            with suppress(AttributeError):  # there was no connection yet
                self.close()  # which the library leaves open where the greeting is none
            raise

    def _create_socket(self, timeout: float | None) -> socket.socket | ssl.SSLSocket:
        line = self._patience.hold(socket.create_connection((self.host, self.port), timeout))
        if self._protection is None:
            return line
        return self._protection.wrap_socket(line, server_hostname=self.host)


class Pop3Mailbox:
    """One mailbox. What is finished is deleted, for good once it is closed; what is set aside stays."""

    def __init__(
        self, place: MailboxPlace, state_dir: Path, *, patience: float = PATIENCE_SECONDS
    ) -> None:
        """Connect and sign in.

        Args:
            state_dir: where it is remembered what was set aside.
            patience: seconds for each answer, and for all it takes to be let in.

        Raises:
            MailboxUnavailable: any of it failed.
        """
        self._place = place
        self._indexes: dict[str, int] = {}
        self._sizes: dict[int, int] = {}
        self._finished: set[str] = set()
        self._lost: set[str] = set()
        self._has_ids = True
        self._patience = Patience(patience)
        self._aside = SetAside(state_dir, place)
        self._open()

    def messages(self) -> Iterator[tuple[str, bytes | None]]:
        """Number (its unique id, where the server has such) and content of each message.

        New ones come first, then some of those set aside, whose turn was longest ago.

        A message of which the server sends what is no answer costs the connection, and no more: those
        after it are read over a new one. Several in a row are the server's own trouble.
        """
        known = self._aside.among(self._indexes) if self._has_ids else []
        seen = set(known[_MOST_AGAIN:])
        last = {number: place for place, number in enumerate(known, 1)}
        failed_in_a_row = 0
        while waiting := sorted(self._indexes.keys() - seen, key=self._turn(last)):
            for number in waiting:
                seen.add(number)
                try:
                    with self._named_errors():
                        data = self._retrieve(self._indexes[number])
                except poplib.error_proto as error:
                    failed_in_a_row += 1
                    if error.args == _CUT:  # for which no message is to blame
                        self._lost.add(number)
                    self._reopen()
                    yield number, None
                    if failed_in_a_row >= _MOST_IN_A_ROW:
                        raise unavailable(self._place, error) from error
                    break
                failed_in_a_row = 0
                yield number, data

    def finish(self, number: str) -> bool:
        """Delete the message."""
        self._finished.add(number)
        with self._unspoken_errors():
            self._connection.dele(self._indexes[number])
        return True

    def set_aside(self, number: str) -> bool:
        """Leave the message where it is, and remember that."""
        if self._has_ids and number not in self._lost:
            self._aside.add(number)
        return True

    def close(self) -> None:
        """Let the server delete what is finished (RFC 1939 §6), and leave."""
        try:
            with self._unspoken_errors():
                self._connection.quit()
        finally:
            self._drop()
            if self._has_ids:
                self._aside.keep(self._indexes.keys() - self._finished)

    def _open(self) -> None:
        try:
            with self._unspoken_errors():
                self._connection = self._connect()
                self._sign_in()
                self._list()
        except MailboxUnavailable:
            self._drop()
            raise

    def _sign_in(self) -> None:
        place = self._place
        try:
            self._connection.user(place.username)
            self._connection.pass_(place.password.get_secret_value())
        except poplib.error_proto:  # which may repeat what was said
            raise MailboxUnavailable(f"mailbox {place.name}: it does not let us in") from None

    def _reopen(self) -> None:
        """Connect anew; the server has forgotten what was deleted before the connection was dropped."""
        self._drop()
        self._open()
        with self._unspoken_errors():
            for number in self._finished & self._indexes.keys():
                self._connection.dele(self._indexes[number])

    def _connect(self) -> poplib.POP3:
        place = self._place
        connection = _Connection(place, self._patience)
        if place.starttls and not place.implicit_tls:
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
            self._has_ids = False
            self._indexes = {str(index): index for index in self._sizes}

    def _retrieve(self, index: int) -> bytes:
        if self._sizes.get(index, 0) > LARGEST_BYTES:
            lines = self._connection.top(index, _MOST_LINES)[1]
        else:
            lines = self._connection.retr(index)[1]
        return b"\r\n".join([*lines, b""])[:LARGEST_BYTES]

    def _drop(self) -> None:
        self._patience.let_go()
        with suppress(*_TROUBLE, AttributeError):  # there was perhaps no connection yet
            self._connection.close()

    def _turn(self, last: Mapping[str, int]) -> Callable[[str], tuple[int, int]]:
        """When a message's turn is: new ones in the server's order, then those of the last look."""
        return lambda number: (last.get(number, 0), self._indexes[number])

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """One question and its whole answer: all troubles but those of a single answer."""
        try:
            with self._patience.limit():
                yield
        except (*_TROUBLE, MailboxUnavailable) as error:
            if self._patience.is_spent:
                raise unavailable(self._place, TimeoutError()) from error
            if isinstance(error, OSError | EOFError):
                raise unavailable(self._place, error) from error
            raise

    @contextmanager
    def _unspoken_errors(self) -> Iterator[None]:
        """The same for all troubles, without the server's own words."""
        try:
            with self._named_errors():
                yield
        except _TROUBLE as error:
            raise unavailable(self._place, error) from error
