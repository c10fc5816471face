"""The private keys of DKIM signatures, read from files (RFC 6376 §3.3, RFC 8463)."""

import base64
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from mailer.rendering.errors import BadKey

_SHORTEST_RSA_BITS = 2048
_LARGEST_KEY_FILE = 65_536


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, and the name under which its other half is published."""

    selector: str
    domain: str
    _private: RSAPrivateKey | Ed25519PrivateKey

    @property
    def algorithm(self) -> str:
        """``rsa-sha256`` or ``ed25519-sha256``."""
        return "rsa-sha256" if isinstance(self._private, RSAPrivateKey) else "ed25519-sha256"

    @property
    def record_name(self) -> str:
        """Where the public key is published (RFC 6376 §3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def record(self) -> str:
        """The TXT record to publish there (RFC 6376 §3.6.1, RFC 8463 §4)."""
        public = self._private.public_key()
        if isinstance(self._private, RSAPrivateKey):
            form, kind = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo), "rsa"
        else:
            form, kind = (Encoding.Raw, PublicFormat.Raw), "ed25519"
        return f"v=DKIM1; k={kind}; p={base64.b64encode(public.public_bytes(*form)).decode()}"

    def sign(self, data: bytes) -> bytes:
        """The signature over the canonical header fields."""
        if isinstance(self._private, RSAPrivateKey):
            return self._private.sign(data, PKCS1v15(), SHA256())
        return self._private.sign(hashlib.sha256(data).digest())  # RFC 8463 §3


def read_key(entry: str) -> SigningKey:
    """The key named ``selector:domain:/path/key.pem``.

    Raises:
        BadKey: the file cannot be read, others may read it, or it holds no key that may sign.
    """
    selector, domain, path = entry.split(":", 2)
    data = _read_private(Path(path))
    try:
        private = load_pem_private_key(data, password=None)
    except TypeError:
        raise BadKey(f"{path} is locked with a passphrase: keep it without one, chmod 600") from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey(f"{path} holds no private key in PEM") from None
    if isinstance(private, RSAPrivateKey):
        if private.key_size < _SHORTEST_RSA_BITS:
            raise BadKey(
                f"{path} holds an RSA key of {private.key_size} bits; at least {_SHORTEST_RSA_BITS} are"
                " needed (RFC 8301 §3.2)"
            )
    elif not isinstance(private, Ed25519PrivateKey):
        raise BadKey(f"{path} holds neither an RSA nor an Ed25519 key")
    return SigningKey(selector, domain.lower(), private)


def _read_private(path: Path) -> bytes:
    """The bytes of a file that not everybody may read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BadKey(f"cannot read {path}: {error.strerror}") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise BadKey(f"{path} is no file")
        if mode & (stat.S_IROTH | stat.S_IWOTH):
            raise BadKey(f"everybody on this machine may read or write {path}: chmod 600 it")
        return os.read(descriptor, _LARGEST_KEY_FILE)
    finally:
        os.close(descriptor)
