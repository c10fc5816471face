"""What is learned from a domain's answers, in simulated time."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.smtp.learning import SLOWEST, Limit, Window, is_telling, relearn
from mailer.smtp.pace import Pace
from mailer.smtp.relays import Relay
from mailer.smtp.replies import Reply
from tests.smtp.asking import wait_for

TAKEN = Reply(250, "2.0.0", "queued")
THROTTLED = Reply(450, "4.7.1", "Error: too much mail from 192.0.2.7")
GREYLISTED = Reply(450, "4.2.0", "Greylisted")
FASTEST = 3000.0

limits = st.builds(Limit, rate=st.floats(0.1, 1e5), first=st.floats(0.1, 1e5))
windows = st.builds(
    Window, accepted=st.integers(0, 9999), throttled=st.integers(0, 9999), seconds=st.floats(0.1, 15)
)


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Receiver:
    """Takes so many letters a second, and remembers a second's worth of idleness."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._left = max(1.0, rate)
        self._at = 0.0

    def __call__(self, at: float) -> bool:
        self._left = min(max(1.0, self.rate), self._left + (at - self._at) * self.rate)
        self._at = at
        takes = self._left >= 1
        self._left -= takes
        return takes


class Run:
    """One process that always has another letter for the domain."""

    def __init__(
        self, takes: Callable[[float], bool], *, domain_rate: float | None = None, processes: int = 1
    ) -> None:
        self.clock = Clock()
        self.pace = Pace(None, processes=processes, clock=self.clock)
        self.relay = Relay("relay.example", 25, domain_rate=domain_rate)
        self.takes = takes

    def go_on(self, seconds: float) -> tuple[float, float]:
        """Send for so long; returns letters accepted and throttled per second."""
        accepted = throttled = 0
        end = self.clock.now + seconds
        while self.clock.now < end:
            wait = wait_for(self.pace, self.relay, "modtager.example")
            if wait:
                self.clock.now += wait
                continue
            self.clock.now += 1 / FASTEST
            takes = self.takes(self.clock.now - 1000)
            accepted += takes
            throttled += not takes
            self.pace.answered(self.relay, "modtager.example", TAKEN if takes else THROTTLED)
        return accepted / seconds, throttled / seconds


@pytest.mark.parametrize("rate", [1.0, 5.0, 20.0, 100.0])
def test_from_thousands_a_second_it_settles_near_what_the_receiver_takes(rate: float) -> None:
    run = Run(Receiver(rate))
    run.go_on(10)
    accepted, throttled = run.go_on(60)
    assert 0.6 * rate <= accepted <= 1.05 * rate
    assert throttled <= 0.3 * rate


def test_a_receiver_of_five_a_second_gets_five_a_second() -> None:
    run = Run(Receiver(5))
    run.go_on(6)
    accepted, throttled = run.go_on(120)
    assert 4.5 <= accepted <= 5.2
    assert throttled <= 0.6


@pytest.mark.parametrize("domain_rate", [2.0, 20.0, 200.0])
def test_one_refusal_in_a_hundred_costs_a_twentieth_at_most(domain_rate: float) -> None:
    chance = random.Random(2014)
    run = Run(lambda at: chance.random() >= 0.01, domain_rate=domain_rate)
    assert sum(run.go_on(300)) >= 0.95 * domain_rate


def test_a_receiver_that_takes_more_again_gets_more_again() -> None:
    receiver = Receiver(5)
    run = Run(receiver, domain_rate=50)
    run.go_on(20)
    receiver.rate = FASTEST
    run.go_on(30)  # ln(50 / 5) / ln(1.1) = 24
    assert sum(run.go_on(10)) >= 0.95 * 50


def test_a_limit_is_forgotten_long_after_the_throttling_ended() -> None:
    receiver = Receiver(50)
    run = Run(receiver)
    run.go_on(5)
    assert sum(run.go_on(5)) < 100
    receiver.rate = 10 * FASTEST
    run.go_on(120)  # ln(8 * 3000 / 50) / ln(1.1) = 65
    assert sum(run.go_on(1)) >= 0.9 * FASTEST


def test_a_receiver_that_takes_nothing_is_still_asked_now_and_then() -> None:
    run = Run(lambda at: False)
    run.go_on(60)
    _, throttled = run.go_on(100)
    assert 0.05 <= throttled <= 0.2


def test_greylisting_slows_nobody_down() -> None:
    clock = Clock()
    pace = Pace(None, processes=1, clock=clock)
    relay = Relay("relay.example", 25)
    for _ in range(5000):
        assert wait_for(pace, relay, "modtager.example") == 0.0
        pace.answered(relay, "modtager.example", GREYLISTED)
        clock.now += 0.001


def test_another_domain_is_not_slowed_down() -> None:
    run = Run(Receiver(1))
    run.go_on(10)
    for _ in range(100):
        assert wait_for(run.pace, run.relay, "anden.example") == 0.0
    assert wait_for(run.pace, Relay("other.example", 25), "modtager.example") == 0.0


def test_a_lonely_refusal_is_no_wall() -> None:
    assert not is_telling(Window(0, 1, 1.0), None)
    assert is_telling(Window(9, 1, 1.0), None)
    assert is_telling(Window(0, 1, 5.0), None)


def test_a_single_refusal_takes_no_more_than_a_twentieth() -> None:
    assert relearn(Limit(20, 20), Window(9, 1, 1.0), ceiling=20) == Limit(19, 20)
    assert relearn(None, Window(9, 1, 1.0), ceiling=20) == Limit(19, 10)
    assert relearn(Limit(0.4, 20), Window(0, 1, 5.0), ceiling=None) == Limit(0.38, 20)


def test_a_flood_of_refusals_is_judged_at_once_the_first_time() -> None:
    assert is_telling(Window(3, 20, 0.2), None)
    assert not is_telling(Window(3, 20, 0.2), Limit(100, 100))


def test_few_refusals_take_a_twentieth_and_many_lead_to_what_was_accepted() -> None:
    assert relearn(Limit(100, 100), Window(95, 5, 1.0), ceiling=None) == Limit(95, 100)
    assert relearn(Limit(100, 100), Window(60, 40, 1.0), ceiling=None) == Limit(60, 100)
    assert relearn(Limit(100, 100), Window(1, 99, 1.0), ceiling=None) == Limit(25, 100)
    assert relearn(Limit(0.2, 100), Window(0, 2, 5.0), ceiling=None) == Limit(SLOWEST, 100)
    assert relearn(Limit(20, 20), Window(8, 2, 1.0), ceiling=None) == Limit(16, 20)
    assert relearn(None, Window(60, 40, 0.5), ceiling=None) == Limit(120, 200)


@given(limits, windows, st.none() | st.floats(0.01, 1e5))
def test_a_limit_stays_within_its_bounds(limit: Limit, window: Window, ceiling: float | None) -> None:
    learned = relearn(limit, window, ceiling=ceiling)
    if learned is None:
        assert window.accepted
    else:
        assert learned.first == limit.first
        assert learned.rate >= min(limit.rate, SLOWEST, ceiling or SLOWEST)
        assert learned.rate <= max(limit.rate, window.accepted / window.seconds) * 1.1**2 + SLOWEST
        assert learned is limit or ceiling is None or learned.rate <= ceiling


@given(limits, st.integers(1, 1000), st.integers(1, 1000))
def test_throttling_beyond_chance_never_raises_a_limit_above_what_was_accepted(
    limit: Limit, accepted: int, throttled: int
) -> None:
    learned = relearn(limit, Window(accepted, throttled + accepted // 10, 1.0), ceiling=None)
    assert learned is not None
    assert learned.rate <= max(limit.rate, accepted, SLOWEST)
