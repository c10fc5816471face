"""Signing in to a relay (RFC 4954)."""

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable

from mailer.smtp.errors import Garbled, RelayUnavailable
from mailer.smtp.extensions import Extensions
from mailer.smtp.relays import Relay, Sign
from mailer.smtp.replies import read_reply

Ask = Callable[[bytes], Awaitable[tuple[int, bytes]]]
"""Says a line, without its end, and returns code and text of the reply."""

_SIGNED_IN = 235
_CHALLENGE = 334
_LEAST_PATIENT = 500
_PROTECTED = (Sign.PLAIN, Sign.LOGIN, Sign.CRAM_MD5)
_IN_THE_CLEAR = (Sign.CRAM_MD5, Sign.PLAIN, Sign.LOGIN)
"""CRAM-MD5 does not give the password away, but is often offered and seldom kept in order."""


async def sign_in(ask: Ask, relay: Relay, offered: Extensions, *, protected: bool) -> None:
    """Sign in as the relay's URL says, if it does.

    Raises:
        RelayUnavailable: with the reason, which names neither user nor password.
        Garbled: the reply is none to AUTH.
    """
    if relay.username is None or relay.password is None:
        return
    user, password = relay.username, relay.password.get_secret_value()
    code, text = await _say(ask, _choose(relay, offered, protected=protected), user, password)
    if code == _SIGNED_IN:
        return
    if code < 400:
        raise Garbled("its reply is none to AUTH")
    for secret in (password, user):
        text = text.replace(secret.encode(), b"...")
    reply = read_reply(code, text)
    if code >= _LEAST_PATIENT:
        raise RelayUnavailable(f"refuses the user name or password: {reply}")
    raise RelayUnavailable(f"does not let us sign in now: {reply}")


def _choose(relay: Relay, offered: Extensions, *, protected: bool) -> Sign:
    if not offered.signs:
        raise RelayUnavailable("it does not offer to sign in")
    if relay.auth is not None:
        if relay.auth not in offered.signs:
            raise RelayUnavailable(f"it does not offer to sign in by {relay.auth.value}")
        return relay.auth
    for sign in _PROTECTED if protected else _IN_THE_CLEAR:
        if sign in offered.signs:
            return sign
    raise RelayUnavailable("it offers no way to sign in with a password")


async def _say(ask: Ask, sign: Sign, user: str, password: str) -> tuple[int, bytes]:
    match sign:
        case Sign.PLAIN:
            return await ask(b"AUTH PLAIN " + _encode(f"\0{user}\0{password}"))
        case Sign.LOGIN:
            reply = await ask(b"AUTH LOGIN")
            for answer in (user, password):
                if reply[0] != _CHALLENGE:
                    return reply
                reply = await ask(_encode(answer))
            return reply
        case Sign.CRAM_MD5:
            code, challenge = await ask(b"AUTH CRAM-MD5")
            if code != _CHALLENGE:
                return code, challenge
            return await ask(_encode(f"{user} {_digest(password, challenge)}"))
        case Sign.XOAUTH2:
            reply = await ask(b"AUTH XOAUTH2 " + _encode(f"user={user}\1auth=Bearer {password}\1\1"))
            # A refusal is first explained in a challenge, to be answered with nothing.
            return await ask(b"") if reply[0] == _CHALLENGE else reply


def _digest(password: str, challenge: bytes) -> str:
    """The answer to a CRAM-MD5 challenge (RFC 2195)."""
    try:
        decoded = base64.b64decode(challenge, validate=True)
    except binascii.Error as error:
        raise Garbled("its challenge cannot be read") from error
    return hmac.new(password.encode(), decoded, "md5").hexdigest()


def _encode(text: str) -> bytes:
    return base64.b64encode(text.encode())
