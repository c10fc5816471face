"""Signed tokens: they name a delivery or a campaign's variant for one purpose, and cannot be made up.

A token is text: the id of the key, campaign and number in hexadecimal, and a tag of twenty characters
with five bits each, cut out of a keyed BLAKE2b digest (RFC 7693 §2.9). Its letters and digits are those
of lower-case base32hex (RFC 4648 §7), so that it survives a local part, whose case relays may change.
Numbers are written in the one shortest way: a token has one spelling.

A letter may be passed on, and its tokens with it. What only somebody who was just on a letter's page may
do needs a stamp beside the token: the page gives one to each visit, and it is good for an hour.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from struct import Struct


class Purpose(StrEnum):
    """What a token is good for; it is good for nothing else.

    The place of a purpose in this order decides which part of the digests is its tag: a new one goes to
    the end.
    """

    OPEN = "open"
    CLICK = "click"
    VIEW = "view"
    REMIND = "remind"
    UNSUBSCRIBE = "unsubscribe"
    BOUNCE = "bounce"
    MESSAGE_ID = "message_id"
    """Opens nothing; makes Message-IDs that cannot be guessed and lead back to their delivery."""
    PASS_ON = "pass_on"  # noqa: S105 - it is no password
    REGISTER = "register"
    """Opens the page to register for an event on."""
    ATTEND = "attend"
    """Opens the page to give a seat back on; stands only in letters to those registered."""


DELIVERY_PURPOSES = tuple(purpose for purpose in Purpose if purpose is not Purpose.PASS_ON)
"""What a delivery has tokens for, in the order of ``CampaignSigner.sign_delivery``."""
_PLACES = {purpose: index for index, purpose in enumerate(Purpose)}
TAG_CHARACTERS = 20
STAMP_LIFE = timedelta(hours=1)
"""So long a stamp is good, by the clock people see."""
_MARK_CHARACTERS = 10
_ID_CHARACTERS = 2
_TAGS_PER_DIGEST = 3
_DIGESTS = -(-len(Purpose) // _TAGS_PER_DIGEST)
_FIVE_BITS = bytes(b"0123456789abcdefghijklmnopqrstuv"[byte & 31] for byte in range(256))
"""By byte, the character for its lower five bits."""
_cut_tags = Struct(
    "".join(f"{TAG_CHARACTERS}{'s' if each in DELIVERY_PURPOSES else 'x'}" for each in Purpose)
    + f"{TAG_CHARACTERS}x" * (_TAGS_PER_DIGEST * _DIGESTS - len(Purpose))
).unpack
_NUMBER = r"(0|[1-9a-f][0-9a-f]{0,15})"
_TOKEN = re.compile(
    rf"(([0-9a-v]{{{_ID_CHARACTERS}}}){_NUMBER}-{_NUMBER})([0-9a-v]{{{TAG_CHARACTERS}}})"
)

_STAMP = re.compile(
    rf"(([0-9a-v]{{{_ID_CHARACTERS}}}){_NUMBER}-([0-9a-v]{{{_MARK_CHARACTERS}}}))([0-9a-v]{{{TAG_CHARACTERS}}})"
)


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
        self._keys = [(_key_id(key), _keyed(key)) for key in keys]
        self._stamp_keys = [(_key_id(key), _stamp_keyed(key)) for key in keys]

    def sign(self, purpose: Purpose, campaign_id: int, number: int) -> str:
        """A token of lower-case letters, digits and one hyphen: at home in addresses of every kind."""
        key_id, states = self._keys[0]
        body = f"{key_id}{campaign_id:x}-{number:x}"
        return body + _tag(states, purpose, body)

    def signer(self, campaign_id: int) -> "CampaignSigner":
        """A quick way to the same tokens for one campaign."""
        key_id, states = self._keys[0]
        return CampaignSigner(f"{key_id}{campaign_id:x}-".encode(), states)

    def verify(self, purpose: Purpose, token: str) -> Grant:
        """What the token names.

        Raises:
            BadToken: it was not signed by us for this purpose.
        """
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise BadToken
        body, claimed_id, campaign_id, number, tag = match.groups()
        genuine = False
        for key_id, states in self._keys:
            if key_id == claimed_id:
                genuine |= hmac.compare_digest(_tag(states, purpose, body), tag)
        if not genuine:
            raise BadToken
        return Grant(int(campaign_id, 16), int(number, 16))

    def reader(self, purpose: Purpose) -> Callable[[bytes], tuple[int, int] | None]:
        """A quick way to verify tokens of one purpose: campaign and number, None for a bad token."""
        digest, place = divmod(_PLACES[purpose], _TAGS_PER_DIGEST)
        begins, ends = place * TAG_CHARACTERS, (place + 1) * TAG_CHARACTERS
        by_id: dict[bytes, list[hashlib.blake2b]] = {}
        for key_id, states in self._keys:
            by_id.setdefault(key_id.encode(), []).append(states[digest])
        equal, nothing = hmac.compare_digest, ()

        def read(token: bytes) -> tuple[int, int] | None:
            body = token[:-TAG_CHARACTERS]
            genuine = False
            for begun in by_id.get(token[:_ID_CHARACTERS], nothing):
                state = begun.copy()
                state.update(body)
                tag = state.digest()[begins:ends].translate(_FIVE_BITS)
                genuine |= equal(tag, token[-TAG_CHARACTERS:])
            if not genuine:
                return None
            # Only what ``sign`` writes has such a tag: how it is written need not be looked at.
            campaign_id, _, number = body[_ID_CHARACTERS:].partition(b"-")
            return int(campaign_id, 16), int(number, 16)

        return read

    def verify_from_address(self, purpose: Purpose, token: str) -> Grant:
        """What a token out of a local part names, in whichever case it came back.

        Raises:
            BadToken: it was not signed by us for this purpose.
        """
        if not token.isascii():  # there are other letters that become ours in lower case
            raise BadToken
        return self.verify(purpose, token.lower())

    def stamp(self, letter: Grant, mark: str, at: datetime) -> str:
        """A stamp for one visit to a letter's page: text of letters, digits and one hyphen.

        Args:
            mark: the visit's own, from ``new_mark``.
        """
        key_id, state = self._stamp_keys[0]
        body = f"{key_id}{int(at.timestamp()):x}-{mark}"
        return body + _stamp_tag(state, letter, body)

    def read_stamp(self, letter: Grant, stamp: str, *, now: datetime) -> str:
        """The mark of the visit that the stamp was given to.

        Raises:
            BadToken: it was not given by us to this letter's page, or too long ago.
        """
        match = _STAMP.fullmatch(stamp)
        if match is None:
            raise BadToken
        body, claimed_id, given_at, mark, tag = match.groups()
        genuine = False
        for key_id, state in self._stamp_keys:
            if key_id == claimed_id:
                genuine |= hmac.compare_digest(_stamp_tag(state, letter, body), tag)
        # Machines' clocks differ: one from a little ahead is as good as one from a little ago.
        if not genuine or abs(now - datetime.fromtimestamp(int(given_at, 16), UTC)) > STAMP_LIFE:
            raise BadToken
        return mark


class CampaignSigner:
    """Signs for one campaign with the current key: all tokens of a delivery in one go."""

    def __init__(self, prefix: bytes, states: Sequence["hashlib.blake2b"]) -> None:
        """Begin the digests with what all tokens of the campaign have in common."""
        self._prefix = prefix
        self._states = [state.copy() for state in states]
        for state in self._states:
            state.update(prefix)

    def sign_delivery(self, position: int) -> list[bytes]:
        """A token for each of ``DELIVERY_PURPOSES``, as ``Tokens.sign`` writes them, in ASCII."""
        number = b"%x" % position
        digest = b""
        for begun in self._states:
            state = begun.copy()
            state.update(number)
            digest += state.digest()
        body = self._prefix + number
        return [body + tag for tag in _cut_tags(digest.translate(_FIVE_BITS))]


def new_mark() -> str:
    """A mark that no other visit to any page has, of ten lower-case letters and digits (50 bits)."""
    return secrets.token_bytes(_MARK_CHARACTERS).translate(_FIVE_BITS).decode()


def _key_id(key: bytes) -> str:
    digest = hashlib.blake2b(key, digest_size=_ID_CHARACTERS, person=b"key-id").digest()
    return digest.translate(_FIVE_BITS).decode()


def _keyed(key: bytes) -> "list[hashlib.blake2b]":
    secret = _secret(key)
    size = _TAGS_PER_DIGEST * TAG_CHARACTERS
    return [
        hashlib.blake2b(key=secret, digest_size=size, person=b"tags-%d" % number)
        for number in range(_DIGESTS)
    ]


def _tag(states: Sequence["hashlib.blake2b"], purpose: Purpose, body: str) -> str:
    digest, place = divmod(_PLACES[purpose], _TAGS_PER_DIGEST)
    state = states[digest].copy()
    state.update(body.encode())
    begins = place * TAG_CHARACTERS
    return state.digest()[begins : begins + TAG_CHARACTERS].translate(_FIVE_BITS).decode()


def _stamp_keyed(key: bytes) -> "hashlib.blake2b":
    return hashlib.blake2b(key=_secret(key), digest_size=TAG_CHARACTERS, person=b"stamps")


def _secret(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=32, person=b"mailer-token").digest()


def _stamp_tag(state: "hashlib.blake2b", letter: Grant, body: str) -> str:
    state = state.copy()
    state.update(f"{letter.campaign_id:x}-{letter.number:x} {body}".encode())
    return state.digest().translate(_FIVE_BITS).decode()
