"""Offers one message to the relays in their order, and turns what they say into an outcome."""

from collections.abc import Callable, Sequence
from datetime import datetime

from mailer.campaigns.ledger import Outcome
from mailer.campaigns.models import DeliveryState
from mailer.sending.addressees import Addressee
from mailer.sending.backoff import next_attempt, tried_long_enough
from mailer.sending.letters import Message
from mailer.smtp.connection import Connection, NoSMTPUTF8
from mailer.smtp.errors import ConnectionLostAfterDot, ConnectionLostBeforeDot, RelayUnavailable
from mailer.smtp.relays import Relay
from mailer.smtp.replies import Reply, ReplyClass

NO_SMTPUTF8 = "the address needs SMTPUTF8, which no relay offers"
NO_REPLY = "no reply was read after the final dot"


class Dispatcher:
    """One kept-open connection to each relay; the next relay is asked when one cannot be used."""

    def __init__(self, relays: Sequence[Relay], *, greet_as: str) -> None:
        self._connections = [Connection(relay, greet_as=greet_as) for relay in relays]

    def offer(
        self, message: Message, to: Addressee, *, before_dot: Callable[[str], None], now: datetime
    ) -> Outcome:
        """Offer a message until a relay decides about it.

        Args:
            before_dot: called with the relay's name when all but the final dot has left.
            now: real time, from which the next attempt is reckoned.

        Raises:
            RelayUnavailable: no relay can be used; the letter was not sent and nobody is blamed.
        """
        reasons: list[str] = []
        without_smtputf8 = 0
        for connection in self._connections:
            try:
                return self._offer_to(connection, message, to, before_dot=before_dot, now=now)
            except NoSMTPUTF8:
                without_smtputf8 += 1
            except (RelayUnavailable, ConnectionLostBeforeDot) as error:
                reasons.append(str(error))
        if without_smtputf8 and not reasons:
            return Outcome(to.position, DeliveryState.FAILED, reason=NO_SMTPUTF8, attempted=False)
        raise RelayUnavailable("; ".join(reasons) or "no relay is set")

    def close(self) -> None:
        """Take leave of every relay."""
        for connection in self._connections:
            connection.quit()

    def _offer_to(
        self,
        connection: Connection,
        message: Message,
        to: Addressee,
        *,
        before_dot: Callable[[str], None],
        now: datetime,
    ) -> Outcome:
        relay = connection.relay.name
        for last_try in (False, True):
            try:
                reply = connection.send(
                    message.envelope, message.data, before_dot=lambda: before_dot(relay)
                )
                return outcome_of(reply, to, relay=relay, now=now)
            except ConnectionLostBeforeDot:
                if last_try:  # the first may only have found a connection that idled too long
                    raise
            except ConnectionLostAfterDot:
                return Outcome(to.position, DeliveryState.UNCERTAIN, relay=relay, reason=NO_REPLY)
        raise AssertionError("unreachable")


def outcome_of(reply: Reply, to: Addressee, *, relay: str, now: datetime) -> Outcome:
    """What a relay's decision makes of a delivery.

    A letter refused for now is tried again with back-off, and bounces after 72 hours.
    """
    told = {"relay": relay, "code": reply.code, "enhanced_code": reply.enhanced_code}
    match reply.kind:
        case ReplyClass.ACCEPTED:
            return Outcome(to.position, DeliveryState.SENT, **told)  # type: ignore[arg-type]
        case ReplyClass.REFUSED:
            return Outcome(to.position, DeliveryState.BOUNCED, reason=reply.text or None, **told)  # type: ignore[arg-type]
        case ReplyClass.REFUSED_FOR_NOW if tried_long_enough(to.first_deferred_at, now=now):
            reason = f"given up after 72 hours: {reply.text}"
            return Outcome(to.position, DeliveryState.BOUNCED, reason=reason, **told)  # type: ignore[arg-type]
        case ReplyClass.REFUSED_FOR_NOW:
            due = now + next_attempt(to.attempts)
            return Outcome(
                to.position,
                DeliveryState.DEFERRED,
                reason=reply.text or None,
                due_at=due,
                **told,  # type: ignore[arg-type]
            )
