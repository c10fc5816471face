"""How fast letters may go: per relay and per recipient domain, all processes together.

A relay's ``rate`` and ``domain_rate`` bound every process of every machine; a domain that throttles
is slowed down to what it takes and let go again. Allowances come from Redis, several at a time; while
it is away each process keeps to its share. What is never limited costs a look into a dict.
"""

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mailer.smtp.learning import WINDOW_SECONDS, Limit, Window, is_telling, relearn
from mailer.smtp.relays import Relay
from mailer.smtp.replies import Reply, ReplyClass
from mailer.smtp.sharing import Answers, News, Settled, Sharing, Total
from mailer.smtp.throttling import is_throttling

LONGEST_WAIT_SECONDS = 60.0
_REFILL_SECONDS = 0.1
"""About so much of this process's share is asked for at a time."""
_LEAST_REFILL_SECONDS = 0.01
_MOST_AT_A_TIME = 1_000
_KEPT_SECONDS = 1.0
"""What was not used for so long is gone: a pause is never made up for."""
_LATE_SECONDS = 0.1
_QUIET_SHARES = 10
_STALE_SECONDS = 15.0
_REMEMBERED_SECONDS = 60.0
_ALIVE_SECONDS = 10.0
_FLOOD = 20
_FLOOD_SECONDS = 0.2
_SPARE_SHARE, _MOST_SPARE = 0.2, 5.0
_MOST_ALLOWANCES = 10_000
_MOST_RELAY_OBJECTS = 256
_UNLOOKED = 8
_THICK_AND_FAST_SECONDS = 0.1
_SLOWEST_RATE, _FASTEST_RATE = 1e-6, 1e9
_NEVER = float("-inf")


@dataclass(slots=True)
class _Allowance:
    """Letters of one limit that this process may send without asking."""

    key: str
    left: int = 0
    opens: float = 0.0
    """They may go from now on, and for a second."""
    ask_at: float = 0.0
    """Nothing was granted: it is useless to ask before."""
    share_at: float = _NEVER
    """When this process's own share next has a letter."""
    took_at: float = _NEVER
    before: int = 0
    """Letters that went without asking since."""
    spare: float = 0.0
    """Letters that may go once more in place of others."""

    def take(self, now: float) -> None:
        self.left -= 1
        self.took_at = now
        self.spare = min(self.spare + _SPARE_SHARE, _MOST_SPARE)

    def give_back(self) -> None:
        """A letter was taken for nothing: another may go for it, unless that happens too often."""
        if self.spare >= 1:
            self.spare -= 1
            self.left += 1

    def is_idle(self, now: float) -> bool:
        return now > max(self.opens, self.ask_at, self.share_at, self.took_at) + LONGEST_WAIT_SECONDS


@dataclass(slots=True)
class _Lane:
    """One relay as this process uses it."""

    name: str
    rate: float | None
    domain_rate: float | None
    own: _Allowance
    allowances: dict[str, _Allowance] = field(default_factory=dict)
    limits: dict[str, Limit] = field(default_factory=dict)
    accepted: dict[str, int] = field(default_factory=dict)
    throttled: dict[str, int] = field(default_factory=dict)
    unjudged: dict[str, Window] = field(default_factory=dict)
    """What this process alone heard while Redis was away."""

    def rate_of(self, domain: str) -> float | None:
        limit = self.limits.get(domain)
        if limit is None:
            return self.domain_rate
        return limit.rate if self.domain_rate is None else min(limit.rate, self.domain_rate)

    def collect(self, seconds: float) -> list[Answers]:
        """What domains that throttle, or are limited, answered since the last time."""
        accepted, throttled = self.accepted, self.throttled
        self.accepted, self.throttled = {}, {}
        return [
            Answers(
                self.name, domain, Window(accepted.get(domain, 0), throttled.get(domain, 0), seconds)
            )
            for domain in throttled.keys() | (self.limits.keys() & accepted.keys())
        ]

    def forget_idle(self, now: float) -> None:
        if len(self.allowances) > _MOST_ALLOWANCES:
            self.allowances = {
                domain: allowance
                for domain, allowance in self.allowances.items()
                if not allowance.is_idle(now)
            }


class Pace:
    """The pace of one process; all calls come from one thread.

    Args:
        redis_url: ``redis://``, ``rediss://`` or ``unix://``; None: this process shares with nobody.
        processes: how many send on this machine: what a share is made of until Redis tells more.
        clock: seconds that never run backwards.
    """

    def __init__(
        self, redis_url: str | None, *, processes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sharing = Sharing(redis_url) if redis_url else None
        self._processes = max(1, processes)
        self._clock = clock
        self._alive = 1
        self._alive_at = _NEVER
        self._memory: str | None = None
        self._awake_at = _NEVER
        self._was_away = False
        self._lane_of: dict[int, _Lane] = {}
        """By the identity of the relay: an object's hash would cost more than all the rest."""
        self._kept: list[Relay] = []
        self._lanes: dict[str, _Lane] = {}
        self._window_began = clock()
        self._next_exchange = self._window_began + WINDOW_SECONDS
        self._looked_at = _NEVER
        self._unlooked = 0

    def wait_for_relay(self, relay: Relay) -> float:
        """0.0: the relay's own allowance is taken for a letter; else seconds until asking is of use."""
        lane = self._lane_of.get(id(relay)) or self._open(relay)
        if lane.rate is None:
            return 0.0
        now = self._look()
        wait = self._wait(lane.own, lane.rate, now, learned=True)
        if not wait:
            lane.own.take(now)
        return wait

    def wait_for_domain(self, relay: Relay, domain: str) -> float:
        """The same for the allowance of a domain at this relay; to be asked for last: it is not kept."""
        if self._unlooked:
            self._unlooked -= 1
        else:
            self._look()
        lane = self._lane_of.get(id(relay)) or self._open(relay)
        if lane.domain_rate is None and domain not in lane.limits:
            return 0.0
        return self._take_of_domain(lane, domain)

    def answered(self, relay: Relay, domain: str, reply: Reply) -> None:
        """Learn from what the relay said of a letter to this domain.

        One refused for now for another reason than the pace, as by greylisting, is none that the domain
        took: another may go in its place, for one letter in five at most.
        """
        lane = self._lane_of.get(id(relay)) or self._open(relay)
        if reply.code < 300:
            lane.accepted[domain] = lane.accepted.get(domain, 0) + 1
        elif is_throttling(reply):
            count = lane.throttled[domain] = lane.throttled.get(domain, 0) + 1
            if count == _FLOOD and domain not in lane.limits:
                self._next_exchange = min(self._next_exchange, self._window_began + _FLOOD_SECONDS)
        elif reply.kind is ReplyClass.REFUSED_FOR_NOW and domain in lane.allowances:
            lane.allowances[domain].give_back()

    def close(self) -> None:
        """Leave; asked again, it goes on with its own share."""
        if self._sharing is not None:
            self._sharing.close()

    def _look(self) -> float:
        """Look at the clock, and hear the others when it is time to.

        A clock can cost more than all the rest of the way: while letters come thick and fast, it is
        looked at with every ninth.
        """
        now = self._clock()
        self._unlooked = _UNLOOKED if now - self._looked_at < _THICK_AND_FAST_SECONDS else 0
        self._looked_at = now
        if now >= self._next_exchange:
            self._exchange(now)
        return now

    def _open(self, relay: Relay) -> _Lane:
        """The relay's lane, found by its name when it is the same relay read once more."""
        lane = self._lanes.get(relay.name)
        if lane is None:
            lane = _Lane(relay.name, None, None, _Allowance(f"relay:{relay.name}"))
            self._lanes[relay.name] = lane
            self._hear(self._share_answers([]))
        lane.rate, lane.domain_rate = _bounded(relay.rate), _bounded(relay.domain_rate)
        if len(self._kept) >= _MOST_RELAY_OBJECTS:
            self._lane_of.clear()
            self._kept.clear()
        self._lane_of[id(relay)] = lane
        self._kept.append(relay)  # or another might be given its identity
        return lane

    def _take_of_domain(self, lane: _Lane, domain: str) -> float:
        now = self._look()
        rate = lane.rate_of(domain)
        if rate is None:  # the others say that it is limited no longer
            return 0.0
        allowance = lane.allowances.get(domain)
        if allowance is None:
            allowance = lane.allowances[domain] = _Allowance(f"domain:{lane.name}:{domain}")
        wait = self._wait(allowance, rate, now, learned=domain in lane.limits)
        if not wait:
            allowance.take(now)
        return wait

    @property
    def _sharers(self) -> int:
        return max(self._alive, self._processes)

    def _wait(self, allowance: _Allowance, rate: float, now: float, *, learned: bool) -> float:
        """0.0 when a letter is left to be taken."""
        if allowance.left > 0 and now < allowance.opens + _KEPT_SECONDS:
            return max(0.0, allowance.opens - now)
        if now < allowance.ask_at:
            return allowance.ask_at - now
        allowance.left = 0
        sharers = self._sharers
        if self._sharing is None:
            return _take_share(allowance, rate, sharers, now)
        if not learned and _is_quiet(allowance, rate, sharers, now):
            allowance.left, allowance.opens, allowance.before = 1, now, 1
            return 0.0
        refill = max(_REFILL_SECONDS / sharers, _LEAST_REFILL_SECONDS)
        letters = min(max(1, int(rate * refill)), _MOST_AT_A_TIME)
        answer = self._sharing.grant(allowance.key, letters, rate=rate, before=allowance.before)
        if answer is None:
            self._was_away = True
            return _take_share(allowance, rate, sharers, now)
        granted, wait = answer
        wait = min(wait, LONGEST_WAIT_SECONDS)
        allowance.before = 0
        if granted:
            allowance.left, allowance.opens = granted, now + wait
            allowance.share_at = allowance.opens + granted * sharers / rate
            return wait
        # Asking a little later takes nothing away, and no process is always the first to ask.
        wait = min(wait + random.random() * min(1.0, wait / 2), LONGEST_WAIT_SECONDS)  # noqa: S311
        allowance.ask_at = now + wait
        return wait

    def _exchange(self, now: float) -> None:
        """Close this process's window, tell what was heard and learn the others' limits."""
        seconds = now - self._window_began
        if not 0 < seconds <= _STALE_SECONDS:
            seconds = WINDOW_SECONDS
        self._window_began = now
        self._next_exchange = now + WINDOW_SECONDS
        answers = [one for lane in self._lanes.values() for one in lane.collect(seconds)]
        news = self._share_answers(answers)
        if news is None:
            self._learn_alone(answers)
        else:
            self._hear(news)
        self._awake_at = now
        for lane in self._lanes.values():
            lane.forget_idle(now)

    def _share_answers(self, answers: list[Answers]) -> News | None:
        """Report, judge what is ripe, and tell the verdicts; None: Redis is away."""
        if self._sharing is None:
            return None
        relays = list(self._lanes)
        news = self._sharing.exchange(relays, answers=answers)
        if news is None:
            self._was_away = True
            return None
        settled = [*self._judge(news.totals), *self._teach(news)]
        return (self._sharing.exchange(relays, settled=settled) if settled else None) or news

    def _judge(self, totals: Iterable[Total]) -> Iterable[Settled]:
        for total in totals:
            if is_telling(total.window, total.limit):
                limit = relearn(total.limit, total.window, ceiling=self._lanes[total.relay].domain_rate)
                yield Settled(total.relay, total.domain, limit, total)

    def _teach(self, news: News) -> Iterable[Settled]:
        """Limits that this process still knows and a server that was emptied or away does not."""
        remembers = self._clock() - self._awake_at < _REMEMBERED_SECONDS
        if remembers and (self._was_away or news.memory != self._memory):
            for lane in self._lanes.values():
                for domain, limit in lane.limits.items():
                    if domain not in news.limits[lane.name]:
                        yield Settled(lane.name, domain, limit)

    def _hear(self, news: News | None) -> None:
        if news is None:
            return
        now = self._clock()
        if news.alive >= self._alive or now - self._alive_at > _ALIVE_SECONDS:
            self._alive, self._alive_at = news.alive, now
        self._memory, self._was_away = news.memory, False
        for name, limits in news.limits.items():
            self._lanes[name].limits = limits
            self._lanes[name].unjudged.clear()

    def _learn_alone(self, answers: Iterable[Answers]) -> None:
        """The same rule on what this process heard, as if the others had heard as much."""
        for one in answers:
            lane, domain = self._lanes[one.relay], one.domain
            earlier = lane.unjudged.get(domain)
            window = earlier.add(one.window) if earlier else one.window
            limit = lane.limits.get(domain)
            if not is_telling(window, limit):
                lane.unjudged[domain] = window
                continue
            lane.unjudged.pop(domain, None)
            many = self._sharers
            scaled = Window(window.accepted * many, window.throttled * many, window.seconds)
            limit = relearn(limit, scaled, ceiling=lane.domain_rate)
            if limit is None:
                lane.limits.pop(domain, None)
            else:
                lane.limits[domain] = limit


def _bounded(rate: float | None) -> float | None:
    """A rate that can be reckoned with; one beyond all bounds limits nothing."""
    if rate is None or not rate < _FASTEST_RATE:
        return None
    return max(rate, _SLOWEST_RATE)


def _is_quiet(allowance: _Allowance, rate: float, sharers: int, now: float) -> bool:
    """Whether a letter of a configured limit may go unasked: this process hardly uses its share.

    Thousands of small domains under one ``domain_rate`` would cost a question each. A letter that
    follows sooner asks, and tells of the one before.
    """
    return rate >= sharers and now - allowance.took_at >= _QUIET_SHARES * sharers / rate


def _take_share(allowance: _Allowance, rate: float, sharers: int, now: float) -> float:
    """One letter of this process's own share (GCRA, like the shared one).

    The first comes at a random moment: processes that lose Redis together must not send together.
    """
    each = sharers / rate
    if allowance.share_at == _NEVER:
        allowance.share_at = now + random.random() * (each - 1 / rate)  # noqa: S311
    at = min(max(allowance.share_at, now), now + _LATE_SECONDS + each)
    wait = at - _LATE_SECONDS - now
    if wait > 0:
        return min(wait, LONGEST_WAIT_SECONDS)
    allowance.left, allowance.opens, allowance.share_at = 1, now, at + each
    return 0.0
