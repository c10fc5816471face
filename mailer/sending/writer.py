"""Writes one campaign's letter to one recipient after the other: compiled where it can be."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import attrgetter

from mailer.rendering import headers
from mailer.rendering.compiled import (
    REPLY_TO,
    TO,
    CompiledLetter,
    NotCompilable,
    Recipe,
    Unfillable,
    Variant,
    read_uses,
    require_compilable,
    uses_attributes,
)
from mailer.rendering.message import delivery_fields, reply_to_field
from mailer.rendering.values import Attributes, LetterValues, RecipientValues
from mailer.sending.addressees import NOBODY, Addressee, Needs
from mailer.sending.frozen import CampaignLetter
from mailer.sending.letters import (
    LetterTools,
    Message,
    common_fields,
    dkim_signer,
    letter_values,
    list_id,
    personal_fields,
    pixel_address,
    render_letter,
    reply_to,
    tracked_position,
    write_message,
)
from mailer.sending.redaction import told
from mailer.sending.variants import variant_of
from mailer.smtp.envelope import Envelope, ascii_domain
from mailer.tracking.tokens import DELIVERY_PURPOSES, Purpose, Tokens

_SOMEBODY = 1
"""Stands for any position while a letter is compiled."""
_SLOTS = (TO, REPLY_TO, Purpose.PASS_ON.value, *(purpose.value for purpose in DELIVERY_PURPOSES))
_BOUNCE = DELIVERY_PURPOSES.index(Purpose.BOUNCE)
_MESSAGE_ID = DELIVERY_PURPOSES.index(Purpose.MESSAGE_ID)
_passed_on_as = attrgetter("language", "sector", "region")


class LetterWriter:
    """A campaign's letter, ready to be written to anybody in its audience."""

    def __init__(self, tools: LetterTools, letter: CampaignLetter) -> None:
        """Read how the letter uses its recipient; variants are compiled as they are needed.

        Raises:
            LetterError: a part of the letter is no template.
            SettingsError: no sender is set, or a key that shall sign cannot be used.
        """
        self._tools, self._letter = tools, letter
        settings = tools.settings
        self._uses = read_uses(letter.letter.source)
        parties = settings.reply_to if isinstance(settings.reply_to, dict) else {}
        self._reply_to = {source: reply_to_field(reply_to(settings, source)) for source in parties}
        self._reply_to_others = reply_to_field(reply_to(settings, None))
        self._signer = tools.tokens.signer(letter.campaign_id)
        self._dkim = dkim_signer(settings)
        self._pass_on: dict[object, bytes] = {}
        self._any_tokens: dict[int, Sequence[bytes]] = {}
        local, _, domain = ascii_domain(settings.bounces_to).rpartition("@")
        self._bounces_to = (f"{local}+", f"@{domain}")
        self._message_ids_at = f"@{list_id(settings)}"
        self._compiled: dict[int | None, CompiledLetter] = {}
        self._chosen: dict[str | int | None, CompiledLetter] = {}
        self.needs = Needs(source=bool(parties), attributes=uses_attributes(self._uses))
        """What has to be read of recipients for this letter."""
        self.per_recipient_because: str | None = None
        """Why the letter is rendered per recipient; None while it is compiled."""

    @property
    def letter(self) -> CampaignLetter:
        """The letter it writes."""
        return self._letter

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
                self.per_recipient_because = f"the letter {reason}"
            except Unfillable:
                pass
        rendered = render_letter(self._tools, self._letter, to)
        return write_message(self._tools, self._letter, to, rendered)

    def why_not(self, error: Exception) -> str:
        """Why a letter could not be written, in words that repeat nobody's values."""
        return f"not rendered: {told(error, self._letter.letter.source)}"

    @property
    def variants(self) -> int:
        """How many variants have been compiled so far."""
        return sum(len(compiled.variants) for compiled in self._compiled.values())

    def why_per_recipient(self, to: Addressee) -> str | None:
        """Why the letter would be rendered per recipient, tried on this one; None if compiled."""
        try:
            self._compiled_for(to).variant_for(to.values)
        except NotCompilable as reason:
            return f"the letter {reason}"
        return None

    def weigh(self, to: Addressee) -> tuple[Variant | None, int]:
        """Which variant one recipient gets, and the bytes of the message; None if it is not compiled.

        Nothing is signed: a token is as long as any other for a position of as many digits.

        Raises:
            RecipientValueError, LetterError, UnicodeError: as ``write``.
        """
        if self.per_recipient_because is None:
            digits = (to.position.bit_length() + 3) // 4
            tokens = self._any_tokens.get(digits)
            if tokens is None:
                tokens = self._any_tokens[digits] = self._signer.sign_delivery(to.position)
            try:
                variant, message = self._take(to, tokens)
            except NotCompilable as reason:
                self.per_recipient_because = f"the letter {reason}"
            except Unfillable:
                pass
            else:
                return variant, message.size_bytes
        return None, self.write(to).size_bytes

    def _fill(self, to: Addressee) -> Message:
        _, message = self._take(to, self._signer.sign_delivery(to.position))
        if self._dkim is not None:
            signature = self._dkim.sign(message.pieces, at=self._letter.dated_at)
            message.pieces = (signature, *message.pieces)
            message.size_bytes += len(signature)
        return message

    def _take(self, to: Addressee, tokens: Sequence[bytes]) -> tuple[Variant, Message]:
        """The variant for one recipient, and the message without signatures."""
        values = to.values
        variant = self._compiled_for(to).variant_for(values)
        email = to.email
        recipient = (
            email if email.isascii() else ascii_domain(email)
        )  # the envelope refuses what is unfit
        slots = (
            headers.mailbox("To", values.name or "", recipient),
            self._reply_to.get(to.source, self._reply_to_others),  # type: ignore[arg-type]
            self._pass_on_token(values),
            *tokens,
        )
        before, after = self._bounces_to
        envelope = Envelope(before + tokens[_BOUNCE].decode() + after, recipient)
        pieces, size = variant.fill(slots, values)
        is_ascii = variant.is_ascii and slots[0].isascii() and slots[1].isascii()
        message_id = tokens[_MESSAGE_ID].decode() + self._message_ids_at
        return variant, Message(to.position, envelope, pieces, size, is_ascii, message_id)

    def _pass_on_token(self, values: RecipientValues) -> bytes:
        reader = _passed_on_as(values)
        token = self._pass_on.get(reader)
        if token is None:
            number = variant_of(values)
            token = self._tools.tokens.sign(Purpose.PASS_ON, self._letter.campaign_id, number).encode()
            self._pass_on[reader] = token
        return token

    def _compiled_for(self, to: Addressee) -> CompiledLetter:
        choice = to.tracking if to.position else NOBODY  # all that decides whom its links name
        compiled = self._chosen.get(choice)
        if compiled is None:
            tracked_as = tracked_position(self._letter.tracking, to)
            kind = _SOMEBODY if tracked_as else tracked_as
            if kind not in self._compiled:
                self._compiled[kind] = self._compile(kind)
            compiled = self._chosen[choice] = self._compiled[kind]
        return compiled

    def _compile(self, kind: int | None) -> CompiledLetter:
        require_compilable(self._uses)
        letter = self._letter
        seen: dict[object, tuple[LetterValues, str | None]] = {}

        def tools_with(write: Callable[[str], str]) -> LetterTools:
            return replace(self._tools, tokens=_StandInTokens(write, self._tools.tokens))

        def fill(
            recipient: RecipientValues, shown: RecipientValues, write: Callable[[str], str]
        ) -> tuple[LetterValues, str | None]:
            reader = (write, recipient.language, recipient.region)
            if reader not in seen:
                tools, to = tools_with(write), Addressee(_SOMEBODY, "", "", recipient, None, None)
                seen[reader] = letter_values(tools, letter, to, kind), pixel_address(tools, letter, kind)
            values, pixel = seen[reader]
            return replace(values, recipient=shown), pixel

        def end_header(write: Callable[[str], str]) -> bytes:
            nobody = RecipientValues(None, "", "", None, None, "", None, "", Attributes())
            to = Addressee(_SOMEBODY, "", "", nobody, None, None)
            return delivery_fields(personal_fields(tools_with(write), letter, to))

        recipe = Recipe(
            letter=letter.letter,
            common=common_fields(self._tools, letter),
            fill=fill,
            delivery_fields=end_header,
            tokens=_SLOTS,
            event_regions=frozenset(event.region for event in letter.events if event.region),
        )
        return CompiledLetter(recipe, self._uses)


class _StandInTokens(Tokens):
    """Signs nothing that names somebody: writes what stands for the token of each purpose."""

    def __init__(self, write: Callable[[str], str], genuine: Tokens) -> None:
        self._write, self._genuine = write, genuine

    def sign(self, purpose: Purpose, campaign_id: int, number: int) -> str:
        """What stands for the purpose; nobody's token is the same in all letters."""
        if number == NOBODY and purpose is not Purpose.PASS_ON:
            return self._genuine.sign(purpose, campaign_id, number)
        return self._write(purpose.value)
