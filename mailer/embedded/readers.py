"""Recipients who do something with their letter, over HTTP, as browsers, proxies and scanners do."""

import email
import email.policy
import html
import http.client
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from mailer.embedded.errors import DemoFailed

_AT_ONCE = 8
_PATIENCE_SECONDS = 30.0
_ADDRESSES = re.compile(r"""(?:href|src)\s*=\s*["']([^"']+)["']""")
_FORM = "application/x-www-form-urlencoded"

_CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0"
_WEBKIT = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1"
_WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
BROWSERS = (
    f"{_WINDOWS} {_CHROME} Safari/537.36",
    f"{_WINDOWS} {_CHROME} Safari/537.36 Edg/131.0.0.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0",
    f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_WEBKIT} Safari/605.1.15",
    f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) {_WEBKIT} Mobile/15E148 Safari/604.1",
    f"Mozilla/5.0 (Linux; Android 10; K) {_CHROME} Mobile Safari/537.36",
)
PICTURE_PROXY = (
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
)
SCANNER = "Mozilla/5.0 (compatible; Barracuda Sentinel (EE); +https://www.barracuda.com)"


@dataclass(frozen=True, slots=True)
class LetterInHand:
    """One letter as its reader sees it: the addresses in it, by what they are for."""

    recipient: str
    pixel: str | None
    clicks: tuple[str, ...]
    reminders: tuple[str, ...]
    """One per event, the reader's own region first, as the letter has them."""
    unsubscribe: str | None
    one_click: str | None
    """From the header List-Unsubscribe (RFC 8058)."""
    view: str | None
    pass_on: str | None

    @property
    def all(self) -> tuple[str, ...]:
        """Every address of ours in the letter, as a scanner collects them."""
        single = (self.pixel, self.unsubscribe, self.view, self.pass_on)
        return (*self.clicks, *self.reminders, *[each for each in single if each])


def open_letter(path: Path, recipient: str, public_url: str) -> LetterInHand:
    """Take a kept letter apart, as a mail program would.

    Raises:
        DemoFailed: it has no HTML part.
    """
    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    body = message.get_body(("html",))
    if body is None:
        raise DemoFailed(f"{path} has no HTML part")
    found: dict[str, list[str]] = {}
    for address in map(html.unescape, _ADDRESSES.findall(body.get_content())):
        if address.startswith(f"{public_url}/"):
            kind = address.removeprefix(public_url).split("/")[1]
            if address not in found.setdefault(kind, []):
                found[kind].append(address)
    header = re.search(r"<(https?://[^>]+)>", str(message["List-Unsubscribe"] or ""))

    def one(kind: str) -> str | None:
        return next(iter(found.get(kind, ())), None)

    return LetterInHand(
        recipient=recipient,
        pixel=one("o"),
        clicks=tuple(found.get("c", ())),
        reminders=tuple(found.get("r", ())),
        unsubscribe=one("u"),
        one_click=header[1] if header else None,
        view=one("v"),
        pass_on=one("p"),
    )


@dataclass(frozen=True, slots=True)
class Targets:
    """Where the links of the letter lead, by their number; the same in every letter of a campaign."""

    by_number: Mapping[str, str]

    def click(self, letter: LetterInHand, *endings: str) -> str | None:
        """The letter's first link whose target contains one of these."""
        for address in letter.clicks:
            target = self.by_number.get(address.rpartition("/")[2], "")
            if any(ending in target for ending in endings):
                return address
        return None


@dataclass(slots=True)
class Deeds:
    """What was done, counted."""

    counts: Counter[str] = field(default_factory=Counter)
    unsubscribed: list[str] = field(default_factory=list)


class Reader:
    """One HTTP client with one user agent, on one kept-open connection."""

    def __init__(self, public_url: str, agent: str) -> None:
        parts = urlsplit(public_url)
        assert parts.hostname is not None
        self._host = parts.netloc
        self._connection = http.client.HTTPConnection(
            parts.hostname, parts.port, timeout=_PATIENCE_SECONDS
        )
        self._agent = agent

    def get(self, address: str) -> str | None:
        """Fetch an address of ours, following redirects that stay with us; return the first target.

        Raises:
            DemoFailed: the answer is an error.
        """
        location = self._ask("GET", address)
        if location and (urlsplit(location).netloc or self._host) == self._host:
            self._ask("GET", location)
        return location

    def post(self, address: str, form: str) -> None:
        """Send a form to an address of ours.

        Raises:
            DemoFailed: the answer is an error.
        """
        self._ask("POST", address, form)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _ask(self, method: str, address: str, form: str | None = None) -> str | None:
        parts = urlsplit(address)
        headers = {"User-Agent": self._agent, "Accept": "*/*"}
        if form is not None:
            headers["Content-Type"] = _FORM
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        self._connection.request(method, path, form, headers)
        response = self._connection.getresponse()
        response.read()
        if response.status >= http.client.BAD_REQUEST:
            kind = "/".join(parts.path.split("/")[:2])
            raise DemoFailed(f"the web application answered {response.status} to {method} {kind}/…")
        return response.headers.get("Location")


def scan(letters: Sequence[LetterInHand], public_url: str) -> Targets:
    """Fetch everything in some letters, as a mail scanner does; learn where their links lead."""
    reader = Reader(public_url, SCANNER)
    targets: dict[str, str] = {}
    try:
        for letter in letters:
            for address in letter.all:
                target = reader.get(address)
                if address in letter.clicks and target:
                    targets[address.rpartition("/")[2]] = target
    finally:
        reader.close()
    return Targets(targets)


def act_all(
    letters: Sequence[LetterInHand], targets: Targets, public_url: str, *, seed: int, deeds: Deeds
) -> None:
    """Let every one of these recipients do what such a recipient might; the same every run.

    Args:
        deeds: what they do is added to it.
    """

    def act(letter: LetterInHand) -> tuple[Counter[str], str | None]:
        chance = random.Random(f"{seed} {letter.recipient}")  # noqa: S311 - a story, no secret
        return _act(letter, targets, public_url, chance)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for counts, gone in pool.map(act, letters):
            deeds.counts.update(counts)
            if gone:
                deeds.unsubscribed.append(gone)


def _act(
    letter: LetterInHand, targets: Targets, public_url: str, chance: random.Random
) -> tuple[Counter[str], str | None]:
    """One person's minute with the letter."""
    done: Counter[str] = Counter()
    reader = Reader(public_url, chance.choice(BROWSERS))
    try:
        if letter.pixel and chance.random() < 0.8:
            _show_pictures(reader, letter.pixel, public_url, chance)
            done["opened"] += 1
        for what, likely, *endings in (
            ("fetched the pack", 0.5, "/startpakke"),
            ("read the principles", 0.25, "/principper"),
            ("clicked a registration", 0.3, "tilmelding"),
        ):
            link = targets.click(letter, *endings)
            if link and chance.random() < likely:
                reader.get(link)
                done[what] += 1
        if letter.reminders and chance.random() < 0.4:
            _ask_to_be_reminded(reader, letter.reminders[0])
            done["asked for a reminder"] += 1
        if letter.view and chance.random() < 0.05:
            reader.get(letter.view)
            done["read it in the browser"] += 1
        if letter.pass_on and chance.random() < 0.05:
            reader.get(letter.pass_on)
            done["opened the pass-on page"] += 1
        gone = chance.random() < 0.03 and _unsubscribe(reader, letter, chance)
        done["unsubscribed"] += bool(gone)
        return done, letter.recipient if gone else None
    finally:
        reader.close()


def _show_pictures(reader: Reader, pixel: str, public_url: str, chance: random.Random) -> None:
    """Most programs fetch the pixel themselves; some mail services fetch it through a proxy."""
    if chance.random() < 0.85:
        reader.get(pixel)
        return
    proxy = Reader(public_url, PICTURE_PROXY)
    try:
        proxy.get(pixel)
    finally:
        proxy.close()


def _ask_to_be_reminded(reader: Reader, page: str) -> None:
    reader.get(page)
    reader.post(page, "")


def _unsubscribe(reader: Reader, letter: LetterInHand, chance: random.Random) -> bool:
    """By the mail program's own button (RFC 8058 §3.2), or by the page behind the letter's link."""
    if letter.one_click and chance.random() < 0.5:
        reader.post(letter.one_click, "List-Unsubscribe=One-Click")
        return True
    if letter.unsubscribe:
        reader.get(letter.unsubscribe)
        reader.post(letter.unsubscribe, "")
        return True
    return False
