"""What a letter's templates see: plain values, and nothing that could reach further."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, time

from mailer.rendering.source import Signatory


class Attributes(dict[str, object]):
    """What else a recipient's row carried; a template that misses one fails for that recipient alone."""


@dataclass(slots=True)
class RecipientValues:
    """The recipient as the letter knows them; not frozen, for one is made for every letter."""

    name: str | None
    role: str
    sector: str
    organisation: str | None
    workplace: str | None
    confederation: str
    region: str | None
    language: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class CampaignValues:
    """The campaign as the letter knows it."""

    name: str
    signatories: tuple[Signatory, ...]


@dataclass(frozen=True, slots=True)
class LinkValues:
    """The addresses that stand in the letter; the copy to pass on has none that act for a person."""

    unsubscribe: str | None
    browser: str | None
    pass_on: str | None
    pack: str
    """The pack as a PDF."""
    pack_page: str
    principles: str
    events_page: str
    literal: tuple[str, ...]
    """The addresses written out in the templates, in their order, each tracked by itself."""
    inline: Mapping[str, str] = field(default_factory=dict)
    """The letter's own images by name."""
    trap: str | None = None
    """Hidden from readers, so that only programs follow it; None where nobody in particular clicks."""


@dataclass(frozen=True, slots=True)
class EventValues:
    """One event, with this recipient's links."""

    slug: str
    title: str
    date: date
    time: time | None
    place: str | None
    address: str | None
    region: str | None
    own_region: bool
    programme: str
    programme_out: bool
    registration: str | None
    remind: str
    calendar: str
    state: str = "open"
    """``open``, ``moved``, ``full`` or ``cancelled``."""
    hosted: bool = False
    """Whether ``registration`` is a page of ours."""
    attendance: str | None = None
    """Where somebody who registered on our page gives the seat back; None where there is no page."""


@dataclass(frozen=True, slots=True)
class ChangeValues:
    """What became different about an event."""

    field: str
    """``title``, ``date``, ``time``, ``place``, ``address``, ``programme_url``, ``registration_url``,
    ``capacity`` or ``state``."""
    old: date | time | str | None
    new: date | time | str | None


@dataclass(frozen=True, slots=True)
class LetterValues:
    """Everything one rendering sees."""

    recipient: RecipientValues
    campaign: CampaignValues
    links: LinkValues
    events: tuple[EventValues, ...]
    event: EventValues | None = None
    """The one event a reminder is about."""
    changes: tuple[ChangeValues, ...] = ()
    """What became different about that event, where the letter tells of it."""

    def context(self) -> Mapping[str, object]:
        """The names at the top of a template."""
        names: dict[str, object] = {
            "recipient": self.recipient,
            "campaign": self.campaign,
            "links": self.links,
            "events": self.events,
        }
        if self.event is not None:
            names["event"] = self.event
            names["changes"] = self.changes
        return names


PLAIN_FIELDS = {
    kind: frozenset(kind.__slots__)
    for kind in (RecipientValues, CampaignValues, LinkValues, EventValues, ChangeValues, Signatory)
}
"""Slotted values without methods: every slot of them may be read by a template."""
