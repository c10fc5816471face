"""TLS to a relay: always verified, never older than 1.2."""

import ssl
from functools import lru_cache

from mailer.smtp.errors import RelayUnavailable
from mailer.smtp.relays import Relay


def protection_for(relay: Relay) -> ssl.SSLContext:
    """What a protected connection to this relay is held to.

    Raises:
        RelayUnavailable: the relay's own certificate file cannot be read.
    """
    try:
        return _context(relay.ca)
    except OSError as error:
        reason = "it holds none" if isinstance(error, ssl.SSLError) else error.strerror
        raise RelayUnavailable(f"its file of certificates cannot be read: {reason}") from error


@lru_cache(maxsize=8)
def _context(ca: str | None) -> ssl.SSLContext:
    """Made once: reading the machine's certificates costs as much as a hundred letters."""
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
