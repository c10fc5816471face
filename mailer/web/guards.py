"""What stands around every answer: caps on what comes in, headers on what goes out.

A reader over a limit is told to wait (429), a process over its own says so (503); health and metrics
answer all the same. How links and pixels behave over the limit is the front's: they go on, uncounted.
Forms are counted by their pages, which know what they ask for.
"""

from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mailer.web.limits import is_somebodys
from mailer.web.site import Site
from mailer.web.tally import kind_of

LONGEST_ADDRESS = 2048
LARGEST_HEADERS = 16_384
"""Names and values together; a browser's largest cookie is a quarter of it."""
LARGEST_BODY = 8192
TOKEN_PATHS = ("/o/", "/c/", "/u/", "/v/", "/p/", "/r/", "/t/", "/a/")
_LIMITED_PATHS = ("/u/", "/v/", "/r/", "/t/", "/a/")
"""Pages of one delivery. ``/p/`` is passed on to many, ``/o/`` and ``/c/`` are the front's."""
_HIDDEN_PATHS = (*TOKEN_PATHS, "/staff", "/health", "/metrics")
_ALWAYS_ANSWERED = ("/health", "/health/ready", "/metrics")

PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'"
)
LETTER_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; form-action 'none';"
    " base-uri 'none'; frame-ancestors 'none'"
)
"""For a letter in a browser: mail clients want its styles and images in the letter itself."""

RawHeaders = list[tuple[bytes, bytes]]

_ALWAYS: RawHeaders = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", PAGE_POLICY.encode()),
]
_YEAR_SECONDS = 365 * 86_400
_NOT_INDEXED = (b"x-robots-tag", b"noindex, nofollow")
_NOT_KEPT = (b"cache-control", b"no-store")
_BODY_HEADERS = frozenset({b"content-length", b"transfer-encoding"})
_KEPT_IF_THE_SAME = (b"cache-control", b"no-cache")


def safety_headers(public_url: str) -> RawHeaders:
    """What every answer bears; behind TLS also that we are to be reached by nothing else (RFC 6797)."""
    if urlsplit(public_url).scheme != "https":
        return _ALWAYS
    return [*_ALWAYS, (b"strict-transport-security", b"max-age=%d" % _YEAR_SECONDS)]


def secret_headers(public_url: str) -> RawHeaders:
    """What an answer to a token bears, whole: it is neither indexed nor kept."""
    return [*safety_headers(public_url), _NOT_INDEXED, _NOT_KEPT]


class Guards:
    """Refuses what is too large or too much, and gives every answer its headers."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self._app = app
        self._site = site
        self._safety = safety_headers(site.runtime.settings.public_url)
        self._looks = site.limits
        self._address_too_long = site.error_page(414)
        self._headers_too_large = site.error_page(431)
        self._body_too_large = site.error_page(413)
        self._too_much_at_once = come_again(site.error_page(503), 1)
        self._too_often = come_again(site.error_page(429), self._looks.retry_seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Guard one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        guarded = self._dressing(scope, send)
        refusal = self._refuse(scope)
        if refusal is None:
            body = await _read_body(scope, receive)
            if body is not None:
                await self._app(scope, _replay(body, receive), guarded)
                return
            refusal = self._body_too_large
        await refusal(scope, receive, guarded)

    def _refuse(self, scope: Scope) -> Response | None:
        """What to say instead of an answer, cheapest question first; None: go on."""
        path: str = scope["path"]
        if _address_length(scope) > LONGEST_ADDRESS:
            return self._address_too_long
        if sum(len(name) + len(value) for name, value in scope["headers"]) > LARGEST_HEADERS:
            return self._headers_too_large
        if not self._site.load.take() and path not in _ALWAYS_ANSWERED:
            return self._too_much_at_once
        if scope["method"] != "POST" and path.startswith(_LIMITED_PATHS):
            token = path.split("/", 3)[2]
            if is_somebodys(token) and not self._looks.allow(token):
                return self._too_often
        return None

    def _dressing(self, scope: Scope, send: Send) -> Send:
        path: str = scope["path"]

        async def send_dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                status: int = message["status"]
                self._site.tally.answered(kind_of(path), status)
                if scope["method"] == "POST" and status < 300 and path.startswith(_LIMITED_PATHS):
                    self._site.tally.done(kind_of(path))
                headers = _dress(message["headers"], self._safety, path, status)
                message = {**message, "headers": headers}
            await send(message)

        return send_dressed


def _dress(headers: RawHeaders, safety: RawHeaders, path: str, status: int) -> RawHeaders:
    """Add what is missing; what belongs to one letter is kept by nobody, whatever the page says."""
    kept = list(headers)
    named = {name for name, _ in kept}
    kept += [header for header in safety if header[0] not in named]
    if path.startswith(_HIDDEN_PATHS):
        kept.append(_NOT_INDEXED)
    if status >= 400 or path.startswith(TOKEN_PATHS):
        kept = [header for header in kept if header[0] != b"cache-control"]
        kept.append(_NOT_KEPT)
    elif b"cache-control" not in named:
        kept.append(_KEPT_IF_THE_SAME)
    return kept


def come_again(response: Response, seconds: int) -> Response:
    """The answer, saying after how many seconds to ask again."""
    response.headers["Retry-After"] = str(seconds)
    return response


def _address_length(scope: Scope) -> int:
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope.get("query_string", b"")
    return len(path) + len(query)


async def _read_body(scope: Scope, receive: Receive) -> bytes | None:
    """The whole body; None if it is too large or its sender left half-way."""
    told = {name: value for name, value in scope["headers"] if name in _BODY_HEADERS}
    if not told:
        return b""
    length = told.get(b"content-length", b"0")
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
