"""A letter's styles written into its elements, once for all renderings of one structure.

What is written where depends on elements and attributes, never on words between them. So the words are
taken out of a rendering and put back when its styles are inlined; renderings that differ in nothing else
share that work. Only words are taken that HTML reads as words whatever they say: in a document of plain
tags, with nothing in it that reads markup in a way of its own (WHATWG HTML §13.2.5.1, §13.2.6).
"""

import functools
import hashlib
import re
import secrets
from collections.abc import Sequence

import css_inline
from markupsafe import escape

from mailer.rendering.errors import LetterError
from mailer.rendering.marks import Marks, Write

HOSTILE = "<&\"'>=2E\r\n.{{{{ x }}}}\u2028å" + "x" * 90 + " {}=y"
"""Of a slot's name: what every place but a text or a quoted attribute reads more into."""
_INLINER = css_inline.CSSInliner(load_remote_stylesheets=False)
_KEPT = 100
"""Structures of one letter; each takes about as much memory as the letter twice."""
_MOST_LINES = 20
"""Of a chunk; markup that goes on for longer is not worth reading again and again."""
_BLANK = " \t\n\f\r"
_VALUE = rf"""[{_BLANK}]*+=[{_BLANK}]*+(?:"[^"]*+"|'[^']*+'|[^{_BLANK}"'<>=`]++)"""
_REST = rf"""(?:[{_BLANK}]++[^{_BLANK}"'<>/=]++(?:{_VALUE})?+)*+[{_BLANK}]*+/?+>"""
_MARKUP = re.compile(
    rf"""(
        </?+(?!(?i:style|title)[{_BLANK}/>])[a-zA-Z][a-zA-Z0-9:_-]*+{_REST}
        | <!--(?!-?>)(?>.*?--!?>)(?<!!>)
        | <!(?i:doctype)\b[^>]*+>
        | <(?i:style){_REST}(?>.*?</(?i:style)(?=[{_BLANK}/>]))[{_BLANK}]*+>
        | <(?i:title){_REST}(?>.*?</(?i:title)(?=[{_BLANK}/>]))[{_BLANK}]*+>
    )""",
    re.ASCII | re.DOTALL | re.VERBOSE,
)
"""Markup about whose end there is no doubt."""
_READS_ITS_OWN_WAY = re.compile(
    r"<(?:script|textarea|xmp|iframe|noembed|noframes|noscript|plaintext|template|svg|math|select"
    r"|frameset)\b",
    re.ASCII | re.IGNORECASE,
)
_STYLES = re.compile(r"<style.*?</style", re.DOTALL | re.IGNORECASE)
_ASKED_FOR = re.compile(r"\[\s*([A-Za-z_:][A-Za-z0-9_:.-]*)\s*[~|^$*]?=")
"""Attributes whose values a style sheet's selectors ask for (Selectors Level 4 §6)."""
_WORDS = re.compile(r"(?:[^&<>\r\0]|&(?:amp|lt|gt|quot|nbsp|#34|#39);)++")
_MARK = "w" + secrets.token_hex(10)
"""Stands for words; nobody can know it, so that no letter has it."""


class Inliner:
    """Inlines the styles of one letter's renderings, whose slots may hold marks."""

    def __init__(self, slots: Marks) -> None:
        """Take the marks by which slots are known."""
        self._slots = slots
        self._structures: dict[bytes, Sequence[str] | None] = {}
        """What stands between the words when the styles are inlined, by digest of the document without
        words; None where taking words out changes that."""

    def inline(self, html: str, write: Write) -> str | None:
        """What ``inline_css`` makes of it, but for how characters are written, its marks in place.

        None: with other values in its slots something else would come out.

        Args:
            write: writes a hostile value for a slot, as HTML.
        """
        skeleton, words = _take_words(html)
        key = hashlib.blake2b(skeleton.encode("utf-8", "surrogatepass")).digest()
        if key not in self._structures:
            if len(self._structures) >= _KEPT:
                self._structures.clear()
            inlined = self._inline_proved(skeleton, write)
            between = inlined.split(_MARK) if inlined is not None else []
            self._structures[key] = between if len(between) == len(words) + 1 else None
        structure = self._structures[key]
        if structure is None:
            return self._inline_proved(html, write)
        return _put_words(structure, words)

    def _inline_proved(self, html: str, write: Write) -> str | None:
        """The document with its styles inlined; None if values could change more than places."""
        if self._is_styled_by_value(html):
            return None

        def filled(text: str) -> str:
            between = self._slots.fill(text, write).split(_MARK)
            return _put_words(between, [_write_hostile(number) for number in range(1, len(between))])

        try:
            inlined = inline_css(html)
            # Inlining once more brings both to the one way in which a document can be written.
            same = inline_css(filled(inlined)) == inline_css(inline_css(filled(html)))
        except LetterError:  # at hostile values; at those of a recipient it may well do
            return None
        return inlined if same else None

    def _is_styled_by_value(self, html: str) -> bool:
        """Whether a style may ask for what stands in a slot: as class, id or attribute, or for nothing.

        No hostile value shows that: it would have to be the very one that the style sheet names.
        """
        styles = "".join(_STYLES.findall(html))
        asked = {"class", "id", *(name.lower() for name in _ASKED_FOR.findall(styles))}
        named = "|".join(re.escape(name) for name in sorted(asked))
        value = rf"""(?:"[^"]*|'[^']*|[^{_BLANK}"'<>]*)"""
        return ":empty" in styles.lower() or self._slots.follow(
            rf"""(?i:[{_BLANK}"'/](?:{named})[{_BLANK}]*=[{_BLANK}]*{value})""", html
        )


def inline_css(html: str) -> str:
    """The HTML with its style sheet written into its elements, as mail clients need it.

    Raises:
        LetterError: what stands in a ``style`` is no style.
    """
    try:
        return _INLINER.inline(html)
    except css_inline.InlineError as error:
        raise LetterError(f"a style in the HTML part cannot be read: {error}") from error


def _take_words(html: str) -> tuple[str, Sequence[str]]:
    """The document with a mark in place of all words, and the words; none if its markup is unclear.

    It is read in chunks that end outside of all markup, most of them lines: what has been read as
    part of one rendering need not be read again in the next.
    """
    head, end, body = html.partition("</head>")
    begun = _read_chunk(head + end)
    if begun is None:
        return html, ()
    skeleton, words = [begun[0]], list(begun[1])
    unread: list[str] = []
    for line in body.splitlines(keepends=True):
        unread.append(line)
        read = _read_chunk("".join(unread))
        if read is not None:
            skeleton.append(read[0])
            words += read[1]
            unread.clear()
        elif len(unread) == _MOST_LINES:
            break
    return (html, ()) if unread else ("".join(skeleton), words)


@functools.lru_cache(maxsize=2_000)
def _read_chunk(html: str) -> tuple[str, Sequence[str]] | None:
    """Part of a document with marks in place of words, and the words; None if it ends within markup."""
    parts = _MARKUP.split(html)
    if "<" in "".join(parts[::2]) or _READS_ITS_OWN_WAY.search(html):
        return None
    words = []
    for place in range(0, len(parts), 2):
        said = parts[place].strip(_BLANK)
        if said and _WORDS.fullmatch(said):
            before, _, after = parts[place].partition(said)
            parts[place] = f"{before}{_MARK}{after}"
            words.append(said)
    return "".join(parts), words


def _put_words(between: Sequence[str], words: Sequence[str]) -> str:
    parts = [""] * (2 * len(between) - 1)
    parts[::2] = between
    parts[1::2] = words
    return "".join(parts)


def _write_hostile(number: int) -> str:
    return str(escape(HOSTILE.format(number)))
