"""What it takes to write a campaign's letter to one recipient: values, links, header fields."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mailer.foundation.settings import Settings, SettingsError, TrackingMode
from mailer.rendering.dkim import Signer, open_signer
from mailer.rendering.enclosures import Enclosure
from mailer.rendering.errors import BadKey
from mailer.rendering.letter import RenderedLetter
from mailer.rendering.message import CommonFields, PersonalFields, compose
from mailer.rendering.source import DEFAULT_LANGUAGE
from mailer.rendering.values import CampaignValues, EventValues, LetterValues, LinkValues
from mailer.sending.addressees import NOBODY, Addressee
from mailer.sending.frozen import PAGES, CampaignLetter, FrozenEvent
from mailer.sending.variants import variant_of
from mailer.smtp.envelope import Envelope, ascii_domain
from mailer.tracking.addresses import TrackedAddresses
from mailer.tracking.tokens import Purpose, Tokens
from recipients.models import TrackingChoice


@dataclass(frozen=True, slots=True)
class LetterTools:
    """What it takes to write letters: names, keys and addresses in force."""

    settings: Settings
    tokens: Tokens
    folders: tuple[Path, ...]
    """Template folders; the first that has a letter gives it."""

    @property
    def addresses(self) -> TrackedAddresses:
        """Builds the addresses that stand in letters."""
        return TrackedAddresses(self.settings.public_url, self.tokens)


@dataclass(slots=True)
class Message:
    """One message, ready for a relay; joined only where it leaves, for a copy takes time."""

    position: int
    envelope: Envelope
    pieces: Sequence[bytes]
    size_bytes: int
    is_ascii: bool
    message_id: str

    @property
    def data(self) -> bytes:
        """The whole of it."""
        return b"".join(self.pieces)


def render_letter(
    tools: LetterTools, letter: CampaignLetter, to: Addressee, *, in_browser: bool = False
) -> RenderedLetter:
    """The letter as this recipient gets it.

    Args:
        in_browser: its images stand in it, and nothing tells of its being looked at.

    Raises:
        RecipientValueError: this recipient lacks something the letter uses.
        LetterError: the letter asks for something nobody has.
    """
    tracked_as = tracked_position(letter.tracking, to)
    values = letter_values(tools, letter, to, tracked_as, in_browser=in_browser)
    pixel = None if in_browser else pixel_address(tools, letter, tracked_as)
    return letter.letter.render(values, pixel=pixel)


def read_templates(tools: LetterTools, letter: CampaignLetter, to: Addressee) -> RenderedLetter:
    """The letter as its templates write it for this recipient: no style is inlined, no pixel added.

    Raises:
        RecipientValueError, LetterError: as ``render_letter``.
    """
    values = letter_values(tools, letter, to, tracked_position(letter.tracking, to))
    return RenderedLetter(*letter.letter.render_parts(values))


def pixel_address(tools: LetterTools, letter: CampaignLetter, tracked_as: int | None) -> str | None:
    """The open pixel's address; None where nothing is tracked."""
    if tracked_as is None:
        return None
    return tools.addresses.open_pixel(letter.campaign_id, tracked_as)


def trap_address(tools: LetterTools, letter: CampaignLetter, tracked_as: int | None) -> str | None:
    """The hidden link's address; None where it would tell of nobody in particular."""
    return tools.addresses.trap(letter.campaign_id, tracked_as) if tracked_as else None


def write_message(
    tools: LetterTools, letter: CampaignLetter, to: Addressee, rendered: RenderedLetter
) -> Message:
    """The message for one recipient, with its envelope.

    Raises:
        UnicodeError: the address's domain is no domain name.
    """
    personal = personal_fields(tools, letter, to)
    data = compose(rendered, common_fields(tools, letter), personal)
    signer = dkim_signer(tools.settings)
    if signer is not None:
        data = signer.sign([data], at=letter.dated_at) + data
    envelope = envelope_for(tools, letter, to, personal)
    return Message(to.position, envelope, (data,), len(data), data.isascii(), personal.message_id)


def common_fields(tools: LetterTools, letter: CampaignLetter) -> CommonFields:
    """What stands in the header of every message of the campaign."""
    settings = tools.settings
    return CommonFields(
        from_name=settings.sender_name,
        from_address=ascii_domain(settings.sender_address),
        date=letter.dated_at.astimezone(settings.zone),
        list_id=list_id(settings),
        feedback_id=f"{letter.campaign_id}:letter:{list_id(settings)}",
        auto_submitted=letter.auto_submitted,
        enclosures=letter.letter.source.enclosures,
    )


def personal_fields(tools: LetterTools, letter: CampaignLetter, to: Addressee) -> PersonalFields:
    """What stands in the header of one recipient's message alone.

    Raises:
        UnicodeError: the address's domain is no domain name.
    """
    settings, tokens = tools.settings, tools.tokens
    names = (letter.campaign_id, to.position)
    mailto = _plus(settings.bounces_to, tokens.sign(Purpose.UNSUBSCRIBE, *names))
    return PersonalFields(
        to_name=to.values.name or "",
        to_address=ascii_domain(to.email),
        reply_to=reply_to(settings, to.source),
        message_id=message_id_of(tools, *names),
        unsubscribe_url=tools.addresses.unsubscribe(*names),
        unsubscribe_mailto=f"mailto:{mailto}?subject=unsubscribe",
    )


def envelope_for(
    tools: LetterTools, letter: CampaignLetter, to: Addressee, personal: PersonalFields
) -> Envelope:
    """The envelope, with a return path that names the delivery."""
    token = tools.tokens.sign(Purpose.BOUNCE, letter.campaign_id, to.position)
    return Envelope(_plus(tools.settings.bounces_to, token), personal.to_address)


def dkim_signer(settings: Settings) -> Signer | None:
    """Signs letters with the keys the settings name; None if they name none.

    Raises:
        SettingsError: a key cannot be used; the message says why, and repeats nothing of it.
    """
    try:
        return open_signer(settings.dkim_keys)
    except BadKey as unusable:
        raise SettingsError(f"setting dkim: {unusable}") from None


def message_id_of(tools: LetterTools, campaign_id: int, position: int) -> str:
    """The Message-ID every copy of a delivery carries."""
    token = tools.tokens.sign(Purpose.MESSAGE_ID, campaign_id, position)
    return f"{token}@{list_id(tools.settings)}"


def list_id(settings: Settings) -> str:
    """The name of the list (RFC 2919), also the right side of Message-IDs; ASCII."""
    return settings.list_id or ascii_domain(settings.sender_address).rpartition("@")[2]


def tracked_position(mode: TrackingMode, to: Addressee) -> int | None:
    """Whom tracked links name: the delivery, nobody (0), or None for plain links."""
    if mode is TrackingMode.NONE:
        return None
    consented = to.tracking == TrackingChoice.CONSENT
    objected = to.tracking == TrackingChoice.OBJECTION
    personal = mode is TrackingMode.PERSONAL or (mode is TrackingMode.CONSENT and consented)
    return to.position if personal and not objected else NOBODY


def letter_values(
    tools: LetterTools,
    letter: CampaignLetter,
    to: Addressee,
    tracked_as: int | None,
    *,
    in_browser: bool = False,
) -> LetterValues:
    """Everything the templates see for one recipient.

    Args:
        in_browser: images stand in the letter itself; mail programs find them beside it.
    """
    events = _event_values(tools, letter, to, tracked_as)
    about = next((event for event in events if event.slug == letter.event_slug), None)
    source = letter.letter.source
    language = to.values.language if source.has(to.values.language) else DEFAULT_LANGUAGE
    addresses, names = tools.addresses, (letter.campaign_id, to.position)
    return LetterValues(
        recipient=to.values,
        campaign=CampaignValues(letter.campaign_name, source.signatories(language)),
        links=LinkValues(
            unsubscribe=addresses.unsubscribe(*names) if to.is_somebody else None,
            browser=addresses.view(*names) if to.is_somebody else None,
            pass_on=addresses.pass_on(letter.campaign_id, variant_of(to.values)),
            literal=tuple(_link(tools, letter, url, tracked_as) for url in letter.literals),
            inline=_images(tools, source.enclosures, in_browser=in_browser),
            trap=None if in_browser else trap_address(tools, letter, tracked_as),
            **{name: _link(tools, letter, name, tracked_as) for name in PAGES},
        ),
        events=events,
        event=about,
        changes=tuple(change.to_values() for change in letter.changes),
    )


def _images(
    tools: LetterTools, enclosures: Sequence[Enclosure], *, in_browser: bool
) -> Mapping[str, str]:
    """What the HTML writes as the addresses of the letter's own images, by name."""
    return {
        image.inline_as: image.data_url
        if in_browser
        else f"cid:{image.content_id(list_id(tools.settings))}"
        for image in enclosures
        if image.inline_as is not None
    }


def _event_values(
    tools: LetterTools, letter: CampaignLetter, to: Addressee, tracked_as: int | None
) -> tuple[EventValues, ...]:
    def link(name: str, slug: str) -> str:
        return _link(tools, letter, f"events.{name}/{slug}", tracked_as)

    def remind(slug: str) -> str:
        if not to.is_somebody:
            return tools.addresses.page(f"/events/{slug}")
        return tools.addresses.remind(letter.campaign_id, to.position, slug)

    def registration(event: FrozenEvent) -> str | None:
        if event.hosted and to.is_somebody:
            return tools.addresses.register(letter.campaign_id, to.position, event.slug)
        return link("registration", event.slug) if event.registration_out or event.hosted else None

    def attendance(event: FrozenEvent) -> str | None:
        if not event.hosted or not to.is_somebody:
            return None
        return tools.addresses.attend(letter.campaign_id, to.position, event.slug)

    values = [
        EventValues(
            slug=event.slug,
            title=event.title,
            date=event.date,
            time=event.time,
            place=event.place,
            address=event.address,
            region=event.region,
            own_region=event.region is not None and event.region == to.values.region,
            programme=link("programme", event.slug),
            programme_out=event.programme_out,
            registration=registration(event),
            remind=remind(event.slug),
            calendar=link("calendar", event.slug),
            state=event.state,
            hosted=event.hosted,
            attendance=attendance(event),
        )
        for event in letter.events
    ]
    return tuple(sorted(values, key=lambda event: not event.own_region))


def _link(tools: LetterTools, letter: CampaignLetter, key: str, tracked_as: int | None) -> str:
    planned = letter.links[key]
    if tracked_as is None:
        own = planned.target.startswith("/")
        return tools.addresses.page(planned.target) if own else planned.target
    return tools.addresses.click(letter.campaign_id, tracked_as, planned.number)


def _plus(address: str, tag: str) -> str:
    """The address with a tag in its local part (RFC 5233 §1)."""
    local, _, domain = ascii_domain(address).rpartition("@")
    return f"{local}+{tag}@{domain}"


def reply_to(settings: Settings, source: str | None) -> str:
    """Where a recipient's answer goes: to the party whose list they stood on, else to the sender."""
    chosen = settings.reply_to
    if isinstance(chosen, dict):
        chosen = chosen.get(source or "", chosen.get("default"))
    return ascii_domain(chosen) if chosen else ascii_domain(settings.sender_address)
