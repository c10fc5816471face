"""A letter sent to a few addresses of the sending office, outside any campaign's ledger."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from mailer.campaigns.ledger import Outcome
from mailer.sending.addressees import Addressee
from mailer.sending.frozen import CampaignLetter
from mailer.sending.letters import LetterTools, Message, list_id, render_letter, write_message
from mailer.sending.outcomes import failed, outcome_of, uncertain
from mailer.smtp.errors import RelayUnavailable
from mailer.smtp.pool import RelayPool
from mailer.smtp.relays import Relay
from mailer.smtp.replies import Reply

_ASK_AGAIN_SECONDS = 0.05
_LONGEST_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What became of one test letter."""

    address: str
    outcome: Outcome


def send_trial(
    tools: LetterTools,
    relays: Sequence[Relay],
    letter: CampaignLetter,
    addressees: Sequence[Addressee],
    *,
    now: datetime,
) -> list[TrialResult]:
    """Send the letter to each, marked as a test; its links name nobody.

    Raises:
        RelayUnavailable: no relay can be used.
        RecipientValueError, LetterError: the letter cannot be rendered.
    """
    feed = _TrialFeed(
        tools,
        now,
        len(relays),
        deque((to, _marked(tools, letter, to)) for to in addressees),
    )
    asyncio.run(_send(tools, relays, feed))
    return [TrialResult(to.email, feed.outcomes[id(to)]) for to in addressees]


def _marked(tools: LetterTools, letter: CampaignLetter, to: Addressee) -> Message:
    rendered = render_letter(tools, letter, to)
    return write_message(tools, letter, to, replace(rendered, subject=f"[Test] {rendered.subject}"))


async def _send(tools: LetterTools, relays: Sequence[Relay], feed: "_TrialFeed") -> None:
    pool, asked = RelayPool(relays, greet_as=list_id(tools.settings)), len(feed.waiting)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_SECONDS):
                await pool.send(feed)
        if len(feed.outcomes) < asked:
            raise RelayUnavailable(pool.trouble or feed.why or "no relay answered in time")
    finally:
        await pool.close()


@dataclass(slots=True)
class _TrialFeed:
    """A few letters without a ledger: what became of each is told to whoever waits for it."""

    tools: LetterTools
    now: datetime
    relay_count: int
    waiting: deque[tuple[Addressee, Message]]
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    """By the identity of the addressee: test letters have no position."""
    why: str | None = None
    _out: dict[int, Addressee] = field(default_factory=dict)
    _unfit: dict[int, set[str]] = field(default_factory=dict)

    def next_mail(self, relay: Relay) -> Message | None:
        for _ in range(len(self.waiting)):
            to, mail = self.waiting[0]
            if relay.name not in self._unfit.get(id(mail), ()):
                self.waiting.popleft()
                self._out[id(mail)] = to
                return mail
            self.waiting.rotate(-1)
        return None

    def wait_seconds(self) -> float | None:
        return _ASK_AGAIN_SECONDS if self.waiting else None

    def dot_leaves(self, mail: Message, relay: Relay) -> bool:
        del mail, relay
        return True

    def flush(self) -> None:
        pass

    def answered(self, mail: Message, relay: Relay, reply: Reply) -> None:
        to = self._out[id(mail)]
        waits = self.tools.settings.retry_waits
        self.outcomes[id(to)] = outcome_of(reply, to, relay=relay.name, now=self.now, waits=waits)

    spared = answered

    def lost_after_dot(self, mail: Message, relay: Relay) -> None:
        to = self._out[id(mail)]
        self.outcomes[id(to)] = uncertain(to.position, relay.name)

    def not_sent(self, mail: Message, relay: Relay, why: str) -> None:
        del relay
        self.why = why
        self.waiting.append((self._out[id(mail)], mail))

    def unfit(self, mail: Message, relay: Relay, why: str) -> None:
        unfit_for = self._unfit.setdefault(id(mail), set())
        unfit_for.add(relay.name)
        to = self._out[id(mail)]
        if len(unfit_for) == self.relay_count:
            self.outcomes[id(to)] = failed(to.position, why)
        else:
            self.waiting.append((to, mail))

    def withdrawn(self, mails: Sequence[Message], relay: Relay, why: str) -> None:
        for mail in mails:
            self.outcomes.pop(id(self._out[id(mail)]), None)
            self.not_sent(mail, relay, why)
