"""Leave for a letter, asked for as a batch does: of the relay, which is kept, then of the domain."""

from weakref import WeakKeyDictionary

from mailer.smtp.pace import Pace
from mailer.smtp.relays import Relay

_may_go: WeakKeyDictionary[Pace, set[str]] = WeakKeyDictionary()


def wait_for(pace: Pace, relay: Relay, domain: str) -> float:
    """0.0: the letter may go; else seconds until it is worth asking again."""
    may_go = _may_go.setdefault(pace, set())
    if relay.name not in may_go and (wait := pace.wait_for_relay(relay)):
        return wait
    may_go.add(relay.name)
    if wait := pace.wait_for_domain(relay, domain):
        return wait
    may_go.discard(relay.name)
    return 0.0
