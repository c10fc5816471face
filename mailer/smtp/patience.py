"""How long a relay is waited for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds; those of the dialogue are the least RFC 5321 §4.5.3.2 allows."""

    connect: float = 30.0
    """To connect and to agree on TLS; also for a connection that idled to prove that it lives."""
    command: float = 300.0
    """For the greeting, and the replies to EHLO, AUTH, MAIL and RCPT."""
    data: float = 120.0
    """For the reply to DATA."""
    block: float = 180.0
    """For the kernel to take any more of a letter."""
    dot: float = 600.0
    """For the reply that decides: to the final dot, or the last chunk."""
    farewell: float = 2.0
    """For the reply to QUIT."""
    idle: float = 30.0
    """After so long a connection is asked for a sign of life before it gets a letter."""
    look_every: float = 1.0
    """How often deadlines are compared with the clock."""
    first_pause: float = 5.0
    """A relay that cannot be used is left alone for so long, then twice as long, and so on ..."""
    longest_pause: float = 60.0
    """... up to this."""
    next_connection: float = 30.0
    """A relay that wanted fewer connections is given one more each time so long has passed."""
    slot: float = 0.5
    """When to ask again for a connection that other processes have."""
