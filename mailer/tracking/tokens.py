"""Signed tokens: they name a delivery or a campaign's variant for one purpose, and cannot be made up.

A token is the key's id, two numbers and a keyed BLAKE2b tag (RFC 7693 §2.9) cut to 96 bits. Numbers are
encoded in the one shortest way and text in the one canonical way, so that a token has one spelling.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

_TAG_BYTES = 12
_LONGEST = 64


class Purpose(StrEnum):
    """What a token is good for; it is good for nothing else."""

    OPEN = "open"
    CLICK = "click"
    VIEW = "view"
    REMIND = "remind"
    UNSUBSCRIBE = "unsubscribe"
    BOUNCE = "bounce"
    PASS_ON = "pass_on"  # noqa: S105 - it is no password
    MESSAGE_ID = "message_id"
    """Opens nothing; makes Message-IDs that cannot be guessed and lead back to their delivery."""


class BadToken(Exception):
    """Forged, damaged, for another purpose or under an unknown key; which of these is not told."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token names: a campaign, and within it a position (0: nobody's) or a variant."""

    campaign_id: int
    number: int


class Tokens:
    """Signs and verifies with the current key; old keys still verify."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys:
            raise ValueError("at least one key is needed")
        self._tags = {purpose: [_keyed(key, purpose) for key in keys] for purpose in Purpose}
        self._key_ids = [hashlib.blake2b(key, digest_size=1, person=b"key-id").digest() for key in keys]

    def sign(self, purpose: Purpose, campaign_id: int, number: int) -> str:
        """A token of URL-safe characters (RFC 4648 §5), without padding."""
        return base64.urlsafe_b64encode(self._pack(purpose, campaign_id, number)).rstrip(b"=").decode()

    def sign_for_address(self, purpose: Purpose, campaign_id: int, number: int) -> str:
        """A token for a local part, whose case relays may change: lower-case base32 (RFC 4648 §6)."""
        packed = self._pack(purpose, campaign_id, number)
        return base64.b32encode(packed).rstrip(b"=").decode().lower()

    def verify(self, purpose: Purpose, token: str) -> Grant:
        """What the token names.

        Raises:
            BadToken: it was not signed by us for this purpose.
        """
        return self._unpack(purpose, _decode_base64(token))

    def verify_from_address(self, purpose: Purpose, token: str) -> Grant:
        """What a token out of a local part names, in whichever case it came back.

        Raises:
            BadToken: it was not signed by us for this purpose.
        """
        return self._unpack(purpose, _decode_base32(token))

    def _pack(self, purpose: Purpose, campaign_id: int, number: int) -> bytes:
        body = self._key_ids[0] + _encode_number(campaign_id) + _encode_number(number)
        state = self._tags[purpose][0].copy()
        state.update(body)
        return body + state.digest()

    def _unpack(self, purpose: Purpose, packed: bytes) -> Grant:
        body, tag = packed[:-_TAG_BYTES], packed[-_TAG_BYTES:]
        genuine = False
        for key_id, keyed in zip(self._key_ids, self._tags[purpose], strict=True):
            if body[:1] == key_id:
                state = keyed.copy()
                state.update(body)
                genuine |= hmac.compare_digest(state.digest(), tag)
        if not genuine:
            raise BadToken
        campaign_id, rest = _decode_number(body[1:])
        number, rest = _decode_number(rest)
        if rest:
            raise BadToken
        return Grant(campaign_id, number)


def _keyed(key: bytes, purpose: Purpose) -> "hashlib.blake2b":
    secret = hashlib.blake2b(key, digest_size=32, person=b"mailer-token").digest()
    return hashlib.blake2b(key=secret, digest_size=_TAG_BYTES, person=purpose.value.encode())


def _encode_number(number: int) -> bytes:
    """Little-endian base-128 (LEB128): seven bits a byte, the high bit on all but the last."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _decode_number(data: bytes) -> tuple[int, bytes]:
    number = 0
    for index, byte in enumerate(data[:9]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number, data[index + 1 :]
    raise BadToken


def _decode_base64(token: str) -> bytes:
    try:
        raw = token.encode("ascii")
        packed = base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise BadToken from error
    if len(raw) > _LONGEST or base64.urlsafe_b64encode(packed).rstrip(b"=") != raw:
        raise BadToken
    return packed


def _decode_base32(token: str) -> bytes:
    try:
        raw = token.encode("ascii").upper()  # in this order: there are other letters whose capital is S
        packed = base64.b32decode(raw + b"=" * (-len(raw) % 8))
    except (UnicodeEncodeError, binascii.Error) as error:
        raise BadToken from error
    if len(raw) > _LONGEST or base64.b32encode(packed).rstrip(b"=") != raw:
        raise BadToken
    return packed
