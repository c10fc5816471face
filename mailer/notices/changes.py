"""Telling those who showed interest in an event what became of it: each change once."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from mailer.campaigns.errors import NotAllowedNow
from mailer.events.audiences import interested_recipients
from mailer.events.catalogue import is_over, lock_event
from mailer.events.changes import Difference, cancel_event, untold_changes
from mailer.events.errors import AlreadySent
from mailer.events.models import EventState
from mailer.events.policy import policy_of
from mailer.foundation.database import Database
from mailer.launch import Notice, launch_notice, require_sending_settings
from mailer.sending.frozen import FrozenChange
from mailer.sending.tools import LaunchTools

CHANGE_LETTER = "aendring"
CANCELLATION_LETTER = "aflysning"


@dataclass(frozen=True, slots=True)
class ToldChanges:
    """News of an event that went its way."""

    differences: tuple[Difference, ...]
    campaign_id: int | None
    """None if nobody had shown interest."""
    campaign_name: str | None
    audience: int


@dataclass(frozen=True, slots=True)
class CancelledEvent:
    """An event that was called off."""

    reminders: int
    """How many reminders were called off with it."""
    held_back: int
    """How many letters about it had not left, and never will."""
    told: ToldChanges | None
    """None if nobody was to be told."""


def tell_changes(tools: LaunchTools, db: Session, slug: str, *, now: datetime) -> ToldChanges | None:
    """Tell everybody who showed interest what became different since they were last told.

    What was changed and told are committed as one, under the event's lock: nothing is told twice, or
    lost.

    Args:
        now: the clock people see.

    Returns:
        None if there is nothing to tell.

    Raises:
        EventNotFound: there is no such event.
        NotAllowedNow: it is over; the transaction must be rolled back.
        SettingsError: there is no sender or relay; as above.
        ImportRunning: recipients are being imported; as above.
        LetterNotFound, LetterError, LaunchRefused: the letter cannot be launched; as above.
    """
    event = lock_event(db, slug)
    rows, differences = untold_changes(db, event)
    if not differences:
        return None
    if is_over(event, now):
        raise NotAllowedNow(f"{slug} is over: nobody is told of changes any more")
    require_sending_settings(tools)
    letter = CANCELLATION_LETTER if event.state is EventState.CANCELLED else CHANGE_LETTER
    notice = Notice(
        name=f"{letter}-{slug}",
        letter=letter,
        event_slug=slug,
        changes=tuple(FrozenChange(one.field, one.old, one.new) for one in differences),
    )
    launched = launch_notice(tools, db, notice, interested_recipients(event.id), now=now)
    for row in rows:
        row.told_at = now
        row.campaign_id = launched.campaign_id if launched else None
    db.flush()
    if launched is None:
        return ToldChanges(tuple(differences), None, None, 0)
    return ToldChanges(tuple(differences), launched.campaign_id, launched.name, launched.audience)


def cancel_and_tell(
    tools: LaunchTools, database: Database, slug: str, *, now: datetime, tell: bool
) -> CancelledEvent:
    """Call an event off and tell everybody who showed interest, both or neither.

    Args:
        now: the clock people see.
        tell: False tells nobody, for now.

    Raises:
        NotAllowedNow: it was cancelled before, or is over and somebody was to be told; nothing was
            changed.
        EventNotFound, SettingsError, ImportRunning, LetterNotFound, LetterError, LaunchRefused: as
            ``tell_changes``; nothing was changed.
    """
    policy = policy_of(tools.settings, tools.letters.folders)
    while True:
        try:
            with database.write() as db:
                called_off = cancel_event(db, slug, policy, now=now)
                told = tell_changes(tools, db, slug, now=now) if tell else None
        except AlreadySent:  # this moment, by a tick: one less to call off
            continue
        return CancelledEvent(called_off.reminders, called_off.held_back, told)
