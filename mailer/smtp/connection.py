"""One kept-open connection to a relay, and the dialogue about one letter at a time.

The library connects, protects and signs in; the dialogue about a letter is ours, because the moment
before the final dot is the one that must be written down.
"""

import smtplib
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

from mailer.smtp.envelope import Envelope
from mailer.smtp.errors import (
    ConnectionLostAfterDot,
    ConnectionLostBeforeDot,
    RelayUnavailable,
)
from mailer.smtp.relays import Relay, StartTLS
from mailer.smtp.replies import Reply, ReplyClass, read_reply

_CONNECT_TIMEOUT_SECONDS = 30.0
_COMMAND_TIMEOUT_SECONDS = 300.0
_DOT_TIMEOUT_SECONDS = 600.0
"""RFC 5321 §4.5.3.2: five minutes for MAIL and RCPT, ten for the final dot."""
_CLOSING = 421
_CODE_GO_ON = 354


class NoSMTPUTF8(Exception):
    """The address needs SMTPUTF8 and this relay does not speak it; nothing was offered."""


class Connection:
    """A connection that is opened when first needed and kept until it fails."""

    def __init__(self, relay: Relay, *, greet_as: str) -> None:
        """Prepare; nothing is connected yet.

        Args:
            greet_as: the name in EHLO (RFC 5321 §4.1.1.1).
        """
        self.relay = relay
        self._greet_as = greet_as
        self._smtp: smtplib.SMTP | None = None

    def open(self) -> None:
        """Connect, protect and sign in, unless that is done already.

        Raises:
            RelayUnavailable: with the reason; nothing was offered.
        """
        if self._smtp is not None:
            return
        try:
            self._smtp = self._connect()
        except (OSError, smtplib.SMTPException) as error:
            raise RelayUnavailable(f"relay {self.relay.name}: {_reason(error)}") from error

    def send(self, envelope: Envelope, letter: bytes, *, before_dot: Callable[[], None]) -> Reply:
        """Offer one letter and return the reply that decides about it.

        Args:
            letter: its lines end in CRLF; dots are stuffed here (RFC 5321 §4.5.2).
            before_dot: called when all but the final dot has left; what it notes must be durable.

        Raises:
            RelayUnavailable: the relay refuses to talk; no letter was offered.
            NoSMTPUTF8: this relay cannot take the address; no letter was offered.
            ConnectionLostBeforeDot: the letter was not sent.
            ConnectionLostAfterDot: the letter may or may not have arrived.
        """
        self.open()
        try:
            refusal = self._ask(envelope)
            if refusal is not None:
                return refusal
            self._send_body(letter)
        except (OSError, smtplib.SMTPException) as error:
            self.close()
            raise ConnectionLostBeforeDot(f"relay {self.relay.name}: {_reason(error)}") from error
        before_dot()
        try:
            return self._dot()
        except (OSError, smtplib.SMTPException) as error:
            self.close()
            raise ConnectionLostAfterDot(f"relay {self.relay.name}: {_reason(error)}") from error

    def close(self) -> None:
        """Drop the connection; the next letter opens a new one."""
        if self._smtp is not None:
            self._smtp.close()
            self._smtp = None

    def quit(self) -> None:
        """Take leave of the relay."""
        if self._smtp is not None:
            with suppress(OSError, smtplib.SMTPException):
                self._smtp.quit()
            self.close()

    def _connect(self) -> smtplib.SMTP:
        relay, context = self.relay, ssl.create_default_context()
        if relay.implicit_tls:
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(
                relay.host,
                relay.port,
                local_hostname=self._greet_as,
                timeout=_CONNECT_TIMEOUT_SECONDS,
                context=context,
            )
        else:
            smtp = smtplib.SMTP(
                relay.host, relay.port, local_hostname=self._greet_as, timeout=_CONNECT_TIMEOUT_SECONDS
            )
        try:
            smtp.ehlo_or_helo_if_needed()
            if not relay.implicit_tls and relay.starttls is not StartTLS.NEVER:
                self._protect(smtp, context)
            if relay.username is not None and relay.password is not None:
                smtp.login(relay.username, relay.password.get_secret_value())
        except (OSError, smtplib.SMTPException):
            smtp.close()
            raise
        assert smtp.sock is not None
        smtp.sock.settimeout(_COMMAND_TIMEOUT_SECONDS)
        # The final dot is a write of its own: without this it would wait for the relay's delayed ACK.
        smtp.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return smtp

    def _protect(self, smtp: smtplib.SMTP, context: ssl.SSLContext) -> None:
        if smtp.has_extn("starttls"):
            smtp.starttls(context=context)
            smtp.ehlo()
        elif self.relay.starttls is StartTLS.REQUIRE:
            raise smtplib.SMTPNotSupportedError("it does not offer STARTTLS, which is required")
        elif self.relay.password is not None:
            # Whoever stands between us may have taken the offer away to read it.
            raise smtplib.SMTPNotSupportedError(
                "it does not offer STARTTLS, and the password is not sent in the clear"
            )

    def _ask(self, envelope: Envelope) -> Reply | None:
        """Say MAIL, RCPT and DATA; return the refusal, or None when the letter may come."""
        assert self._smtp is not None
        options = ""
        if envelope.needs_smtputf8:
            if not self._smtp.has_extn("smtputf8"):
                raise NoSMTPUTF8
            options = " SMTPUTF8 BODY=8BITMIME"
            self._smtp.command_encoding = "utf-8"
        else:
            self._smtp.command_encoding = "ascii"
        reply = self._say(f"MAIL FROM:<{envelope.sender}>{options}")
        if reply.kind is not ReplyClass.ACCEPTED:
            self.close()
            raise RelayUnavailable(f"relay {self.relay.name} refuses our sender: {reply}")
        for command in (f"RCPT TO:<{envelope.recipient}>", "DATA"):
            reply = self._say(command)
            if reply.code == _CODE_GO_ON:
                return None
            if reply.kind is not ReplyClass.ACCEPTED:
                self._forget(reply)
                return reply
        raise smtplib.SMTPException("DATA was answered without asking for the letter")

    def _say(self, command: str) -> Reply:
        assert self._smtp is not None
        reply = read_reply(*self._smtp.docmd(command))
        goes_on = reply.code // 100 == 3
        if reply.code not in range(200, 600) or (goes_on and command != "DATA"):
            raise smtplib.SMTPException("the reply is no SMTP reply")
        return reply

    def _send_body(self, letter: bytes) -> None:
        assert self._smtp is not None
        stuffed = letter.replace(b"\r\n.", b"\r\n..")
        self._smtp.send(b"." + stuffed if stuffed.startswith(b".") else stuffed)

    def _dot(self) -> Reply:
        assert self._smtp is not None
        assert self._smtp.sock is not None
        self._smtp.sock.settimeout(_DOT_TIMEOUT_SECONDS)
        self._smtp.send(b".\r\n")
        reply = read_reply(*self._smtp.getreply())
        self._smtp.sock.settimeout(_COMMAND_TIMEOUT_SECONDS)
        if reply.code not in range(200, 600) or reply.code // 100 == 3:
            raise smtplib.SMTPException("the reply to the final dot is no SMTP reply")
        if reply.code == _CLOSING:
            self.close()
        return reply

    def _forget(self, reply: Reply) -> None:
        """Make the connection ready for the next letter after a refusal."""
        assert self._smtp is not None
        if reply.code == _CLOSING or self._smtp.docmd("RSET")[0] // 100 != 2:
            self.close()


def _reason(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error
        return str(read_reply(error.smtp_code, text if isinstance(text, bytes) else text.encode()))
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
