"""Plain requests for pixels and tracked links, read in one look.

Most requests of a mailing's first minutes are of this kind. Whatever is the least out of the ordinary is
left to the server's own parser, so that this one need not know how to refuse.
"""

import re
from functools import lru_cache
from typing import NamedTuple

LONGEST = 4096
"""Bytes of a plain request."""
_LINE = re.compile(
    rb"(GET|HEAD) /(?:o/([0-9a-v-]{1,64})|c/([0-9a-v-]{1,64})/(0|[1-9][0-9]{0,8}))(?:\?[!-~]{0,1900})?"
    rb" HTTP/1\.1"
)
"""Method, token of a pixel, token and number of a link (RFC 9112 §3)."""
_HEADERS = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n)+\r\n")
"""All of them, and the empty line behind the last (RFC 9112 §5)."""
_OUT_OF_THE_ORDINARY = re.compile(
    rb"\n(?:(?:content-length|transfer-encoding|expect|upgrade|(?:sec-|x-)?purpose|x-moz):"
    rb"|connection:(?![ \t]*keep-alive[ \t]*\r))",
    re.IGNORECASE,
)
_AGENT = re.compile(rb"\nuser-agent:[ \t]*([^\r]*)", re.IGNORECASE)
_FORWARDED_FOR = re.compile(rb"\nx-forwarded-for:[ \t]*([^\r]*)", re.IGNORECASE)
_OFTEN_THE_SAME = 1024
"""Bytes of headers up to which they are known again: a program sends the same ones with every request,
and a scanner asks for all links of a letter. Nobody fills the memory with long ones."""
_KNOWN = 4096


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
    """All of them, as they came, with the empty line."""


def read_plain(request: bytes) -> Plain | None:
    """The request if it is plain, and all that was read."""
    if len(request) > LONGEST:
        return None
    line, _, headers = request.partition(b"\r\n")
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    agent = _agent_again(headers) if len(headers) <= _OFTEN_THE_SAME else _agent_of(headers)
    if agent is None:
        return None
    method, open_token, click_token, digits = found.groups()
    return Plain(
        method == b"HEAD",
        open_token is not None,
        open_token or click_token,
        int(digits or 0),
        agent,
        headers,
    )


def _agent_of(headers: bytes) -> bytes | None:
    """What the program says of itself, empty if nothing; None if the headers are out of the ordinary."""
    lines = b"\n" + headers  # each name then stands behind the end of a line
    if _HEADERS.fullmatch(headers) is None or _OUT_OF_THE_ORDINARY.search(lines):
        return None
    agent = _AGENT.search(lines)
    return agent[1].rstrip(b" \t") if agent else b""


_agent_again = lru_cache(maxsize=_KNOWN)(_agent_of)


def forwarded_for(headers: bytes) -> list[tuple[bytes, bytes]]:
    """The lines in which proxies say who asked them, as ASGI gives them; no others."""
    return [(b"x-forwarded-for", told) for told in _FORWARDED_FOR.findall(b"\n" + headers)]
