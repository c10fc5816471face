"""Answering those who registered: you have a seat, you wait, you have a seat now, you are taken off."""

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mailer.campaigns.errors import LaunchRefused, NotAllowedNow
from mailer.campaigns.models import Delivery
from mailer.events.catalogue import lock_event, takes_place
from mailer.events.models import Registration
from mailer.foundation.database import Database, DatabaseUnavailable
from mailer.foundation.log import get_log
from mailer.launch import Notice, launch_notice, require_sending_settings
from mailer.notices.news import NEWS, News, events_with_news, is_to_be_told
from mailer.rendering.errors import LetterError, LetterNotFound
from mailer.sending.tools import LaunchTools
from recipients.errors import ImportRunning
from recipients.models import Recipient

_log = get_log(__name__)


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
        slugs = events_with_news(db, now=now)
    if slugs:
        require_sending_settings(tools)
    launched = []
    for slug in slugs:
        for news in NEWS:
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


def _tell_trouble(slug: str, news: News, error: str) -> None:
    _log.error("confirmation cannot be launched", slug=slug, letter=news.letter, error=error)


def _tell(tools: LaunchTools, db: Session, slug: str, news: News, *, now: datetime) -> int | None:
    """Launch the letter to all whom it has news for; None if there are none."""
    event = lock_event(db, slug)
    if not takes_place(event, now):
        return None
    concerned = (Registration.event_id == event.id) & is_to_be_told([news], now)
    notice = Notice(
        name=f"{news.letter}-{event.slug}-{now.astimezone(tools.settings.zone):%Y%m%d-%H%M}",
        letter=news.letter,
        event_slug=event.slug,
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
