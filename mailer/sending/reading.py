"""A rendered letter read as its recipient would: its parts, its images, where its links lead."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import idna

from mailer.foundation.settings import TrackingMode
from mailer.rendering.letter import RenderedLetter
from mailer.sending.anchors import Anchor, read_sights
from mailer.sending.checks import LOOPBACK, within
from mailer.sending.findings import Finding, error, warning
from mailer.sending.frozen import CampaignLetter
from mailer.tracking.links import TRAP_LINK, locate

_WEB = {"http", "https"}
_OTHER_SCHEMES = {"mailto", "tel", "sms"}
_IMAGES_FROM = {*_WEB, "cid", "data"}
_LONGEST_SUBJECT = 150
_SHOWN = 80
_KEPT = 10_000
_ADDRESS = re.compile(r"https?://[^\s<>\"']+[^\s<>\"'.,;:!?)\]]")
_SIGHTS = re.compile(
    r"<(?:a\b.*?(?:</a|\Z)|img\b[^>]*>|[^<>]*?\bid\s*=[^>]*>)", re.IGNORECASE | re.DOTALL
)
"""All that this module judges of HTML: letters in which these are the same read the same to it."""
_SAID = re.compile(
    r"(?P<plain>https?://|www\.)?(?P<host>(?:[\w-]+\.)+(?P<last>[^\W\d_]{2,}))(?::\d+)?(?:[/?#]\S*)?",
    re.IGNORECASE,
)
_DOMAINS = frozenset(
    {
        *(
            "dk",
            "gl",
            "fo",
            "se",
            "no",
            "fi",
            "is",
            "de",
            "nl",
            "be",
            "fr",
            "uk",
            "at",
            "ch",
            "us",
            "eu",
        ),
        *("int", "com", "org", "net", "edu", "gov", "info", "nu", "io", "app", "dev", "example"),
    }
)
"""Ends of what is a host even without http or www before it; ``f.eks.`` and ``a.pdf`` are none."""


class Reader:
    """Reads many copies of one letter; what reads the same as one before is not judged again."""

    def __init__(self, letter: CampaignLetter, public_url: str) -> None:
        """Take the campaign's links, by which tracked addresses are followed."""
        self._tracked = letter.tracking is not TrackingMode.NONE
        self._targets = {str(link.number): link.target for link in letter.links.values()}
        self._targets[str(TRAP_LINK)] = "/"
        self._public_url, self._ours = public_url, f"{public_url}/"
        self._token = re.compile(rf"({re.escape(self._ours)}[a-z]/)[^\"'/?#\s]*")
        self._seen: set[frozenset[str]] = set()
        self._found_at: dict[str, str | None] = {}

    def read(self, rendered: RenderedLetter) -> Iterator[Finding]:
        """What is wrong with a letter; nothing if one before it was the same in all that matters.

        No token that acts for somebody stands in the words.
        """
        subject, text, html = (
            self._token.sub(r"\1…", part) for part in (rendered.subject, rendered.text, rendered.html)
        )
        addresses = list(dict.fromkeys(_ADDRESS.findall(text)))
        parts = (
            f"subject {bool(subject.strip())} {len(subject) > _LONGEST_SUBJECT}",
            f"text {bool(text.strip())}",
        )
        sights = frozenset({*parts, *addresses, *_SIGHTS.findall(html)})
        if sights in self._seen:
            return
        if len(self._seen) < _KEPT:
            self._seen.add(sights)
        if not subject.strip():
            yield error("subject", "the subject is empty")
        elif len(subject) > _LONGEST_SUBJECT:
            yield warning("subject", f"the subject is longer than {_LONGEST_SUBJECT} characters")
        if not text.strip():
            yield error("text", "the text part is empty: who reads mail as text gets nothing")
        for address in addresses:
            yield from self._check_address(address, f"{_short(address)} in the text part")
        yield from self._check_html(html)

    def _check_html(self, html: str) -> Iterator[Finding]:
        sights = read_sights(html)
        if not sights.words and all(image.src.startswith(f"{self._ours}o/") for image in sights.images):
            yield error("html", "the HTML part is empty")
        for anchor in sights.anchors:
            if not (anchor.href.startswith("#") and anchor.href[1:] in sights.targets):
                yield from self._check_anchor(anchor)
        for image in sights.images:
            if not image.described:
                yield warning("image-alt", f"an image has no alt: {_short(image.src)}")
            if urlsplit(image.src).scheme not in _IMAGES_FROM:
                shown = _short(image.src) or "src is empty"
                yield error("image-source", f"an image has no whole address: {shown}")

    def _check_anchor(self, anchor: Anchor) -> Iterator[Finding]:
        """Whether a reader can follow it, and comes where its words say."""
        words = " ".join(anchor.words.split())
        shown = _short(anchor.href) or "href is empty"
        if words:
            shown += f", shown as {_short(words)!r}"
        scheme = anchor.href.partition(":")[0].lower() if ":" in anchor.href else ""
        if scheme in _OTHER_SCHEMES:
            return
        if scheme not in _WEB:
            yield error("link-target", f"a link has no address a reader could open: {shown}")
            return
        yield from self._check_address(anchor.href, shown)
        said, target = _said_host(words), self._follow(anchor.href)
        host = urlsplit(target).hostname if target else None
        if said and host and not (within(said, host) or within(host, said)):
            yield error("link-elsewhere", f"a link says {said} and leads to {host}")

    def _check_address(self, address: str, shown: str) -> Iterator[Finding]:
        """Where an absolute address leads, and whether a click on it is counted."""
        target = self._follow(address)
        if target is None:
            yield error("link-target", f"a link leads nowhere: {shown}")
            return
        parts = urlsplit(target)
        if parts.scheme != "https" and parts.hostname not in LOOPBACK:
            yield warning("link-https", f"a link's target is not https: {_short(target)}")
        if self._tracked and not address.startswith(self._ours):
            yield warning(
                "link-untracked",
                f"template code makes an address at {parts.hostname}: clicks on it are not counted",
            )

    def _follow(self, address: str) -> str | None:
        """The absolute address a reader comes to; None if it is nowhere."""
        if address not in self._found_at:
            if len(self._found_at) >= _KEPT:
                self._found_at.clear()
            target: str | None = address
            if address.startswith(f"{self._ours}c/"):
                number = address.removeprefix(f"{self._ours}c/").partition("/")[2]
                target = self._targets.get(number)
            self._found_at[address] = target and locate(self._public_url, target)
        return self._found_at[address]


def _said_host(words: str) -> str | None:
    """The host that a link's words name, in ASCII; None where they are no address."""
    match = _SAID.fullmatch(words.strip(" .,;:()<>"))
    if match is None or not (match["plain"] or match["last"].lower() in _DOMAINS):
        return None
    try:
        return idna.encode(match["host"].lower(), uts46=True).decode("ascii")
    except UnicodeError:
        return None


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
