"""Which exit code an error of the logic ends the command line with; the message is the error's own."""

from mailer.campaigns.errors import CampaignNotFound, NotAllowedNow
from mailer.events.errors import BadEventFile, EventNotFound
from mailer.foundation.clock import BadClock
from mailer.foundation.database import DatabaseUnavailable
from mailer.foundation.settings import SettingsError
from mailer.launch import LaunchRefused
from mailer.rendering.errors import LetterError, LetterNotFound
from mailer.schema import SchemaBehind
from mailer.smtp.errors import RelayUnavailable
from recipients.errors import (
    BadRule,
    ImportRunning,
    RecipientNotFound,
    SegmentNotFound,
    UnreadableFile,
)

FAILED, NOT_FOUND, NOT_NOW, UNAVAILABLE, SETTINGS = 1, 4, 5, 69, 78

_CODES: dict[type[Exception], int] = {
    LetterError: FAILED,
    LaunchRefused: FAILED,
    BadEventFile: FAILED,
    UnreadableFile: FAILED,
    BadRule: FAILED,
    CampaignNotFound: NOT_FOUND,
    LetterNotFound: NOT_FOUND,
    EventNotFound: NOT_FOUND,
    RecipientNotFound: NOT_FOUND,
    SegmentNotFound: NOT_FOUND,
    NotAllowedNow: NOT_NOW,
    ImportRunning: NOT_NOW,
    DatabaseUnavailable: UNAVAILABLE,
    RelayUnavailable: UNAVAILABLE,
    SettingsError: SETTINGS,
    BadClock: SETTINGS,
    SchemaBehind: SETTINGS,
}


def exit_code(error: Exception) -> int | None:
    """The exit code of an expected error; None for one that is a fault of the program."""
    for kind in type(error).__mro__:
        if kind in _CODES:
            return _CODES[kind]
    return None
