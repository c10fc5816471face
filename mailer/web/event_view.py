"""An event as a page shows it: what is known in words, and what is not known yet said plainly."""

from dataclasses import dataclass
from datetime import date

from mailer.events.models import Event, EventState
from mailer.rendering.environment import clock_time, long_date


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
    cancelled: bool
    over: bool

    @property
    def coming(self) -> bool:
        """Whether one can still go there."""
        return not self.cancelled and not self.over


def view_event(event: Event, today: date, language: str = "da") -> EventView:
    """The event in the reader's language.

    Args:
        today: the local date; an event is over on the day after it.
    """
    date_text = long_date(event.date, language)
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
        registration_url=_web_address(event.registration_url),
        cancelled=event.state is EventState.CANCELLED,
        over=event.date < today,
    )


def _web_address(url: str | None) -> str | None:
    return url if url and url.startswith(("https://", "http://")) else None
