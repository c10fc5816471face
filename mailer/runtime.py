"""What a process opens once: settings, database, clock, tokens, relays, and the sender's tools."""

from dataclasses import dataclass

from mailer.foundation.clock import Clock, open_clock
from mailer.foundation.database import Database, open_database
from mailer.foundation.settings import Settings
from mailer.schema import require_current_schema
from mailer.tracking.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything an entry point hands to the logic."""

    settings: Settings
    database: Database
    clock: Clock
    tokens: Tokens


def open_runtime(settings: Settings) -> Runtime:
    """Open what a process needs; the database is known to fit this code.

    Raises:
        SettingsError: there is no key yet.
        BadClock: the rehearsal clock cannot be read.
        SchemaBehind: the database is not at the revision this code needs.
        DatabaseUnavailable: the database cannot be reached.
    """
    tokens = Tokens(settings.signing_keys)
    database = open_database(settings.database)
    require_current_schema(database)
    return Runtime(settings, database, open_clock(settings.state_dir, settings.clock), tokens)
