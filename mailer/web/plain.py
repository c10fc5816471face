"""Plain requests for pixels and tracked links, read in one look.

Most requests of a mailing's first minutes are of this kind. Whatever is the least out of the ordinary is
left to the server's own parser, so that this one need not know how to refuse.
"""

import re
from typing import NamedTuple

LONGEST = 4096
"""Bytes of a plain request."""
_PLAIN = re.compile(
    rb"(GET|HEAD) /(?:o/([0-9a-v-]{1,64})|c/([0-9a-v-]{1,64})/(0|[1-9][0-9]{0,8}))(?:\?[!-~]{0,1900})?"
    rb" HTTP/1\.1\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n)+)\r\n"
)
"""Method, token of a pixel, token and number of a link, headers (RFC 9112 §2.1, §5)."""
_OUT_OF_THE_ORDINARY = re.compile(
    rb"(?:^|\n)(?:(?:content-length|transfer-encoding|expect|upgrade|(?:sec-|x-)?purpose|x-moz):"
    rb"|connection:(?![ \t]*keep-alive[ \t]*\r))",
    re.IGNORECASE,
)
_AGENT = re.compile(rb"(?:^|\n)user-agent:[ \t]*([^\r]*)", re.IGNORECASE)
_HEADER = re.compile(rb"([^:\r\n]+):[ \t]*([^\r\n]*)\r\n")


class Plain(NamedTuple):
    """A request that says nothing but what it wants, and who asks."""

    is_head: bool
    wants_pixel: bool
    """Else it wants a link."""
    token: bytes
    number: int
    """Of the link."""
    agent: bytes
    headers: bytes
    """All of them, as they came."""


def read_plain(request: bytes) -> Plain | None:
    """The request if it is plain, and all that was read."""
    if len(request) > LONGEST:
        return None
    found = _PLAIN.fullmatch(request)
    if found is None:
        return None
    method, open_token, click_token, digits, headers = found.groups()
    if _OUT_OF_THE_ORDINARY.search(headers):
        return None
    agent = _AGENT.search(headers)
    return Plain(
        method == b"HEAD",
        open_token is not None,
        open_token or click_token,
        int(digits or 0),
        agent[1].rstrip(b" \t") if agent else b"",
        headers,
    )


def split_headers(headers: bytes) -> list[tuple[bytes, bytes]]:
    """Names in lower case and values, as ASGI gives them."""
    return [(name.lower(), value) for name, value in _HEADER.findall(headers)]
