"""What may go wrong with accounts."""


class AccountNotFound(Exception):
    """There is no account of that name; nothing was changed."""


class AccountExists(Exception):
    """The name is taken, in this or another spelling; nothing was changed."""


class BadAccountName(Exception):
    """The name cannot be one; nothing was changed."""


class WeakPassword(Exception):
    """The password is too easily guessed, or too long to be one; nothing was changed."""


class TooManyAttempts(Exception):
    """Somebody has guessed too often; the password was not looked at."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many attempts: try again in {seconds} seconds")
        self.seconds = seconds
        """Until it is worth trying again."""
