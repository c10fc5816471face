"""What a reader of a letter's HTML can click and see: anchors with their words, and images."""

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass(slots=True)
class Anchor:
    """One ``<a>`` that leads somewhere, or should."""

    href: str
    words: str = ""


@dataclass(slots=True)
class Image:
    """One ``<img>``."""

    src: str
    described: bool
    """Whether it has an ``alt``, be it an empty one, which says that there is nothing to describe."""


@dataclass(slots=True)
class Sights:
    """Everything found in one letter."""

    anchors: list[Anchor] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    targets: set[str] = field(default_factory=set)
    """Names within the letter that ``href="#name"`` may lead to."""
    words: int = 0
    """Characters of text a reader sees, blanks not counted."""


def read_sights(html: str) -> Sights:
    """Read a letter's HTML as a mail client would, without judging it."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.sights


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.sights = Sights()
        self._open: Anchor | None = None
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.sights.targets.update(given[name] for name in ("id", "name") if given.get(name))
        match tag:
            case "a" if "href" in given:
                self._open = Anchor(given["href"].strip())
                self.sights.anchors.append(self._open)
            case "img":
                self.sights.images.append(Image(given.get("src", "").strip(), "alt" in given))
            case "style" | "script" | "title":
                self._hidden += 1

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._open = None
        elif tag in {"style", "script", "title"} and self._hidden:
            self._hidden -= 1

    def handle_data(self, data: str) -> None:
        if self._hidden:
            return
        self.sights.words += len("".join(data.split()))
        if self._open is not None:
            self._open.words += data
