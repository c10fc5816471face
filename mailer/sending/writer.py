"""Writes one campaign's letter to one recipient after the other: compiled where it can be."""

from collections.abc import Callable
from dataclasses import replace

from mailer.rendering.compiled import (
    CompiledLetter,
    Marks,
    NotCompilable,
    Recipe,
    Variant,
    compile_letter,
    encode_field,
    printed,
)
from mailer.rendering.message import common_header, personal_header
from mailer.rendering.values import LetterValues, RecipientValues
from mailer.sending.addressees import NOBODY, Addressee
from mailer.sending.frozen import CampaignLetter
from mailer.sending.letters import (
    LetterTools,
    Message,
    common_fields,
    envelope_for,
    letter_values,
    personal_fields,
    pixel_address,
    render_letter,
    tracked_position,
    write_message,
)
from mailer.sending.variants import variant_of
from mailer.tracking.tokens import Purpose, Tokens

_SOMEBODY = 1
"""Stands for any position while a letter is compiled."""


class LetterWriter:
    """A campaign's letter, ready to be written to anybody in its audience."""

    def __init__(self, tools: LetterTools, letter: CampaignLetter) -> None:
        """Read how the letter uses its recipient; variants are compiled as they are needed."""
        self._tools, self._letter = tools, letter
        self._common = common_header(common_fields(tools, letter))
        self._compiled: dict[int | None, CompiledLetter] = {}
        self.per_recipient_because: str | None = None
        """Why the letter is rendered per recipient; None while it is compiled."""

    def write(self, to: Addressee) -> Message:
        """The message for one recipient.

        Raises:
            RecipientValueError: this recipient lacks something the letter uses.
            LetterError: the letter asks for something nobody has.
            UnicodeError: the address's domain is no domain name.
        """
        if self.per_recipient_because is None:
            try:
                return self._fill(to)
            except NotCompilable as reason:
                self.per_recipient_because = str(reason)
        rendered = render_letter(self._tools, self._letter, to)
        return write_message(self._tools, self._letter, to, rendered)

    def why_per_recipient(self, to: Addressee) -> str | None:
        """Why the letter would be rendered per recipient, tried on this one; None if compiled."""
        try:
            self._compiled_for(to).variant_for(to.values)
        except NotCompilable as reason:
            return str(reason)
        return None

    def _fill(self, to: Addressee) -> Message:
        tracked_as = tracked_position(self._letter.tracking, to)
        variant = self._compiled_for(to).variant_for(to.values)
        personal = personal_fields(self._tools, self._letter, to)
        data = b"".join(
            [
                self._common,
                personal_header(personal, variant.subject),
                *self._body(variant, to, tracked_as),
            ]
        )
        envelope = envelope_for(self._tools, self._letter, to, personal)
        return Message(envelope, data, personal.message_id)

    def _compiled_for(self, to: Addressee) -> CompiledLetter:
        tracked_as = tracked_position(self._letter.tracking, to)
        kind = _SOMEBODY if tracked_as else tracked_as
        compiled = self._compiled.get(kind)
        if compiled is None:
            compiled = self._compiled[kind] = self._compile(kind)
        return compiled

    def _body(self, variant: Variant, to: Addressee, tracked_as: int | None) -> list[bytes]:
        values = {slot: self._value(slot, to, tracked_as) for slot in variant.slots}
        pieces = variant.pieces.copy()
        for index, slot in variant.places:
            pieces[index] = values[slot]
        return pieces

    def _value(self, slot: str, to: Addressee, tracked_as: int | None) -> bytes:
        context, colon, name = slot.partition(":")
        if colon:
            return encode_field(printed(to.values, name), html=context == "html")
        sign, campaign_id = self._tools.tokens.sign, self._letter.campaign_id
        match slot:
            case Purpose.OPEN | Purpose.CLICK:
                return sign(Purpose(slot), campaign_id, tracked_as or NOBODY).encode()
            case Purpose.PASS_ON:
                return sign(Purpose.PASS_ON, campaign_id, variant_of(to.values)).encode()
            case _:
                return sign(Purpose(slot), campaign_id, to.position).encode()

    def _compile(self, kind: int | None) -> CompiledLetter:
        marks = Marks()
        tools = replace(self._tools, tokens=MarkedTokens(marks.mark))

        def fill(recipient: RecipientValues, shown: RecipientValues) -> tuple[LetterValues, str | None]:
            to = Addressee(_SOMEBODY, "", recipient, None, None)
            values = replace(letter_values(tools, self._letter, to, kind), recipient=shown)
            return values, pixel_address(tools, self._letter, kind)

        regions = frozenset(event.region for event in self._letter.events if event.region)
        return compile_letter(
            Recipe(self._letter.letter, common_fields(self._tools, self._letter), fill, regions), marks
        )


class MarkedTokens(Tokens):
    """Signs nothing: writes the mark of each purpose where its token will stand."""

    def __init__(self, mark: Callable[[str], str]) -> None:
        self._mark = mark

    def sign(self, purpose: Purpose, campaign_id: int, number: int) -> str:
        """The mark of the purpose."""
        del campaign_id, number
        return self._mark(purpose.value)
