"""The one function that starts a campaign, reminders too: copy the letter, store the links, freeze."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, func, insert, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from mailer.campaigns.audience import freeze_audience
from mailer.campaigns.errors import NotAllowedNow
from mailer.campaigns.lifecycle import create_campaign
from mailer.campaigns.models import Batch, Campaign, CampaignState, Link
from mailer.campaigns.timetable import Timetable, Wishes, plan_parts
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
from mailer.rendering.errors import LetterError
from mailer.sending.checks import check_events, check_settings
from mailer.sending.findings import Finding, Gravity
from mailer.sending.frozen import CampaignLetter
from mailer.sending.letters import LetterTools
from mailer.sending.preflight import NOBODY, try_samples
from mailer.sending.preparing import prepare_letter
from mailer.sending.withholding import is_withheld
from mailer.smtp.relays import Relay
from recipients.runs import require_no_import_running
from recipients.segments import find_segment, select_segment

_log = get_log(__name__)
_MOST_TOLD = 3
_AT_ONCE = Wishes()


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
    parts: int
    """Batches of first attempts."""
    first_at: datetime
    """When the first of them is due; the clock people see."""
    last_at: datetime


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
    wishes: Wishes = _AT_ONCE,
) -> Launched:
    """Start a draft: after the commit its batches can be claimed.

    Args:
        now: the clock people see.
        at: when to begin, on that clock; at once if it is past or None.
        wishes: over how long the letters are spread, and when they may leave at all.

    Raises:
        NotAllowedNow: the campaign is no draft.
        ImportRunning: recipients are being imported.
        SettingsError: there is no sender, no relay, or the public address is not fit to be sent.
        LetterNotFound, LetterError: the letter cannot be rendered.
        LaunchRefused: it would reach nobody, invite to events that are over, or read wrong to somebody.
        BadTimetable: it would take more than a year.
    """
    _require_draft(campaign)
    require_no_import_running(db, real_now())
    require_sending_settings(tools)
    recipients = select_segment(find_segment(db, campaign.segment).rule if campaign.segment else None)
    letter = prepare_letter(tools.letters, db, campaign, now=now)
    notes = _refuse_errors(campaign, check_events(db, letter))
    notes += _prove(tools, db, campaign, letter, recipients)
    audience = _freeze(tools, db, campaign, letter, recipients, now=now, at=at, wishes=wishes)
    if audience == 0:
        raise LaunchRefused(NOBODY)
    parts, first_at, last_at = db.execute(
        select(func.count(), func.min(Batch.planned_at), func.max(Batch.planned_at)).where(
            Batch.campaign_id == campaign.id
        )
    ).one()
    begins_at = max(campaign.due_at or now, campaign.opens_at or now)
    return Launched(
        campaign.id,
        campaign.name,
        audience,
        campaign.state,
        tuple(notes),
        parts,
        first_at or begins_at,
        last_at or begins_at,
    )


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
        except (LetterError, LaunchRefused, NotAllowedNow) as error:
            _log.error("reminder cannot be launched", reminder=_name_of(reminder), error=str(error))
    return launched


def require_sending_settings(tools: LaunchTools) -> None:
    """Return if letters could leave.

    Raises:
        SettingsError: there is no sender or relay, or the public address is not fit to be sent.
    """
    for finding in check_settings(tools.settings, tools.relays):
        if finding.gravity is Gravity.ERROR:
            raise SettingsError(finding.detail)


def _launch_reminder(
    tools: LaunchTools, db: Session, reminder: PlannedReminder, *, now: datetime
) -> LaunchedReminder:
    tracking, legal_basis = _tracking_of(db, reminder.event_slug)
    name = _name_of(reminder)
    note = store_sent(db, reminder, campaign_id=None, audience=0, now=now)
    recipients = reminder_audience(reminder.event_id, until=reminder.due_at)
    reached = db.scalar(select(func.count()).select_from(recipients.subquery()))
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
    _prove(tools, db, campaign, letter, recipients)
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
    wishes: Wishes = _AT_ONCE,
) -> int:
    """Move the campaign on, store its links, and freeze the audience."""
    span, most = wishes.span, tools.settings.batch_size
    waits = at is not None and at > now
    begins_at = at if at is not None and at > now else now
    timetable = Timetable(tools.settings.zone, wishes.hours, wishes.workdays)
    window = None if timetable.is_always else timetable.window_at(begins_at)

    started = db.execute(
        update(Campaign)
        .where(Campaign.id == campaign.id, Campaign.state == CampaignState.DRAFT)
        .values(
            state=CampaignState.SCHEDULED if waits else CampaignState.SENDING,
            frozen_letter=letter.frozen,
            queued_at=now,
            dated_at=begins_at,
            due_at=begins_at if waits else None,
            hours=str(wishes.hours) if wishes.hours else None,
            workdays=wishes.workdays,
            opens_at=window.opens if window else None,
            closes_at=window.closes if window else None,
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
        batch_size=most,
        allowed=tools.settings.allowed_patterns,
        now=now,
        due_at=real_now(),
        withheld=is_withheld(letter),
        spread=None
        if span is None
        else lambda letters: plan_parts(timetable, begins_at, span, letters=letters, most=most),
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


def _prove(
    tools: LaunchTools,
    db: Session,
    campaign: Campaign,
    letter: CampaignLetter,
    recipients: Select[int],
) -> list[str]:
    """Try the letter on one recipient of each kind, and return what somebody may want to know.

    Raises:
        LetterError: the letter asks for something nobody has.
        LaunchRefused: a reader would find something wrong.
    """
    return _refuse_errors(campaign, try_samples(tools.letters, db, letter, recipients).findings)


def _refuse_errors(campaign: Campaign, findings: Iterable[Finding]) -> list[str]:
    """The warnings among the findings, in words.

    Raises:
        LaunchRefused: there are errors; the message tells the first of them, and where to read all.
    """
    told: dict[Gravity, list[str]] = {gravity: [] for gravity in Gravity}
    for finding in findings:
        told[finding.gravity].append(finding.detail)
    errors = told[Gravity.ERROR]
    if errors:
        more = f"; and {len(errors) - _MOST_TOLD} more" if len(errors) > _MOST_TOLD else ""
        raise LaunchRefused(
            f"{'; '.join(errors[:_MOST_TOLD])}{more}: see  mailer campaign preflight {campaign.name}"
        )
    return told[Gravity.WARNING]


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
