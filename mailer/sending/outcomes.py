"""What a relay's decision makes of a delivery."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from mailer.campaigns.ledger import Outcome
from mailer.campaigns.models import DeliveryState
from mailer.rendering.headers import clean
from mailer.sending.addressees import Addressee
from mailer.sending.backoff import attempts_in, next_attempt, tried_long_enough
from mailer.smtp.line import LOST_TOO_OFTEN
from mailer.smtp.replies import Reply, ReplyClass

_SENT = DeliveryState.SENT
"""To look up a member of an enumeration for each letter takes time."""
_DOUBTED_FOR_WAITS = 3
NO_REPLY = "no reply was read after the final dot"
_LONGEST_REASON = 300
SUPPRESSED_SINCE = "suppressed after the audience was frozen"
ERASED_SINCE = "the recipient was erased after the audience was frozen"


def outcome_of(
    reply: Reply, to: Addressee, *, relay: str, now: datetime, waits: Sequence[timedelta]
) -> Outcome:
    """The outcome of a delivery about which a relay has decided.

    A letter refused for now is tried again with back-off, and bounces after 72 hours.

    Args:
        now: real time, from which the next attempt is reckoned.
        waits: after the first refusal, the second, and so on.
    """
    match reply.kind:
        case ReplyClass.ACCEPTED:
            state, reason, due_at = DeliveryState.SENT, None, None
        case ReplyClass.REFUSED:
            state, reason, due_at = DeliveryState.BOUNCED, reply.text or None, None
        case ReplyClass.REFUSED_FOR_NOW if tried_long_enough(to.first_deferred_at, now=now):
            state, due_at = DeliveryState.BOUNCED, None
            reason = f"given up after 72 hours: {reply.text}"
        case ReplyClass.REFUSED_FOR_NOW:
            state, reason = DeliveryState.DEFERRED, reply.text or None
            due_at = now + next_attempt(to.attempts, waits)
    return Outcome(
        to.position,
        state,
        relay=relay,
        code=reply.code,
        enhanced_code=reply.enhanced_code,
        reason=reason,
        due_at=due_at,
    )


def spared(
    reply: Reply, to: Addressee, *, relay: str, now: datetime, waits: Sequence[timedelta]
) -> Outcome:
    """The outcome of a delivery that may not be to blame for what was said: deferred, and no attempt.

    A refusal for good stands once the delivery has been tried for as long as the first three waits. A
    delivery of which nothing was said, since its connection was lost each time, never bounces for that:
    after 72 hours it has failed, which is held against nobody.
    """
    outcome = outcome_of(reply, to, relay=relay, now=now, waits=waits)
    if reply == LOST_TOO_OFTEN and outcome.state is DeliveryState.BOUNCED:
        return replace(failed(to.position, outcome.reason or reply.text), relay=relay)
    doubted_for = sum(waits[:_DOUBTED_FOR_WAITS], timedelta())
    if reply.kind is ReplyClass.REFUSED and _tried_for(to, now) > doubted_for:
        return outcome
    return withdrawn(outcome, to, now=now, waits=waits)


def withdrawn(outcome: Outcome, to: Addressee, *, now: datetime, waits: Sequence[timedelta]) -> Outcome:
    """What becomes of an outcome that is the relay's fault: deferred, and no attempt, for 72 hours."""
    if tried_long_enough(to.first_deferred_at, now=now):
        return outcome
    return _put_off(outcome, to, now=now, waits=waits)


def _put_off(outcome: Outcome, to: Addressee, *, now: datetime, waits: Sequence[timedelta]) -> Outcome:
    """Deferred, and no attempt: the longer, the longer ago it was first deferred."""
    return replace(
        outcome,
        state=DeliveryState.DEFERRED,
        due_at=now + next_attempt(attempts_in(_tried_for(to, now), waits), waits),
        attempted=False,
    )


def _tried_for(to: Addressee, now: datetime) -> timedelta:
    return now - to.first_deferred_at if to.first_deferred_at else timedelta()


def sent(position: int, relay: str, reply: Reply) -> Outcome:
    """The outcome of a letter a relay took."""
    return Outcome(position, _SENT, relay, reply.code, reply.enhanced_code)


def uncertain(position: int, relay: str, reason: str = NO_REPLY) -> Outcome:
    """The outcome of a letter whose final dot left and about which no reply was read."""
    return Outcome(position, DeliveryState.UNCERTAIN, relay=relay, reason=reason)


def suppressed(position: int, reason: str = SUPPRESSED_SINCE) -> Outcome:
    """The outcome of a letter whose recipient must not get it any more."""
    return Outcome(position, DeliveryState.SUPPRESSED, reason=reason, attempted=False)


def failed(position: int, reason: str) -> Outcome:
    """The outcome of a letter that could not be offered to any relay.

    Args:
        reason: whatever it says; kept are so many printable characters of it.
    """
    kept = clean(reason[:_LONGEST_REASON])
    return Outcome(position, DeliveryState.FAILED, reason=kept, attempted=False)
