"""What is wrong with a letter, in words that are known to be ours: no recipient's value is among them.

What a template raises may repeat whatever it was given, in any form: turned round, cut, inside a list.
So nothing is looked for and hidden. A word stays only if it is one that Python, Jinja2 or this package
tells faults with; and between quotation marks, where they repeat values, only what is a name of the
template's or of a type. What is found in a copy is told in words that the letter has for everybody.
"""

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from mailer.rendering.source import LetterSource
from mailer.rendering.values import PLAIN_FIELDS, Attributes
from mailer.sending.findings import Finding
from mailer.sending.frozen import CampaignLetter

_LONGEST_DETAIL = 300
_HIDDEN = "…"
_BUILT_IN = (str, int, float, bool, bytes, list, tuple, dict, set)
_TYPES = frozenset(
    {
        *("None", "NoneType", "builtin_function_or_method", "function", "generator", "method"),
        *(kind.__name__ for kind in _BUILT_IN),
        *(f"{kind.__module__}.{kind.__name__}" for kind in (Attributes, *PLAIN_FIELDS)),
        *(kind.__name__ for kind in (Attributes, *PLAIN_FIELDS)),
    }
)
_MEMBERS = frozenset(name for kind in _BUILT_IN for name in dir(kind))
"""What filters ask of a value that has no such thing: ``splitlines``."""
_WORD = re.compile(r"\w+")
_OF_FAULTS = _TYPES | frozenset(
    _WORD.findall(
        """
        Invalid qualified rule; Unexpected token; Range too big blocks ranges larger; a access all
        an and any arg argument arguments as assignment at attribute attributes base be before
        between by call callable can cannot character characters codec concatenate convert converted
        could date day decode deep define depth dictionary digits division does during element
        elements empty encode encoding end exceeded expected expects few filter for format
        formatting from given has have HTML if in include index indices infinite instance instances
        integer integers invalid is item items iterable iteration key keys keyword length letter
        literal loop many mapping maximum method missing module more most must name named negative
        no none not number object of only operand operator or order out outside overflow part point
        position positional power range read recipient recipients recursion required result return
        sandbox sequence should size slice slices string strings style subscriptable substring such
        supported surrogates take takes template templates test than that the there time to too
        truth type types undefined unexpected unhashable unknown unpack unsafe unsupported update
        value values was were what when which with without written year zero
        """
    )
)
"""What a fault is told with; no digits, which may be a value."""
_OF_FINDINGS = frozenset(
    _WORD.findall(
        """
        the subject is empty; longer than 150 characters; the text part: who reads mail as text gets
        nothing; the html part; an image has no alt; src or href is empty; shown as; no whole
        address; in the text; a link has no address a reader could open; a link leads nowhere; a
        link's target is not https; a link says and leads to; template code makes an address at:
        clicks on it are not counted
        """
    )
)
"""What ``mailer.sending.reading`` says of a copy."""
_PLACE = re.compile(r"letter [^:\s]+(?::\d+)?: ")
"""Where the error of a template begins: which file and line it came from, never a value."""
_NOT_THERE = "there is no "
_CODE = re.compile(r"\{\{(.*?)\}\}|\{%(.*?)%\}", re.DOTALL)
_STRING = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_NAMING = re.compile(
    r"""
    (?<=[\w)\]])\[\s*(?:'([^'\\]*)'|"([^"\\]*)")\s*\]
    | \b(?:include|import|extends|from)\s+(?:'([^'\\]*)'|"([^"\\]*)")
    """,
    re.VERBOSE,
)
"""Constants that are names: ``attributes['Nr. på kort']``, ``include 'frame/foot.html'``."""
_NAME = re.compile(r"[^\W\d]\w*")
_TOKEN = re.compile(r"""'[^'\n]*'|"[^"\n]*"|\w+|\s+|.""", re.DOTALL)
_PLAIN = frozenset("'\"()[]{}<>.,:;!?/\\@#%&=+-*~^|")
_RUN = re.compile(rf"{_HIDDEN}(?:[^\w{_HIDDEN}]*{_HIDDEN})+")
"""Of several words in a row not even their number is told."""


def told(error: Exception, source: LetterSource) -> str:
    """What a letter's error at one recipient says: file and line, what of its words is ours, its type.

    ``letter brev/body.txt:2: 'NoneType' object has no attribute 'splitlines' (AttributeError)``.
    """
    names = _names_in(tuple(source.files.values()))
    kind = f" ({type(error.__cause__).__name__})" if error.__cause__ is not None else ""
    place = _PLACE.match(str(error))
    begins = place[0] if place else ""
    said = str(error).removeprefix(begins)
    if not (said.startswith(_NOT_THERE) and said.removeprefix(_NOT_THERE) in names):

        def quoted(content: str) -> bool:
            return content in names or content in _MEMBERS or content.removesuffix(" object") in _TYPES

        said = _hide(said, _OF_FAULTS.__contains__, quoted)
    return f"{begins}{said}"[: _LONGEST_DETAIL - len(kind)] + kind


def logged(error: Exception) -> str:
    """What the log says of any error: its type, and the template's file and line where it names them.

    ``LetterError: letter brev/body.txt:2``.
    """
    place = _PLACE.match(str(error))
    return f"{type(error).__name__}: {place[0]}".removesuffix(": ") if place else type(error).__name__


class Redaction:
    """Tells findings about copies of one letter in words that everybody's copy may have."""

    def __init__(self, letter: CampaignLetter, public_url: str) -> None:
        """Gather the letter's words."""
        source = letter.letter.source
        texts: Iterable[object] = (
            *source.files.values(),
            source.manifest,
            *letter.events,
            *letter.changes,
            *letter.literals,
            *letter.links.values(),
            public_url,
        )
        words = {word.casefold() for text in texts for word in _WORD.findall(str(text))}
        self._words = _OF_FINDINGS | words

    def of(self, finding: Finding) -> Finding:
        """The finding without what only some copies say."""
        detail = _hide(finding.detail, lambda word: word.casefold() in self._words)
        return replace(finding, detail=detail[:_LONGEST_DETAIL])


def _hide(
    detail: str, is_ours: Callable[[str], bool], quoted: Callable[[str], bool] | None = None
) -> str:
    """The words with ``…`` for those that are not ours, and for signs that no sentence has.

    Args:
        quoted: whether what stands between quotation marks stays; by default its words are looked at.
    """
    kept = []
    for token in _TOKEN.findall(detail):
        mark, content = token[0], token[1:-1]
        if mark in "'\"" and len(token) > 1:
            if quoted is None:
                content = _hide(content, is_ours)
            elif not quoted(content):
                mark, content = "'", _HIDDEN
            kept.append(f"{mark}{content}{mark}")
        elif token.isspace():
            kept.append(" ")
        else:
            kept.append(token if token in _PLAIN or is_ours(token) else _HIDDEN)
    return _RUN.sub(_HIDDEN, "".join(kept))


@functools.lru_cache(maxsize=32)
def _names_in(texts: tuple[str, ...]) -> frozenset[str]:
    """The names in the code of templates; a constant that is compared or printed may be a value."""
    names = set[str]()
    for text in texts:
        for code in map("".join, _CODE.findall(text)):
            names.update(map("".join, _NAMING.findall(code)))
            names.update(_NAME.findall(_STRING.sub(" ", code)))
    return frozenset(names)
