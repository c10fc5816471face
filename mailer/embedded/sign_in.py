"""AUTH from the server's side: PLAIN, LOGIN, CRAM-MD5, XOAUTH2 (RFC 4954, 4616, 2195)."""

import base64
import hmac
import secrets
import time
from collections.abc import Generator

from mailer.embedded.faults import SignIn

Conversation = Generator[bytes, bytes, bool]
"""Yields challenges, is sent responses, returns whether they were right; ValueError: nonsense."""


def converse(sign_in: SignIn, mechanism: str, initial: bytes | None, *, host: str) -> Conversation:
    """Ask for user and password; all challenges and responses are decoded already.

    Args:
        mechanism: one of the mechanisms of `sign_in`.
        initial: what came with the command itself, if anything.
    """
    if mechanism == "PLAIN":
        _, user, password = (yield b"").split(b"\0") if initial is None else initial.split(b"\0")
        return _same(user, sign_in.user) & _same(password, sign_in.password)
    if mechanism == "LOGIN":
        user = (yield b"Username:") if initial is None else initial
        password = yield b"Password:"
        return _same(user, sign_in.user) & _same(password, sign_in.password)
    if mechanism == "CRAM-MD5":
        challenge = f"<{secrets.randbits(64)}.{int(time.time())}@{host}>".encode()
        user, _, digest = (yield challenge).rpartition(b" ")
        right = hmac.new(sign_in.password.encode(), challenge, "md5").hexdigest()
        return _same(user, sign_in.user) & _same(digest, right)
    fields = ((yield b"") if initial is None else initial).split(b"\1")
    told = dict(part.partition(b"=")[::2] for part in fields if part)
    right = "Bearer " + sign_in.password
    if _same(told.get(b"user", b""), sign_in.user) & _same(told.get(b"auth", b""), right):
        return True
    yield b'{"status":"401","schemes":"Bearer"}'
    return False


def decode(text: str) -> bytes:
    """What a response says.

    Raises:
        ValueError: it is no base64.
    """
    return b"" if text == "=" else base64.b64decode(text, validate=True)


def _same(given: bytes, right: str) -> bool:
    return hmac.compare_digest(given, right.encode())
