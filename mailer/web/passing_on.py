"""The letter to pass on, as a page: for nobody in particular, and with a way to send it on."""

import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from sqlalchemy.exc import OperationalError

from mailer.foundation.database import DatabaseUnavailable
from mailer.sending.viewing import SharedLetter, pass_on_letter
from mailer.web.site import Site

FRESH_SECONDS = 4.0
"""So long a page is shown again as it is; a corrected link must be live within five seconds."""
MOST_KEPT = 128
"""Pages in memory; a campaign has at most 48, of some 40 kB each."""
_HEAD_END = re.compile(r"</head\s*>", re.IGNORECASE)
_BODY_BEGIN = re.compile(r"<body\b[^>]*>", re.IGNORECASE)
_WORDS = {
    "da": (
        "Hej",
        "Jeg har fået det her brev og tænkte, at det også er noget for dig. Du kan læse det her:",
        "Venlig hilsen",
    ),
    "en": (
        "Hello",
        "I was sent this letter and thought you might like it too. You can read it here:",
        "Best wishes",
    ),
}


@dataclass(frozen=True, slots=True)
class _Page:
    html: str
    made_at: float


class SharedLetters:
    """Pages to pass on, by campaign and variant: rendered once in a while, however many read them."""

    def __init__(
        self, site: Site, *, most: int = MOST_KEPT, ticking: Callable[[], float] = time.monotonic
    ) -> None:
        self._site = site
        self._most = most
        self._ticking = ticking
        self._pages: OrderedDict[tuple[int, int], _Page] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pages)

    async def page(self, campaign_id: int, variant: int) -> str | None:
        """The page as HTML; None if there is no such letter.

        With the database away, the page as it was last shown.

        Raises:
            DatabaseUnavailable: it is away, and the page was not shown lately.
        """
        key, now, tools = (campaign_id, variant), self._ticking(), self._site.runtime.letter_tools
        kept = self._pages.get(key)
        if kept is not None and now - kept.made_at < FRESH_SECONDS:
            return kept.html
        try:
            letter = await self._site.read(lambda db: pass_on_letter(tools, db, campaign_id, variant))
        except (DatabaseUnavailable, OperationalError):
            if kept is None:
                raise
            return kept.html
        if letter is None:
            return None
        html = self._with_share_bar(letter)
        self._pages[key] = _Page(html, now)
        self._pages.move_to_end(key)
        while len(self._pages) > self._most:
            self._pages.popitem(last=False)
        return html

    def _with_share_bar(self, letter: SharedLetter) -> str:
        """The letter's HTML with a bar above it, and the bar's styles in its head."""
        template = self._site.templates.get_template("web/share.html")
        bar = template.make_module(
            {
                "lang": letter.language,
                "address": letter.address,
                "mail": _mail_address(letter),
                "say": lambda danish, english: english if letter.language == "en" else danish,
            }
        )
        html, styles = letter.rendered.html, str(bar.style())  # type: ignore[attr-defined]
        html = _insert(html, _HEAD_END.search(html), styles, before=True)
        return _insert(html, _BODY_BEGIN.search(html), str(bar.bar()), before=False)  # type: ignore[attr-defined]


def _insert(html: str, place: re.Match[str] | None, part: str, *, before: bool) -> str:
    """Put a part before or behind a tag; at the beginning where a letter has no such tag."""
    at = 0 if place is None else place.start() if before else place.end()
    return html[:at] + part + html[at:]


def _mail_address(letter: SharedLetter) -> str:
    """A ``mailto:`` that opens a friendly letter to whomever the reader likes (RFC 6068)."""
    hello, words, goodbye = _WORDS[letter.language]
    body = f"{hello}\r\n\r\n{words}\r\n\r\n{letter.address}\r\n\r\n{goodbye}\r\n"
    return f"mailto:?subject={quote(letter.rendered.subject, safe='')}&body={quote(body, safe='')}"
