"""The door of the staff pages: cookies, forms that no other site can fill in, and who may pass."""

import hmac
import secrets
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

import anyio.to_thread
from anyio import CapacityLimiter
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from mailer.foundation.clock import real_now
from mailer.foundation.database import Database
from mailer.foundation.settings import Settings
from mailer.staff.browsers import is_marked
from mailer.staff.sessions import Visitor, end_session, find_visitor, form_token, note_seen
from mailer.staff.signing_in import SignedIn, sign_in
from mailer.web.origin import Origins

HOME = "/staff"
SIGN_IN = "/staff/sign-in"
UNATTENDED = "automatisk"
"""In the query of a page that looks again by itself: nobody need be there, so it keeps no session."""
_GUESSES_AT_ONCE = 2
"""A password takes 64 MB and a tenth of a second to look at."""
_LOOKS_AT_ONCE = 3
_MOST_WAITING = 20
"""Whoever comes when so many wait is told to come again."""
_BROWSER_DAYS = 180
_LONGEST_COOKIE = 100
_MOST_FIELDS = 8

Answer = TypeVar("Answer")


class TooBusy(Exception):
    """Too many wait before the door; nothing was asked of the database."""


class _Queue:
    """So many at a time in a thread, and only so many who wait for it."""

    def __init__(self, at_once: int) -> None:
        self._limiter = CapacityLimiter(at_once)
        self._room = at_once + _MOST_WAITING

    async def run(self, deed: Callable[[], Answer]) -> Answer:
        """Do it in a thread.

        Raises:
            TooBusy: it was not begun.
        """
        if not self._room:  # the limiter itself counts those who come at the same moment too late
            raise TooBusy
        self._room -= 1
        try:
            return await anyio.to_thread.run_sync(deed, limiter=self._limiter)
        finally:
            self._room += 1


class Door:
    """Lets in who has a session, and gives one to who knows the password."""

    def __init__(self, settings: Settings, database: Database, origins: Origins) -> None:
        """Cookies are Secure and bound to this host wherever our address begins with https."""
        ours = urlsplit(settings.public_url)
        self._database = database
        self._origins = origins
        self._ours = f"{ours.scheme}://{ours.netloc}".casefold()
        self._tls = ours.scheme == "https"
        self._key = settings.signing_keys[0][:64]
        self._guesses = {marked: _Queue(_GUESSES_AT_ONCE) for marked in (True, False)}
        self._looks = {marked: _Queue(_LOOKS_AT_ONCE) for marked in (True, False)}

    async def visitor(self, request: Request) -> Visitor | None:
        """Who has come; None for nobody with a session.

        Raises:
            TooBusy: nobody looked.
            DatabaseUnavailable: that cannot be known.
        """
        token = self._cookie(request, "session")
        if token is None:
            return None
        attended = UNATTENDED not in request.query_params
        return await self._looks[self._is_marked(request)].run(lambda: self._look(token, attended))

    def _is_marked(self, request: Request) -> bool:
        """Whether it stands in the queue of browsers we know, whatever crowd of strangers comes."""
        return is_marked(self._key, self._cookie(request, "browser"))

    def _look(self, token: str, attended: bool) -> Visitor | None:
        now = real_now()
        with self._database.read() as db:
            found = find_visitor(db, token, now=now)
        if found is None:
            return None
        visitor, is_time = found
        if is_time and attended:
            with self._database.write() as db:
                note_seen(db, token, now=now)
        return visitor

    async def sign_in(self, request: Request, name: str, password: str) -> SignedIn | None:
        """Open a session; None if name or password is wrong.

        Raises:
            TooManyAttempts, TooBusy: the password was not looked at.
            DatabaseUnavailable: nobody can sign in.
        """

        def try_it() -> SignedIn | None:
            return sign_in(
                self._database,
                name,
                password,
                browser=self._cookie(request, "browser"),
                earlier=self._cookie(request, "session"),
                key=self._key,
                now=real_now(),
            )

        return await self._guesses[self._is_marked(request)].run(try_it)

    async def sign_out(self, request: Request) -> None:
        """End the session in the database; the cookie is worthless from then on.

        Raises:
            TooBusy, DatabaseUnavailable: it has not ended.
        """
        token = self._cookie(request, "session")

        def end() -> None:
            with self._database.write() as db:
                end_session(db, token or "")

        await self._looks[self._is_marked(request)].run(end)

    def keep(self, response: Response, signed_in: SignedIn) -> None:
        """Hand the cookies over."""
        self._set(response, "session", signed_in.token)
        self._set(response, "browser", signed_in.browser, seconds=_BROWSER_DAYS * 86_400)
        self._set(response, "form", "", seconds=0)

    def forget(self, response: Response) -> None:
        """Take the session's cookie back; the browser stays known."""
        self._set(response, "session", "", seconds=0)

    def prepare_form(self, request: Request, response: Response | None, secret: str) -> None:
        """Bind the form of the sign-in page to this browser."""
        if response is not None and self._cookie(request, "form") != secret:
            self._set(response, "form", secret)

    def form_secret(self, request: Request) -> str:
        """What the form of the sign-in page is bound to: the browser's, or a new one."""
        return self._cookie(request, "form") or secrets.token_urlsafe(32)

    def may_sign_in(self, request: Request, fields: Mapping[str, str]) -> bool:
        """Whether the sign-in form is ours and came from this browser."""
        secret = self._cookie(request, "form")
        return secret is not None and self._is_ours(request, fields, form_token(secret))

    def may_act(self, request: Request, fields: Mapping[str, str], visitor: Visitor) -> bool:
        """Whether a form is ours and of this session."""
        return self._is_ours(request, fields, visitor.form_token)

    def _is_ours(self, request: Request, fields: Mapping[str, str], token: str) -> bool:
        given = fields.get("form", "")
        return self._is_same_origin(request) and hmac.compare_digest(given.encode(), token.encode())

    def _is_same_origin(self, request: Request) -> bool:
        """Whether a page of ours sent the form, as the browser says; one that says nothing did not."""
        headers: Headers = request.headers
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site is not None and site != "same-origin":
            return False
        if origin is None:
            return site is not None
        scheme = "https" if self._origins.is_tls(request.scope) else "http"
        here = f"{scheme}://{headers.get('host', '')}".casefold()
        return origin.casefold() in {self._ours, here}

    def _cookie(self, request: Request, name: str) -> str | None:
        value = request.cookies.get(self._name(name))
        return value if value and len(value) <= _LONGEST_COOKIE else None

    def _name(self, name: str) -> str:
        return f"__Host-staff-{name}" if self._tls else f"staff-{name}"

    def _set(self, response: Response, name: str, value: str, *, seconds: int | None = None) -> None:
        """Set a cookie that scripts cannot read and other sites' requests do not bear."""
        response.set_cookie(
            self._name(name),
            value,
            max_age=seconds,
            path="/" if self._tls else HOME,
            secure=self._tls,
            httponly=True,
            samesite="strict",
        )


async def read_form(request: Request) -> dict[str, str]:
    """The fields of an urlencoded form, the first of each name; empty for anything else."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != (
        "application/x-www-form-urlencoded"
    ):
        return {}
    try:
        fields = parse_qs(
            (await request.body()).decode(),
            keep_blank_values=True,
            max_num_fields=_MOST_FIELDS,
            errors="strict",
        )
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}
