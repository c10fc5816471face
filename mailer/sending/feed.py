"""One claimed batch as the relays meet it: whose letter goes next, and what became of each.

A letter whose domain has no allowance is set aside and the next one goes: a slow domain holds nobody
up. Whatever is still here when the batch ends was not begun and is handed back.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from mailer.campaigns.ledger import Outcome
from mailer.rendering.errors import LetterError, RecipientValueError
from mailer.sending.addressees import Addressee
from mailer.sending.letters import Message
from mailer.sending.notes import Notes
from mailer.sending.outcomes import failed, outcome_of, sent, spared, suppressed, uncertain, withdrawn
from mailer.sending.writer import LetterWriter
from mailer.smtp.pace import Pace
from mailer.smtp.relays import Relay
from mailer.smtp.replies import Reply

STARTS_FOR_SECONDS = 45.0
"""A batch begins letters for so long, then only waits for replies."""
PATIENCE_SECONDS = 2.0
"""So long a batch stays for slow domains alone while other batches wait for its worker."""
_WRITTEN_AHEAD = 16
"""Letters written in one go: each that leaves drives what it takes to write the next out of the
processor's caches."""
_SHORTEST_WAIT_SECONDS = 0.005
_NEVER = float("inf")


@dataclass(slots=True)
class Watch:
    """What a running batch learns while it runs."""

    ended: bool = False
    """The campaign is paused or over, or the batch is no longer ours: no letter is begun."""
    suppressed: frozenset[int] = frozenset()
    """Positions whose recipients said no since the batch was read."""
    others_wait: bool = True
    """Whether batches wait that this worker could turn to."""


@dataclass(slots=True)
class FeedTools:
    """What a batch needs to have its letters written, paced and noted."""

    writer: LetterWriter
    notes: Notes
    pace: Pace
    relay_count: int
    is_stopping: Callable[[], bool]
    real: Callable[[], datetime]
    waits: Sequence[timedelta]
    """The back-off after refusals for now."""
    ticking: Callable[[], float] = time.monotonic


@dataclass(slots=True)
class BatchFeed:
    """Gives the letters of one batch to the pool, and keeps what it is told of them."""

    tools: FeedTools
    watch: Watch
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    """By position."""
    _people: dict[int, Addressee] = field(default_factory=dict)
    _fresh: deque[Addressee] = field(default_factory=deque)
    _again: deque[Addressee] = field(default_factory=deque)
    """Came back without having been offered."""
    _written: dict[int, Message | Exception] = field(default_factory=dict)
    """By position: written ahead of their turn, or why they cannot be."""
    _parked: dict[str, deque[Addressee]] = field(default_factory=dict)
    """By domain: letters that wait for an allowance."""
    _allowed_at: dict[tuple[str, str], float] = field(default_factory=dict)
    """By relay and domain: when it is worth asking again."""
    _look_at: dict[str, float] = field(default_factory=dict)
    """By relay: when the first of what is parked may go."""
    _may_go: set[str] = field(default_factory=set)
    """Relays whose own allowance for one letter is taken and not yet used."""
    _unfit: dict[int, dict[str, str]] = field(default_factory=dict)
    """By position: the relays that cannot take the letter, and why."""
    _began: float = 0.0
    _wait: float = 0.0
    _slow_since: float | None = None
    _fits_nobody: bool = False
    """Whether every relay that asked last could take none of what came back."""

    def load(self, waiting: Iterable[Addressee]) -> None:
        """Take the batch's letters, in the order in which they are to go."""
        self._people = {to.position: to for to in waiting}
        self._fresh.extend(self._people.values())
        self._began = self.tools.ticking()

    @property
    def left(self) -> list[int]:
        """The positions that came to no outcome."""
        return [position for position in self._people if position not in self.outcomes]

    @property
    def slow_domains(self) -> list[str]:
        """The domains whose letters are left because they take no more for now."""
        return sorted(domain for domain, queue in self._parked.items() if queue)

    @property
    def misfits(self) -> str | None:
        """Why letters are left that no relay in reach can take; None if there are none."""
        reasons = [self._unfit[to.position] for to in self._again if to.position in self._unfit]
        return next(iter(reasons[0].values())) if reasons else None

    def next_mail(self, relay: Relay) -> Message | None:
        """The next letter that may go to this relay now."""
        if self._is_over():
            return None
        if relay.rate is not None and relay.name not in self._may_go:
            self._wait = self.tools.pace.wait_for_relay(relay)
            if self._wait:
                return None
            self._may_go.add(relay.name)
        while (to := self._take(relay)) is not None:
            message = self._write(to)
            if message is not None:
                self._may_go.discard(relay.name)
                return message
        return None

    def wait_seconds(self) -> float | None:
        """After how long to ask again; None when no more mail will come."""
        if self._is_over() or not self._has_more():
            return None
        return max(_SHORTEST_WAIT_SECONDS, self._wait)

    def dot_leaves(self, mail: Message, relay: Relay) -> bool:
        """Note the final dot, unless the letter is no longer wanted."""
        if self.watch.ended or mail.position in self.watch.suppressed:
            return False
        self.tools.notes.dot(mail.position, relay.name)
        return True

    def flush(self) -> None:
        """Put the notes into the journal."""
        self.tools.notes.flush()

    def answered(self, mail: Message, relay: Relay, reply: Reply) -> None:
        """The relay decided about this letter."""
        tools, position = self.tools, mail.position
        to = self._people[position]
        tools.pace.answered(relay, to.domain, reply)
        if reply.code < 300:
            self.outcomes[position] = sent(position, relay.name, reply)
            tools.notes.taken(position, relay.name, reply)
        else:
            self._settle(outcome_of(reply, to, relay=relay.name, now=tools.real(), waits=tools.waits))

    def lost_after_dot(self, mail: Message, relay: Relay) -> None:
        """Nobody knows whether it arrived."""
        self._settle(uncertain(mail.position, relay.name))

    def not_sent(self, mail: Message, relay: Relay, why: str) -> None:
        """It may be offered again, here or elsewhere."""
        del relay, why
        self.tools.notes.withdrawn(mail.position)
        self._again.append(self._people[mail.position])

    def unfit(self, mail: Message, relay: Relay, why: str) -> None:
        """This relay cannot take it; when none can, the letter fails alone."""
        reasons = self._unfit.setdefault(mail.position, {})
        reasons[relay.name] = why
        if len(reasons) == self.tools.relay_count:
            self._settle(failed(mail.position, "; ".join(dict.fromkeys(reasons.values()))))
        else:
            self.tools.notes.withdrawn(mail.position)
            self._again.append(self._people[mail.position])

    def spared(self, mail: Message, relay: Relay, reply: Reply) -> None:
        """To be offered again later; this was no attempt."""
        tools, to = self.tools, self._people[mail.position]
        self._settle(spared(reply, to, relay=relay.name, now=tools.real(), waits=tools.waits))

    def withdrawn(self, mails: Sequence[Message], relay: Relay, why: str) -> None:
        """What the relay said of these was its own fault: nobody is blamed.

        Who was refused in an earlier batch too is not tried again in this one: in a batch of nobody
        else it would never end.
        """
        del relay, why
        tools = self.tools
        for mail in mails:
            outcome, to = self.outcomes.pop(mail.position, None), self._people[mail.position]
            if outcome is None:
                continue
            if to.first_deferred_at is None:
                tools.notes.withdrawn(mail.position)
                # Last, so that the relay is tried again with others: these may be dead after all.
                self._fresh.append(to)
            else:
                self._settle(withdrawn(outcome, to, now=tools.real(), waits=tools.waits))

    def _is_over(self) -> bool:
        tools = self.tools
        return (
            self.watch.ended or tools.is_stopping() or tools.ticking() - self._began > STARTS_FOR_SECONDS
        )

    def _has_more(self) -> bool:
        """Whether it is worth staying for what is left."""
        if self._fresh or (self._again and not self._fits_nobody):
            self._slow_since = None
            return True
        if not any(self._parked.values()):
            return False
        now = self.tools.ticking()
        if self._slow_since is None:
            self._slow_since = now
        return not self.watch.others_wait or now - self._slow_since < PATIENCE_SECONDS

    def _take(self, relay: Relay) -> Addressee | None:
        """The next addressee whose letter may go to this relay."""
        to = self._take_parked(relay) if self._parked else None
        while to is None and (queue := self._queue_for(relay) if self._again else self._fresh):
            to = queue.popleft()
            if self._parked.get(to.domain):
                self._parked[to.domain].append(to)
            elif wait := self.tools.pace.wait_for_domain(relay, to.domain):
                self._park(relay, to, wait)
            else:
                break
            to = None
        if to is None and self._parked:
            self._wait = self._look_at.get(relay.name, 0.0) - self.tools.ticking()
        return to

    def _queue_for(self, relay: Relay) -> deque[Addressee]:
        """What came back goes first, unless this relay cannot take it."""
        for _ in range(len(self._again)):
            if relay.name not in self._unfit.get(self._again[0].position, ()):
                self._fits_nobody = False
                return self._again
            self._again.rotate(-1)
        self._fits_nobody = bool(self._again)
        return self._fresh

    def _park(self, relay: Relay, to: Addressee, wait: float) -> None:
        """Set the addressee aside: the domain has no allowance for so many seconds."""
        self._parked.setdefault(to.domain, deque()).append(to)
        at = self._allowed_at[relay.name, to.domain] = self.tools.ticking() + wait
        self._look_at[relay.name] = min(self._look_at.get(relay.name, _NEVER), at)

    def _take_parked(self, relay: Relay) -> Addressee | None:
        """The first of those set aside whose domain has an allowance again."""
        now = self.tools.ticking()
        if now < self._look_at.get(relay.name, 0.0):
            return None
        soonest = _NEVER
        for domain, queue in self._parked.items():
            at = self._allowed_at.get((relay.name, domain), 0.0)
            if queue and at <= now:
                wait = self.tools.pace.wait_for_domain(relay, domain)
                if not wait:
                    return queue.popleft()
                at = self._allowed_at[relay.name, domain] = now + wait
            if queue:
                soonest = min(soonest, at)
        self._look_at[relay.name] = soonest
        return None

    def _write(self, to: Addressee) -> Message | None:
        """The letter; None if this recipient gets none, which is settled at once."""
        if to.suppressed or to.position in self.watch.suppressed:
            self._settle(suppressed(to.position))
            return None
        if to.position not in self._written:
            self._write_ahead(to)
        written = self._written.pop(to.position)
        try:
            if isinstance(written, Exception):
                raise written
        except (RecipientValueError, LetterError, UnicodeError) as error:
            self._settle(failed(to.position, self.tools.writer.why_not(error)))
            return None
        return written

    def _write_ahead(self, to: Addressee) -> None:
        """Write a letter, and what probably goes next; what is wrong with one is told at its turn."""
        following = () if self._parked else islice(self._fresh, _WRITTEN_AHEAD)
        for each in (to, *following):
            if each.position in self._written:
                continue
            try:
                self._written[each.position] = self.tools.writer.write(each)
            except Exception as error:  # noqa: BLE001 - raised at its turn
                self._written[each.position] = error

    def _settle(self, outcome: Outcome) -> None:
        self.outcomes[outcome.position] = outcome
        self.tools.notes.outcome(outcome)
