"""Which of the values a letter prints decide what is found in a copy, read off one with marks in it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mailer.rendering.compiled import with_slots
from mailer.rendering.fields import FieldUse
from mailer.rendering.letter import RenderedLetter
from mailer.rendering.values import RecipientValues
from mailer.sending.anchors import read_sights

_MARK = re.compile("\ue000(\\d+)\ue001")
"""Of private use, so that no template has it; the same in every process."""
_FIRST_WORD = re.compile(">\\s*[^\\s<&\ue000]")
_HIDING = re.compile("<(?:style|script|title|!)", re.IGNORECASE)
"""Before what is not shown, though it looks like words."""
_AROUND_HOSTS = " .,;:()<>"
"""What may stand around an address that a link's words name."""


@dataclass(frozen=True, slots=True)
class Deciding:
    """Printed fields on whose values depends what a reader finds wrong with a copy."""

    whole: frozenset[str] = frozenset()
    """Any value may be at fault: the field stands in a link, an image or an address."""
    blank: frozenset[str] = frozenset()
    """Only none may be: a part, or what a link says, is nothing without the field."""

    def __or__(self, other: "Deciding") -> "Deciding":
        return Deciding(self.whole | other.whole, self.blank | other.blank)


def mark_slots(values: RecipientValues, use: FieldUse) -> RecipientValues:
    """What the templates see of somebody who gets the same variant, a mark in place of what is printed.

    What is not there stays so where the letter asks for it.
    """
    names = sorted(use.slots)
    return with_slots(values, use, lambda name: f"\ue000{names.index(name)}\ue001")


def read_deciding(marked: RenderedLetter, use: FieldUse) -> Deciding:
    """Which fields decide, in copies of the variant that was rendered with marks."""
    if not any(map(_MARK.search, (marked.subject, marked.text, marked.html))):
        return Deciding()
    whole = [word for word in marked.text.split() if "//" in word]
    blank = [part for part in (marked.subject, marked.text) if not _MARK.sub("", part).strip()]
    if _says_nothing(marked.html):
        blank.append(marked.html)
    if _is_in_sight(marked.html):
        sights = read_sights(marked.html)
        whole += [*sights.targets, *(image.src for image in sights.images)]
        for anchor in sights.anchors:
            words = " ".join(anchor.words.split()).strip(_AROUND_HOSTS)
            is_fixed = _MARK.sub("", words).strip(_AROUND_HOSTS) and " " in words
            whole.append(anchor.href)
            (blank if is_fixed else whole).append(words)  # no address has a space in it
    names = sorted(use.slots)
    return Deciding(_marked_in(whole, names), _marked_in(blank, names))


def _says_nothing(document: str) -> bool:
    """Whether a reader sees no word of it but what stands in its slots."""
    body = document.partition("<body")[2] or document
    first = _FIRST_WORD.search(body)
    if first is not None and not _HIDING.search(body, 0, first.end()):
        return False
    return not read_sights(_MARK.sub("", document)).words


def _is_in_sight(document: str) -> bool:
    """Whether a mark may stand in a tag, or in what a link says."""
    lower = document.lower()
    return any(
        lower.rfind("<", 0, mark.start()) > lower.rfind(">", 0, mark.start())
        or lower.rfind("<a", 0, mark.start()) > lower.rfind("</a", 0, mark.start())
        for mark in _MARK.finditer(lower)
    )


def _marked_in(texts: Iterable[str], names: Sequence[str]) -> frozenset[str]:
    return frozenset(names[int(number)] for text in texts for number in _MARK.findall(text))
