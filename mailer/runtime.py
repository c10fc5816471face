"""What a process opens once: settings, database, clock, tokens, relays, and the tools made of them."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mailer.feedback.tools import FeedbackTools
from mailer.foundation.clock import Clock, open_clock
from mailer.foundation.database import Database, DatabaseUnavailable, open_database
from mailer.foundation.settings import Settings, SettingsError
from mailer.schema import require_current_schema
from mailer.sending.letters import LetterTools, list_id
from mailer.sending.tools import LaunchTools, SendingTools, boot_id, host_id, open_own_journal
from mailer.smtp.pace import Pace
from mailer.smtp.pool import RelayPool
from mailer.smtp.relays import BadRelay, Relay, parse_relay
from mailer.tracking.tokens import Tokens

_PACKAGE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything an entry point hands to the logic."""

    settings: Settings
    database: Database
    clock: Clock
    tokens: Tokens

    @property
    def letter_tools(self) -> LetterTools:
        """What it takes to write letters."""
        return LetterTools(self.settings, self.tokens, tuple(template_folders(self.settings)))

    @property
    def launch_tools(self) -> LaunchTools:
        """What it takes to launch a campaign.

        Raises:
            SettingsError: a relay's URL makes no sense.
        """
        return LaunchTools(self.letter_tools, relays_of(self.settings))

    @property
    def feedback_tools(self) -> FeedbackTools:
        """What it takes to act on what comes back by mail.

        Raises:
            SettingsError: neither a bounce address nor a sender is set.
        """
        settings = self.settings
        return FeedbackTools(
            self.database,
            self.tokens,
            self.clock,
            settings.zone,
            settings.bounces_to,
            settings.state_dir,
        )

    @contextmanager
    def sending_tools(
        self, *, is_stopping: Callable[[], bool] = lambda: False
    ) -> Iterator[SendingTools]:
        """The sender's tools, with a journal, an event loop and connections of this process's own.

        Raises:
            SettingsError: a relay's URL makes no sense.
        """
        settings, relays = self.settings, relays_of(self.settings)
        pool = RelayPool(
            relays,
            greet_as=list_id(settings),
            processes=settings.worker_processes,
            slots_dir=settings.state_dir / "relays",
        )
        pace = Pace(settings.redis, processes=settings.worker_processes)
        loop = asyncio.new_event_loop()
        journal = open_own_journal(settings.state_dir)
        try:
            yield SendingTools(
                database=self.database,
                letters=self.letter_tools,
                relays=relays,
                pool=pool,
                loop=loop,
                pace=pace,
                journal=journal,
                clock=self.clock,
                host=host_id(settings.state_dir),
                boot=boot_id(),
                is_stopping=is_stopping,
            )
        finally:
            loop.run_until_complete(pool.close())
            loop.close()
            pace.close()
            journal.close()


def open_runtime(
    settings: Settings, *, database_url: str | None = None, may_be_away: bool = False
) -> Runtime:
    """Open what a process needs; the database is known to fit this code.

    Args:
        database_url: as another role than the settings' own.
        may_be_away: the process can begin while the database cannot be reached.

    Raises:
        SettingsError: there is no key yet, or a rehearsal clock with a relay elsewhere.
        BadClock: the rehearsal clock cannot be read.
        SchemaBehind: the database is not at the revision this code needs.
        DatabaseUnavailable: the database cannot be reached.
    """
    tokens = Tokens(settings.signing_keys)
    _ = settings.address_key
    if settings.clock and not all(relay.is_local for relay in relays_of(settings)):
        raise SettingsError("a rehearsal clock (MAILER_CLOCK) is refused with a relay elsewhere")
    database = open_database(database_url or settings.database)
    try:
        require_current_schema(database)
    except DatabaseUnavailable:
        if not may_be_away:
            raise
    return Runtime(settings, database, open_clock(settings.state_dir, settings.clock), tokens)


def relays_of(settings: Settings) -> tuple[Relay, ...]:
    """The relays the settings name.

    Raises:
        SettingsError: a relay's URL makes no sense.
    """
    try:
        return tuple(parse_relay(url) for url in settings.relays)
    except BadRelay as error:
        raise SettingsError(f"setting smtp_relays: {error}") from error


def template_folders(settings: Settings) -> list[Path]:
    """Where templates are looked for: the office's own folder first, then those shipped."""
    shipped = _PACKAGE / "templates"  # in the wheel
    if not shipped.is_dir():
        shipped = _PACKAGE.parent / "templates"  # in a checkout
    return [*([settings.templates_dir] if settings.templates_dir else []), shipped]
