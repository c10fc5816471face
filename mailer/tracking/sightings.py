"""What the web saw somebody do, and how that is written down as one line of a journal.

A line is a JSON array (RFC 8259), its fields in the order of ``Sighting``: no text can break out of it,
and one that was cut short is no JSON any more.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted

from mailer.tracking.models import Manner, TrackingKind

NOBODY = 0
"""The position in tokens of campaigns that know no person."""
LONGEST_USER_AGENT = 300
AHEAD_HEADERS = frozenset({b"purpose", b"sec-purpose", b"x-purpose", b"x-moz"})
"""Where programs say that they fetch before anybody asked."""
_AHEAD_WORDS = re.compile(rb"prefetch|preview|prerender", re.IGNORECASE)


class BadLine(Exception):
    """A line of a journal is no sighting; nothing was read from it."""


@dataclass(slots=True)
class Sighting:
    """Something that somebody did. Who it was, and whether that is kept, is decided later.

    Nobody changes one; it is not frozen because every click is one, and a frozen one takes three times
    as long to make.
    """

    kind: TrackingKind
    at: datetime
    """The clock people see."""
    campaign_id: int | None = None
    """None for what belongs to no campaign: visits to public pages."""
    position: int = NOBODY
    """The delivery within the campaign."""
    link_number: int | None = None
    subject: str | None = None
    """The event's slug, or the page's name."""
    manner: Manner = Manner.GET
    user_agent: str = ""
    """What the program said of itself; only its first 300 characters are kept."""
    network: str | None = None
    """Stands for the reader's network that day."""
    scope: str | None = None
    """Of a deed: ``everything`` or ``letters`` of an unsubscription, with the mark of the visit it was
    said in; the mark alone where that is taken back; ``undo`` of a reminder."""


def read_manner(method: str, headers: Iterable[tuple[bytes, bytes]]) -> Manner:
    """How something was asked for.

    Args:
        headers: names in lower case, as ASGI gives them.
    """
    if method == "HEAD":
        return Manner.HEAD
    if method == "POST":
        return Manner.POST
    for name, value in headers:
        if name in AHEAD_HEADERS and _AHEAD_WORDS.search(value):
            return Manner.AHEAD
    return Manner.GET


def read_user_agent(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """What the program said of itself; empty if nothing.

    Args:
        headers: names in lower case, as ASGI gives them.
    """
    for name, value in headers:
        if name == b"user-agent":
            return value[:LONGEST_USER_AGENT].decode("latin-1")
    return ""


def write_line(seen: Sighting) -> bytes:
    """The sighting as a line of a journal, with its end."""
    return format_line(
        seen.kind.value,
        seen.at.isoformat(),
        seen.campaign_id,
        seen.position,
        seen.link_number,
        seen.subject,
        seen.manner.value,
        _quoted(seen.user_agent[:LONGEST_USER_AGENT]),
        seen.network,
        seen.scope,
    )


def format_line(
    kind: str,
    at: str,
    campaign_id: int | None,
    position: int,
    link_number: int | None,
    subject: str | None,
    manner: str,
    agent: str,
    network: str | None,
    scope: str | None,
) -> bytes:
    """The line of a sighting that is given by its fields: quicker than making one first.

    Args:
        at: in ISO 8601, with its offset.
        agent: what ``quote_agent`` made of the user agent.
    """
    text = (
        f'["{kind}","{at}",'
        f"{'null' if campaign_id is None else campaign_id},{position},"
        f"{'null' if link_number is None else link_number},"
        f"{'null' if subject is None else _quoted(subject)},"
        f'"{manner}",{agent},'
        f"{'null' if network is None else _quoted(network)},"
        f"{'null' if scope is None else _quoted(scope)}]\n"
    )
    return text.encode("ascii")


@lru_cache(maxsize=4096)
def quote_agent(raw: bytes) -> str:
    """A user agent as it stands in a request, as a line has it."""
    return _quoted(raw[:LONGEST_USER_AGENT].decode("latin-1"))


def read_line(line: bytes) -> Sighting:
    """The sighting in a line.

    Raises:
        BadLine: it is damaged, cut short, or of another version.
    """
    try:
        text = line.decode()
        told, ends = _read_json(text)
        kind, at, campaign_id, position, link_number, subject, manner, user_agent, network, scope = told
        seen = Sighting(
            _KINDS[kind],
            datetime.fromisoformat(at),
            campaign_id,
            position,
            link_number,
            subject,
            _MANNERS[manner],
            user_agent,
            network,
            scope,
        )
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise BadLine from error
    if not (
        type(told) is list
        and text[ends:] in _LINE_ENDS
        and type(position) is int
        and seen.at.tzinfo is not None
        and type(campaign_id) in _NUMBER
        and type(link_number) in _NUMBER
        and type(user_agent) is str
        and type(subject) in _TEXT
        and type(network) in _TEXT
        and type(scope) in _TEXT
    ):
        raise BadLine
    return seen


_read_json = json.JSONDecoder().raw_decode
_LINE_ENDS = ("\n", "")
_NUMBER = frozenset({int, type(None)})
_TEXT = frozenset({str, type(None)})
_KINDS = {kind.value: kind for kind in TrackingKind}
_MANNERS = {manner.value: manner for manner in Manner}
