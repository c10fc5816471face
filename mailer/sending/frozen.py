"""A campaign's letter as it was frozen at the launch: templates, events, links."""

import functools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime, time
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign, Link
from mailer.foundation.settings import TrackingMode
from mailer.rendering.enclosures import Enclosure
from mailer.rendering.letter import Letter
from mailer.rendering.source import LetterSource
from mailer.rendering.values import ChangeValues

PAGES = {
    "pack": "/startpakke.pdf",
    "pack_page": "/startpakke",
    "principles": "/principper",
    "events_page": "/events",
}
"""The links every letter has, and the pages of ours they open."""


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
    state: str = "open"
    hosted: bool = False

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
            "state": self.state,
            "hosted": self.hosted,
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
class FrozenChange:
    """What became different about the event a letter tells of, as one writes it; dates in ISO 8601."""

    field: str
    old: str | None
    new: str | None

    def to_values(self) -> ChangeValues:
        """The change as the templates see it, dates and times as such."""
        return ChangeValues(self.field, self._read(self.old), self._read(self.new))

    def _read(self, text: str | None) -> date | time | str | None:
        if text is not None and self.field == "date":
            return date.fromisoformat(text)
        if text is not None and self.field == "time":
            return time.fromisoformat(text)
        return text


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
    changes: tuple[FrozenChange, ...] = ()
    """What became different about that event."""

    @property
    def frozen(self) -> dict[str, Any]:
        """The form in which the campaign keeps letter and events."""
        source = self.letter.source
        return {
            "name": source.name,
            "files": dict(source.files),
            "manifest": dict(source.manifest),
            "enclosures": [asdict(enclosure) for enclosure in source.enclosures],
            "events": [event.to_json() for event in self.events],
            "event_slug": self.event_slug,
            "literals": list(self.literals),
            "changes": [asdict(change) for change in self.changes],
        }


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
        letter=_parse_letter(
            json.dumps([kept["name"], kept["files"], kept["manifest"], kept.get("enclosures", [])])
        ),
        events=tuple(FrozenEvent.from_json(event) for event in kept["events"]),
        event_slug=kept["event_slug"],
        links={
            row.key: PlannedLink(row.number, row.key, row.kind, row.event_slug, row.target)
            for row in rows
        },
        literals=tuple(kept["literals"]),
        changes=tuple(FrozenChange(**change) for change in kept.get("changes", ())),
    )


@functools.lru_cache(maxsize=8)
def _parse_letter(frozen: str) -> Letter:
    """A frozen letter's templates; parsing costs more than rendering, and web pages render often."""
    name, files, manifest, enclosures = json.loads(frozen)
    return Letter(
        LetterSource(name, files, manifest, tuple(Enclosure(**enclosure) for enclosure in enclosures))
    )
