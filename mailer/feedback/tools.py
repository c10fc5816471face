"""What acting on mail that came back needs of the rest of the house."""

from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from mailer.foundation.clock import Clock
from mailer.foundation.database import Database
from mailer.tracking.tokens import Tokens


@dataclass(frozen=True, slots=True)
class FeedbackTools:
    """What it takes to act on what comes back."""

    database: Database
    tokens: Tokens
    clock: Clock
    zone: ZoneInfo
    bounces_to: str
    """The address that messages come back to, without a token."""
    state_dir: Path
    """Where it is remembered which messages stay in a mailbox that has no marks."""
