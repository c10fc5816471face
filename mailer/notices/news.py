"""What those who registered on our page have not been told yet: who hears what, and when."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, exists, or_, select, true
from sqlalchemy.orm import Session

from mailer.campaigns.audience import is_suppressed
from mailer.events.models import Event, EventState, Registration, RegistrationSource, RegistrationState
from recipients.models import Recipient, SuppressionScope

PAUSE = timedelta(minutes=15)
"""So long whoever was told something hears nothing else: who comes and goes gets no letter a minute."""


@dataclass(frozen=True, slots=True)
class News:
    """What has become of a registration, and the letter that tells it."""

    letter: str
    state: RegistrationState
    told: Sequence[RegistrationState | None]
    """What its person believes until then."""
    is_urgent: bool = False
    """Told at once, even after other news: they can come, and did nothing for it this moment."""

    def applies(self, now: datetime) -> ColumnElement[bool]:
        """True for a registration of whose person this is not known, and which has settled."""
        believed = [
            Registration.told.is_(None) if told is None else Registration.told == told
            for told in self.told
        ]
        has_settled = Registration.told.is_(None) | (Registration.changed_at <= now - PAUSE)
        return (
            (Registration.state == self.state)
            & or_(*believed)
            & (true() if self.is_urgent else has_settled)
        )


_SEATED, _WAITING, _CANCELLED = RegistrationState
NEWS = (
    News("tilmelding", _SEATED, (None, _CANCELLED)),
    News("venteliste", _WAITING, (None, _CANCELLED, _SEATED)),
    News("plads", _SEATED, (_WAITING,), is_urgent=True),
    News("afmelding", _CANCELLED, (_SEATED, _WAITING)),
)
"""Nothing is said of what nobody was told: registered and cancelled within a minute is no news."""


def events_with_news(db: Session, *, now: datetime) -> Sequence[str]:
    """The slugs of the events that somebody is to be told news of, in order."""
    return db.scalars(
        select(Event.slug)
        .where(
            Event.state != EventState.CANCELLED,
            exists().where(Registration.event_id == Event.id, is_to_be_told(NEWS, now)),
        )
        .order_by(Event.id)
    ).all()


def is_to_be_told(news: Sequence[News], now: datetime) -> ColumnElement[bool]:
    """True for a registration of somebody who can be told such news by letter."""
    reachable = exists().where(
        Recipient.id == Registration.recipient_id, ~is_suppressed(SuppressionScope.EVERYTHING)
    )
    return (
        or_(*(each.applies(now) for each in news))
        & (Registration.source == RegistrationSource.HOSTED)
        & reachable
    )
