"""An event as a page shows it: what is known in words, and what is not known yet said plainly."""

from dataclasses import dataclass
from datetime import date

from mailer.events.models import Event, EventState
from mailer.events.registering import Seats, free_seats
from mailer.rendering.environment import clock_time, long_date

_FEW_SEATS = 10


@dataclass(frozen=True, slots=True)
class EventView:
    """One event, its holes as None."""

    slug: str
    title: str
    iso_date: str
    day: str
    month: str
    date: str
    time: str | None
    place: str | None
    address: str | None
    region: str | None
    programme_url: str | None
    registration_url: str | None
    """On somebody else's site."""
    hosted: bool
    """Whether one registers on a page of ours, by the link in one's letter."""
    moved: bool
    full: bool
    has_seats: bool
    """Whether one gets a seat, where somebody counts them."""
    few_seats: bool
    """Whether not many are left. How many is not said: two looks would tell that somebody came."""
    cancelled: bool
    over: bool

    @property
    def coming(self) -> bool:
        """Whether one can still go there."""
        return not self.cancelled and not self.over


def view_event(
    event: Event, today: date, language: str = "da", *, seats: Seats | None = None
) -> EventView:
    """The event in the reader's language.

    Args:
        today: the local date; an event is over on the day after it.
        seats: how its registrations stand, where the page tells of seats.
    """
    date_text = long_date(event.date, language)
    free = free_seats(event, seats.seated) if seats and event.hosted else None
    return EventView(
        slug=event.slug,
        title=event.title,
        iso_date=event.date.isoformat(),
        day=str(event.date.day),
        month=date_text.split()[-2][:3],
        date=date_text[:1].upper() + date_text[1:],
        time=clock_time(event.time, language) if event.time else None,
        place=event.place,
        address=event.address,
        region=event.region,
        programme_url=_web_address(event.programme_url),
        registration_url=None if event.hosted else _web_address(event.registration_url),
        hosted=event.hosted,
        moved=event.state is EventState.MOVED,
        full=event.state is EventState.FULL or free == 0,
        has_seats=bool(free),
        few_seats=free is not None and 0 < free < _FEW_SEATS,
        cancelled=event.state is EventState.CANCELLED,
        over=event.date < today,
    )


def _web_address(url: str | None) -> str | None:
    return url if url and url.startswith(("https://", "http://")) else None
