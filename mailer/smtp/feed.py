"""Where the pool takes mail from, and whom it tells what became of it."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from mailer.smtp.envelope import Mail
from mailer.smtp.relays import Relay
from mailer.smtp.replies import Reply

M = TypeVar("M", bound=Mail)


class Feed(Protocol[M]):
    """A source of mail that keeps the account; all calls come from the loop's thread.

    Every mail given out comes back by exactly one of ``answered``, ``not_sent``, ``unfit``, ``spared``
    and ``lost_after_dot``. An error raised here ends the sending when all that was given out has come
    back, and comes out of ``RelayPool.send``; one of ``flush``, or a second one, ends it at once.
    """

    def next_mail(self, relay: Relay) -> M | None:
        """The next mail that may go to this relay now; its allowance is taken."""
        ...

    def wait_seconds(self) -> float | None:
        """After ``next_mail`` gave None: ask again after so long; None: no more mail will come."""
        ...

    def dot_leaves(self, mail: M, relay: Relay) -> bool:
        """The final dot (or last chunk) leaves with the next flush; False keeps it: ``not_sent``."""
        ...

    def flush(self) -> None:
        """Note durably all that was told; called before a dot is written and after replies were told."""
        ...

    def answered(self, mail: M, relay: Relay, reply: Reply) -> None:
        """The relay decided about this mail, after RCPT, DATA or the final dot."""
        ...

    def not_sent(self, mail: M, relay: Relay, why: str) -> None:
        """Nothing of it counts as offered; it may be offered again."""
        ...

    def unfit(self, mail: M, relay: Relay, why: str) -> None:
        """This relay cannot take it (SMTPUTF8, 8BITMIME, SIZE); another may."""
        ...

    def lost_after_dot(self, mail: M, relay: Relay) -> None:
        """Its final dot left and no reply was read: it may or may not have arrived."""
        ...

    def spared(self, mail: M, relay: Relay, reply: Reply) -> None:
        """Not in this sending any more, but later, and this was no attempt: it may be the relay's fault.

        So it is with a mail whose connection was lost time and again before its dot; and, as the
        sending ends, with mails told as ``answered`` of which the relay refused several domains' alike
        and took none since.
        """
        ...

    def withdrawn(self, mails: Sequence[M], relay: Relay, why: str) -> None:
        """Answers told earlier were the relay's fault: nobody is blamed for them."""
        ...
