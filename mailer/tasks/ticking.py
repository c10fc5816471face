"""The tick: once a minute, whichever Beat asks for it, whatever is due by date is started."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from mailer.campaigns.errors import LaunchRefused, NotAllowedNow
from mailer.campaigns.heartbeats import TICK_LEASE, TICKED, note_heartbeat, take_lease
from mailer.foundation.clock import real_now
from mailer.foundation.database import Database, DatabaseUnavailable
from mailer.foundation.log import get_log
from mailer.foundation.settings import SettingsError
from mailer.rendering.errors import LetterNotFound
from mailer.sending.redaction import logged
from recipients.errors import ImportRunning

LEASE = timedelta(seconds=50)
"""Shorter than the minute between two ticks: the next one takes over from one that was killed."""

Launch = Callable[[], list[int]]
"""Starts all that is due of one kind and returns the campaigns."""

_log = get_log(__name__)


def tick(database: Database, launches: Mapping[str, Launch]) -> list[int]:
    """Start whatever is due and return the campaigns; none if another tick holds the lease.

    What goes wrong with one kind is logged, does not stop the others, and comes again with the next
    tick. A tick that takes longer than the lease is harmless too: rows decide who sends.

    Args:
        launches: by kind, for the log.

    Raises:
        DatabaseUnavailable: it went away.
    """
    with database.write() as db:
        if not take_lease(db, TICK_LEASE, now=real_now(), length=LEASE):
            return []
    campaigns, all_well = [], True
    for kind, launch in launches.items():
        try:
            campaigns += launch()
        except DatabaseUnavailable:
            raise
        except (SettingsError, LetterNotFound, LaunchRefused, NotAllowedNow, ImportRunning) as error:
            _log.error("what is due was not launched", kind=kind, error=str(error))
            all_well = False
        except Exception as error:  # noqa: BLE001 - whatever it is, the other kinds are due as well
            _log.error("what is due was not launched", kind=kind, error=logged(error))
            all_well = False
    if all_well:
        with database.write() as db:
            note_heartbeat(db, TICKED, now=real_now())
    return campaigns
