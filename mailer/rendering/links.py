"""Addresses written out in a letter's templates: each becomes a tracked link of its own."""

import re
from dataclasses import replace

from mailer.rendering.source import LetterSource

_IN_HTML = re.compile(
    r"""(?P<before><a\b[^>]*?\shref\s*=\s*)(?P<quote>["'])\s*(?P<url>https?://[^"'<>\s{}]+)\s*(?P=quote)""",
    re.IGNORECASE,
)
_IN_TEXT = re.compile(
    r"(?P<url>https?://"
    r"(?![^\s<>\"'{]*\{(?!%-?\s*end))"  # template code makes it; a block only ends
    r"[^\s<>\"'{}]*[^\s<>\"'{}.,;:!?)\]])"
)


def extract_literal_links(source: LetterSource) -> tuple[LetterSource, tuple[str, ...]]:
    """Replace every absolute address written out in the templates by a place for its tracked link.

    An address that contains template code stays as it is: a redirect goes only to what is stored.

    Returns:
        The letter that asks for ``links.literal[i]``, and the addresses in the order of i. The same
        address is one link wherever it stands.
    """
    urls: dict[str, int] = {}

    def place(url: str) -> str:
        number = urls.setdefault(url.replace("&amp;", "&"), len(urls))
        return f"{{{{ links.literal[{number}] }}}}"

    files: dict[str, str] = {}
    for path, text in sorted(source.files.items()):
        if path.endswith(".html"):
            files[path] = _IN_HTML.sub(
                lambda match: f"{match['before']}{match['quote']}{place(match['url'])}{match['quote']}",
                text,
            )
        elif not path.endswith("subject.txt"):
            files[path] = _IN_TEXT.sub(lambda match: place(match["url"]), text)
        else:
            files[path] = text
    return replace(source, files=files), tuple(urls)
