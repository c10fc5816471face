"""A letter compiled once per variant and filled per recipient.

The letter is rendered for one recipient of each variant with marks in place of what is personal: tokens
and fields that are only printed. Everything between the marks is encoded once; a letter is then a join
of pieces. Each variant is proved before its first use: filled with hostile values it must read as plain
Jinja2 would have written it. What cannot be compiled or proved is rendered per recipient.
"""

import functools
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from jinja2 import TemplateError
from markupsafe import escape

from mailer.rendering import headers
from mailer.rendering.environment import make_environment
from mailer.rendering.errors import LetterError, RecipientValueError
from mailer.rendering.fields import FieldUse, read_fields
from mailer.rendering.letter import Letter, add_pixel, inline_css
from mailer.rendering.message import CommonFields, body_frame, quoted_printable_piece
from mailer.rendering.values import Attributes, LetterValues, RecipientValues

_ATTRIBUTES = "attributes."
_UNBOUNDED = ("name", "workplace", _ATTRIBUTES)
"""Fields with about as many values as recipients: a variant for each would be a letter for each."""
_MOST_VARIANTS = 4_000
_OTHER = object()
_HOSTILE = "<&\"'>=2E\r\n.{{ x }}\u2028å" + "x" * 90


class Marks:
    """Places in a rendering: strings nobody can know in advance, and no template changes."""

    def __init__(self) -> None:
        nonce = secrets.token_hex(8)
        self._form = f"\ue000{nonce}-{{}}\ue001"
        self._pattern = re.compile(f"\ue000{nonce}-([a-z_.A-ZæøåÆØÅ0-9-]+)\ue001")

    def mark(self, slot: str) -> str:
        """What stands for a slot's value in a rendering."""
        return self._form.format(slot)

    def split(self, text: str) -> list[str]:
        """Fixed text and names of slots in turn, fixed text first and last."""
        return self._pattern.split(text)


@dataclass(slots=True)
class Variant:
    """One variant of a letter: fixed pieces, and where the slots stand between them."""

    subject: bytes
    """The whole Subject field."""
    pieces: list[bytes]
    """The body; an empty piece stands where a slot is filled in."""
    places: tuple[tuple[int, str], ...]
    """Piece and slot; ``text:name`` and ``html:name`` are fields, all others tokens."""
    slots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a compiled letter is made from."""

    letter: Letter
    common: CommonFields
    fill: Callable[[RecipientValues, RecipientValues], tuple[LetterValues, str | None]]
    """From a recipient, and the recipient as shown, to all the templates see, and the pixel: marks
    stand for all tokens."""
    event_regions: frozenset[str]
    """Regions that decide the order of the events."""


@dataclass(slots=True)
class CompiledLetter:
    """A letter ready to be filled; its variants are compiled as recipients need them."""

    recipe: Recipe
    marks: Marks
    use: Mapping[str, FieldUse]
    """By language."""
    variants: dict[tuple[object, ...], Variant] = field(default_factory=dict)

    def variant_for(self, recipient: RecipientValues) -> Variant:
        """The variant this recipient gets.

        Raises:
            RecipientValueError: this recipient lacks something the letter uses.
            LetterError: the letter asks for something nobody has.
            NotCompilable: the variant does not read as plain Jinja2 would have written it.
        """
        key = self._key(recipient)
        variant = self.variants.get(key)
        if variant is None:
            if len(self.variants) >= _MOST_VARIANTS:
                raise NotCompilable(f"it has more than {_MOST_VARIANTS:,} variants")
            variant = self.variants[key] = self._compile(recipient)
        return variant

    def _key(self, recipient: RecipientValues) -> tuple[object, ...]:
        use = self.use.get(recipient.language) or self.use["da"]
        region = recipient.region if recipient.region in self.recipe.event_regions else _OTHER
        parts: list[object] = [recipient.language, region]
        parts += [value_of(recipient, name) for name in use.keys]
        parts += [
            value if (value := value_of(recipient, name)) in constants else _OTHER
            for name, constants in use.compared.items()
        ]
        parts += [_OTHER if (value := value_of(recipient, name)) else value for name in use.presence]
        return tuple(parts)

    def _compile(self, recipient: RecipientValues) -> Variant:
        use = self.use.get(recipient.language) or self.use["da"]
        marked = _with_slots(recipient, use, self.marks.mark)
        subject, text, html = self._render(recipient, marked)
        self._prove(recipient, use, (subject, text, html))
        if len(self.marks.split(subject)) > 1:
            raise NotCompilable("its subject is personal")
        _, pixel = self.recipe.fill(recipient, marked)
        html = inline_css(html)
        html = add_pixel(html, pixel) if pixel else html
        text_head, html_head, end = body_frame(self.recipe.common)
        pieces: list[bytes] = [text_head]
        places: list[tuple[int, str]] = []
        for context, part, after in (("text", text, html_head), ("html", html, end)):
            self._lay(part, context, use, pieces, places)
            pieces.append(after)
        return Variant(
            subject=headers.unstructured("Subject", " ".join(subject.split())),
            pieces=pieces,
            places=tuple(places),
            slots=tuple(dict.fromkeys(slot for _, slot in places)),
        )

    def _render(self, recipient: RecipientValues, shown: RecipientValues) -> tuple[str, str, str]:
        values, _ = self.recipe.fill(recipient, shown)
        return self.recipe.letter.render_parts(values)

    def _lay(
        self,
        part: str,
        context: str,
        use: FieldUse,
        pieces: list[bytes],
        places: list[tuple[int, str]],
    ) -> None:
        """Lay a part down as pieces; every slot stands on a soft-broken line of its own."""
        split = self.marks.split(part)
        for index, piece in enumerate(split):
            if index % 2:
                slot = f"{context}:{piece}" if piece in use.slots else piece
                places.append((len(pieces), slot))
                pieces.append(b"")
                continue
            encoded = quoted_printable_piece(piece)
            last = index == len(split) - 1
            if not encoded.endswith(b"\r\n") and (last or encoded or index):
                encoded += b"\r\n" if last else b"=\r\n"
            pieces.append(b"=\r\n" + encoded if index else encoded)

    def _prove(self, recipient: RecipientValues, use: FieldUse, marked: tuple[str, str, str]) -> None:
        """Fill hostile values into the rendering and compare with rendering them.

        Raises:
            NotCompilable: they differ.
        """
        hostile = {name: f"{_HOSTILE}{name}" for name in use.slots}
        shown = _with_slots(recipient, use, lambda name: hostile[name])
        plain = self._render(recipient, shown)
        for part, html, expected in zip(marked, (False, False, True), plain, strict=True):
            split = self.marks.split(part)
            split[1::2] = [
                (str(escape(hostile[slot])) if html else hostile[slot])
                if slot in hostile
                else self.marks.mark(slot)
                for slot in split[1::2]
            ]
            if "".join(split) != expected:
                raise NotCompilable("it does not read the same when compiled")


class NotCompilable(Exception):
    """The letter must be rendered per recipient; the message says why."""


def compile_letter(recipe: Recipe, marks: Marks) -> CompiledLetter:
    """Read how the letter uses its recipient; variants are compiled when they are first needed.

    Raises:
        NotCompilable: it must be rendered per recipient.
    """
    source = recipe.letter.source
    use = {}
    for language in source.languages:
        environment = make_environment(source.files, language, autoescape=True)
        try:
            use[language] = read_fields(environment, source.texts(language))
        except TemplateError as error:
            raise LetterError(f"letter {source.name}: {error}") from error
        _require_compilable(use[language])
    return CompiledLetter(recipe, marks, use)


def printed(recipient: RecipientValues, name: str) -> str:
    """A field as the templates print it; a missing one prints nothing.

    Raises:
        RecipientValueError: the recipient has no such attribute.
    """
    value = value_of(recipient, name)
    return "" if value is None else str(value)


def value_of(recipient: RecipientValues, name: str) -> object:
    """A field's value.

    Raises:
        RecipientValueError: the recipient has no such attribute.
    """
    if name.startswith(_ATTRIBUTES):
        key = name.removeprefix(_ATTRIBUTES)
        if key not in recipient.attributes:
            raise RecipientValueError(f"the recipient has no attribute {key!r}")
        return recipient.attributes[key]
    return getattr(recipient, name)


@functools.lru_cache(maxsize=1 << 16)
def encode_field(value: str, *, html: bool) -> bytes:
    """A field's value as it stands in its slot."""
    return quoted_printable_piece(str(escape(value)) if html else value)


def _require_compilable(use: FieldUse) -> None:
    if use.whole is not None:
        raise NotCompilable(use.whole)
    unbounded = sorted(name for name in use.keys if name.startswith(_UNBOUNDED))
    if unbounded:
        raise NotCompilable(f"it does more with recipient.{unbounded[0]} than print it")


def _with_slots(
    recipient: RecipientValues, use: FieldUse, write: Callable[[str], str]
) -> RecipientValues:
    """The recipient with every slot's value replaced; what is not there stays so where it is asked."""
    plain: dict[str, object] = {}
    attributes = Attributes(recipient.attributes)
    for name in use.slots:
        if name in use.presence and not value_of(recipient, name):
            continue
        if name.startswith(_ATTRIBUTES):
            _ = value_of(recipient, name)
            attributes[name.removeprefix(_ATTRIBUTES)] = write(name)
        else:
            plain[name] = write(name)
    return replace(recipient, attributes=attributes, **plain)  # type: ignore[arg-type]
