"""What the pages behind a letter's own links have in common: tokens, limits, deeds, patience."""

from collections.abc import Callable
from datetime import date, datetime
from typing import NamedTuple, TypeVar

import anyio
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from mailer.foundation.database import DatabaseUnavailable
from mailer.tracking.models import TrackingKind
from mailer.tracking.tokens import BadToken, Grant, Purpose
from mailer.web.guards import come_again
from mailer.web.limits import (
    DEEDS_AT_ONCE,
    DEEDS_PER_HOUR,
    RETURNS_AT_ONCE,
    RETURNS_PER_HOUR,
    UNDOS_AT_ONCE,
    UNDOS_PER_HOUR,
    Limits,
    is_somebodys,
)
from mailer.web.recording import NotKept, Place
from mailer.web.site import Site

LONGEST_SLUG = 64
_PATIENCE_SECONDS = 1.5
"""So long a page waits for what the database would add to it."""
_OUTCOME_SECONDS = 2.0
"""So long a page waits for what becomes of a deed."""

Answer = TypeVar("Answer")


class Kept(NamedTuple):
    """A deed on the disk."""

    place: Place
    at: datetime
    """Its moment, by which what it made is found."""


class Holders:
    """Serves whoever holds a letter's link, whom the letter may have been passed on to.

    What is taken back has limits of its own, so that doing it over and over stops no one from asking.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self.deeds = Limits(DEEDS_AT_ONCE, DEEDS_PER_HOUR)
        self.undos = Limits(UNDOS_AT_ONCE, UNDOS_PER_HOUR)
        self.returns = Limits(RETURNS_AT_ONCE, RETURNS_PER_HOUR)

    def verify(self, purpose: Purpose, request: Request) -> Grant | None:
        """What the address's token names; None if it opens nothing here."""
        try:
            return self._site.runtime.tokens.verify(purpose, request.path_params["token"])
        except BadToken:
            return None

    def refuse(self, request: Request, limits: Limits, what: str = "") -> Response | None:
        """What to say instead, if this letter's forms are over their limit; None: go on.

        Args:
            what: is asked for, where that is counted by itself.
        """
        if self.allow(request, limits, what):
            return None
        return come_again(self._site.error_page(429), limits.retry_seconds)

    def allow(self, request: Request, limits: Limits, what: str) -> bool:
        """Whether one more form of this letter is within the limit; what is nobody's has none."""
        return not is_somebodys(request.path_params["token"]) or limits.allow(_key(request, what))

    def make_room(self, request: Request, what: str) -> None:
        """Let what was just taken back be asked for again, however often it was before."""
        self.deeds.forget(_key(request, what))

    async def keep(
        self,
        request: Request,
        kind: TrackingKind,
        grant: Grant,
        *,
        subject: str | None = None,
        scope: str | None = None,
    ) -> Kept | None:
        """Put what was asked for on the disk; None if it cannot be kept."""
        names = {"campaign_id": grant.campaign_id, "position": grant.number}
        deed = self._site.see(request, kind, **names, subject=subject, scope=scope)
        try:
            return Kept(await self._site.recorder.note_deed(deed), deed.at)
        except NotKept:
            return None

    async def is_done(self, place: Place) -> bool:
        """Whether what was asked for has been done, which mostly takes less than a second."""
        return await self._site.recorder.wait_until_moved(place, _OUTCOME_SECONDS)

    async def look(self, question: Callable[[Session], Answer]) -> tuple[Answer | None, bool]:
        """What the database says, and whether it said anything in time."""
        with anyio.move_on_after(_PATIENCE_SECONDS):
            try:
                return await self._site.read(question), True
            except (DatabaseUnavailable, OperationalError):
                pass
        return None, False

    def today(self) -> date:
        """The office's date."""
        runtime = self._site.runtime
        return runtime.clock.now().astimezone(runtime.settings.zone).date()


def _key(request: Request, what: str) -> str:
    """By which the forms of one letter that ask for one thing are counted."""
    return f"{request.path_params['token']} {what}"
