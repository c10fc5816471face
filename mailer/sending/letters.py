"""One campaign's letter and what it takes to write it to one recipient: values, links, header fields."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign, CampaignState, Delivery, Link
from mailer.foundation.settings import Settings, TrackingMode
from mailer.rendering.letter import Letter, RenderedLetter
from mailer.rendering.message import CommonFields, PersonalFields, compose
from mailer.rendering.source import DEFAULT_LANGUAGE, LetterSource
from mailer.rendering.values import (
    Attributes,
    CampaignValues,
    EventValues,
    LetterValues,
    LinkValues,
    RecipientValues,
)
from mailer.smtp.envelope import Envelope, ascii_domain
from mailer.tracking.addresses import TrackedAddresses
from mailer.tracking.tokens import Purpose, Tokens
from recipients.models import (
    Confederation,
    Recipient,
    RecipientSource,
    Region,
    Role,
    Sector,
    TrackingChoice,
)

NOBODY = 0
"""The position in tokens that name no delivery."""
PAGES = {
    "pack": "/startpakke.pdf",
    "pack_page": "/startpakke",
    "principles": "/principper",
    "events_page": "/events",
}
"""The links every letter has, and the pages of ours they open."""
_LANGUAGES = ("da", "en")
_SECTORS = tuple(Sector)
_REGIONS = (None, *Region)


@dataclass(frozen=True, slots=True)
class LetterTools:
    """What it takes to write letters: names, keys and addresses in force."""

    settings: Settings
    tokens: Tokens

    @property
    def addresses(self) -> TrackedAddresses:
        """Builds the addresses that stand in letters."""
        return TrackedAddresses(self.settings.public_url, self.tokens)


@dataclass(frozen=True, slots=True)
class FrozenEvent:
    """An event's values as they were when the campaign was launched."""

    slug: str
    title: str
    date: date
    time: time | None
    place: str | None
    address: str | None
    region: str | None
    programme_out: bool
    registration_out: bool

    def to_json(self) -> dict[str, Any]:
        """The form in which a campaign keeps it."""
        return {
            "slug": self.slug,
            "title": self.title,
            "date": self.date.isoformat(),
            "time": self.time.isoformat() if self.time else None,
            "place": self.place,
            "address": self.address,
            "region": self.region,
            "programme_out": self.programme_out,
            "registration_out": self.registration_out,
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "FrozenEvent":
        """The event out of the form in which a campaign keeps it."""
        return cls(
            **{
                **kept,
                "date": date.fromisoformat(kept["date"]),
                "time": time.fromisoformat(kept["time"]) if kept["time"] else None,
            }
        )


@dataclass(frozen=True, slots=True)
class PlannedLink:
    """A link of a campaign before it is stored."""

    number: int
    key: str
    kind: str
    event_slug: str | None
    target: str


@dataclass(frozen=True, slots=True)
class CampaignLetter:
    """A campaign's letter with everything that is the same for all of its recipients."""

    campaign_id: int
    campaign_name: str
    tracking: TrackingMode
    auto_submitted: bool
    dated_at: datetime
    letter: Letter
    events: tuple[FrozenEvent, ...]
    event_slug: str | None
    """The one event a reminder is about."""
    links: Mapping[str, PlannedLink]
    """By key."""
    literals: tuple[str, ...]

    @property
    def frozen(self) -> dict[str, Any]:
        """The form in which the campaign keeps letter and events."""
        source = self.letter.source
        return {
            "name": source.name,
            "files": dict(source.files),
            "manifest": dict(source.manifest),
            "events": [event.to_json() for event in self.events],
            "event_slug": self.event_slug,
            "literals": list(self.literals),
        }


@dataclass(frozen=True, slots=True)
class Addressee:
    """The recipient of one delivery as read for sending."""

    position: int
    email: str
    values: RecipientValues
    tracking: str | None
    source: str | None
    """The first of the parties whose lists the row came from."""
    is_somebody: bool = True
    """False for the reader of the copy to pass on: no link in it acts for a person."""
    suppressed: bool = False
    attempts: int = 0
    first_deferred_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One message, ready for a relay."""

    envelope: Envelope
    data: bytes
    message_id: str


def open_letter(db: Session, campaign: Campaign) -> CampaignLetter:
    """The letter of a launched campaign, out of what was frozen with it.

    Raises:
        LetterError: it cannot be parsed; the launch would have refused it.
    """
    kept = campaign.frozen_letter
    assert kept is not None
    assert campaign.dated_at is not None
    rows = db.scalars(select(Link).where(Link.campaign_id == campaign.id)).all()
    return CampaignLetter(
        campaign_id=campaign.id,
        campaign_name=campaign.name,
        tracking=TrackingMode(campaign.tracking),
        auto_submitted=campaign.auto_submitted,
        dated_at=campaign.dated_at,
        letter=_parse_letter(json.dumps([kept["name"], kept["files"], kept["manifest"]])),
        events=tuple(FrozenEvent.from_json(event) for event in kept["events"]),
        event_slug=kept["event_slug"],
        links={
            row.key: PlannedLink(row.number, row.key, row.kind, row.event_slug, row.target)
            for row in rows
        },
        literals=tuple(kept["literals"]),
    )


@functools.lru_cache(maxsize=8)
def _parse_letter(frozen: str) -> Letter:
    """A frozen letter's templates; parsing costs more than rendering, and web pages render often."""
    return Letter(LetterSource(*json.loads(frozen)))


def addressees() -> Select[Any]:
    """The columns ``read_addressee`` takes, from deliveries joined to their recipients."""
    source = (
        select(func.min(RecipientSource.source))
        .where(RecipientSource.recipient_id == Recipient.id)
        .scalar_subquery()
    )
    return select(
        Delivery.position,
        Delivery.attempts,
        Delivery.first_deferred_at,
        *_RECIPIENT_COLUMNS,
        source.label("source"),
    ).join(Recipient, Recipient.id == Delivery.recipient_id)


_RECIPIENT_COLUMNS = (
    Recipient.email,
    Recipient.name,
    Recipient.shared,
    Recipient.role,
    Recipient.sector,
    Recipient.organisation,
    Recipient.workplace,
    Recipient.confederation,
    Recipient.region,
    Recipient.language,
    Recipient.attributes,
    Recipient.tracking,
)


def read_addressee(row: Row[Any], *, suppressed: bool = False) -> Addressee:
    """One row of ``addressees``."""
    return Addressee(
        position=row.position,
        email=row.email,
        values=recipient_values(row),
        tracking=row.tracking,
        source=row.source,
        suppressed=suppressed,
        attempts=row.attempts,
        first_deferred_at=row.first_deferred_at,
    )


def recipient_values(row: Row[Any] | Recipient) -> RecipientValues:
    """What the templates see of a recipient; an address several people share is nobody's by name."""
    return RecipientValues(
        name=None if row.shared else row.name,
        role=row.role.value,
        sector=row.sector.value,
        organisation=row.organisation,
        workplace=row.workplace,
        confederation=row.confederation.value,
        region=row.region.value if row.region else None,
        language=row.language,
        attributes=Attributes(row.attributes or {}),
    )


def render_letter(tools: LetterTools, letter: CampaignLetter, to: Addressee) -> RenderedLetter:
    """The letter as this recipient gets it.

    Raises:
        RecipientValueError: this recipient lacks something the letter uses.
        LetterError: the letter asks for something nobody has.
    """
    tracked_as = tracked_position(letter.tracking, to)
    values = letter_values(tools, letter, to, tracked_as)
    return letter.letter.render(values, pixel=pixel_address(tools, letter, tracked_as))


def pixel_address(tools: LetterTools, letter: CampaignLetter, tracked_as: int | None) -> str | None:
    """The open pixel's address; None where nothing is tracked."""
    if tracked_as is None:
        return None
    return tools.addresses.open_pixel(letter.campaign_id, tracked_as)


def write_message(
    tools: LetterTools, letter: CampaignLetter, to: Addressee, rendered: RenderedLetter
) -> Message:
    """The message for one recipient, with its envelope.

    Raises:
        UnicodeError: the address's domain is no domain name.
    """
    personal = personal_fields(tools, letter, to)
    data = compose(rendered, common_fields(tools, letter), personal)
    return Message(envelope_for(tools, letter, to, personal), data, personal.message_id)


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
    )


def personal_fields(tools: LetterTools, letter: CampaignLetter, to: Addressee) -> PersonalFields:
    """What stands in the header of one recipient's message alone.

    Raises:
        UnicodeError: the address's domain is no domain name.
    """
    settings, tokens = tools.settings, tools.tokens
    names = (letter.campaign_id, to.position)
    mailto = _plus(settings.bounces_to, tokens.sign_for_address(Purpose.UNSUBSCRIBE, *names))
    return PersonalFields(
        to_name=to.values.name or "",
        to_address=ascii_domain(to.email),
        reply_to=_reply_to(settings, to.source),
        message_id=message_id_of(tools, *names),
        unsubscribe_url=tools.addresses.unsubscribe(*names),
        unsubscribe_mailto=f"mailto:{mailto}?subject=unsubscribe",
    )


def envelope_for(
    tools: LetterTools, letter: CampaignLetter, to: Addressee, personal: PersonalFields
) -> Envelope:
    """The envelope, with a return path that names the delivery."""
    token = tools.tokens.sign_for_address(Purpose.BOUNCE, letter.campaign_id, to.position)
    return Envelope(_plus(tools.settings.bounces_to, token), personal.to_address)


def message_id_of(tools: LetterTools, campaign_id: int, position: int) -> str:
    """The Message-ID every copy of a delivery carries."""
    token = tools.tokens.sign_for_address(Purpose.MESSAGE_ID, campaign_id, position)
    return f"{token}@{list_id(tools.settings)}"


def list_id(settings: Settings) -> str:
    """The name of the list (RFC 2919), also the right side of Message-IDs; ASCII."""
    return settings.list_id or ascii_domain(settings.sender_address).rpartition("@")[2]


def view_letter(
    tools: LetterTools, db: Session, campaign_id: int, position: int
) -> RenderedLetter | None:
    """The letter as its recipient got it, without pixel; None if there is no such delivery."""
    campaign = _launched(db, campaign_id)
    row = db.execute(
        addressees().where(Delivery.campaign_id == campaign_id, Delivery.position == position)
    ).one_or_none()
    if campaign is None or row is None:
        return None
    letter, to = open_letter(db, campaign), read_addressee(row)
    values = letter_values(tools, letter, to, tracked_position(letter.tracking, to))
    return letter.letter.render(values, pixel=None)


def pass_on_letter(
    tools: LetterTools, db: Session, campaign_id: int, variant: int
) -> RenderedLetter | None:
    """The letter to pass on: for nobody in particular, with no link that acts for a person."""
    campaign = _launched(db, campaign_id)
    reader = variant_reader(variant)
    if campaign is None or reader is None:
        return None
    letter = open_letter(db, campaign)
    to = Addressee(NOBODY, "", reader, None, None, is_somebody=False)
    tracked_as = None if letter.tracking is TrackingMode.NONE else NOBODY
    return letter.letter.render(letter_values(tools, letter, to, tracked_as), pixel=None)


def variant_of(values: RecipientValues) -> int:
    """The number of the variant a recipient passes on: language, sector and region, no person."""
    language = _LANGUAGES.index(values.language) if values.language in _LANGUAGES else 0
    sector = _SECTORS.index(Sector(values.sector))
    region = _REGIONS.index(Region(values.region) if values.region else None)
    return (language * len(_SECTORS) + sector) * len(_REGIONS) + region


def variant_reader(variant: int) -> RecipientValues | None:
    """Whom a variant is written for; None if there is no such variant."""
    rest, region = divmod(variant, len(_REGIONS))
    language, sector = divmod(rest, len(_SECTORS))
    if not 0 <= language < len(_LANGUAGES):
        return None
    return RecipientValues(
        name=None,
        role=Role.OTHER.value,
        sector=_SECTORS[sector].value,
        organisation=None,
        workplace=None,
        confederation=Confederation.NONE.value,
        region=_REGIONS[region],
        language=_LANGUAGES[language],
        attributes=Attributes(),
    )


def _launched(db: Session, campaign_id: int) -> Campaign | None:
    campaign = db.get(Campaign, campaign_id)
    if campaign is None or campaign.state == CampaignState.DRAFT or campaign.frozen_letter is None:
        return None
    return campaign


def tracked_position(mode: TrackingMode, to: Addressee) -> int | None:
    """Whom tracked links name: the delivery, nobody (0), or None for plain links."""
    if mode is TrackingMode.NONE:
        return None
    consented = to.tracking == TrackingChoice.CONSENT
    objected = to.tracking == TrackingChoice.OBJECTION
    personal = mode is TrackingMode.PERSONAL or (mode is TrackingMode.CONSENT and consented)
    return to.position if personal and not objected else NOBODY


def letter_values(
    tools: LetterTools, letter: CampaignLetter, to: Addressee, tracked_as: int | None
) -> LetterValues:
    """Everything the templates see for one recipient."""
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
            **{name: _link(tools, letter, name, tracked_as) for name in PAGES},
        ),
        events=events,
        event=about,
    )


def _event_values(
    tools: LetterTools, letter: CampaignLetter, to: Addressee, tracked_as: int | None
) -> tuple[EventValues, ...]:
    def link(name: str, slug: str) -> str:
        return _link(tools, letter, f"events.{name}/{slug}", tracked_as)

    def remind(slug: str) -> str:
        if not to.is_somebody:
            return tools.addresses.page(f"/events/{slug}")
        return tools.addresses.remind(letter.campaign_id, to.position, slug)

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
            registration=link("registration", event.slug) if event.registration_out else None,
            remind=remind(event.slug),
            calendar=link("calendar", event.slug),
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


def _reply_to(settings: Settings, source: str | None) -> str | None:
    chosen = settings.reply_to
    if isinstance(chosen, dict):
        chosen = chosen.get(source or "", chosen.get("default"))
    return ascii_domain(chosen) if chosen else ascii_domain(settings.sender_address)
