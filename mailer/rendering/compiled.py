"""A letter compiled once per variant and filled per recipient.

The letter is rendered for one recipient of each variant with marks in place of what is personal: tokens
and fields that are only printed. Everything between the marks is encoded once; a message is then a join
of pieces, its header included. Each variant is proved before its first use: filled with hostile values
it must read as plain Jinja2 would have written it. What cannot be compiled or proved is rendered per
recipient.
"""

import binascii
import functools
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, zip_longest
from operator import attrgetter, itemgetter

from jinja2 import TemplateError
from markupsafe import escape

from mailer.rendering import headers
from mailer.rendering.environment import make_environment
from mailer.rendering.errors import LetterError, RecipientValueError
from mailer.rendering.fields import FieldUse, read_fields
from mailer.rendering.inlining import HOSTILE, Inliner
from mailer.rendering.letter import Letter, add_pixel
from mailer.rendering.marks import Marks, Write
from mailer.rendering.message import (
    LINE_BYTES,
    CommonFields,
    Frame,
    body_frame,
    common_header,
    quoted_printable,
    quoted_printable_piece,
)
from mailer.rendering.source import DEFAULT_LANGUAGE, LetterSource
from mailer.rendering.values import Attributes, LetterValues, RecipientValues

_ATTRIBUTES = "attributes."
_UNBOUNDED = ("name", "workplace", _ATTRIBUTES)
"""Fields with about as many values as recipients: a variant for each would be a letter for each."""
_MOST_VARIANTS = 4_000
_MOST_BYTES = 32_000_000
"""Of all pieces of a letter; equal pieces of several variants are kept once."""
_KEPT = 2_048
"""Entries of the caches: enough for what recurs, and a million recipients take no more. Four times as
many found a name in 93 of 100 letters instead of 82, and took 4 MB more of each process."""
_OTHER = object()
_MISSING = object()
_ENTITY_BEGINS = r"&#?\w*?"
_MARKUP = re.compile("[&<>'\"]")
"""What is escaped in HTML."""

_READS_OTHERWISE = "does not read the same when compiled"

TO, REPLY_TO = "to", "reply_to"
"""Slots of the header beside tokens."""


class NotCompilable(Exception):
    """The letter must be rendered per recipient; the message says why: ``filters `recipient.name```."""


class Unfillable(Exception):
    """This one recipient's letter must be rendered by itself: a value would read otherwise in a slot."""


Fill = Callable[[RecipientValues, RecipientValues, Write], tuple[LetterValues, str | None]]
"""From a recipient, the recipient as shown, and what writes the token of a purpose, to all the templates
see, and the open pixel's address."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a compiled letter is made from."""

    letter: Letter
    common: CommonFields
    fill: Fill
    delivery_fields: Callable[[Write], bytes]
    """The end of the header, from what writes the token of a purpose."""
    tokens: tuple[str, ...]
    """The slots that come with every letter, in their order, before the fields."""
    event_regions: frozenset[str]
    """Regions that decide the order of the events."""


@dataclass(slots=True)
class Variant:
    """One variant of a letter, ready to be filled."""

    pieces: list[bytes]
    """What is the same for everybody, and in every second place nothing, for a slot or a field."""
    arrange: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]
    """From slots and fields to what stands in those places, in their order."""
    fields: tuple[tuple[Callable[[RecipientValues], str | None], Callable[[str | None], bytes]], ...]
    """What else is filled in: what reads it, and what encodes it for its place."""
    fixed_bytes: int
    """How long the pieces are together."""
    is_ascii: bool
    """Whether the pieces are; fields are, once they are encoded."""

    def fill(self, slots: tuple[bytes, ...], recipient: RecipientValues) -> tuple[list[bytes], int]:
        """The message in pieces, and how many bytes they are.

        Args:
            slots: the values of ``Recipe.tokens``.

        Raises:
            Unfillable: a value of this recipient would read otherwise than rendered.
        """
        fields = [encode(read(recipient)) for read, encode in self.fields]
        pieces = self.pieces.copy()
        pieces[1::2] = filled = self.arrange((*slots, *fields))
        return pieces, self.fixed_bytes + sum(map(len, filled))


@dataclass(slots=True)
class CompiledLetter:
    """A letter ready to be filled; its variants are compiled as recipients need them."""

    recipe: Recipe
    use: Mapping[str, FieldUse]
    """By language."""
    marks: Marks = field(default_factory=Marks)
    variants: dict[Hashable, Variant | RecipientValueError] = field(default_factory=dict)
    """Those compiled, and those nobody can have: their recipients lack something."""
    _seen: dict[Hashable, Variant] = field(default_factory=dict)
    """By what can be told of a recipient at a glance."""
    _encoded: dict[tuple[str, bool, bool], bytes] = field(default_factory=dict)
    _pieces: dict[bytes, bytes] = field(default_factory=dict)
    _bytes: int = 0
    _glance: Callable[[RecipientValues], Hashable] = field(init=False)
    _inliner: Inliner = field(init=False)
    _header: bytes = field(init=False)
    _ending: Sequence[bytes] = field(init=False)
    """The end of the header, split at its slots."""
    _frame: Frame = field(init=False)

    def __post_init__(self) -> None:
        self._glance = _make_glance(self.use.values()) or self._key
        self._inliner = Inliner(self.marks)
        self._header = common_header(self.recipe.common)
        ending = self.recipe.delivery_fields(self.marks.mark)
        self._ending = [part.encode() for part in self.marks.split(ending.decode())]
        self._frame = body_frame(self.recipe.common)

    def variant_for(self, recipient: RecipientValues) -> Variant:
        """The variant this recipient gets.

        Raises:
            RecipientValueError: this recipient lacks something the letter uses.
            LetterError: the letter asks for something nobody has.
            NotCompilable: the variant does not read as plain Jinja2 would have written it.
        """
        seen = self._glance(recipient)
        variant = self._seen.get(seen)
        if variant is None:
            variant = self._find(recipient)
            if len(self._seen) >= _KEPT:
                self._seen.clear()
            self._seen[seen] = variant
        return variant

    def _find(self, recipient: RecipientValues) -> Variant:
        key = self._key(recipient)
        found = self.variants.get(key)
        if found is None:
            if len(self.variants) >= _MOST_VARIANTS:
                raise NotCompilable(f"has more than {_MOST_VARIANTS:,} variants")
            try:
                found = self._compile(recipient)
            except RecipientValueError as error:
                found = error
            self.variants[key] = found
        if isinstance(found, RecipientValueError):
            raise RecipientValueError(*found.args)
        return found

    def _use_of(self, recipient: RecipientValues) -> FieldUse:
        return self.use.get(recipient.language) or self.use[DEFAULT_LANGUAGE]

    def _key(self, recipient: RecipientValues) -> tuple[Hashable, ...]:
        """All that decides what stands between the slots."""
        use = self._use_of(recipient)
        region = recipient.region if recipient.region in self.recipe.event_regions else _OTHER
        return (
            recipient.language,
            region,
            *(_value(recipient, name) for name in sorted(use.keys)),
            *(_one_of(use.compared[name], _value(recipient, name)) for name in sorted(use.compared)),
            *(_presence(_value(recipient, name)) for name in sorted(use.presence)),
            *(_value(recipient, name) is _MISSING for name in _attribute_slots(use)),
        )

    def _compile(self, recipient: RecipientValues) -> Variant:
        use, mark = self._use_of(recipient), self.marks.mark
        marked, pixel = self._render(recipient, use, mark, mark)
        self._prove(recipient, use, marked)
        html = self._inliner.inline(marked.html, _Hostile(use, html=True))
        if html is None:
            raise NotCompilable(_READS_OTHERWISE)
        if pixel is not None:
            html = add_pixel(html, pixel)
        split = map(self.marks.split, (marked.subject, marked.text, html))
        return self._lay(use, *split)

    def _render(
        self, recipient: RecipientValues, use: FieldUse, write_field: Write, write_token: Write
    ) -> tuple["_Parts", str | None]:
        """The parts as the templates write them, and the open pixel's address."""
        shown = with_slots(recipient, use, write_field)
        values, pixel = self.recipe.fill(recipient, shown, write_token)
        return _Parts(*self.recipe.letter.render_parts(values)), pixel

    def _prove(self, recipient: RecipientValues, use: FieldUse, marked: "_Parts") -> None:
        """Fill hostile values and other tokens into the rendering and compare with rendering them.

        Raises:
            NotCompilable: they differ.
        """
        as_text, as_html = _Hostile(use), _Hostile(use, html=True)
        plain, _ = self._render(recipient, use, as_text, _as_token)
        filled = _Parts(
            self.marks.fill(marked.subject, as_text),
            self.marks.fill(marked.text, as_text),
            self.marks.fill(marked.html, as_html),
        )
        if filled != plain:
            raise NotCompilable(_READS_OTHERWISE)
        if self.marks.follow(_ENTITY_BEGINS, marked.html):
            raise NotCompilable("prints a field right behind an ampersand")

    def _lay(self, use: FieldUse, subject: list[str], text: list[str], html: list[str]) -> Variant:
        """Lay the whole message down as slots, fields and pieces."""
        layout = _Layout(self.recipe.tokens)
        layout.add(self._header)
        layout.add_slot(TO)
        layout.add_slot(REPLY_TO)
        if len(subject) == 1:
            layout.add(_encode_subject(subject[0]))
        elif all(slot in use.slots for slot in subject[1::2]):
            readers = [_reader(slot) for slot in subject[1::2]]
            write = functools.partial(_write_subject, tuple(subject[::2]), readers)
            layout.add_field("subject", write, _encode_subject)
        else:
            raise NotCompilable("has a link in its subject")
        layout.add_split(self._ending)
        layout.add(self._frame.before_text)
        self._lay_part(layout, text, use, html=False)
        layout.add(self._frame.before_html)
        self._lay_part(layout, html, use, html=True)
        layout.add(self._frame.end)
        return self._keep(layout)

    def _lay_part(self, layout: "_Layout", split: list[str], use: FieldUse, *, html: bool) -> None:
        """A part in quoted-printable; every slot stands on a soft-broken line of its own."""
        for index, piece in enumerate(split):
            if index % 2:
                if piece in use.slots:
                    encode = encode_html if html else encode_text
                    layout.add_field(f"{piece} {html}", _reader(piece), encode)
                else:
                    layout.add_slot(piece)
                continue
            layout.add(self._encode(piece, first=not index, last=index == len(split) - 1))

    def _encode(self, piece: str, *, first: bool, last: bool) -> bytes:
        """What stands before, between or behind slots; variants have much of it in common."""
        encoded = self._encoded.get((piece, first, last))
        if encoded is None:
            encoded = quoted_printable(piece) if last else _before_slot(piece)
            if not first and not encoded.startswith(b"\r\n"):
                encoded = b"=\r\n" + encoded
            self._encoded[piece, first, last] = encoded
        return encoded

    def _keep(self, layout: "_Layout") -> Variant:
        """The laid-out variant, its pieces shared with other variants.

        Raises:
            NotCompilable: the pieces of all variants have become too large.
        """
        pieces = []
        for piece in layout.pieces:
            if piece not in self._pieces:
                self._bytes += len(piece)
                self._pieces[piece] = piece
            pieces.append(self._pieces[piece])
        if self._bytes > _MOST_BYTES:
            raise NotCompilable(f"has variants of more than {_MOST_BYTES:,} bytes together")
        return layout.finish(pieces)


@dataclass(frozen=True, slots=True)
class _Parts:
    """One rendering, as the templates write it."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class _Hostile:
    """Writes what stands for slots in the proof: values that would do harm, and other tokens."""

    use: FieldUse
    html: bool = False

    def __call__(self, slot: str) -> str:
        if slot not in self.use.slots:
            return _as_token(slot)
        value = HOSTILE.format(slot)
        return str(escape(value)) if self.html else value


class _Layout:
    """Collects a message in its order: slots that every letter has, fields, and fixed pieces."""

    def __init__(self, slots: Sequence[str]) -> None:
        self._places = {slot: place for place, slot in enumerate(slots)}
        self._fields: dict[str, tuple[Callable[..., str | None], Callable[[str | None], bytes]]] = {}
        self._order: list[int] = []
        self.pieces: list[bytes] = [b""]

    def add(self, piece: bytes) -> None:
        """What is the same for all, joined to what was before if that is so too."""
        self.pieces[-1] += piece

    def add_slot(self, slot: str) -> None:
        """A slot that every letter has."""
        self._order.append(self._places[slot])
        self.pieces.append(b"")

    def add_field(
        self,
        name: str,
        read: Callable[[RecipientValues], str | None],
        encode: Callable[[str | None], bytes],
    ) -> None:
        """A value of the recipient."""
        if name not in self._fields:
            self._places[name] = len(self._places)
            self._fields[name] = (read, encode)
        self._order.append(self._places[name])
        self.pieces.append(b"")

    def add_split(self, split: Sequence[bytes]) -> None:
        """Fixed pieces and slots in turn."""
        for index, part in enumerate(split):
            if index % 2:
                self.add_slot(part.decode())
            else:
                self.add(part)

    def finish(self, pieces: Sequence[bytes]) -> Variant:
        """The variant; a message has two slots at least, so that arranging them makes a tuple."""
        places = [b""] * (2 * len(pieces) - 1)
        places[::2] = pieces
        return Variant(
            places,
            itemgetter(*self._order),
            tuple(self._fields.values()),
            fixed_bytes=sum(map(len, pieces)),
            is_ascii=all(map(bytes.isascii, pieces)),
        )


def read_uses(source: LetterSource) -> Mapping[str, FieldUse]:
    """How the letter uses its recipient, by language.

    Raises:
        LetterError: a file is no template.
    """
    uses = {}
    for language in source.languages:
        try:
            uses[language] = _read_texts(tuple(source.texts(language)))
        except TemplateError as error:
            raise LetterError(f"letter {source.name}: {error}") from error
    return uses


@functools.lru_cache(maxsize=32)
def _read_texts(texts: tuple[str, ...]) -> FieldUse:
    """Kept, since the trees are long to walk."""
    return read_fields(make_environment({}, DEFAULT_LANGUAGE, autoescape=True), texts)


def require_compilable(uses: Mapping[str, FieldUse]) -> None:
    """See whether variants can exist at all.

    Raises:
        NotCompilable: the letter must be rendered per recipient.
    """
    for use in uses.values():
        if use.whole is not None:
            raise NotCompilable(use.whole)
        for name, how in sorted(use.keys.items()):
            if name.startswith(_UNBOUNDED):
                raise NotCompilable(how.format(f"`recipient.{name}`"))


def uses_attributes(uses: Mapping[str, FieldUse]) -> bool:
    """Whether the letter may look at a recipient's attributes."""
    return any(
        use.whole is not None
        or any(
            name.startswith(_ATTRIBUTES)
            for name in (*use.slots, *use.presence, *use.compared, *use.keys)
        )
        for use in uses.values()
    )


@functools.lru_cache(maxsize=_KEPT)
def encode_text(value: str | None) -> bytes:
    """A value as it stands in its slot in text.

    Raises:
        Unfillable: it holds what would read otherwise beside what stands around it.
    """
    if value is None:
        return b""
    if value.isprintable():
        encoded = binascii.b2a_qp(value.encode(), istext=True)
        if len(encoded) < LINE_BYTES and not encoded.startswith(b"."):
            return encoded
    elif "\r" in value or "\0" in value:
        raise Unfillable
    return _before_break(quoted_printable_piece(value))


@functools.lru_cache(maxsize=_KEPT)
def encode_html(value: str | None) -> bytes:
    """A value as it stands in its slot in HTML.

    Raises:
        Unfillable: as ``encode_text``.
    """
    if value is None:
        return b""
    return encode_text(value if _MARKUP.search(value) is None else str(escape(value)))


def _before_slot(piece: str) -> bytes:
    """A piece in quoted-printable, broken off so that a slot begins on a line of its own."""
    encoded = quoted_printable_piece(piece)
    if not encoded or encoded.endswith(b"\r\n"):
        return encoded
    return _before_break(encoded) + b"=\r\n"


def _before_break(encoded: bytes) -> bytes:
    """What may be followed by a soft break: its last line has room for it (RFC 2045 §6.7, rule 5)."""
    if len(encoded) - (encoded.rfind(b"\n") + 1) < LINE_BYTES:
        return encoded
    cut = -3 if encoded[-3:-2] == b"=" else -1
    last = encoded[cut:]
    return encoded[:cut] + b"=\r\n" + (b"=2E" if last == b"." else last)


def _encode_subject(value: str | None) -> bytes:
    return headers.unstructured("Subject", " ".join((value or "").split()))


def _write_subject(
    fixed: Sequence[str],
    readers: Sequence[Callable[[RecipientValues], str | None]],
    recipient: RecipientValues,
) -> str:
    fields = [read(recipient) or "" for read in readers]
    return "".join(chain.from_iterable(zip_longest(fixed, fields, fillvalue="")))


def _make_glance(uses: Iterable[FieldUse]) -> Callable[[RecipientValues], Hashable] | None:
    """A quick look at all that decides the variant; None where attributes do: that is not quick."""
    told = {"language", "region"}.union(*((*use.keys, *use.compared) for use in uses))
    asked = set().union(*(use.presence for use in uses)) - told
    slots = set().union(*(use.slots for use in uses))
    if any(name.startswith(_ATTRIBUTES) for name in told | asked | slots):
        return None
    values = attrgetter(*sorted(told))
    if not asked:
        return values
    present = attrgetter(*sorted(asked), "language")  # two names at least make a tuple
    return lambda recipient: (values(recipient), *map(bool, present(recipient)))


def _reader(name: str) -> Callable[[RecipientValues], str | None]:
    """What reads a field as the templates print it."""
    return functools.partial(_printed, name) if name.startswith(_ATTRIBUTES) else attrgetter(name)


def _printed(name: str, recipient: RecipientValues) -> str | None:
    value = _value(recipient, name)
    return None if value is None else str(value)


def _value(recipient: RecipientValues, name: str) -> object:
    """A field's value; ``_MISSING`` for an attribute the recipient does not have."""
    if name.startswith(_ATTRIBUTES):
        return recipient.attributes.get(name.removeprefix(_ATTRIBUTES), _MISSING)
    return getattr(recipient, name)


def _one_of(constants: frozenset[object], value: object) -> Hashable:
    """Which of the constants a value is, if any."""
    known = value is _MISSING or (isinstance(value, Hashable) and value in constants)
    return value if known else _OTHER


def _attribute_slots(use: FieldUse) -> list[str]:
    return sorted(name for name in use.slots if name.startswith(_ATTRIBUTES))


def _presence(value: object) -> Hashable:
    """Whether something is there; what is not may still be printed in several ways."""
    if value is _MISSING:
        return value
    return _OTHER if value else (type(value).__name__, str(value))


def _as_token(slot: str) -> str:
    """What stands for a slot's token in the proof."""
    return f"1d7-4a{slot.replace('_', '')}0123456789"


def with_slots(recipient: RecipientValues, use: FieldUse, write: Write) -> RecipientValues:
    """The recipient with every slot's value replaced; what is not there stays so where it is asked."""
    plain: dict[str, str] = {}
    attributes = Attributes(recipient.attributes)
    for name in use.slots:
        value = _value(recipient, name)
        if value is _MISSING or (name in use.presence and not value):
            continue
        if name.startswith(_ATTRIBUTES):
            attributes[name.removeprefix(_ATTRIBUTES)] = write(name)
        else:
            plain[name] = write(name)
    return replace(recipient, attributes=attributes, **plain)
