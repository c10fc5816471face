"""What can go wrong between us and a relay; each says what became of the letter."""


class RelayUnavailable(Exception):
    """The relay cannot be used; no letter was offered, so no recipient is blamed."""


class ConnectionLostBeforeDot(Exception):
    """The connection went before the final dot left; the letter was not sent and may be retried."""


class ConnectionLostAfterDot(Exception):
    """The final dot left and no reply was read: the letter may or may not have arrived."""
