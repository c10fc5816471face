"""The mailboxes that bounces come back to: how the settings name them, and what is done with one."""

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pydantic import SecretStr

from mailer.feedback.errors import BadMailbox, MailboxUnavailable
from mailer.feedback.patience import PATIENCE_SECONDS
from mailer.foundation.settings import Settings, SettingsError

_LIKE = "must look like imaps://user:password@host/folder or pops://user:password@host"
_ENCODED = "; in a password / ? # @ and the like are written %2F %3F %23 %40"
_PORTS = {"imaps": 993, "imap": 143, "pops": 995, "pop": 110, "pop3s": 995, "pop3": 110}
_HOST = re.compile(r"[A-Za-z0-9.:_-]+")
_FOLDER = re.compile(r"[\x20-\x7e]*")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f]")
_STARTTLS = {"require": True, "never": False}


@dataclass(frozen=True, slots=True)
class MailboxPlace:
    """One mailbox: where it is, and who we are there."""

    is_imap: bool
    host: str
    port: int
    username: str
    password: SecretStr = field(repr=False)
    folder: str = "INBOX"
    """Of IMAP."""
    implicit_tls: bool = True
    starttls: bool = True
    """Of a connection that is not protected from its first byte; False sends the password in clear."""
    ca: str | None = None
    """A file with the certificates of the only authorities trusted for it."""

    @property
    def name(self) -> str:
        """What logs and reports call it."""
        return f"{self.host}/{self.folder}" if self.is_imap else self.host

    @property
    def is_protected(self) -> bool:
        """Whether nobody on the way can read along."""
        return self.implicit_tls or self.starttls


class Mailbox(Protocol):
    """An open mailbox. Its methods raise ``MailboxUnavailable`` once it cannot be used any more."""

    def messages(self) -> Iterator[tuple[str, bytes | None]]:
        """Number and content of each message that waits; None where the server does not give it."""

    def finish(self, number: str) -> bool:
        """Let the message not come again: what it asked for is done and committed.

        Returns:
            False if the server refuses that.
        """

    def set_aside(self, number: str) -> bool:
        """Let the message stay, for somebody to look at; what is new comes before it.

        Returns:
            False if the server refuses that.
        """

    def close(self) -> None:
        """Make what was finished final and leave."""


def mailboxes_of(settings: Settings) -> tuple[MailboxPlace, ...]:
    """The mailboxes the settings name.

    Raises:
        SettingsError: a mailbox's URL makes no sense.
    """
    try:
        return tuple(parse_mailbox(url) for url in settings.mailboxes)
    except BadMailbox as error:
        raise SettingsError(f"setting bounce_mailboxes: {error}") from None


def parse_mailbox(url: str) -> MailboxPlace:
    """Read ``imaps://user:password@host:993/folder`` and the like.

    Raises:
        BadMailbox: with the reason.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # which repeats what it took for a port: perhaps half of the password
        raise BadMailbox(f"a mailbox's port must be a number{_ENCODED}") from None
    if parts.scheme not in _PORTS or not parts.hostname or not _HOST.fullmatch(parts.hostname):
        raise BadMailbox(f"a mailbox {_LIKE}")
    if "@" in parts.path + parts.query or parts.fragment or not (parts.username and parts.password):
        raise BadMailbox(f"a mailbox {_LIKE}{_ENCODED}")
    is_imap = parts.scheme.startswith("imap")
    folder = unquote(parts.path.strip("/"))
    username, password = unquote(parts.username), unquote(parts.password)
    if _UNSEEN.search(username + password) or not _FOLDER.fullmatch(folder):
        raise BadMailbox(
            f"mailbox {parts.hostname}: a name or password holds a character that it cannot have;"
            " a folder's name is written as the server stores it (RFC 3501 §5.1.3)"
        )
    if folder and not is_imap:
        raise BadMailbox(f"mailbox {parts.hostname}: POP3 knows no folders")
    starttls, ca = _read_options(parts)
    return MailboxPlace(
        is_imap=is_imap,
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        username=username,
        password=SecretStr(password),
        folder=folder or "INBOX",
        implicit_tls=parts.scheme.endswith("s"),
        starttls=starttls,
        ca=ca,
    )


def protection_for(place: MailboxPlace) -> ssl.SSLContext:
    """What a protected connection to this mailbox is held to: a verified peer, TLS 1.2 at least.

    Raises:
        MailboxUnavailable: the mailbox's own certificate file cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=place.ca)
    except OSError as error:
        reason = "it holds none" if isinstance(error, ssl.SSLError) else error.strerror
        raise MailboxUnavailable(
            f"mailbox {place.name}: its file of certificates cannot be read: {reason}"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def unavailable(place: MailboxPlace, error: Exception) -> MailboxUnavailable:
    """What a server's or connection's trouble is called; never in the server's own words."""
    match error:
        case TimeoutError():
            why = f"no answer within {PATIENCE_SECONDS:.0f} s"
        case ssl.SSLCertVerificationError():
            why = f"its certificate is not trusted: {error.verify_message}"
        case ssl.SSLError():
            why = "no protected connection could be made"
        case OSError(strerror=str(said)):
            why = said
        case _:
            why = f"it broke off, or does not speak {'IMAP' if place.is_imap else 'POP3'}"
    return MailboxUnavailable(f"mailbox {place.name}: {why}")


def _read_options(parts: SplitResult) -> tuple[bool, str | None]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    starttls, ca = options.pop("starttls", "require"), options.pop("ca", None)
    if options:
        raise BadMailbox(f"mailbox {parts.hostname}: no such option: {', '.join(sorted(options))}")
    if starttls not in _STARTTLS:
        raise BadMailbox(f"mailbox {parts.hostname}: starttls is require or never")
    return _STARTTLS[starttls], ca
