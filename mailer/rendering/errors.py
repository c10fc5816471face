"""What can be wrong with a letter."""


class LetterNotFound(Exception):
    """There is no letter of that name."""


class LetterError(Exception):
    """The letter cannot be rendered for anybody; the message names file, line and reason."""


class RecipientValueError(Exception):
    """The letter cannot be rendered for this one recipient; all others may go out."""
