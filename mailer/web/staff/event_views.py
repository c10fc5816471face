"""Events as the staff pages show them: in numbers, and with nobody's name."""

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from mailer.events.catalogue import is_over
from mailer.events.models import EventState, ReminderState
from mailer.reports import danish
from mailer.reports.danish import clean, number
from mailer.reports.hiding import FEWEST
from mailer.reports.small_numbers import people, roughly
from mailer.reports.standings import Change, Clicks, Standing
from mailer.web.staff.event_figures import EventLook, Plan
from mailer.web.staff.event_words import (
    EVENT_STATES,
    OVER,
    clock,
    field_name,
    fields_listed,
    long_day,
    value_of,
)
from mailer.web.staff.reminder_views import ReminderView, past, to_come


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event in the list."""

    path: str
    title: str
    when: str
    where: str
    state: str
    tone: str
    missing: str
    seated: str
    waiting: str
    capacity: str
    clicks: str
    untold: bool
    """Clicks of some letters are left out."""
    next_reminder: str
    blocked: int
    """Reminders that lack something."""


@dataclass(frozen=True, slots=True)
class EventsView:
    """All events."""

    coming: Sequence[EventRow]
    over: Sequence[EventRow]
    untold: bool
    """Clicks of some letters are left out of some."""


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One change."""

    field: str
    old: str
    new: str
    at: str
    told: str
    campaign: str | None
    """The path of the letter that told of it."""


@dataclass(frozen=True, slots=True)
class EventView:
    """One event."""

    row: EventRow
    slug: str
    facts: Sequence[tuple[str, str]]
    registration: str
    """How one registers, in a sentence."""
    letters_clicked: str
    history: Sequence[ChangeRow]
    to_come: Sequence[ReminderView]
    past: Sequence[ReminderView]


def view_events(standings: Sequence[Standing], plan: Plan) -> EventsView:
    """All events: those to come by date, those behind us the latest first."""
    rows = [(is_over(each.event, plan.now), _view_row(each, plan)) for each in standings]
    return EventsView(
        coming=[row for has_passed, row in rows if not has_passed],
        over=[row for has_passed, row in reversed(rows) if has_passed],
        untold=any(row.untold for _, row in rows),
    )


def view_event(look: EventLook, plan: Plan, zone: ZoneInfo) -> EventView:
    """One event with its history and its reminders."""
    standing, event = look.standing, look.standing.event
    reminders = [each for each in plan.reminders if each.event_id == event.id]
    return EventView(
        row=_view_row(standing, plan),
        slug=event.slug,
        facts=[
            ("Dato", long_day(event.date)),
            ("Tidspunkt", clock(event.time) if event.time else "–"),
            ("Sted", clean(event.place or "–")),
            ("Adresse", clean(event.address or "–")),
            ("Region", clean(event.region or "–")),
            ("Program", clean(event.programme_url or "–")),
            ("Egne påmindelser", clean(event.reminders or "som brevene siger")),
        ],
        registration=_registration(standing),
        letters_clicked=people(standing.clicks.letters),
        history=[_view_change(change, zone) for change in look.history],
        to_come=to_come(reminders),
        past=past(reminders),
    )


def _view_row(standing: Standing, plan: Plan) -> EventRow:
    event, seats = standing.event, standing.seats
    is_cancelled = event.state is EventState.CANCELLED
    was_held = is_over(event, plan.now) and not is_cancelled
    ours = [each for each in plan.reminders if each.event_id == event.id]
    coming = [each for each in ours if each.state in {ReminderState.PLANNED, ReminderState.DUE}]
    return EventRow(
        path=f"/staff/events/{event.slug}",
        title=clean(event.title),
        when=long_day(event.date) + (f" {clock(event.time)}" if event.time else ""),
        where=clean(event.place or ""),
        state=OVER if was_held else EVENT_STATES[standing.state],
        tone="over" if was_held else standing.state.value,
        missing="" if was_held or is_cancelled else fields_listed(standing.missing),
        seated=people(seats.seated),
        waiting=people(seats.waiting),
        capacity=number(event.capacity) if event.capacity else "–",
        clicks=tell_clicks(standing.clicks),
        untold=standing.clicks.untold,
        next_reminder=danish.day(coming[0].local_time) if coming else "–",
        blocked=sum(each.state is ReminderState.BLOCKED for each in ours),
    )


def tell_clicks(clicks: Clicks) -> str:
    """Clicks on the links to register by, with what is left out; a dash where too few are told."""
    if not clicks.untold:
        return people(clicks.total)
    return f"mindst {number(clicks.total)}" if clicks.total >= FEWEST else "–"


def _registration(standing: Standing) -> str:
    event = standing.event
    if event.hosted:
        return "Man tilmelder sig på vores egen side."
    if event.registration_url:
        return (
            "Man tilmelder sig på arrangørens side. Hvem der er tilmeldt, ved vi kun fra deltagerlister,"
            " der er læst ind."
        )
    return "Tilmeldingen er ikke åbnet endnu."


def _view_change(change: Change, zone: ZoneInfo) -> ChangeRow:
    return ChangeRow(
        field=field_name(change.field).capitalize(),
        old=value_of(change.field, change.old),
        new=value_of(change.field, change.new),
        at=danish.moment(change.at.astimezone(zone)),
        told=_told(change, zone),
        campaign=f"/staff/campaigns/{change.campaign_id}" if change.campaign_id else None,
    )


def _told(change: Change, zone: ZoneInfo) -> str:
    if change.told_at is None:
        return "ikke fortalt endnu" if change.is_told else "fortælles ikke"
    when = danish.day(change.told_at.astimezone(zone))
    if change.campaign_id is None:
        return f"{when}: ingen at fortælle det til"
    return f"{when}: {roughly(change.audience)} breve"
