"""Certificates the sink shows: good ones of an authority of its own, and bad ones on request."""

import ipaddress
import os
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mailer.embedded.errors import BadFaults
from mailer.embedded.faults import BAD_CERTIFICATES, CERTIFICATES, Tls
from mailer.foundation.files import create_new

AUTHORITY = "authority.pem"
"""In the sink's folder: what a client must trust to find the certificate good."""
_AUTHORITY_KEY = "authority.key"
_SERVER = "server.pem"
_NAMES = ("localhost", "sink.mailer.example")
_WRONG_NAME = "elsewhere.mailer.example"
_VALID = timedelta(days=30)


class Certificates:
    """The TLS context of the sink; makes authority and certificate when they are first needed.

    Args:
        folder: where the authority lives on, so that its clients survive a restart of the sink.
        hits: is told the kind of fault that a handshake meets.
    """

    def __init__(self, folder: Path, hits: Callable[[str], None]) -> None:
        self._folder = folder
        self._hits = hits
        self._tls: Tls | None = None
        self._in_force = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        """The one to shake hands with, whatever certificate is in force by then."""
        self.context.sni_callback = self._choose

    def prepare(self, tls: Tls | None) -> None:
        """Make or load what these settings ask for; nothing changes where it cannot be done.

        Raises:
            BadFaults: a given certificate or key cannot be used.
        """
        if tls == self._tls:
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if tls is not None:
            self._load(context, tls)
        self._in_force, self._tls = context, tls

    def _choose(
        self, handshake: ssl.SSLObject | ssl.SSLSocket, name: str, door: ssl.SSLContext
    ) -> int | None:
        """Called at the beginning of every handshake, whether or not the client names anybody."""
        del name, door
        tls = self._tls
        if tls is None or tls.broken:
            self._hits("tls-broken")
            return ssl.ALERT_DESCRIPTION_HANDSHAKE_FAILURE
        if tls.certificate in BAD_CERTIFICATES:
            self._hits(f"tls-{tls.certificate}")
        handshake.context = self._in_force
        return None

    def _load(self, context: ssl.SSLContext, tls: Tls) -> None:
        if tls.certificate in CERTIFICATES:
            context.load_cert_chain(self._make(tls.certificate))
            return
        try:
            context.load_cert_chain(tls.certificate, tls.key)
        except OSError as error:
            reason = error.strerror or error
            raise BadFaults(f"[tls]: certificate {tls.certificate} cannot be used: {reason}") from error

    def _make(self, kind: str) -> Path:
        authority_key, authority = self._authority()
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        begin, end = now - timedelta(days=1), now + _VALID
        if kind == "expired":
            begin, end = now - _VALID, now - timedelta(days=1)
        names = (_WRONG_NAME,) if kind == "wrong-name" else _NAMES
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        if kind != "wrong-name":
            alternatives += [x509.IPAddress(ipaddress.ip_address(each)) for each in ("127.0.0.1", "::1")]
        self_signed = kind == "self-signed"
        subject = _name(names[0])
        certificate = (
            _begin(key, subject, begin, end)
            .issuer_name(subject if self_signed else authority.subject)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    (key if self_signed else authority_key).public_key()
                ),
                critical=False,
            )
            .sign(key if self_signed else authority_key, hashes.SHA256())
        )
        path = self._folder / _SERVER
        _write(path, _private(key) + certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def _authority(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key_path, path = self._folder / _AUTHORITY_KEY, self._folder / AUTHORITY
        if key_path.exists() and path.exists():
            key = serialization.load_pem_private_key(key_path.read_bytes(), None)
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
            lasting = certificate.not_valid_after_utc > datetime.now(UTC) + _VALID
            if lasting and isinstance(key, ec.EllipticCurvePrivateKey):
                return key, certificate
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("mail sink, trusted by nobody else")
        now = datetime.now(UTC)
        usage = x509.KeyUsage(
            key_cert_sign=True,
            crl_sign=True,
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            _begin(key, name, now - timedelta(days=60), now + 12 * _VALID)
            .issuer_name(name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )
        _write(key_path, _private(key))
        _write(path, certificate.public_bytes(serialization.Encoding.PEM))
        return key, certificate


def _begin(
    key: ec.EllipticCurvePrivateKey, subject: x509.Name, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, content: bytes) -> None:
    with os.fdopen(create_new(path), "wb") as file:
        file.write(content)
