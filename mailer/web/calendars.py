"""Calendar files as readers get them: written once for each revision, and sent where they are new."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from starlette.requests import Request
from starlette.responses import Response

from mailer.events.calendar import Publisher, calendar_feed, calendar_file
from mailer.events.models import Event

_MEDIA_TYPE = "text/calendar; charset=utf-8"
_FEED = ""
"""Where the feed is kept; an event's file is kept by its slug."""
_Revisions = Sequence[tuple[str, int, datetime]]


@dataclass(frozen=True, slots=True)
class CalendarFile:
    """A calendar file, and by what one knows whether it is still the same."""

    content: bytes
    changed_at: datetime | None
    """When its event was last revised; None for the feed, which is older again once an event is gone."""
    etag: str


class Calendars:
    """Keeps what it wrote: calendars look again by the hour, and events seldom change."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._kept: dict[str, tuple[_Revisions, CalendarFile]] = {}

    def of_event(self, event: Event) -> CalendarFile:
        """The file of one event."""
        return self._keep(
            event.slug, [event], lambda: calendar_file(event, self._publisher), event.updated_at
        )

    def of_all(self, events: Sequence[Event]) -> CalendarFile:
        """The feed of these events."""
        return self._keep(_FEED, events, lambda: calendar_feed(events, self._publisher))

    def _keep(
        self,
        name: str,
        events: Sequence[Event],
        write: Callable[[], bytes],
        changed_at: datetime | None = None,
    ) -> CalendarFile:
        revisions = [(event.slug, event.sequence, event.updated_at) for event in events]
        kept = self._kept.get(name)
        if kept is not None and kept[0] == revisions:
            return kept[1]
        content = write()
        etag = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
        file = CalendarFile(content, changed_at, etag)
        self._kept[name] = revisions, file
        return file


def answer_with(file: CalendarFile, request: Request, headers: Mapping[str, str]) -> Response:
    """The file, or word that the reader's copy of it is still good (RFC 9110 §15.4.5).

    Args:
        headers: what else the answer bears.
    """
    told = {"ETag": file.etag, **headers}
    if file.changed_at is not None:
        told["Last-Modified"] = format_datetime(file.changed_at.astimezone(UTC), usegmt=True)
    if _has_it(request, file):
        return Response(status_code=304, headers=told)
    return Response(file.content, media_type=_MEDIA_TYPE, headers=told)


def _has_it(request: Request, file: CalendarFile) -> bool:
    """Whether what the reader has is what they would get (RFC 9110 §13.2.2: a tag decides)."""
    tags = request.headers.getlist("If-None-Match")
    if tags:  # compared weakly (§13.1.2): whoever compresses on the way may have weakened it
        known = {tag.strip().removeprefix("W/") for tag in ",".join(tags).split(",")}
        return "*" in known or file.etag in known
    since = _moment(request.headers.get("If-Modified-Since", ""))
    if since is None or file.changed_at is None:
        return False
    return file.changed_at.replace(microsecond=0) <= since


def _moment(text: str) -> datetime | None:
    """The moment a header names; None for what is none (RFC 9110 §13.1.3: as if it were not there)."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
