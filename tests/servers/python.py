"""The mail server of the Python world: it offers no PIPELINING, so every command waits for its reply."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.servers.certificates import Certificate
from tests.servers.exim import PASSWORD, USER
from tests.servers.running import HOST, LATER, UNKNOWN, Arrived, free_port


class Keeping:
    """Keeps what comes, and refuses the two addresses every server of the tests refuses."""

    def __init__(self) -> None:
        self.arrived: list[Arrived] = []

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        refusal = {"unknown": UNKNOWN, "later": LATER}.get(address.partition("@")[0])
        if refusal is not None:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        (recipient,) = envelope.rcpt_tos
        assert isinstance(envelope.original_content, bytes)
        assert envelope.mail_from is not None
        number = str(len(self.arrived))
        self.arrived.append(Arrived(envelope.mail_from, recipient, number, envelope.original_content))
        return "250 2.0.0 OK"


class PythonServer:
    """aiosmtpd in a thread of this process."""

    name = "aiosmtpd"

    def __init__(self, *, certificate: Certificate | None, with_auth: bool) -> None:
        self.port = free_port()
        self._handler = Keeping()
        self._certificate, self._with_auth = certificate, with_auth
        self._controller: Controller | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        context = None
        if self._certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(self._certificate.certificate, self._certificate.key)
        self._controller = Controller(
            self._handler,
            hostname=HOST,
            port=self.port,
            server_hostname="aiosmtpd.example",
            enable_SMTPUTF8=True,
            tls_context=context,
            authenticator=_authenticate if self._with_auth else None,
            auth_required=self._with_auth,
        )
        self._controller.start()

    def end(self) -> None:
        """End it with all its connections."""
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def restart(self) -> None:
        """End it at once with all its connections, and start it again."""
        self.end()
        self.start()

    def arrived(self) -> list[Arrived]:
        """Everything received so far."""
        return list(self._handler.arrived)

    def empty(self) -> None:
        """Throw away everything received so far."""
        self._handler.arrived.clear()


def _authenticate(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: object
) -> AuthResult:
    right = (
        isinstance(given, LoginPassword)
        and given.login.decode() == USER
        and given.password.decode() == PASSWORD
    )
    return AuthResult(success=right, handled=False)


@contextmanager
def python_server_running(
    *, certificate: Certificate | None = None, with_auth: bool = False
) -> Iterator[PythonServer]:
    """An aiosmtpd for as long as the block lasts."""
    server = PythonServer(certificate=certificate, with_auth=with_auth)
    try:
        server.start()
        yield server
    finally:
        server.end()
