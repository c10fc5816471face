"""Where tracked links lead: the table of links that a web process holds in memory."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

import idna
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailer.campaigns.models import Link

STALE_AFTER_SECONDS = 2.0
"""A corrected target must be live within five seconds; this leaves room for the reading itself."""
MISSING_AFTER_SECONDS = 0.25
"""A link nobody has heard of may be one launched this moment: it is looked for sooner."""
_KEPT = "/%:@!$&'()*+,;=~-._"
_REFUSED = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\\]")
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")
_LONGEST_NUMBER = 9


@dataclass(frozen=True, slots=True)
class TrackedLink:
    """One link of a campaign, as a redirect needs it."""

    location: str
    """The absolute address in ASCII, fit for a header."""
    kind: str
    event_slug: str | None


class LinkTable:
    """All links of all campaigns in memory, read anew when old or lacking what is asked for."""

    def __init__(self, public_url: str, *, ticking: Callable[[], float] = time.monotonic) -> None:
        self._public_url = public_url
        self._ticking = ticking
        self._links: dict[tuple[int, int], TrackedLink] = {}
        self._looked_at = float("-inf")
        self._loaded = False

    def __len__(self) -> int:
        return len(self._links)

    @property
    def loaded(self) -> bool:
        """Whether the table has been read at least once."""
        return self._loaded

    def find(self, campaign_id: int, number: int) -> TrackedLink | None:
        """The link of that campaign and number, as last read."""
        return self._links.get((campaign_id, number))

    def needs_look(self, campaign_id: int, number: int) -> bool:
        """Whether the database must be asked before this link is answered."""
        known = (campaign_id, number) in self._links
        age = self._ticking() - self._looked_at
        return age >= (STALE_AFTER_SECONDS if known else MISSING_AFTER_SECONDS)

    def looking(self) -> None:
        """Say that the database is being asked now, so that nobody else asks for a while."""
        self._looked_at = self._ticking()

    def load(self, db: Session) -> None:
        """Read every link; one whose target is no address of the web is left out."""
        rows = db.execute(select(Link.campaign_id, Link.number, Link.target, Link.kind, Link.event_slug))
        links = {}
        for campaign_id, number, target, kind, event_slug in rows:
            location = locate(self._public_url, target)
            if location is not None:
                links[campaign_id, number] = TrackedLink(location, kind, event_slug)
        self._links = links
        self._loaded = True


def locate(public_url: str, target: str) -> str | None:
    """The absolute ASCII address of a link's target; None for what must not stand in a redirect.

    A target that begins with ``/`` is a page of ours. International host names are written as
    RFC 5891 says, other characters percent-encoded (RFC 3987 §3.1).
    """
    if _REFUSED.search(target):
        return None
    address = public_url + target if target.startswith("/") else target
    try:
        parts = urlsplit(address)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            return None
        host = _ascii_host(parts.hostname)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:  # no such port, host or bracket; idna.IDNAError is one too
        return None
    if not _HOST.fullmatch(host):
        return None
    path, query, fragment = (
        quote(parts.path, safe=_KEPT),
        quote(parts.query, safe=_KEPT + "?"),
        quote(parts.fragment, safe=_KEPT + "?"),
    )
    return urlunsplit((parts.scheme, host + port, path, query, fragment))


def parse_number(text: str) -> int | None:
    """The link's number out of an address; None unless it is written in the one plain way."""
    if not text.isascii() or not text.isdigit() or len(text) > _LONGEST_NUMBER:
        return None
    return int(text) if str(int(text)) == text else None


def _ascii_host(host: str) -> str:
    if host.isascii():
        return f"[{host}]" if ":" in host else host
    return idna.encode(host, uts46=True).decode("ascii")
