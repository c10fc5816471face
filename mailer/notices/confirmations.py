"""Answering those who registered: you have a seat, you wait, you have a seat now, you are taken off."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, exists, or_, select, true, update
from sqlalchemy.orm import Session

from mailer.campaigns.audience import is_suppressed
from mailer.campaigns.errors import NotAllowedNow
from mailer.campaigns.models import Delivery
from mailer.events.catalogue import lock_event
from mailer.events.models import Event, EventState, Registration, RegistrationSource, RegistrationState
from mailer.events.registering import lock_seats, takes_place
from mailer.foundation.database import Database, DatabaseUnavailable
from mailer.foundation.log import get_log
from mailer.launch import (
    LaunchRefused,
    LaunchTools,
    Notice,
    launch_notice,
    require_sending_settings,
    tracking_of,
)
from mailer.rendering.errors import LetterError, LetterNotFound
from recipients.errors import ImportRunning
from recipients.models import Recipient, SuppressionScope

PAUSE = timedelta(minutes=15)
"""So long whoever was told something hears nothing else: who comes and goes gets no letter a minute."""

_log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class _News:
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
_NEWS = (
    _News("tilmelding", _SEATED, (None, _CANCELLED)),
    _News("venteliste", _WAITING, (None, _CANCELLED, _SEATED)),
    _News("plads", _SEATED, (_WAITING,), is_urgent=True),
    _News("afmelding", _CANCELLED, (_SEATED, _WAITING)),
)
"""Nothing is said of what nobody was told: registered and cancelled within a minute is no news."""


def launch_confirmations(tools: LaunchTools, database: Database, *, now: datetime) -> list[int]:
    """Tell everybody who registered on our page what they have not been told; return the campaigns.

    A letter is launched, and its news marked as told, in one transaction, during which neither the event
    nor anybody's seat changes; so of two ticks at once one tells. Who has been told something before
    hears what became of it once that has stood for a quarter of an hour; who moved up, at once. Nobody
    hears of an event that is cancelled or over, nor whoever said no to everything, until they take that
    back. A letter that cannot go, whatever is wrong with it, is logged and holds up no other; its news
    is told once it can.

    Args:
        now: the clock people see.

    Raises:
        SettingsError: there is no sender or relay; everything stays to be told.
        DatabaseUnavailable: it went away; what has not been told stays to be.
    """
    with database.read() as db:
        slugs = db.scalars(
            select(Event.slug)
            .where(
                Event.state != EventState.CANCELLED,
                exists().where(Registration.event_id == Event.id, _is_to_be_told(_NEWS, now)),
            )
            .order_by(Event.id)
        ).all()
    if slugs:
        require_sending_settings(tools)
    launched = []
    for slug in slugs:
        for news in _NEWS:
            try:
                with database.write() as db:
                    campaign_id = _tell(tools, db, slug, news, now=now)
            except DatabaseUnavailable:
                raise
            except (LetterNotFound, LetterError, LaunchRefused, NotAllowedNow, ImportRunning) as error:
                _tell_trouble(slug, news, str(error))
            except Exception as error:  # noqa: BLE001 - whatever it is, others are to be told as well
                _tell_trouble(slug, news, type(error).__name__)
            else:
                launched += [] if campaign_id is None else [campaign_id]
    return launched


def _tell_trouble(slug: str, news: _News, error: str) -> None:
    _log.error("confirmation cannot be launched", slug=slug, letter=news.letter, error=error)


def _tell(tools: LaunchTools, db: Session, slug: str, news: _News, *, now: datetime) -> int | None:
    """Launch the letter to all whom it has news for; None if there are none."""
    event = lock_seats(db, lock_event(db, slug).id)
    if not takes_place(event, now):
        return None
    concerned = (Registration.event_id == event.id) & _is_to_be_told([news], now)
    tracking, legal_basis = tracking_of(db, event.slug)
    notice = Notice(
        name=f"{news.letter}-{event.slug}-{now.astimezone(tools.settings.zone):%Y%m%d-%H%M}",
        letter=news.letter,
        event_slug=event.slug,
        tracking=tracking,
        legal_basis=legal_basis,
    )
    recipients = select(Recipient.id).where(
        Recipient.id.in_(select(Registration.recipient_id).where(concerned))
    )
    launched = launch_notice(tools, db, notice, recipients, now=now)
    if launched is None:
        return None
    addressed = select(Delivery.recipient_id).where(Delivery.campaign_id == launched.campaign_id)
    db.execute(
        update(Registration)
        .where(Registration.event_id == event.id, Registration.recipient_id.in_(addressed))
        .values(told=news.state)
        .execution_options(synchronize_session=False)
    )
    return launched.campaign_id


def _is_to_be_told(news: Sequence[_News], now: datetime) -> ColumnElement[bool]:
    """True for a registration of somebody who can be told such news by letter."""
    reachable = exists().where(
        Recipient.id == Registration.recipient_id, ~is_suppressed(SuppressionScope.EVERYTHING)
    )
    return (
        or_(*(each.applies(now) for each in news))
        & (Registration.source == RegistrationSource.HOSTED)
        & reachable
    )
