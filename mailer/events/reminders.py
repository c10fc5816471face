"""Which reminders there are, when each is due, to whom it goes, and why it does not."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session, load_only

from mailer.campaigns.timetable import resolve_local
from mailer.events.audiences import EVERY_RULE, AudienceRule, audience_of
from mailer.events.catalogue import list_events
from mailer.events.dates import due_moment
from mailer.events.letters import Occasion, list_occasions
from mailer.events.models import (
    Event,
    EventChange,
    EventState,
    Reminder,
    ReminderState,
)
from mailer.events.policy import ReminderPolicy
from mailer.events.reasons import Reason, ReasonKind
from mailer.events.registering import full_events

ON_TIME = timedelta(minutes=10)
"""A reminder that leaves within this time of its due moment is not late: some ticks may fail."""

_RULES = frozenset(rule.value for rule in AudienceRule)
_WANT_A_SEAT = frozenset({AudienceRule.CLICKED, AudienceRule.REGION})
"""They are told that they can still register."""


@dataclass(frozen=True, slots=True)
class PlannedReminder:
    """One reminder of one event as it stands at a moment."""

    event_id: int
    event_slug: str
    event_title: str
    event_date: date
    """The event's date, which it is about, or was about."""
    lead: str
    rule: AudienceRule
    letter: str | None
    """The name of the letter that is sent; None where there is none that could be, or it has gone and is
    planned no more."""
    due_at: datetime
    """UTC."""
    local_time: datetime
    """The same moment as clocks show it where people plan."""
    state: ReminderState
    served: frozenset[AudienceRule] = EVERY_RULE
    """The rules that a letter serves at that lead of the event: each of its recipients gets one."""
    audience: int = 0
    """To how many it goes, or went."""
    late: bool = False
    """Went, or would go now, so long after its moment that it should be told."""
    reason: Reason | None = None
    """Why it does not go, or that it went for another time; None where there is nothing to say."""
    lacking: tuple[str, ...] = ()
    """The event's fields that its text needs and that are not known."""
    moot: bool = False
    """Missed, and nobody could have sent it: the event was taken in, moved or restored too late."""
    at: datetime | None = None
    """When it went or was called off; None where that is not stored."""
    campaign_id: int | None = None

    @property
    def waits_for_seats(self) -> bool:
        """Whether it would not go now, and will if a seat is free again at its moment."""
        return self.reason is not None and self.reason.kind is ReasonKind.SEATS_TAKEN


def plan_reminders(
    db: Session,
    policy: ReminderPolicy,
    *,
    now: datetime,
) -> list[PlannedReminder]:
    """Every reminder of every event, by the moment it is due."""
    plan = derive_reminders(db, policy, now=now)
    return _count_audiences(db, plan, now=now)


def due_reminders(
    db: Session,
    policy: ReminderPolicy,
    *,
    now: datetime,
) -> list[PlannedReminder]:
    """The reminders to send now, and those called off whose moment has come; the last to fall due first.

    Audiences are not counted.
    """
    plan = derive_reminders(db, policy, now=now)
    due = [
        planned
        for planned in plan
        if planned.state is ReminderState.DUE
        or (planned.state is ReminderState.CANCELLED and planned.at is None and planned.due_at <= now)
    ]
    return sorted(due, key=lambda planned: planned.due_at, reverse=True)


def derive_reminders(
    db: Session,
    policy: ReminderPolicy,
    *,
    now: datetime,
) -> list[PlannedReminder]:
    """The plan without the audiences of what has not gone; reads nothing about anybody."""
    return lay_out_reminders(
        list_events(db),
        policy,
        stored=db.scalars(select(Reminder)).all(),
        full=full_events(db),
        history=_read_history(db),
        now=now,
    )


def lay_out_reminders(
    events: Iterable[Event],
    policy: ReminderPolicy,
    *,
    stored: Iterable[Reminder],
    full: Collection[int],
    history: Iterable[EventChange],
    now: datetime,
) -> list[PlannedReminder]:
    """The plan, by what is known of the events and of what has become of their reminders.

    What went or was called off is in it for good, also where the event has moved since, or gets other
    reminders now.

    Args:
        full: the ids of events that nobody more gets a seat at.
        history: the changes of dates and states, and what was filled in; oldest first.
    """
    outcomes: dict[int, dict[tuple[str, str, date], Reminder]] = {}
    for outcome in stored:
        key = (outcome.lead, outcome.rule, outcome.event_date)
        outcomes.setdefault(outcome.event_id, {})[key] = outcome
    past: dict[int, list[EventChange]] = {}
    for change in history:
        past.setdefault(change.event_id, []).append(change)
    plan: list[PlannedReminder] = []
    left_over: list[PlannedReminder] = []
    for event in events:
        gone = outcomes.get(event.id, {})
        occasions = list_occasions(event.reminders, policy.letters)
        for occasion in occasions:
            served = frozenset(one.rule for one in occasions if one.lead == occasion.lead)
            planned = _plan_one(event, occasion, served, policy.zone)
            row = gone.pop((planned.lead, planned.rule, event.date), None)
            if row is not None:
                planned = _as_stored(planned, row, event)
            else:
                planned = _judge(
                    planned,
                    event,
                    occasion,
                    past.get(event.id, []),
                    is_full=event.id in full,
                    now=now,
                    grace=policy.grace,
                )
            plan.append(planned)
        left_over += [_left_over(row, event, policy.zone) for row in gone.values() if row.rule in _RULES]
    return sorted(
        [*_drop_overtaken(_drop_doubled(plan)), *left_over],
        key=lambda planned: (planned.due_at, planned.event_slug),
    )


def is_late(due_at: datetime, now: datetime) -> bool:
    """Whether what is due then and goes now should be told as late."""
    return now > due_at + ON_TIME


def _plan_one(
    event: Event, occasion: Occasion, served: frozenset[AudienceRule], zone: ZoneInfo
) -> PlannedReminder:
    """The reminder, still to be judged."""
    due_at = due_moment(event.date, event.time, occasion.lead, ZoneInfo(event.timezone))
    return PlannedReminder(
        event_id=event.id,
        event_slug=event.slug,
        event_title=event.title,
        event_date=event.date,
        lead=str(occasion.lead),
        rule=occasion.rule,
        letter=occasion.letter.name if occasion.letter else None,
        due_at=due_at,
        local_time=due_at.astimezone(zone),
        state=ReminderState.PLANNED,
        served=served,
    )


def _left_over(row: Reminder, event: Event, zone: ZoneInfo) -> PlannedReminder:
    """What went or was called off and is planned no more: the event or its reminders have changed."""
    stored = PlannedReminder(
        event_id=event.id,
        event_slug=event.slug,
        event_title=event.title,
        event_date=row.event_date,
        lead=row.lead,
        rule=AudienceRule(row.rule),
        letter=None,
        due_at=row.due_at,
        local_time=row.due_at.astimezone(zone),
        state=row.state,
    )
    stored = _as_stored(stored, row, event)
    if row.state is ReminderState.CANCELLED and event.state is not EventState.CANCELLED:
        return replace(stored, reason=Reason(ReasonKind.CALLED_OFF))  # why is not known any more
    return stored


def _as_stored(planned: PlannedReminder, row: Reminder, event: Event) -> PlannedReminder:
    """The reminder as it went or was called off, whatever has become of the event since."""
    reason = None
    if row.state is ReminderState.CANCELLED:
        reason = _why_called_off(event, planned.rule)
    elif row.event_date != event.date or abs(planned.due_at - row.due_at) > ON_TIME:
        reason = Reason(ReasonKind.FORMER_TIME)
    return replace(
        planned,
        due_at=row.due_at,
        local_time=row.due_at.astimezone(planned.local_time.tzinfo),
        state=row.state,
        audience=row.audience,
        late=row.late,
        reason=reason,
        at=row.at,
        campaign_id=row.campaign_id,
    )


def _judge(
    planned: PlannedReminder,
    event: Event,
    occasion: Occasion,
    past: Sequence[EventChange],
    *,
    is_full: bool,
    now: datetime,
    grace: timedelta,
) -> PlannedReminder:
    """Judge by the clock and by what the event lacks what has neither gone nor been called off."""
    if event.state is EventState.CANCELLED or (is_full and planned.rule in _WANT_A_SEAT):
        waits = event.state is not EventState.CANCELLED and planned.due_at > now
        reason = Reason(ReasonKind.SEATS_TAKEN) if waits else _why_called_off(event, planned.rule)
        return replace(planned, state=ReminderState.CANCELLED, reason=reason)
    lacking = tuple(need for need in occasion.needs if getattr(event, need) is None)
    hole = occasion.fault or (Reason(ReasonKind.LACKING, fields=lacking) if lacking else None)
    planned = replace(planned, reason=hole, lacking=lacking)
    moved_at = _moved_at(event, past, grace)
    if moved_at is not None and planned.due_at <= moved_at <= now:
        return _missed(planned, Reason(ReasonKind.MOVED), is_moot=True)
    if now > planned.due_at + grace:
        if planned.due_at <= event.created_at <= now:
            return _missed(planned, Reason(ReasonKind.TAKEN_IN), is_moot=True)
        restored_at = _restored_at(past)
        if restored_at is not None and planned.due_at + grace < restored_at <= now:
            return _missed(planned, Reason(ReasonKind.WAS_CANCELLED), is_moot=True)
        filled = {change.field: change.at for change in past if change.old is None}
        known = {need: filled.get(need, event.created_at) for need in occasion.needs}
        lacked = tuple(need for need, at in known.items() if planned.due_at + grace < at <= now)
        hours = round(grace.total_seconds() / 3600)
        why = Reason(ReasonKind.TOO_LATE, hours=hours)
        return _missed(planned, hole or (Reason(ReasonKind.LACKED, fields=lacked) if lacked else why))
    if now >= _begins(event):
        return _missed(planned, hole or Reason(ReasonKind.HAD_BEGUN))
    if hole:
        return replace(planned, state=ReminderState.BLOCKED)
    if now >= planned.due_at:
        return replace(planned, state=ReminderState.DUE, late=is_late(planned.due_at, now))
    return planned


def _missed(planned: PlannedReminder, reason: Reason, *, is_moot: bool = False) -> PlannedReminder:
    return replace(planned, state=ReminderState.MISSED, late=False, reason=reason, moot=is_moot)


def _why_called_off(event: Event, rule: AudienceRule) -> Reason:
    if event.state is EventState.CANCELLED:
        return Reason(ReasonKind.CANCELLED)
    return Reason(ReasonKind.SEATS_WERE_TAKEN if rule in _WANT_A_SEAT else ReasonKind.CALLED_OFF)


def _begins(event: Event) -> datetime:
    """The beginning of the event; the end of its day where no time is known."""
    zone = ZoneInfo(event.timezone)
    if event.time is None:
        return resolve_local(event.date + timedelta(days=1), time(0), zone)
    return resolve_local(event.date, event.time, zone)


def _moved_at(event: Event, past: Sequence[EventChange], grace: timedelta) -> datetime | None:
    """When the event came to its date; a slip of the pen put right within the grace time is no move."""
    moves = [change for change in past if change.field == "date"]
    for place, move in enumerate(moves):
        if move.old == event.date.isoformat() and moves[-1].at - move.at <= grace:
            return moves[place - 1].at if place else None
    return event.moved_at


def _restored_at(past: Sequence[EventChange]) -> datetime | None:
    """When it was last said of a cancelled event that it takes place after all."""
    back = [one.at for one in past if one.field == "state" and one.old == EventState.CANCELLED]
    return back[-1] if back else None


def _read_history(db: Session) -> Sequence[EventChange]:
    """What ``lay_out_reminders`` asks of the past of all events, and no more of it."""
    read = load_only(EventChange.event_id, EventChange.field, EventChange.old, EventChange.at)
    telling = or_(EventChange.old.is_(None), EventChange.field.in_(["date", "state"]))
    return db.scalars(select(EventChange).where(telling).order_by(EventChange.id).options(read)).all()


def _drop_doubled(plan: Sequence[PlannedReminder]) -> list[PlannedReminder]:
    """Of reminders that working days bring to one moment, the nearest to the event goes for all.

    Those of an event and rule come with the longest lead first.
    """
    last = {
        (one.event_id, one.rule, one.due_at): one.lead
        for one in plan
        if one.state is not ReminderState.CANCELLED and not one.moot
    }
    kept = []
    for planned in plan:
        nearest = last.get((planned.event_id, planned.rule, planned.due_at), planned.lead)
        if nearest != planned.lead and planned.state is not ReminderState.SENT:
            reason = Reason(ReasonKind.SAME_MOMENT, lead=nearest)
            planned = replace(  # noqa: PLW2901
                planned, state=ReminderState.CANCELLED, late=False, reason=reason, lacking=()
            )
        kept.append(planned)
    return kept


def _drop_overtaken(plan: Sequence[PlannedReminder]) -> Iterator[PlannedReminder]:
    """Send no reminder of an event after a nearer one that has gone.

    Of several that are due, the nearest goes first, and the others to those who did not get it.
    """
    latest: dict[tuple[int, AudienceRule], datetime] = {}
    for planned in plan:
        if planned.state is ReminderState.SENT:
            key = (planned.event_id, planned.rule)
            latest[key] = max(latest.get(key, planned.due_at), planned.due_at)
    for planned in plan:
        overtaken_by = latest.get((planned.event_id, planned.rule), planned.due_at)
        if planned.state is ReminderState.DUE and planned.due_at < overtaken_by:
            yield _missed(planned, Reason(ReasonKind.OVERTAKEN))
        else:
            yield planned


def _count_audiences(
    db: Session, plan: Sequence[PlannedReminder], *, now: datetime
) -> list[PlannedReminder]:
    """Fill in to how many each would go; whoever asked so far counts for all that is to come."""
    counted: dict[tuple[int, AudienceRule, frozenset[AudienceRule], datetime | None], int] = {}
    filled = []
    for planned in plan:
        if planned.state in {ReminderState.SENT, ReminderState.CANCELLED}:
            filled.append(planned)
            continue
        until = planned.due_at if planned.due_at < now else None
        key = (planned.event_id, planned.rule, planned.served, until)
        if key not in counted:
            audience = audience_of(
                planned.rule, planned.event_id, served=planned.served, until=until
            ).subquery()
            counted[key] = db.scalar(select(func.count()).select_from(audience)) or 0
        filled.append(replace(planned, audience=counted[key]))
    return filled
