"""A mailbox over IMAP (RFC 3501)."""

import imaplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mailer.feedback.errors import MailboxUnavailable
from mailer.feedback.inbox import LARGEST_BYTES
from mailer.feedback.mailboxes import MailboxPlace, protection_for, unavailable
from mailer.feedback.patience import PATIENCE_SECONDS, Patience

PROCESSED = "processed"
"""The folder that messages are moved to once they are applied."""
_AT_ONCE = 2000
"""Message numbers asked for in one search, whose answer is a single line."""
_TROUBLE = (imaplib.IMAP4.error, OSError, EOFError, ValueError, LookupError)


class _Connection(imaplib.IMAP4):
    """A connection that is cut when an answer takes too long, under TLS from its first byte or not."""

    def __init__(self, place: MailboxPlace, patience: Patience) -> None:
        self._patience = patience
        self._protection = protection_for(place) if place.implicit_tls else None
        super().__init__(place.host, place.port, timeout=PATIENCE_SECONDS)

    def _create_socket(self, timeout: float | None) -> socket.socket | ssl.SSLSocket:
        line = self._patience.hold(socket.create_connection((self.host, self.port), timeout))
        if self._protection is None:
            return line
        return self._protection.wrap_socket(line, server_hostname=self.host)


class ImapMailbox:
    """One folder, open for reading and moving.

    What is finished is moved to ``processed``, beside it or below INBOX; where such a folder cannot be
    made, it is marked as seen; where moving it is refused, as seen and answered. What is set aside is
    flagged and stays.
    """

    def __init__(self, place: MailboxPlace, *, patience: float = PATIENCE_SECONDS) -> None:
        """Connect, sign in and open the folder.

        Args:
            patience: seconds for each answer, and for all it takes to be let in.

        Raises:
            MailboxUnavailable: any of it failed.
        """
        self._place = place
        self._patience = Patience(patience)
        try:
            with self._exchange():
                self._open()
        except MailboxUnavailable:
            self._patience.let_go()
            raise

    def _open(self) -> None:
        place = self._place
        with self._named_errors():
            self._connection = self._connect()
        try:
            self._sign_in()
            with self._named_errors():
                answer, data = self._connection.select(_quoted(place.folder))
                if answer != "OK":
                    raise MailboxUnavailable(f"mailbox {place.name}: there is no such folder")
                self._count = int(data[0] or b"0")
                # Many servers tell all they can only to those they have let in.
                told = self._connection.capability()[1][0] or b""
                self._capabilities = frozenset(told.decode("ascii").upper().split())
                self._processed = self._find_or_make_folder()
        except MailboxUnavailable:
            self._leave()
            raise

    def messages(self) -> Iterator[tuple[str, bytes | None]]:
        """Number (UID) and content of each message that waits, the oldest first."""
        with self._exchange():
            numbers = self._search()
        for number in numbers:
            with self._exchange():
                answer, data = self._connection.uid("FETCH", number, f"(BODY.PEEK[]<0.{LARGEST_BYTES}>)")
            if answer != "OK":
                yield number, None
                continue
            parts = [part[1] for part in data if isinstance(part, tuple)]
            if parts:  # else somebody else has taken it away
                yield number, parts[0]

    def finish(self, number: str) -> bool:
        """Move the message to the folder for those processed, or mark it as dealt with."""
        with self._exchange():
            if self._processed is None:
                return self._mark(number, r"(\Seen)")
            # A seen message is perhaps only one that somebody has looked at before us.
            return self._move(number, self._processed) or self._mark(number, r"(\Seen \Answered)")

    def set_aside(self, number: str) -> bool:
        """Flag the message."""
        with self._exchange():
            return self._mark(number, r"(\Flagged)")

    def close(self) -> None:
        """Leave; everything is final already."""
        with self._patience.limit():
            self._leave()
        self._patience.let_go()

    def _connect(self) -> imaplib.IMAP4:
        place = self._place
        connection = _Connection(place, self._patience)
        if place.starttls and not place.implicit_tls:
            try:
                connection.starttls(protection_for(place))
            except BaseException:
                connection.shutdown()
                raise
        return connection

    def _sign_in(self) -> None:
        """Sign in by SASL where offered, which knows all characters (RFC 4616), else by LOGIN."""
        place, secret = self._place, self._place.password.get_secret_value()
        try:
            if "AUTH=PLAIN" in self._connection.capabilities:
                words = f"\0{place.username}\0{secret}".encode()
                self._connection.authenticate("PLAIN", lambda _: words)
            else:
                self._connection.login(_quoted(place.username), secret)
        except imaplib.IMAP4.abort as error:
            raise unavailable(place, error) from error
        except (imaplib.IMAP4.error, UnicodeEncodeError):  # which may repeat what was said
            raise MailboxUnavailable(f"mailbox {place.name}: it does not let us in") from None
        except (OSError, EOFError) as error:
            raise unavailable(place, error) from error

    def _find_or_make_folder(self) -> str | None:
        """The folder for what is processed; None if there is none and it cannot be made."""
        for name in (PROCESSED, f"INBOX.{PROCESSED}"):
            _, found = self._connection.list('""', _quoted(name))
            if found and found[0]:
                return name
            if self._connection.create(_quoted(name))[0] == "OK":
                return name
        return None

    def _search(self) -> list[str]:
        waits = [
            "UNDELETED",
            "UNFLAGGED",
            "UNANSWERED",
            *(["UNSEEN"] if self._processed is None else []),
        ]
        numbers: list[str] = []
        for begin in range(1, self._count + 1, _AT_ONCE):
            window = f"{begin}:{min(begin + _AT_ONCE - 1, self._count)}"
            answer, data = self._connection.uid("SEARCH", window, *waits)
            if answer != "OK":
                raise imaplib.IMAP4.error
            numbers += [number.decode("ascii") for number in (data[0] or b"").split()]
        return numbers

    def _move(self, number: str, folder: str) -> bool:
        """Move a message (RFC 6851, else copy and delete); False if it stays where it is."""
        if "MOVE" in self._capabilities:
            return self._connection.uid("MOVE", number, _quoted(folder))[0] == "OK"
        if self._connection.uid("COPY", number, _quoted(folder))[0] != "OK":
            return False
        if not self._mark(number, r"(\Deleted)"):
            return False
        if "UIDPLUS" in self._capabilities:  # else what others marked would go too
            self._connection.uid("EXPUNGE", number)
        return True

    def _mark(self, number: str, flags: str) -> bool:
        return self._connection.uid("STORE", number, "+FLAGS.SILENT", flags)[0] == "OK"

    def _leave(self) -> None:
        with suppress(*_TROUBLE):
            self._connection.logout()
        with suppress(*_TROUBLE):  # the library leaves a connection open that breaks off at its end
            self._connection.shutdown()

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        """One question and its whole answer, with all troubles named."""
        try:
            with self._patience.limit(), self._named_errors():
                yield
        except MailboxUnavailable as error:
            if self._patience.is_spent:
                raise unavailable(self._place, TimeoutError()) from error
            raise

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except _TROUBLE as error:
            raise unavailable(self._place, error) from error


def _quoted(text: str) -> str:
    r"""A quoted string (RFC 3501 §9): ``"`` and ``\`` escaped; it holds no control characters."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
