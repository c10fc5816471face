"""DKIM signatures (RFC 6376, RFC 8463), relaxed/relaxed, for sites whose relay does not sign."""

import base64
import functools
import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

_SIGNED = (
    *("from", "to", "cc", "reply-to", "subject", "date", "message-id"),
    *("list-id", "list-unsubscribe", "list-unsubscribe-post", "feedback-id", "auto-submitted"),
    *("mime-version", "content-type", "content-transfer-encoding"),
)
"""Each is signed as often as it is there and once more: none can be changed, and none added (RFC 6376
§5.4.2, §8.15). Mailboxes show a one-click button only where both List-Unsubscribe fields are signed
(RFC 8058 §4)."""
_WORTH_KEEPING = 200
_UNDECIDED = (b" ", b"\t", b"\r")
"""What a piece may not end in to be looked at alone: the next one decides what becomes of it."""
_FOLD_AT = 76
_BLANKS = re.compile(rb"[ \t]+")
_FOLDS = re.compile(rb"\r\n(?=[ \t])")


class Key(Protocol):
    """A private key, and the name under which its other half is published."""

    @property
    def record_name(self) -> str:
        """Where the public key is published (RFC 6376 §3.6.2.1)."""

    @property
    def record(self) -> str:
        """The TXT record to publish there (RFC 6376 §3.6.1, RFC 8463 §4)."""

    @property
    def selector(self) -> str:
        """Which of the domain's keys it is."""

    @property
    def domain(self) -> str:
        """For whom it signs."""

    @property
    def algorithm(self) -> str:
        """``rsa-sha256`` or ``ed25519-sha256``."""

    def sign(self, data: bytes) -> bytes:
        """The signature over the canonical header fields."""


class Signer:
    """Signs messages with every key given: several keys are several signatures (RFC 8463 §5)."""

    def __init__(self, keys: Sequence[Key]) -> None:
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
    if not entries:
        return None
    # Only here: cryptography takes 7 MB in every process, and most sites leave signing to their relay.
    from mailer.rendering.signing_keys import read_key  # noqa: PLC0415

    return Signer([read_key(entry) for entry in entries])


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
    key: Key, names: tuple[str, ...], moment: int, body_hash: bytes, signed: bytes
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
