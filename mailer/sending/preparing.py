"""A letter as it would be frozen now: read from disk, its events and links gathered."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign
from mailer.events.catalogue import find_event, upcoming_events
from mailer.events.models import Event
from mailer.foundation.settings import TrackingMode
from mailer.rendering.enclosures import Enclosure
from mailer.rendering.letter import Letter
from mailer.rendering.links import extract_literal_links
from mailer.rendering.source import LetterSource, load_letter
from mailer.sending.frozen import PAGES, CampaignLetter, FrozenChange, FrozenEvent, PlannedLink
from mailer.sending.letters import LetterTools


def prepare_letter(
    tools: LetterTools,
    db: Session,
    campaign: Campaign,
    *,
    now: datetime,
    about: str | None = None,
    changes: Sequence[FrozenChange] = (),
    enclosures: Sequence[Enclosure] = (),
) -> CampaignLetter:
    """The letter as it would be frozen now, with its links numbered; nothing is stored.

    Args:
        about: the slug of the one event a reminder is about, whatever its state.
        changes: what became different about that event.
        enclosures: files that go with every copy, beside those the letter names itself.

    Raises:
        LetterNotFound: there is no such letter.
        LetterError: a part of it is no template.
    """
    source, literals = extract_literal_links(load_letter(campaign.letter, tools.folders))
    source = replace(source, enclosures=(*source.enclosures, *enclosures))
    if about is None:
        events = upcoming_events(db, now.astimezone(tools.settings.zone).date())
    else:
        events = [find_event(db, about)]
    return CampaignLetter(
        campaign_id=campaign.id,
        campaign_name=campaign.name,
        tracking=TrackingMode(campaign.tracking),
        auto_submitted=campaign.auto_submitted,
        dated_at=now,
        letter=Letter(source),
        events=tuple(_frozen_event(event) for event in events),
        event_slug=about,
        links=_plan_links(source, events, literals),
        literals=literals,
        changes=tuple(changes),
    )


def _plan_links(
    source: LetterSource, events: Sequence[Event], literals: Sequence[str]
) -> Mapping[str, PlannedLink]:
    planned = [PlannedLink(0, key, "", None, target) for key, target in PAGES.items()]
    for event in events:
        page = f"/events/{event.slug}"
        targets = {
            "programme": event.programme_url or page,
            "registration": event.registration_url or page,
            "calendar": f"{page}.ics",
        }
        planned += [
            PlannedLink(0, f"events.{name}/{event.slug}", "", event.slug, target)
            for name, target in targets.items()
        ]
    planned += [PlannedLink(0, url, "", None, url) for url in literals]
    return {
        link.key: replace(link, number=number, kind=_kind(source, link))
        for number, link in enumerate(planned, start=1)
    }


def _kind(source: LetterSource, link: PlannedLink) -> str:
    key = link.key if link.event_slug is None else link.key.removesuffix(f"/{link.event_slug}")
    return source.counts_as(key)


def _frozen_event(event: Event) -> FrozenEvent:
    return FrozenEvent(
        slug=event.slug,
        title=event.title,
        date=event.date,
        time=event.time,
        place=event.place,
        address=event.address,
        region=event.region,
        programme_out=event.programme_url is not None,
        registration_out=event.registration_url is not None,
        state=event.state.value,
        hosted=event.hosted,
    )
