"""The events of a period: how they stand, and the interest in them, without what tells of a few."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, datetime, timedelta

from mailer.campaigns.models import REGISTRATION
from mailer.events.models import Event, EventState, RegistrationState, ReminderState
from mailer.events.reminders import PlannedReminder
from mailer.foundation.settings import TrackingMode
from mailer.reports.few import ClickedLink, add_clicks, is_few, tell_registration_clicks, untold_rows
from mailer.reports.progress import EventProgress, EventTotals, Period, Standing
from mailer.reports.progress_counting import PeriodCampaign, PeriodCounts, Tally
from mailer.reports.small_numbers import rounded_down
from mailer.tracking.models import TrackingKind

_OF_PEOPLE = ("asked", "seated", "waiting")
_AS_FAR_AS_TOLD = ("registration_clicks", "reminded")


@dataclass(slots=True)
class _Interest:
    """Clicks on an event's links to register by, as far as they are told."""

    clicks: int = 0
    recipients: int | None = None
    is_untold: bool = False
    """There may be more."""


@dataclass(slots=True)
class _Reminded:
    """The reminders of an event that went to anybody."""

    sent: int = 0
    late: int = 0
    letters: list[int | None] = field(default_factory=list)
    """Of each: rounded down, None where none are left."""


def event_progress(
    counts: PeriodCounts,
    campaigns: Sequence[PeriodCampaign],
    tallies: Iterable[Tally],
    plan: Iterable[PlannedReminder],
    *,
    now: datetime,
) -> list[EventProgress]:
    """The events of the period, by date."""
    period, events = counts.period, counts.events()
    today = now.astimezone(period.zone).date()
    moved, registered, asked = counts.moved(), counts.registrations(), counts.requests()
    interest = _interest([event.slug for event in events], counts, campaigns, tallies)
    reminded, missed = _reminded(counts), _missed(plan, period)
    progress = []
    for event in events:
        clicked, sent = interest[event.slug], reminded.get(event.id, _Reminded())
        progress.append(
            EventProgress(
                slug=event.slug,
                title=event.title,
                date=event.date,
                time=event.time,
                place=event.place,
                region=event.region,
                state=event.state.value,
                standing=_standing(event, min(period.last, today - timedelta(days=1))),
                moved=event.id in moved,
                capacity=event.capacity,
                registration_clicks=None if clicked.is_untold and not clicked.clicks else clicked.clicks,
                registration_recipients=clicked.recipients,
                clicks_untold=clicked.is_untold,
                asked=_no_few(asked.get(event.id, 0)),
                seated=_no_few(registered.get((event.id, RegistrationState.SEATED), 0)),
                waiting=_no_few(registered.get((event.id, RegistrationState.WAITING), 0)),
                reminders_sent=sent.sent,
                reminders_late=sent.late,
                reminders_missed=len(missed.get(event.id, ())),
                reminded=sum_told(sent.letters),
            )
        )
    return progress


def event_totals(events: Sequence[EventProgress]) -> EventTotals:
    """All events together."""
    standing = [event.standing for event in events]
    sums: dict[str, int | None] = {}
    for name in {column.name for column in fields(EventTotals)} - set(Standing):
        told = [getattr(event, name) for event in events]
        hides = name not in _AS_FAR_AS_TOLD and None in told
        sums[name] = None if hides else sum_told(told)
    return EventTotals(
        held=standing.count(Standing.HELD),
        coming=standing.count(Standing.COMING),
        cancelled=standing.count(Standing.CANCELLED),
        **sums,  # type: ignore[arg-type]
    )


def sum_told(counts: Iterable[int | None]) -> int | None:
    """The sum as far as it is told; None where nothing but noughts is."""
    each = list(counts)
    told = sum(count or 0 for count in each)
    return None if None in each and not told else told


def round_down(count: int) -> int | None:
    """Letters of a campaign that went by itself, as they may be told; None where none are left."""
    return rounded_down(count) or None if count else 0


def untold_clicks(rows: Sequence[tuple[int, int]]) -> tuple[set[int], set[int]]:
    """Of events in letters whose readers may be known: those whose clicks, and recipients, are not told.

    The clicks of all of them together are told. Where clicks are not told, recipients are not either:
    they are no more than the clicks.

    Args:
        rows: clicks, and the recipients behind them as far as they are known, of all events.
    """
    clicks = untold_rows([(often,) for often, _ in rows])
    return clicks, clicks | untold_rows(rows)


def _no_few(people: int) -> int | None:
    return None if is_few(people) else people


def _standing(event: Event, over: date) -> Standing:
    """Where the event stands; ``over`` is the last day whose events have taken place."""
    if event.state is EventState.CANCELLED:
        return Standing.CANCELLED
    return Standing.HELD if event.date <= over else Standing.COMING


def _missed(plan: Iterable[PlannedReminder], period: Period) -> Mapping[int, set[str]]:
    """By event: the leads at which a reminder should have gone."""
    missed: dict[int, set[str]] = {}
    for one in plan:
        in_period = period.start <= one.due_at < period.end
        if one.state is ReminderState.MISSED and in_period and not one.moot:
            missed.setdefault(one.event_id, set()).add(one.lead)
    return missed


def _reminded(counts: PeriodCounts) -> Mapping[int, _Reminded]:
    """By event; what goes at one lead is one reminder, however many kinds of recipients get it."""
    reminded: dict[int, _Reminded] = {}
    for event_id, leads in counts.reminders().items():
        letters = [round_down(audience) for went in leads.values() for _, audience in went]
        late = sum(any(was_late for was_late, _ in went) for went in leads.values())
        reminded[event_id] = _Reminded(len(leads), late, letters)
    return reminded


def _interest(
    slugs: Sequence[str],
    counts: PeriodCounts,
    campaigns: Sequence[PeriodCampaign],
    tallies: Iterable[Tally],
) -> dict[str, _Interest]:
    """By event: clicks in letters that an administrator sent, those to a few left out."""
    by_hand = {campaign.id: campaign for campaign in campaigns if not campaign.auto_submitted}
    links: dict[int, dict[int, ClickedLink]] = {}
    for campaign_id, number, kind, slug in counts.links():
        links.setdefault(campaign_id, {})[number] = ClickedLink(kind, (0, 0, 0), slug)
    known: dict[str, int] = dict.fromkeys(slugs, 0)
    for tally in tallies:
        campaign = by_hand.get(tally.campaign_id)
        if tally.kind is not TrackingKind.CLICK or campaign is None or is_few(campaign.audience):
            continue
        if campaign.tracking == TrackingMode.ANONYMOUS:
            add_clicks(links.setdefault(campaign.id, {}), tally.link_number, (tally.total, 0, 0))
        elif tally.link_kind == REGISTRATION and tally.event_slug is not None:
            known[tally.event_slug] = known.get(tally.event_slug, 0) + tally.total
    interest = _known_interest(
        known,
        counts.clickers(),
        knows_people=any(
            campaign.tracking in {TrackingMode.CONSENT, TrackingMode.PERSONAL}
            for campaign in by_hand.values()
        ),
    )
    for campaign_id, of_letter in links.items():
        if is_few(by_hand[campaign_id].audience):
            events = {link.event for link in of_letter.values() if link.kind == REGISTRATION}
            told: Mapping[str, int | None] = dict.fromkeys(slug for slug in events if slug)
        else:
            told = tell_registration_clicks(of_letter)
        for slug, clicks in told.items():
            event = interest.setdefault(slug, _Interest())
            event.clicks += clicks or 0
            event.is_untold |= clicks is None
    return interest


def _known_interest(
    clicks: Mapping[str, int], clickers: Mapping[str | None, int], *, knows_people: bool
) -> dict[str, _Interest]:
    """By event: clicks in letters whose readers may be known."""
    untold, unknown = untold_clicks([(often, clickers.get(slug, 0)) for slug, often in clicks.items()])
    return {
        slug: _Interest(
            0 if row in untold else often,
            clickers.get(slug, 0) if knows_people and row not in unknown else None,
            is_untold=row in untold,
        )
        for row, (slug, often) in enumerate(clicks.items())
    }
