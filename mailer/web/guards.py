"""What stands around every answer: caps on what comes in, headers on what goes out."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mailer.web.site import Site

LONGEST_ADDRESS = 2048
LARGEST_BODY = 8192
TOKEN_PATHS = ("/o/", "/c/", "/u/", "/v/", "/p/", "/r/")

PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'"
)
LETTER_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; form-action 'none';"
    " base-uri 'none'; frame-ancestors 'none'"
)
"""For a letter in a browser: mail clients want its styles and images in the letter itself."""

_ALWAYS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
    ("Content-Security-Policy", PAGE_POLICY),
)


class Guards:
    """Refuses what is too large and gives every answer its headers."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self._app = app
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Guard one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(message, secret=scope["path"].startswith(TOKEN_PATHS))
            await send(message)

        if _address_length(scope) > LONGEST_ADDRESS:
            await self._site.error_page(414)(scope, receive, send_guarded)
            return
        body = await _read_body(scope, receive)
        if body is None:
            await self._site.error_page(413)(scope, receive, send_guarded)
            return
        await self._app(scope, _replay(body, receive), send_guarded)


def _address_length(scope: Scope) -> int:
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope.get("query_string", b"")
    return len(path) + len(query)


async def _read_body(scope: Scope, receive: Receive) -> bytes | None:
    """The whole body; None if it is too large or its sender left half-way."""
    headers = Headers(scope=scope)
    if "content-length" not in headers and "transfer-encoding" not in headers:
        return b""
    length = headers.get("content-length", "0")
    if len(length) > 9 or not length.isdigit() or int(length) > LARGEST_BODY:
        return None
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that tells of a body read already, then of what happens next."""
    told = False

    async def replayed() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _add_headers(message: Message, *, secret: bool) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in _ALWAYS:
        headers.setdefault(name, value)
    if secret:
        headers["X-Robots-Tag"] = "noindex, nofollow"
    if secret or message["status"] >= 400:
        headers["Cache-Control"] = "no-store"
    headers.setdefault("Cache-Control", "no-cache")
