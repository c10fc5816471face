"""What can be wrong with a request about recipients; nothing was changed."""


class RecipientNotFound(Exception):
    """There is no recipient of that address."""


class SegmentNotFound(Exception):
    """There is no segment of that name."""


class BadRule(Exception):
    """The segment's rule cannot be understood; the message says where."""


class UnreadableFile(Exception):
    """The recipient file cannot be read at all; the message says why."""


class ImportRunning(Exception):
    """A recipient import is still at work; wait for it to end."""


class BadAddress(Exception):
    """It is no address that may be written to; the message says why."""


class SegmentExists(Exception):
    """There is a segment of that name already; it was not changed."""


class InputNotFound(Exception):
    """There is no such input file; nothing was read."""
