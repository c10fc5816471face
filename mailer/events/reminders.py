"""Which reminders there are, when each is due, to whom it goes, and why it does not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign
from mailer.campaigns.timetable import resolve_local
from mailer.events.audiences import interested_recipients
from mailer.events.catalogue import list_events
from mailer.events.dates import Lead, due_moment, parse_lead
from mailer.events.errors import AlreadySent, BadLead
from mailer.events.fields import FIELDS
from mailer.events.models import Event, EventState, Reminder, ReminderState
from mailer.foundation.log import get_log
from mailer.rendering.errors import LetterError
from mailer.rendering.source import LetterSource, list_letters, load_letter

ON_TIME = timedelta(minutes=10)
"""A reminder that leaves within this time of its due moment is not late: some ticks may fail."""

_log = get_log(__name__)


class AudienceRule(StrEnum):
    """Who gets a reminder."""

    INTERESTED = "interested"
    """Those who asked to be reminded and, where tracking is personal, those who clicked the event's
    registration link."""


@dataclass(frozen=True, slots=True)
class PlannedReminder:
    """One reminder of one event as it stands at a moment."""

    event_id: int
    event_slug: str
    event_date: date
    """The event's date, which it is about."""
    lead: str
    rule: str
    letter: str
    """The name of the letter that is sent."""
    due_at: datetime
    """UTC."""
    local_time: datetime
    """The same moment as clocks show it where people plan."""
    state: ReminderState
    audience: int = 0
    """To how many it goes, or went."""
    late: bool = False
    """Went, or would go now, so long after its moment that it should be told."""
    reason: str | None = None
    """Why it does not go; None where nothing is in its way."""
    lacking: tuple[str, ...] = ()
    """The event's fields that its text needs and that are not known."""
    campaign_id: int | None = None


def reminder_letters(folders: Sequence[Path]) -> list[LetterSource]:
    """The letters that are reminders: those whose manifest names leads.

    A letter that cannot be read is left out and logged: it must not hold up the others.
    """
    letters = []
    for name in list_letters(folders):
        try:
            letters.append(load_letter(name, folders))
        except LetterError as error:
            _log.error("letter cannot be read", letter=name, error=str(error))
    return [letter for letter in letters if letter.leads]


def plan_reminders(
    db: Session,
    letters: Sequence[LetterSource],
    *,
    now: datetime,
    zone: ZoneInfo,
    grace: timedelta,
) -> list[PlannedReminder]:
    """Every reminder of every event, by the moment it is due.

    Args:
        zone: in which local times are shown; events are computed in their own.
        grace: how late a reminder may still go.

    Raises:
        LetterError: a reminder letter's leads or needs make no sense.
    """
    return _count_audiences(db, _derive(db, letters, now=now, zone=zone, grace=grace), now=now)


def due_reminders(
    db: Session,
    letters: Sequence[LetterSource],
    *,
    now: datetime,
    zone: ZoneInfo,
    grace: timedelta,
) -> list[PlannedReminder]:
    """The reminders to send now; counts nobody else's audience, so that a tick stays cheap.

    Raises:
        LetterError: as ``plan_reminders``.
    """
    plan = _derive(db, letters, now=now, zone=zone, grace=grace)
    due = [planned for planned in plan if planned.state is ReminderState.DUE]
    return _count_audiences(db, due, now=now)


def count_overdue(
    db: Session,
    letters: Sequence[LetterSource],
    *,
    now: datetime,
    zone: ZoneInfo,
    grace: timedelta,
) -> int:
    """How many reminders should have gone a while ago and still may; reads nothing about anybody.

    Raises:
        LetterError: as ``plan_reminders``.
    """
    plan = _derive(db, letters, now=now, zone=zone, grace=grace)
    return sum(planned.state is ReminderState.DUE and planned.late for planned in plan)


def store_sent(
    db: Session,
    planned: PlannedReminder,
    *,
    campaign_id: int | None,
    audience: int,
    now: datetime,
) -> Reminder:
    """Remember that a reminder has gone; of two who try at once, one succeeds.

    Args:
        campaign_id: the campaign it went as; None if nobody wanted it, so that there was nothing
            to send.

    Raises:
        AlreadySent: it has gone before; the caller's transaction must be rolled back.
    """
    reminder = Reminder(
        event_id=planned.event_id,
        lead=planned.lead,
        rule=planned.rule,
        event_date=planned.event_date,
        state=ReminderState.SENT,
        due_at=planned.due_at,
        late=_is_late(planned.due_at, now),
        audience=audience,
        campaign_id=campaign_id,
        at=now,
    )
    try:
        with db.begin_nested():
            db.add(reminder)
    except IntegrityError as error:
        raise AlreadySent(
            f"the reminder {planned.lead} before {planned.event_slug} has gone before"
        ) from error
    return reminder


def list_sent(db: Session) -> list[tuple[Reminder, str, str | None]]:
    """The reminders that have gone or were called off, each with event slug and campaign name."""
    rows = db.execute(
        select(Reminder, Event.slug, Campaign.name)
        .join(Event, Event.id == Reminder.event_id)
        .outerjoin(Campaign, Campaign.id == Reminder.campaign_id)
        .order_by(Reminder.at, Reminder.id)
    )
    return [(reminder, slug, name) for reminder, slug, name in rows]


def _derive(
    db: Session,
    letters: Sequence[LetterSource],
    *,
    now: datetime,
    zone: ZoneInfo,
    grace: timedelta,
) -> list[PlannedReminder]:
    """The plan without audiences that would have to be counted."""
    by_lead = _letters_by_lead(letters)
    stored = {
        (row.event_id, row.lead, row.rule, row.event_date): row
        for row in db.scalars(select(Reminder)).all()
    }
    plan = []
    for event in list_events(db):
        for lead, letter in by_lead.items():
            key = (event.id, str(lead), AudienceRule.INTERESTED, event.date)
            planned = _plan_one(event, lead, letter, stored.get(key), zone)
            if key not in stored:
                planned = _derive_state(planned, event, letter, now=now, grace=grace)
            plan.append(planned)
    return sorted(_drop_overtaken(plan), key=lambda planned: (planned.due_at, planned.event_slug))


def _letters_by_lead(letters: Sequence[LetterSource]) -> dict[Lead, LetterSource]:
    """Which letter goes at which lead, the longest first."""
    by_lead: dict[Lead, LetterSource] = {}
    for letter in letters:
        for need in letter.needs:
            if need not in FIELDS:
                raise LetterError(
                    f"letter {letter.name}: needs: {need!r} is no field of an event;"
                    f" there are: {', '.join(FIELDS)}"
                )
        for text in letter.leads:
            try:
                lead = parse_lead(str(text))
            except BadLead as error:
                raise LetterError(f"letter {letter.name}: leads: {error}") from error
            if lead in by_lead:
                raise LetterError(
                    f"letters {by_lead[lead].name} and {letter.name} both go {lead} before an"
                    " event; take the lead out of one of them"
                )
            by_lead[lead] = letter
    longest_first = sorted(by_lead, key=lambda lead: lead.length, reverse=True)
    return {lead: by_lead[lead] for lead in longest_first}


def _plan_one(
    event: Event, lead: Lead, letter: LetterSource, row: Reminder | None, zone: ZoneInfo
) -> PlannedReminder:
    """The reminder as stored, or still to be judged."""
    due_at = row.due_at if row else due_moment(event.date, event.time, lead, ZoneInfo(event.timezone))
    planned = PlannedReminder(
        event_id=event.id,
        event_slug=event.slug,
        event_date=event.date,
        lead=str(lead),
        rule=AudienceRule.INTERESTED,
        letter=letter.name,
        due_at=due_at,
        local_time=due_at.astimezone(zone),
        state=ReminderState.PLANNED,
    )
    if row is None:
        return planned
    return replace(
        planned,
        state=row.state,
        audience=row.audience,
        late=row.late,
        campaign_id=row.campaign_id,
    )


def _derive_state(
    planned: PlannedReminder,
    event: Event,
    letter: LetterSource,
    *,
    now: datetime,
    grace: timedelta,
) -> PlannedReminder:
    """Judge by the clock and by what the event lacks what has neither gone nor been called off."""
    if event.state is EventState.CANCELLED:
        return replace(planned, state=ReminderState.CANCELLED, reason="the event does not take place")
    lacking = _find_lacking(event, letter, planned.lead)
    hole = f"no {' and no '.join(lacking)} yet" if lacking else None
    planned = replace(planned, reason=hole, lacking=lacking)
    if now > planned.due_at + grace:
        hours = round(grace.total_seconds() / 3600)
        reason = hole or f"more than {hours} hours late"
        return replace(planned, state=ReminderState.MISSED, reason=reason)
    if now >= _begins(event):
        reason = hole or "the event had begun"
        return replace(planned, state=ReminderState.MISSED, reason=reason)
    if hole:
        return replace(planned, state=ReminderState.BLOCKED)
    if now >= planned.due_at:
        return replace(planned, state=ReminderState.DUE, late=_is_late(planned.due_at, now))
    return planned


def _find_lacking(event: Event, letter: LetterSource, lead: str) -> tuple[str, ...]:
    """The fields that the reminder cannot do without and the event does not have yet."""
    needs = dict.fromkeys(letter.needs)
    if parse_lead(lead).unit == "hour":
        needs["time"] = None
    return tuple(need for need in needs if getattr(event, need) is None)


def _begins(event: Event) -> datetime:
    """The beginning of the event; the end of its day where no time is known."""
    zone = ZoneInfo(event.timezone)
    if event.time is None:
        return resolve_local(event.date + timedelta(days=1), time(0), zone)
    return resolve_local(event.date, event.time, zone)


def _is_late(due_at: datetime, now: datetime) -> bool:
    return now > due_at + ON_TIME


def _drop_overtaken(plan: Sequence[PlannedReminder]) -> Iterator[PlannedReminder]:
    """Send nobody two reminders of one event at once: the nearest goes, the others are missed."""
    latest: dict[int, datetime] = {}
    for planned in plan:
        if planned.state in {ReminderState.DUE, ReminderState.SENT}:
            earlier = latest.get(planned.event_id, planned.due_at)
            latest[planned.event_id] = max(earlier, planned.due_at)
    for planned in plan:
        if planned.state is ReminderState.DUE and planned.due_at < latest[planned.event_id]:
            reason = "the next reminder of the event goes instead"
            yield replace(planned, state=ReminderState.MISSED, late=False, reason=reason)
        else:
            yield planned


def _count_audiences(
    db: Session, plan: Sequence[PlannedReminder], *, now: datetime
) -> list[PlannedReminder]:
    """Fill in to how many each would go; whoever asked so far counts for all that is to come."""
    counted: dict[tuple[int, datetime | None], int] = {}
    filled = []
    for planned in plan:
        if planned.state in {ReminderState.SENT, ReminderState.CANCELLED}:
            filled.append(planned)
            continue
        until = planned.due_at if planned.due_at < now else None
        key = (planned.event_id, until)
        if key not in counted:
            audience = interested_recipients(planned.event_id, until=until).subquery()
            counted[key] = db.scalar(select(func.count()).select_from(audience)) or 0
        filled.append(replace(planned, audience=counted[key]))
    return filled
