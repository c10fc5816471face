"""What can be wrong with a request about an event; nothing was changed."""


class EventNotFound(Exception):
    """There is no event of that slug."""


class BadEventFile(Exception):
    """The event file cannot be used at all; the message names file and reason."""


class EventFileNotFound(BadEventFile):
    """There is no event file of that name."""


class BadEventValue(Exception):
    """A value does not fit its field of an event; the message says why and what would."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field} {reason}")
        self.field = field
        self.reason = reason


class BadLead(Exception):
    """Not a lead such as ``14 days`` or ``2 hours``."""


class AlreadySent(Exception):
    """This reminder has gone before; whoever raised this must send nothing."""


class RegistrationClosed(Exception):
    """Nobody can register for this event; the message says why."""


class RegistrationNotFound(Exception):
    """Nobody of that address is registered for the event."""
