"""The one function that starts a campaign, reminders too: copy the letter, store the links, freeze."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from sqlalchemy import Select, func, insert, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from mailer.campaigns.audience import freeze_audience, is_suppressed
from mailer.campaigns.errors import NotAllowedNow
from mailer.campaigns.lifecycle import create_campaign
from mailer.campaigns.models import Campaign, CampaignState, Link
from mailer.events.catalogue import list_events
from mailer.events.errors import AlreadySent
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
from mailer.sending.addressees import sample_addressee
from mailer.sending.frozen import CampaignLetter
from mailer.sending.letters import LetterTools, render_letter, write_message
from mailer.sending.preparing import prepare_letter
from mailer.smtp.relays import Relay
from recipients.importing import require_no_import_running
from recipients.models import Recipient
from recipients.segments import find_segment, select_segment

_log = get_log(__name__)
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class LaunchRefused(Exception):
    """The campaign cannot be launched as it is; nothing was changed."""


@dataclass(frozen=True, slots=True)
class LaunchTools:
    """What a launch needs beside the database."""

    letters: LetterTools
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
    letter = prepare_letter(tools.letters, db, campaign, now=now)
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
    letters = {source.name: source for source in reminder_letters(tools.letters.folders)}
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
    letter = prepare_letter(tools.letters, db, campaign, now=now, about=reminder.event_slug)
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


def _probe(tools: LaunchTools, db: Session, letter: CampaignLetter, recipients: Select[int]) -> None:
    """Write the whole message for one recipient of each kind; who lacks a value fails alone, later.

    Raises:
        LetterError: the letter asks for something nobody has.
        LaunchRefused: it asks for something that not one of them has.
    """
    kinds = (
        select(func.min(Recipient.id))
        .where(Recipient.id.in_(recipients), ~is_suppressed())
        .group_by(Recipient.role, Recipient.sector, Recipient.language, Recipient.name.is_(None))
    )
    lacking: RecipientValueError | None = None
    written = 0
    for recipient in db.scalars(select(Recipient).where(Recipient.id.in_(kinds))):
        to = sample_addressee(db, recipient)
        try:
            write_message(tools.letters, letter, to, render_letter(tools.letters, letter, to))
            written += 1
        except RecipientValueError as error:
            lacking = error
    if lacking is not None and not written:
        raise LaunchRefused(
            f"letter {letter.letter.source.name!r} could be written to nobody it was tried on: {lacking}"
        )


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


def _name_of(reminder: PlannedReminder) -> str:
    return f"{reminder.letter}-{reminder.event_slug}-{reminder.lead.replace(' ', '-')}"
