"""The one function that starts a campaign, reminders too: copy the letter, store the links, freeze."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import Select, func, insert, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from mailer.campaigns.audience import freeze_audience, is_suppressed
from mailer.campaigns.errors import NotAllowedNow
from mailer.campaigns.lifecycle import create_campaign
from mailer.campaigns.models import Campaign, CampaignState, Link
from mailer.events.catalogue import list_events, upcoming_events
from mailer.events.errors import AlreadySent
from mailer.events.models import Event
from mailer.events.reminders import (
    PlannedReminder,
    due_reminders,
    reminder_audience,
    reminder_letters,
    store_sent,
)
from mailer.foundation.clock import real_now
from mailer.foundation.database import Database
from mailer.foundation.log import get_log
from mailer.foundation.settings import Settings, SettingsError, TrackingMode
from mailer.rendering.errors import LetterError, RecipientValueError
from mailer.rendering.letter import Letter
from mailer.rendering.links import extract_literal_links
from mailer.rendering.source import LetterSource, load_letter
from mailer.sending.letters import (
    NOBODY,
    PAGES,
    Addressee,
    CampaignLetter,
    FrozenEvent,
    LetterTools,
    PlannedLink,
    recipient_values,
    render_letter,
    write_message,
)
from mailer.smtp.relays import Relay
from recipients.importing import require_no_import_running
from recipients.models import Recipient, RecipientSource
from recipients.segments import find_segment, select_segment

_log = get_log(__name__)
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class LaunchRefused(Exception):
    """The campaign cannot be launched as it is; nothing was changed."""


@dataclass(frozen=True, slots=True)
class LaunchTools:
    """What a launch needs beside the database."""

    letters: LetterTools
    folders: tuple[Path, ...]
    """Template folders; the first that has a letter gives it."""
    relays: tuple[Relay, ...]

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.letters.settings


@dataclass(frozen=True, slots=True)
class Launched:
    """A campaign that has begun, or waits for its time."""

    campaign_id: int
    name: str
    audience: int
    state: CampaignState
    notes: tuple[str, ...]
    """What an administrator may want to know, though nothing is wrong."""


@dataclass(frozen=True, slots=True)
class LaunchedReminder:
    """A reminder that went its way."""

    event_slug: str
    lead: str
    campaign_id: int | None
    """None if nobody was to be reminded."""
    campaign_name: str | None
    audience: int
    late: bool


def launch_campaign(
    tools: LaunchTools,
    db: Session,
    campaign: Campaign,
    *,
    now: datetime,
    at: datetime | None = None,
) -> Launched:
    """Start a draft: after the commit its batches can be claimed.

    Args:
        now: the clock people see.
        at: when to begin, on that clock; at once if it is past or None.

    Raises:
        NotAllowedNow: the campaign is no draft.
        ImportRunning: recipients are being imported.
        SettingsError: there is no sender, no relay, or the public address is not fit to be sent.
        LetterNotFound, LetterError: the letter cannot be rendered.
        LaunchRefused: it would reach nobody, or invite to events that are over.
    """
    _require_draft(campaign)
    require_no_import_running(db, real_now())
    require_sending_settings(tools)
    recipients = select_segment(find_segment(db, campaign.segment).rule if campaign.segment else None)
    letter = prepare_letter(tools, db, campaign, now=now)
    notes = _check_events(db, letter)
    audience = _freeze(tools, db, campaign, letter, recipients, now=now, at=at)
    if audience == 0:
        raise LaunchRefused(
            "nobody would get this letter: the segment is empty, or everybody in it is suppressed"
        )
    return Launched(campaign.id, campaign.name, audience, campaign.state, tuple(notes))


def launch_due_reminders(
    tools: LaunchTools, database: Database, *, now: datetime
) -> list[LaunchedReminder]:
    """Start every reminder that is due; harmless when repeated or doubled.

    Each is launched and noted as sent in one transaction, so that of two ticks at once one wins.

    Args:
        now: the clock people see.

    Raises:
        SettingsError: there is no sender or relay; every reminder stays due.
    """
    require_sending_settings(tools)
    letters = {source.name: source for source in reminder_letters(tools.folders)}
    with database.read() as db:
        due = due_reminders(
            db,
            list(letters.values()),
            now=now,
            zone=tools.settings.zone,
            grace=timedelta(hours=tools.settings.reminder_grace_hours),
        )
    launched = []
    for reminder in due:
        try:
            with database.write() as db:
                launched.append(_launch_reminder(tools, db, reminder, now=now))
        except AlreadySent:
            _log.info("reminder was launched by another tick", reminder=_name_of(reminder))
        except (LetterError, NotAllowedNow) as error:
            _log.error("reminder cannot be launched", reminder=_name_of(reminder), error=str(error))
    return launched


def prepare_letter(
    tools: LaunchTools,
    db: Session,
    campaign: Campaign,
    *,
    now: datetime,
    about: str | None = None,
) -> CampaignLetter:
    """The letter as it would be frozen now, with its links numbered; nothing is stored.

    Args:
        about: the slug of the one event a reminder is about.

    Raises:
        LetterNotFound: there is no such letter.
        LetterError: a part of it is no template.
    """
    source, literals = extract_literal_links(load_letter(campaign.letter, tools.folders))
    today = now.astimezone(tools.settings.zone).date()
    events = upcoming_events(db, today)
    if about is not None:
        events = [event for event in events if event.slug == about]
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
    )


def sample_addressee(db: Session, recipient: Recipient) -> Addressee:
    """A recipient as a letter would meet them, with links that name nobody."""
    source = db.scalar(
        select(func.min(RecipientSource.source)).where(RecipientSource.recipient_id == recipient.id)
    )
    return Addressee(NOBODY, recipient.email, recipient_values(recipient), recipient.tracking, source)


def require_sending_settings(tools: LaunchTools) -> None:
    """Return if letters could leave.

    Raises:
        SettingsError: there is no sender or relay, or the public address is not fit to be sent.
    """
    settings = tools.settings
    _ = settings.sender_address
    if not tools.relays:
        raise SettingsError(
            'no relay is set: write  smtp_relays = "smtp://user:password@host:587"  in mailer.toml,'
            " or set MAILER_SMTP_RELAYS"
        )
    public = urlsplit(settings.public_url)
    if public.scheme != "https" and public.hostname not in _LOOPBACK:
        raise SettingsError(
            f"public_url is {settings.public_url}: links in letters need https (RFC 8058 §3.1)"
        )


def _launch_reminder(
    tools: LaunchTools, db: Session, reminder: PlannedReminder, *, now: datetime
) -> LaunchedReminder:
    tracking, legal_basis = _tracking_of(db, reminder.event_slug)
    name = _name_of(reminder)
    note = store_sent(db, reminder, campaign_id=None, audience=0, now=now)
    recipients = reminder_audience(reminder.event_id, until=reminder.due_at)
    reached = db.scalar(
        select(func.count()).select_from(Recipient).where(Recipient.id.in_(recipients), ~is_suppressed())
    )
    if not reached:
        return LaunchedReminder(reminder.event_slug, reminder.lead, None, None, 0, reminder.late)
    campaign = create_campaign(
        db,
        name,
        letter=reminder.letter,
        segment=None,
        tracking=tracking,
        legal_basis=legal_basis,
        now=now,
        auto_submitted=True,
    )
    letter = prepare_letter(tools, db, campaign, now=now, about=reminder.event_slug)
    audience = _freeze(tools, db, campaign, letter, recipients, now=now, at=None)
    note.campaign_id, note.audience = campaign.id, audience
    return LaunchedReminder(
        reminder.event_slug, reminder.lead, campaign.id, name, audience, reminder.late
    )


def _freeze(
    tools: LaunchTools,
    db: Session,
    campaign: Campaign,
    letter: CampaignLetter,
    recipients: Select[int],
    *,
    now: datetime,
    at: datetime | None,
) -> int:
    """Prove the letter on a recipient of each kind, store its links, and freeze the audience."""
    _probe(tools, db, letter, recipients)
    waits = at is not None and at > now
    started = db.execute(
        update(Campaign)
        .where(Campaign.id == campaign.id, Campaign.state == CampaignState.DRAFT)
        .values(
            state=CampaignState.SCHEDULED if waits else CampaignState.SENDING,
            frozen_letter=letter.frozen,
            queued_at=now,
            dated_at=at if waits else now,
            due_at=at if waits else None,
            batch_size=tools.settings.batch_size,
        )
    )
    assert isinstance(started, CursorResult)
    if started.rowcount == 0:
        db.refresh(campaign)
        _require_draft(campaign)
    rows = [
        {
            "campaign_id": campaign.id,
            "number": link.number,
            "key": link.key,
            "kind": link.kind,
            "event_slug": link.event_slug,
            "target": link.target,
        }
        for link in letter.links.values()
    ]
    db.execute(insert(Link), rows)
    audience = freeze_audience(
        db,
        campaign,
        recipients,
        batch_size=tools.settings.batch_size,
        allowed=tools.settings.allowed_patterns,
        now=now,
        due_at=real_now(),
    )
    db.flush()
    db.refresh(campaign)
    return audience


def _require_draft(campaign: Campaign) -> None:
    if campaign.state != CampaignState.DRAFT:
        raise NotAllowedNow(
            f"campaign {campaign.name!r} is {campaign.state}: it was queued already;"
            f" see  mailer campaign status {campaign.name}"
        )


def _probe(
    tools: LaunchTools, db: Session, letter: CampaignLetter, recipients: Select[int]
) -> None:
    """Write the whole message for one recipient of each kind; who lacks a value fails alone, later.

    Raises:
        LetterError: the letter asks for something nobody has.
    """
    kinds = (
        select(func.min(Recipient.id))
        .where(Recipient.id.in_(recipients), ~is_suppressed())
        .group_by(Recipient.role, Recipient.sector, Recipient.language, Recipient.name.is_(None))
    )
    for recipient in db.scalars(select(Recipient).where(Recipient.id.in_(kinds))):
        to = sample_addressee(db, recipient)
        try:
            write_message(tools.letters, letter, to, render_letter(tools.letters, letter, to))
        except RecipientValueError:
            continue


def _check_events(db: Session, letter: CampaignLetter) -> list[str]:
    if letter.events or not letter.letter.uses("events"):
        return []
    if list_events(db):
        raise LaunchRefused(
            f"letter {letter.letter.source.name!r} invites to events, and all of them are over or"
            " cancelled: see  mailer event list"
        )
    return ["no events are known, so the letter goes without them: see  mailer event import"]


def _tracking_of(db: Session, event_slug: str) -> tuple[TrackingMode, str | None]:
    """A reminder is tracked as the latest letter that told of its event."""
    told = db.scalar(
        select(Campaign)
        .join(Link, Link.campaign_id == Campaign.id)
        .where(Link.event_slug == event_slug, Campaign.auto_submitted.is_(False))
        .order_by(Campaign.id.desc())
        .limit(1)
    )
    return (TrackingMode(told.tracking), told.legal_basis) if told else (TrackingMode.NONE, None)


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
    )


def _name_of(reminder: PlannedReminder) -> str:
    return f"{reminder.letter}-{reminder.event_slug}-{reminder.lead.replace(' ', '-')}"
