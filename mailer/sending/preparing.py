"""A letter as it would be frozen now: read from disk, its events and links gathered."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign
from mailer.events.calendar import (
    calendar_file,
    calendar_file_name,
    calendar_method,
    publisher_of,
)
from mailer.events.catalogue import find_event, link_targets, upcoming_events
from mailer.events.models import Event, EventState
from mailer.events.registering import full_events, state_of
from mailer.foundation.settings import Settings, TrackingMode
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
    files: Mapping[str, str] | None = None,
) -> CampaignLetter:
    """The letter as it would be frozen now, with its links numbered; nothing is stored.

    Args:
        about: the slug of the one event a reminder is about, whatever its state.
        changes: what became different about that event.
        enclosures: files that go with every copy, beside those the letter names itself and the calendar
            file of that event, where the letter brings one.
        files: templates by path, in place of the letter's own of that name.

    Raises:
        LetterNotFound: there is no such letter.
        LetterError: a part of it is no template.
    """
    source, literals = extract_literal_links(load_letter(campaign.letter, tools.folders))
    enclosed = [*source.enclosures, *enclosures]
    if about is None:
        events = upcoming_events(db, now.astimezone(tools.settings.zone).date())
    else:
        events = [find_event(db, about)]
        if source.calendar:
            enclosed += [_for_calendar(event, tools.settings, now) for event in events]
    source = replace(source, files={**source.files, **(files or {})}, enclosures=tuple(enclosed))
    return CampaignLetter(
        campaign_id=campaign.id,
        campaign_name=campaign.name,
        tracking=TrackingMode(campaign.tracking),
        auto_submitted=campaign.auto_submitted,
        dated_at=now,
        letter=Letter(source),
        events=_freeze(db, events),
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
        planned += [
            PlannedLink(0, f"events.{name}/{event.slug}", "", event.slug, target)
            for name, target in link_targets(event).items()
        ]
    planned += [PlannedLink(0, url, "", None, url) for url in literals]
    return {
        link.key: replace(link, number=number, kind=_kind(source, link))
        for number, link in enumerate(planned, start=1)
    }


def _kind(source: LetterSource, link: PlannedLink) -> str:
    key = link.key if link.event_slug is None else link.key.removesuffix(f"/{link.event_slug}")
    return source.counts_as(key)


def _for_calendar(event: Event, settings: Settings, now: datetime) -> Enclosure:
    """The event's calendar file, its type saying what it asks a calendar to do (RFC 6047 §2.4)."""
    content = calendar_file(event, publisher_of(settings), stamped_at=now)
    return Enclosure(
        calendar_file_name(event),
        f"text/calendar; charset=utf-8; method={calendar_method(event)}",
        base64.b64encode(content).decode("ascii"),
    )


def _freeze(db: Session, events: Sequence[Event]) -> tuple[FrozenEvent, ...]:
    """The events as the letter tells of them: whatever else one is, without a free seat it is full."""
    full = full_events(db)
    return tuple(_frozen_event(event, state_of(event, full)) for event in events)


def _frozen_event(event: Event, state: EventState) -> FrozenEvent:
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
        state=state.value,
        hosted=event.hosted,
    )
