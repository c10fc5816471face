"""What can be wrong with a letter."""


class LetterNotFound(Exception):
    """There is no letter of that name."""


class LetterError(Exception):
    """A template fails, for everybody or at some recipients' values; the message names file and line."""


class RecipientValueError(Exception):
    """The letter cannot be rendered for this one recipient; all others may go out."""


class BadKey(ValueError):
    """A signing key cannot be used; the message names the file and the reason, no part of the key."""
