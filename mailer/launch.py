"""The one place where a campaign starts, reminders too: copy the letter, store the links, freeze."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Select, func, insert, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from mailer.campaigns.audience import freeze_audience
from mailer.campaigns.errors import LaunchRefused, NotAllowedNow
from mailer.campaigns.lifecycle import create_campaign
from mailer.campaigns.models import LONGEST_NAME, Batch, Campaign, CampaignState, Link
from mailer.campaigns.timetable import Timetable, Wishes, plan_parts
from mailer.foundation.clock import real_now
from mailer.foundation.settings import SettingsError, TrackingMode
from mailer.rendering.enclosures import Enclosure
from mailer.rendering.errors import LetterError, LetterNotFound
from mailer.sending.checks import check_events, check_settings, check_tracking
from mailer.sending.examining import Audience
from mailer.sending.findings import Finding, Gravity
from mailer.sending.frozen import CampaignLetter, FrozenChange
from mailer.sending.preflight import NOBODY, try_samples
from mailer.sending.preparing import prepare_letter
from mailer.sending.proving import TooManyKinds, prove_letter
from mailer.sending.tools import LaunchTools
from mailer.sending.verdicts import Stamp, stamp_of
from mailer.sending.withholding import is_withheld
from recipients.runs import require_no_import_running
from recipients.segments import find_segment, select_segment

_MOST_TOLD = 3
_OUTDATED = "the letter or its recipients have changed since they were looked at"
_AT_ONCE = Wishes()


class NotProved(LaunchRefused):
    """A preflight has to look at the letter first: it is of too many kinds to prove here."""


class ProofOutdated(LaunchRefused):
    """The letter or its readers are not those that were looked at; the transaction is to be undone."""


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
class Proof:
    """Copies of a letter were looked at, and it may leave."""

    stamp: Stamp
    """Of the letter and its readers as they were: the proof is of no others."""
    notes: tuple[str, ...]
    """What an administrator may want to know, though nothing is wrong."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A letter that goes by itself, about one event or none."""

    name: str
    """What its campaign is to be called; a number is put to it where there is one already."""
    letter: str
    event_slug: str | None
    """It is tracked as the latest letter that invited to it; a letter about no event is not."""
    changes: tuple[FrozenChange, ...] = ()
    enclosures: tuple[Enclosure, ...] = ()
    """Files that go with every copy, beside those the letter names itself."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Templates by path, in place of the letter's own of that name."""
    segment: str | None = None
    """The segment its recipients are, where they are one."""


def prove_launch(tools: LaunchTools, db: Session, campaign: Campaign, *, now: datetime) -> Proof:
    """Look at a draft's letter as everybody in its segment would get it; nothing is stored.

    It takes seconds, in which nobody has to wait for it: the launch writes, and need not look again.

    Args:
        db: a snapshot, so that all is said of the same recipients.
        now: the clock people see.

    Raises:
        ImportRunning, SettingsError, LetterNotFound, LetterError, LaunchRefused, NotProved: as
            ``launch_campaign``.
    """
    require_no_import_running(db, real_now())
    letter, _ = prepare_launch(tools, db, campaign, now=now)
    audience = Audience(campaign.id, _rule_of(db, campaign), frozen=False)
    stamp = stamp_of(db, tools.letters.settings, letter, audience)
    return Proof(stamp, tuple(_prove(tools, db, campaign, letter, audience)))


def launch_campaign(
    tools: LaunchTools,
    db: Session,
    campaign: Campaign,
    *,
    now: datetime,
    at: datetime | None = None,
    wishes: Wishes = _AT_ONCE,
    proof: Proof | None = None,
) -> Launched:
    """Start a draft: after the commit its batches can be claimed.

    Args:
        now: the clock people see.
        at: when to begin, on that clock; at once if it is past or None.
        wishes: over how long the letters are spread, and when they may leave at all.
        proof: ``prove_launch``'s; where there is none, the letter is looked at here.

    Raises:
        NotAllowedNow: the campaign is no draft.
        ImportRunning: recipients are being imported.
        SettingsError: there is no sender, no relay, or the public address is not fit to be sent.
        LetterNotFound, LetterError: a part of the letter is missing, or is no template.
        LaunchRefused: it would reach nobody, invite to events that are over, or read wrong to somebody.
        NotProved: as that, because a preflight has to look at the letter first.
        ProofOutdated: as that, because the proof is of another letter, or not of all its readers.
        BadTimetable: it would take more than a year.
    """
    _require_draft(campaign)
    require_no_import_running(db, real_now())
    letter, notes = prepare_launch(tools, db, campaign, now=now)
    rule = _rule_of(db, campaign)
    audience = Audience(campaign.id, rule, frozen=False)
    if proof is None:
        notes += _prove(tools, db, campaign, letter, audience)
    elif proof.stamp.covers(stamp_of(db, tools.settings, letter, audience)):
        notes += proof.notes
    else:
        raise ProofOutdated(_OUTDATED)
    recipients = select_segment(rule)
    letters = _freeze(tools, db, campaign, letter, recipients, now=now, at=at, wishes=wishes)
    if proof is not None and not proof.stamp.left_out.issubset(db.scalars(audience.left_out())):
        raise ProofOutdated(_OUTDATED)  # somebody gets mail again since a moment ago
    if letters == 0:
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
        letters,
        campaign.state,
        tuple(notes),
        parts,
        first_at or begins_at,
        last_at or begins_at,
    )


def launch_notice(
    tools: LaunchTools, db: Session, notice: Notice, recipients: Select[int], *, now: datetime
) -> Launched | None:
    """Start a letter by itself; after the commit its batches can be claimed.

    Args:
        recipients: ids; who may not be written to is the caller's to leave out.
        now: the clock people see.

    Returns:
        None if nobody was to get it; nothing was changed.

    Raises:
        ImportRunning: recipients are being imported.
        LetterNotFound, LetterError: the letter cannot be rendered.
        LaunchRefused: it would read wrong to somebody.
    """
    require_no_import_running(db, real_now())
    if not db.scalar(select(func.count()).select_from(recipients.subquery())):
        return None
    tracking, legal_basis = _tracking_of(db, notice.event_slug)
    campaign = create_campaign(
        db,
        _free_name(db, notice.name),
        letter=notice.letter,
        segment=notice.segment,
        tracking=tracking,
        legal_basis=legal_basis,
        now=now,
        auto_submitted=True,
    )
    letter = prepare_letter(
        tools.letters,
        db,
        campaign,
        now=now,
        about=notice.event_slug,
        changes=notice.changes,
        enclosures=notice.enclosures,
        files=notice.files,
    )
    notes = _refuse_errors(campaign, try_samples(tools.letters, db, letter, recipients).findings)
    audience = _freeze(tools, db, campaign, letter, recipients, now=now, at=None)
    return Launched(campaign.id, campaign.name, audience, campaign.state, tuple(notes), 1, now, now)


def require_sending_settings(tools: LaunchTools) -> None:
    """Return if letters could leave.

    Raises:
        SettingsError: there is no sender or relay, or the public address is not fit to be sent; the
            message tells all of it.
    """
    if errors := _in_words(check_settings(tools.settings, tools.relays), Gravity.ERROR):
        raise SettingsError("; ".join(errors))


def prepare_launch(
    tools: LaunchTools, db: Session, campaign: Campaign, *, now: datetime
) -> tuple[CampaignLetter, list[str]]:
    """The letter as it would be frozen now, and what somebody may want to know; nothing is stored.

    All that stands in the way around the letter is told at once.

    Args:
        now: the clock people see.

    Raises:
        SettingsError: there is no sender, no relay, or the public address is not fit to be sent.
        LetterNotFound, LetterError: a part of the letter is missing, or is no template.
        LaunchRefused: it invites to events that are over, or is tracked without a legal basis.
    """
    errors = _in_words(check_settings(tools.settings, tools.relays), Gravity.ERROR)
    try:
        letter = prepare_letter(tools.letters, db, campaign, now=now)
    except (LetterNotFound, LetterError) as broken:
        if errors:
            raise SettingsError("; ".join([*errors, str(broken)])) from broken
        raise
    findings = [*check_tracking(campaign), *check_events(db, letter)]
    if errors:
        raise SettingsError("; ".join([*errors, *_in_words(findings, Gravity.ERROR)]))
    return letter, _refuse_errors(campaign, findings)


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
    audience: Audience,
) -> list[str]:
    """Look at the letter as everybody in the segment would get it; what somebody may want to know.

    A few whose letters cannot be written hold up nobody else's; where they are more than the others, it
    is the letter that is wrong.

    Raises:
        LaunchRefused: a reader would find something wrong, or get no letter.
        NotProved: a preflight has to look at it first.
    """
    try:
        verdict = prove_letter(tools.letters, db, letter, audience)
    except TooManyKinds:
        raise NotProved(
            f"its copies differ too much to be looked at in passing, and no preflight has seen them as"
            f" they are now: run  mailer campaign preflight {campaign.name}"
        ) from None
    left_behind = sum(finding.recipients or 0 for finding in verdict.unwritable)
    skipped = verdict.unwritable if left_behind <= verdict.writable else ()
    notes = _refuse_errors(campaign, [each for each in verdict.findings if each not in skipped])
    return notes + [f"{_sentence(finding)}: failed when their turn comes" for finding in skipped]


def _rule_of(db: Session, campaign: Campaign) -> str | None:
    return find_segment(db, campaign.segment).rule if campaign.segment else None


def _refuse_errors(campaign: Campaign, findings: Iterable[Finding]) -> list[str]:
    """The warnings among the findings, in words.

    Raises:
        LaunchRefused: there are errors; the message tells the first of them, and where to go on.
    """
    findings = list(findings)
    errors = _in_words(findings, Gravity.ERROR)
    if errors:
        more = f"; and {len(errors) - _MOST_TOLD} more" if len(errors) > _MOST_TOLD else ""
        remedy = (  # what goes by itself leaves no campaign behind that one could look at
            f"mend the letter {campaign.letter!r}, or what it tells of"
            if campaign.auto_submitted
            else f"see  mailer campaign preflight {campaign.name}"
        )
        raise LaunchRefused(f"{'; '.join(errors[:_MOST_TOLD])}{more}: {remedy}")
    return _in_words(findings, Gravity.WARNING)


def _in_words(findings: Iterable[Finding], gravity: Gravity) -> list[str]:
    return [_sentence(finding) for finding in findings if finding.gravity is gravity]


def _sentence(finding: Finding) -> str:
    """``the recipient has no attribute 'nr' (63 letters)``."""
    if finding.recipients is None:
        return finding.detail
    return f"{finding.detail} ({finding.recipients:,} letter{'' if finding.recipients == 1 else 's'})"


def _tracking_of(db: Session, event_slug: str | None) -> tuple[TrackingMode, str | None]:
    """How a letter about an event is tracked, and why it may be: as the latest that invited to it.

    A letter about none is not tracked.
    """
    if event_slug is None:
        return TrackingMode.NONE, None
    told = db.scalar(
        select(Campaign)
        .join(Link, Link.campaign_id == Campaign.id)
        .where(Link.event_slug == event_slug, Campaign.auto_submitted.is_(False))
        .order_by(Campaign.id.desc())
        .limit(1)
    )
    return (TrackingMode(told.tracking), told.legal_basis) if told else (TrackingMode.NONE, None)


def _free_name(db: Session, wanted: str) -> str:
    """The name, or the first one like it that no campaign has; at most as long as a name may be."""
    for number in itertools.count(1):
        ending = "" if number == 1 else f"-{number}"
        name = wanted[: LONGEST_NAME - len(ending)] + ending
        if db.scalar(select(Campaign.id).where(Campaign.name == name)) is None:
            break
    return name
