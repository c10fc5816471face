"""Which exit code an error of the logic ends the command line with, and the one line that tells it."""

from sqlalchemy.exc import OperationalError

from mailer.campaigns.errors import CampaignNotFound, LaunchRefused, LinkNotFound, NotAllowedNow
from mailer.embedded.errors import (
    AlreadyRunning,
    BadFaults,
    DemoFailed,
    FaultsNotFound,
    ProgramMissing,
    ServiceFailed,
)
from mailer.events.errors import (
    BadEventFile,
    EventFileNotFound,
    EventNotFound,
    RegistrationClosed,
    RegistrationNotFound,
)
from mailer.feedback.errors import AlreadyPolling
from mailer.foundation.clock import BadClock
from mailer.foundation.database import DatabaseUnavailable
from mailer.foundation.settings import SettingsError
from mailer.rendering.errors import LetterError, LetterNotFound, RecipientValueError
from mailer.reports.meetings import BadMeetings, BadText, MeetingNotFound
from mailer.schema import SchemaBehind
from mailer.smtp.errors import RelayUnavailable
from mailer.staff.errors import AccountExists, AccountNotFound, BadAccountName, WeakPassword
from recipients.errors import (
    BadAddress,
    BadRule,
    ImportRunning,
    InputNotFound,
    RecipientNotFound,
    SegmentExists,
    SegmentNotFound,
    UnreadableFile,
)

FAILED, DONE_IN_PART, NOT_FOUND, NOT_NOW, UNAVAILABLE, SETTINGS = 1, 3, 4, 5, 69, 78
INTERRUPTED = 130

_CODES: dict[type[Exception], int] = {
    LetterError: FAILED,
    RecipientValueError: FAILED,
    LaunchRefused: FAILED,
    BadEventFile: FAILED,
    UnreadableFile: FAILED,
    BadRule: FAILED,
    BadMeetings: FAILED,
    BadText: FAILED,
    BadAddress: FAILED,
    BadAccountName: FAILED,
    WeakPassword: FAILED,
    BadFaults: FAILED,
    DemoFailed: FAILED,
    ServiceFailed: FAILED,
    CampaignNotFound: NOT_FOUND,
    LinkNotFound: NOT_FOUND,
    LetterNotFound: NOT_FOUND,
    EventNotFound: NOT_FOUND,
    EventFileNotFound: NOT_FOUND,
    RecipientNotFound: NOT_FOUND,
    RegistrationNotFound: NOT_FOUND,
    SegmentNotFound: NOT_FOUND,
    MeetingNotFound: NOT_FOUND,
    InputNotFound: NOT_FOUND,
    AccountNotFound: NOT_FOUND,
    FaultsNotFound: NOT_FOUND,
    NotAllowedNow: NOT_NOW,
    AlreadyRunning: NOT_NOW,
    AlreadyPolling: NOT_NOW,
    ImportRunning: NOT_NOW,
    RegistrationClosed: NOT_NOW,
    SegmentExists: NOT_NOW,
    AccountExists: NOT_NOW,
    DatabaseUnavailable: UNAVAILABLE,
    ProgramMissing: UNAVAILABLE,
    RelayUnavailable: UNAVAILABLE,
    SettingsError: SETTINGS,
    BadClock: SETTINGS,
    SchemaBehind: SETTINGS,
    OperationalError: UNAVAILABLE,
    OSError: FAILED,
    MemoryError: FAILED,
}


def exit_code(error: Exception) -> int | None:
    """The exit code of an expected error; None for one that is a fault of the program."""
    for kind in type(error).__mro__:
        if kind in _CODES:
            return _CODES[kind]
    return None


def describe(error: Exception) -> str:
    """What happened and, where the error's own words do not say it, what to do."""
    match error:
        case OSError():
            return f"{error.filename}: {error.strerror}" if error.filename else str(error)
        case OperationalError():
            return f"the database cannot be used: {_first_line(error.orig)}; see  mailer doctor"
        case DatabaseUnavailable():
            return f"the database cannot be used: {error}; see  mailer doctor"
        case RelayUnavailable():
            return f"{error}; see  mailer doctor"
        case RecipientValueError():
            return f"{error}, which the letter needs"
        case MemoryError():
            places = "; ".join(getattr(error, "__notes__", ()))
            return f"{places}: there is not enough memory for it" if places else "out of memory"
        case _:
            return str(error)


def _first_line(error: object) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
