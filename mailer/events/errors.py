"""What can be wrong with a request about an event; nothing was changed."""


class EventNotFound(Exception):
    """There is no event of that slug."""


class BadEventFile(Exception):
    """The event file cannot be used; the message names file, entry and reason."""
