"""Pause, cancel, stop and unsubscribe while letters fly: five seconds later none starts."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import select

from mailer.campaigns.account import count_states, reconcile
from mailer.campaigns.lifecycle import cancel_campaign, find_campaign, pause_campaign, resume_campaign
from mailer.campaigns.models import Campaign, Delivery, DeliveryState
from mailer.foundation.clock import real_now
from mailer.launch import launch_campaign
from mailer.runtime import Runtime
from mailer.sending.work import send_batches, sweep
from recipients.models import Recipient, SuppressionReason
from recipients.suppression import suppress
from tests.conftest import NOW
from tests.making import ScriptedRelay, make_campaign, make_recipients, relay_running, with_relay

LETTERS = 400
SECONDS_A_LETTER = 0.1
ALLOWED_SECONDS = 5.0
"""After so long nothing may start that was stopped."""


@pytest.fixture
def relay() -> Iterator[ScriptedRelay]:
    """Slow enough that a campaign flies for longer than anybody may need to stop it."""
    with relay_running(ScriptedRelay(delay_dot_seconds=SECONDS_A_LETTER)) as running:
        yield running


@pytest.fixture
def runtime(runtime: Runtime, relay: ScriptedRelay) -> Runtime:
    return with_relay(runtime, relay.port, batch_size=LETTERS, worker_processes=2)


def launch(runtime: Runtime, name: str = "brev") -> int:
    with runtime.database.write() as db:
        if not db.scalar(select(Recipient.id).limit(1)):
            make_recipients(db, LETTERS)
        return launch_campaign(
            runtime.launch_tools, db, make_campaign(db, name=name), now=NOW
        ).campaign_id


def work(runtime: Runtime, campaign_id: int) -> None:
    """What a worker does until there is nothing left that it may send."""
    with runtime.sending_tools() as tools:
        sweep(tools, workers=2)
        while send_batches(tools, campaign_id=campaign_id):
            pass


@contextmanager
def in_flight(runtime: Runtime, relay: ScriptedRelay, *campaigns: int) -> Iterator[None]:
    """Workers send while the block runs, which begins when letters fly and waits at its end for them."""
    workers = [threading.Thread(target=work, args=(runtime, campaign)) for campaign in campaigns]
    for worker in workers:
        worker.start()
    try:
        until = time.monotonic() + 20
        while len(relay.accepted) < 10 and time.monotonic() < until:
            time.sleep(0.01)
        yield
    finally:
        for worker in workers:
            worker.join(60)


def assert_stopped(
    relay: ScriptedRelay, at: float, concerns: Callable[[str], bool] = lambda _: True
) -> None:
    late = [line for when, line in relay.begun if when > at + ALLOWED_SECONDS and concerns(line)]
    assert late == []


def states(runtime: Runtime, campaign_id: int) -> dict[str, int]:
    with runtime.database.read() as db:
        assert reconcile(db, db.get_one(Campaign, campaign_id)).ok
        counts = count_states(db, campaign_id)
    return {state: count for state, count in counts.items() if count}


def test_after_a_pause_nothing_starts_and_after_resuming_everybody_gets_it_once(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    campaign_id = launch(runtime)
    with in_flight(runtime, relay, campaign_id):
        with runtime.database.write() as db:
            pause_campaign(db, find_campaign(db, "brev"))
        paused = time.monotonic()

    assert_stopped(relay, paused)
    sent = len(relay.accepted)
    assert states(runtime, campaign_id) == {"sent": sent, "pending": LETTERS - sent}
    work(runtime, campaign_id)
    assert len(relay.accepted) == sent, "a paused campaign stays paused"
    with runtime.database.read() as db:
        attempts = db.execute(select(Delivery.state, Delivery.attempts).distinct()).all()
    assert {(state.value, count) for state, count in attempts} == {("sent", 1), ("pending", 0)}

    relay.delay_dot_seconds = 0.0
    with runtime.database.write() as db:
        resume_campaign(db, find_campaign(db, "brev"))
    work(runtime, campaign_id)

    assert states(runtime, campaign_id) == {"sent": LETTERS}
    assert len(set(relay.recipients)) == len(relay.recipients) == LETTERS


def test_after_a_cancel_nothing_starts_ever_again(runtime: Runtime, relay: ScriptedRelay) -> None:
    campaign_id = launch(runtime)
    with runtime.database.read() as db:
        for address in db.scalars(select(Recipient.email).order_by(Recipient.id).limit(3)):
            relay.rcpt[address] = "451 4.7.1 come again"
    with in_flight(runtime, relay, campaign_id):
        with runtime.database.write() as db:
            cancel_campaign(db, find_campaign(db, "brev"), now=NOW, real_now=real_now())
        cancelled = time.monotonic()

    assert_stopped(relay, cancelled)
    work(runtime, campaign_id)
    sent = len(relay.accepted)
    assert states(runtime, campaign_id) == {"sent": sent, "cancelled": LETTERS - sent}
    assert len(set(relay.recipients)) == sent
    with runtime.database.read() as db:
        assert reconcile(db, find_campaign(db, "brev")).complete


def test_a_stop_of_everything_stops_every_campaign_at_once(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    campaigns = [launch(runtime, name) for name in ("brev", "andet-brev")]
    with in_flight(runtime, relay, *campaigns):
        with runtime.database.write() as db:
            for campaign in db.scalars(select(Campaign)):
                pause_campaign(db, campaign)
        stopped = time.monotonic()

    assert_stopped(relay, stopped)
    counts = [states(runtime, campaign_id) for campaign_id in campaigns]
    assert all(count.keys() == {"sent", "pending"} for count in counts)
    assert sum(count["sent"] for count in counts) == len(relay.accepted) < 2 * LETTERS


def test_who_unsubscribes_while_letters_fly_gets_none_that_starts_later(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    campaign_id = launch(runtime)
    with in_flight(runtime, relay, campaign_id):
        with runtime.database.write() as db:
            gone = db.scalars(
                select(Recipient)
                .join(Delivery, Delivery.recipient_id == Recipient.id)
                .where(Delivery.state == DeliveryState.PENDING, Delivery.position > LETTERS // 6)
            ).all()
            for recipient in gone[::2]:
                suppress(db, recipient.address_hash, SuppressionReason.UNSUBSCRIBED, now=NOW)
            addresses = {recipient.email for recipient in gone[::2]}
        told = time.monotonic()

    assert_stopped(relay, told, lambda line: any(f"<{address}>" in line for address in addresses))
    counts = states(runtime, campaign_id)
    assert counts.keys() == {"sent", "suppressed"}
    assert counts["suppressed"] > LETTERS // 6, "most of them flew too late"
    assert counts["suppressed"] + len(relay.accepted) == LETTERS
    assert len(set(relay.recipients)) == len(relay.recipients)
