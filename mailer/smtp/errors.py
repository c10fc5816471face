"""What can go wrong between us and a relay."""


class RelayUnavailable(Exception):
    """The relay cannot be used; no letter was offered, so no recipient is blamed."""


class TooManyConnections(RelayUnavailable):
    """The relay works, but wants fewer connections from us; no letter was offered."""


class Garbled(Exception):
    """What the relay said is no reply to what was asked: nothing on this connection can be trusted."""
