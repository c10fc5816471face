"""What all staff pages share: their headers, their frame, and the answer where there is no page."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from mailer.staff.sessions import Visitor
from mailer.web.site import Site

PREFIX = "/staff"
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # with no-referrer a browser hides the origin of our own forms
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Page = Callable[[Request, Visitor], Awaitable[Response]]


class Shell:
    """Puts what a page says into the frame of the staff pages."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def page(
        self,
        template: str,
        visitor: Visitor | None,
        *,
        status: int = 200,
        here: str | None = None,
        refresh: str | None = None,
        **values: object,
    ) -> Response:
        """A page.

        Args:
            here: which part of the staff pages it belongs to, for the navigation.
            refresh: when the browser looks again by itself, and where.
        """
        shown: dict[str, Any] = {"visitor": visitor, "here": here, "refresh": refresh, **values}
        response = self.site.page(f"staff/{template}", status=status, **shown)
        response.headers.update(_HEADERS)
        return response

    def problem(self, visitor: Visitor | None, status: int) -> Response:
        """A page that says what cannot be done."""
        return self.page("problem.html", visitor, status=status, problem=status)


def lead(path: str) -> Response:
    """Send the browser to another page."""
    return RedirectResponse(path, status_code=303, headers=_HEADERS)
