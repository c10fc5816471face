"""DKIM signatures (RFC 6376, RFC 8463), relaxed/relaxed, for sites whose relay does not sign."""

import base64
import functools
import hashlib
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
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

_SIGNED = (
    *("from", "to", "cc", "reply-to", "subject", "date", "message-id"),
    *("list-id", "list-unsubscribe", "list-unsubscribe-post", "feedback-id", "auto-submitted"),
    *("mime-version", "content-type", "content-transfer-encoding"),
)
"""Each is signed as often as it is there and once more: none can be changed, and none added (RFC 6376
§5.4.2, §8.15). Mailboxes show a one-click button only where both List-Unsubscribe fields are signed
(RFC 8058 §4)."""
_SHORTEST_RSA_BITS = 2048
_LARGEST_KEY_FILE = 65_536
_WORTH_KEEPING = 200
_UNDECIDED = (b" ", b"\t", b"\r")
"""What a piece may not end in to be looked at alone: the next one decides what becomes of it."""
_FOLD_AT = 76
_BLANKS = re.compile(rb"[ \t]+")
_FOLDS = re.compile(rb"\r\n(?=[ \t])")


class BadKey(ValueError):
    """A signing key cannot be used; the message names the file and the reason, no part of the key."""


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


class Signer:
    """Signs messages with every key given: several keys are several signatures (RFC 8463 §5)."""

    def __init__(self, keys: Sequence[SigningKey]) -> None:
        """Keep the keys, in the order in which their signatures shall stand."""
        self.keys = tuple(keys)

    def sign(self, message: Sequence[bytes], *, at: datetime) -> bytes:
        """The DKIM-Signature fields that belong before the message, with their CRLF.

        No signature expires; a message signed again for the same moment gets the same bytes.

        Args:
            message: header and body, lines ending in CRLF, in pieces: those that many letters share
                are made canonical once.
            at: the moment the signatures name, in full seconds: the campaign's date, so that a copy
                is the same bytes.
        """
        head, body = _split(message)
        body_hash = base64.b64encode(hashlib.sha256(relaxed_body(body)).digest())
        fields = _relaxed_fields(head)
        names = tuple(name for name in _SIGNED for _ in range(len(fields.get(name, ())) + 1))
        signed = b"".join(line for name in _SIGNED for line in reversed(fields.get(name, ())))
        moment = int(at.timestamp())
        return b"".join(_write_signature(key, names, moment, body_hash, signed) for key in self.keys)


@functools.lru_cache(maxsize=8)
def open_signer(entries: tuple[str, ...]) -> Signer | None:
    """The signer for keys named ``selector:domain:/path/key.pem``; None for none.

    Files are read once in a process's life.

    Raises:
        BadKey: a file cannot be read, others may read it, or it holds no key that may sign.
    """
    return Signer([_read_key(entry) for entry in entries]) if entries else None


def relaxed_body(pieces: Sequence[bytes]) -> bytes:
    """The body with blanks drawn together and no empty lines at its end (RFC 6376 §3.4.4)."""
    if any(piece.endswith(_UNDECIDED) for piece in pieces):
        pieces = _closed(pieces)
    body = b"".join(
        [
            _relax_once(piece)
            if len(piece) > _WORTH_KEEPING
            else _relax(piece)
            if b" " in piece or b"\t" in piece
            else piece
            for piece in pieces
        ]
    )
    end = len(body.rstrip(b" "))
    while body.endswith(b"\r\n", 0, end):
        end -= 2
    return body[:end] + b"\r\n" if end > 0 else b""


def _closed(pieces: Sequence[bytes]) -> list[bytes]:
    """The pieces, each joined to the next where that one decides about its end."""
    closed, undecided = [], b""
    for piece in pieces:
        undecided += piece
        if not undecided.endswith(_UNDECIDED):
            closed.append(undecided)
            undecided = b""
    return [*closed, undecided]


def _relax(text: bytes) -> bytes:
    text = text.replace(b"\t", b" ")
    while b"  " in text:
        text = text.replace(b"  ", b" ")
    return text.replace(b" \r\n", b"\r\n")


_relax_once = functools.lru_cache(maxsize=512)(_relax)


def _split(message: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
    """The header without the empty line behind it, and the body in pieces."""
    begun = b""
    for index, piece in enumerate(message):
        begun += piece
        head, end, rest = begun.partition(b"\r\n\r\n")
        if end:
            return head, [rest, *message[index + 1 :]]
    return begun, []


def _relaxed_fields(head: bytes) -> dict[str, list[bytes]]:
    """The header's fields by name in lower case, each as RFC 6376 §3.4.2 says, with its CRLF."""
    fields: dict[str, list[bytes]] = {}
    for line in _FOLDS.sub(b"", head).rstrip(b"\r\n").split(b"\r\n"):
        name, _, value = line.partition(b":")
        name = name.rstrip(b" \t").lower()
        relaxed = b"%b:%b\r\n" % (name, _BLANKS.sub(b" ", value).strip(b" "))
        fields.setdefault(name.decode("latin-1"), []).append(relaxed)
    return fields


def _write_signature(
    key: SigningKey, names: tuple[str, ...], moment: int, body_hash: bytes, signed: bytes
) -> bytes:
    field, relaxed = _unsigned(key.algorithm, key.domain, key.selector, moment, names)
    signature = base64.b64encode(key.sign(signed + relaxed + b" bh=" + body_hash + b"; b="))
    wire = [field, b"\r\n bh=", body_hash, b";\r\n b="]
    step = _FOLD_AT - len(" b=")
    wire.append(b"\r\n ".join(signature[at : at + step] for at in range(0, len(signature), step)))
    return b"".join([*wire, b"\r\n"])


@functools.lru_cache(maxsize=64)
def _unsigned(
    algorithm: str, domain: str, selector: str, moment: int, names: tuple[str, ...]
) -> tuple[bytes, bytes]:
    """What a campaign's messages share: the field up to ``bh``, folded, and as it is signed."""
    lines = [f"DKIM-Signature: v=1; a={algorithm}; c=relaxed/relaxed;", f" d={domain};"]
    lines += [f" s={selector};", f" t={moment};"]
    line = " h="
    for index, name in enumerate(names):
        piece = name + (";" if index == len(names) - 1 else ":")
        if len(line) + len(piece) > _FOLD_AT:
            lines.append(line)
            line = " "
        line += piece
    lines.append(line)
    wire = "\r\n".join(lines).encode("ascii")
    (relaxed,) = _relaxed_fields(wire)["dkim-signature"]
    return wire, relaxed.removesuffix(b"\r\n")


def _read_key(entry: str) -> SigningKey:
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
