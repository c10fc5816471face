"""Where tracked links lead: the table of links that a web process holds in memory."""

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import idna
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailer.campaigns.models import Link
from mailer.foundation.files import create_new
from mailer.foundation.log import get_log

STALE_AFTER_SECONDS = 2.0
"""A corrected target must be live within five seconds; this leaves room for the reading itself."""
MISSING_AFTER_SECONDS = 0.25
"""A link nobody has heard of may be one launched this moment: it is looked for sooner."""
TRAP_LINK = 0
"""The number of the link that no reader can see, leading home; a letter's own begin at 1."""
TRAP_KIND = "trap"
_KEPT = "/%:@!$&'()*+,;=~-._"
_REFUSED = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\\]")
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")
_LONGEST_NUMBER = 9

log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class TrackedLink:
    """One link of a campaign, as a redirect needs it."""

    location: str
    """The absolute address in ASCII, fit for a header."""
    kind: str
    event_slug: str | None


Row = tuple[int, int, str, str, str | None]
"""Campaign, number, target, kind and event of a link, as the database has it."""


class LinkTable:
    """All links of all campaigns in memory, read anew when old or lacking what is asked for.

    A copy lies in a file, so that a process that starts while the database is away knows them too.
    """

    def __init__(
        self,
        public_url: str,
        *,
        path: Path | None = None,
        ticking: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take in the copy, if there is one.

        Args:
            path: of the copy; None keeps none.
        """
        self._public_url = public_url
        self._trap = TrackedLink(locate(public_url, "/") or "/", TRAP_KIND, None)
        self._path = path
        self._ticking = ticking
        self._rows: dict[tuple[int, int], Row] = {}
        self._links: dict[tuple[int, int], TrackedLink] = {}
        self._looked_at = float("-inf")
        self._loaded = False
        if path is not None:
            self._take(_read_copy(path))

    def __len__(self) -> int:
        return len(self._links)

    @property
    def loaded(self) -> bool:
        """Whether the database has been read at least once."""
        return self._loaded

    def find(self, campaign_id: int, number: int) -> TrackedLink | None:
        """The link of that campaign and number, as last read."""
        return self._trap if number == TRAP_LINK else self._links.get((campaign_id, number))

    @property
    def is_stale(self) -> bool:
        """Whether links may have changed since they were read, or are only the copy's."""
        return not self._loaded or self._ticking() - self._looked_at >= STALE_AFTER_SECONDS

    def needs_look(self, campaign_id: int, number: int) -> bool:
        """Whether the database must be asked before this link is answered."""
        if not self._loaded:
            return True
        known = self.find(campaign_id, number) is not None
        age = self._ticking() - self._looked_at
        return age >= (STALE_AFTER_SECONDS if known else MISSING_AFTER_SECONDS)

    def looking(self) -> None:
        """Say that the database is being asked now, so that nobody else asks for a while."""
        self._looked_at = self._ticking()

    def load(self, db: Session) -> None:
        """Read every link, and renew the copy if anything changed."""
        found = db.execute(
            select(Link.campaign_id, Link.number, Link.target, Link.kind, Link.event_slug)
        )
        changed = self._take([(one[0], one[1], one[2], one[3], one[4]) for one in found])
        if self._path is not None and (changed or not self._loaded):
            try:
                _write_copy(self._path, list(self._rows.values()))
            except OSError as error:
                log.warning("the copy of the links is out of date", why=os.strerror(error.errno or 0))
        self._loaded = True

    def _take(self, rows: Iterable[Row]) -> bool:
        """Let these be all links; one whose target is no address of the web is left out."""
        before, taken = self._rows, {(row[0], row[1]): row for row in rows}
        if taken == before:
            return False
        links = {}
        for key, row in taken.items():
            if before.get(key) == row:
                link = self._links.get(key)
            else:
                location = locate(self._public_url, row[2])
                link = TrackedLink(location, row[3], row[4]) if location is not None else None
            if link is not None:
                links[key] = link
        self._rows, self._links = taken, links
        return True


def _read_copy(path: Path) -> list[Row]:
    """The links in the copy; none if there is no copy, or it is damaged."""
    try:
        told = json.loads(path.read_text("utf-8"))
        return [
            (int(campaign_id), int(number), str(target), str(kind), None if slug is None else str(slug))
            for campaign_id, number, target, kind, slug in told
        ]
    except (OSError, ValueError, TypeError, RecursionError):
        return []


def _write_copy(path: Path, rows: Sequence[Row]) -> None:
    """Replace the copy as a whole, for its owner only: its targets become redirects.

    Raises:
        OSError: the disk does not take it; the copy stays as it was.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with os.fdopen(create_new(temporary), "w", encoding="utf-8") as file:
            json.dump(rows, file, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


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
