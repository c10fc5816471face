"""Whole batches through a real SMTP dialogue, on both databases."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from mailer.campaigns.account import count_states, reconcile
from mailer.campaigns.ledger import FenceMoved, Outcome, finalise_batch
from mailer.campaigns.lifecycle import cancel_campaign, find_campaign, pause_campaign, resume_campaign
from mailer.campaigns.models import Batch, BatchState, Campaign, Delivery, DeliveryState
from mailer.foundation.clock import real_now
from mailer.launch import Launched, launch_campaign
from mailer.runtime import Runtime
from mailer.sending.claims import claim_batch, take_over_claim
from mailer.sending.work import send_batches, sweep
from recipients.models import Recipient, SuppressionReason
from recipients.suppression import suppress
from tests.conftest import NOW
from tests.making import ScriptedRelay, make_campaign, make_recipient, relay_running, with_relay


@pytest.fixture
def relay() -> Iterator[ScriptedRelay]:
    with relay_running(ScriptedRelay()) as running:
        yield running


def launch(runtime: Runtime, *addresses: str, **values: object) -> Launched:
    with runtime.database.write() as db:
        for address in addresses:
            make_recipient(db, address=address)
        campaign = make_campaign(db, name="brev", **values)
        tools = runtime.launch_tools
        return launch_campaign(tools, db, campaign, now=NOW)


def work(runtime: Runtime, launched: Launched) -> bool:
    with runtime.sending_tools() as tools:
        return send_batches(tools, campaign_id=launched.campaign_id)


def states(runtime: Runtime) -> dict[str, str]:
    with runtime.database.read() as db:
        rows = db.execute(
            select(Recipient.email, Delivery.state).join(Delivery, Delivery.recipient_id == Recipient.id)
        ).all()
    return {email: state.value for email, state in rows}


def test_everybody_gets_the_letter_once_over_connections_kept_open(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    runtime = with_relay(runtime, relay.port, batch_size=2)
    launched = launch(runtime, *[f"p{n}@kommune.example" for n in range(5)])

    work(runtime, launched)

    assert sorted(relay.recipients) == [f"p{n}@kommune.example" for n in range(5)]
    assert relay.connections <= 2, "one for each letter of a batch, and the next batch has them"
    with runtime.database.read() as db:
        campaign = find_campaign(db, "brev")
        proof = reconcile(db, campaign)
    assert campaign.state == "finished"
    assert proof.ok
    assert proof.complete
    assert proof.deliveries["sent"] == 5


def test_a_batch_of_any_size_is_read_whole(runtime: Runtime, relay: ScriptedRelay) -> None:
    everybody = [f"p{n}@kommune.example" for n in range(2_101)]
    runtime = with_relay(runtime, relay.port)
    launched = launch(runtime, *everybody)
    with runtime.database.write() as db:  # three, for several workers: let one have it all
        first, *others = db.scalars(select(Batch).order_by(Batch.first))
        first.last = others[-1].last
        for other in others:
            db.delete(other)

    work(runtime, launched)

    assert sorted(relay.recipients) == sorted(everybody)
    with runtime.database.read() as db:
        assert reconcile(db, find_campaign(db, "brev")).complete


def test_a_refused_recipient_bounces_alone(runtime: Runtime, relay: ScriptedRelay) -> None:
    relay.rcpt["b@kommune.example"] = "550 5.1.1 <b@kommune.example> unknown here"
    relay.dot["c@kommune.example"] = "554 5.7.1 looks like spam"
    runtime = with_relay(runtime, relay.port)
    launched = launch(runtime, "a@kommune.example", "b@kommune.example", "c@kommune.example")

    work(runtime, launched)

    assert states(runtime) == {
        "a@kommune.example": "sent",
        "b@kommune.example": "bounced",
        "c@kommune.example": "bounced",
    }
    with runtime.database.read() as db:
        bounced = db.scalars(select(Delivery).where(Delivery.code == 550)).one()
        assert find_campaign(db, "brev").state == "finished"
    assert bounced.enhanced_code == "5.1.1"
    assert bounced.reason == "<address> unknown here"


def test_a_refusal_for_now_is_tried_again_when_its_time_has_come(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    relay.rcpt["b@kommune.example"] = "451 4.7.1 greylisted"
    runtime = with_relay(runtime, relay.port)
    launched = launch(runtime, "a@kommune.example", "b@kommune.example")
    work(runtime, launched)
    with runtime.database.read() as db:
        deferred = db.scalars(select(Delivery).where(Delivery.state == "deferred")).one()
        assert find_campaign(db, "brev").state == "sending"
    assert deferred.due_at is not None
    assert timedelta(seconds=50) < deferred.due_at - real_now() < timedelta(seconds=80)

    relay.rcpt.clear()
    with runtime.database.write() as db:
        db.execute(update(Delivery).where(Delivery.due_at.is_not(None)).values(due_at=real_now()))
    with runtime.sending_tools() as tools:
        assert sweep(tools, workers=2) == {launched.campaign_id: 1}
        send_batches(tools, campaign_id=launched.campaign_id)

    assert states(runtime) == {"a@kommune.example": "sent", "b@kommune.example": "sent"}
    with runtime.database.read() as db:
        attempts = db.scalars(select(Delivery.attempts).order_by(Delivery.attempts)).all()
        assert reconcile(db, find_campaign(db, "brev")).complete
    assert attempts == [1, 2]


def due_in(runtime: Runtime, seconds: float) -> None:
    """Let what was deferred be due that soon."""
    with runtime.database.write() as db:
        waiting = update(Delivery).where(Delivery.state == "deferred")
        db.execute(waiting.values(due_at=real_now() + timedelta(seconds=seconds)))


def refused_for_now(runtime: Runtime, relay: ScriptedRelay, **values: object) -> Launched:
    relay.rcpt["bo@kommune.example"] = "451 4.3.0 not now"
    launched = launch(runtime, "bo@kommune.example", **values)
    work(runtime, launched)
    relay.rcpt.clear()
    return launched


def test_what_is_due_within_a_second_is_waited_for(runtime: Runtime, relay: ScriptedRelay) -> None:
    runtime = with_relay(runtime, relay.port)
    launched = refused_for_now(runtime, relay)
    due_in(runtime, 0.3)

    assert not work(runtime, launched)

    assert states(runtime) == {"bo@kommune.example": "sent"}


def test_a_paused_campaign_is_not_waited_for(runtime: Runtime, relay: ScriptedRelay) -> None:
    runtime = with_relay(runtime, relay.port)
    launched = refused_for_now(runtime, relay)
    due_in(runtime, 0)
    with runtime.database.write() as db:
        pause_campaign(db, find_campaign(db, "brev"))

    assert not work(runtime, launched)

    assert states(runtime) == {"bo@kommune.example": "deferred"}


def test_nothing_is_waited_for_while_another_campaign_is_ready(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    runtime = with_relay(runtime, relay.port)
    launched = refused_for_now(runtime, relay)
    with runtime.database.write() as db:
        other = make_campaign(db, name="andet brev")
        launch_campaign(runtime.launch_tools, db, other, now=NOW)
    due_in(runtime, 0)

    assert not work(runtime, launched)

    with runtime.database.read() as db:
        assert set(db.scalars(select(Delivery.state))) == {"deferred", "pending"}


def test_after_three_days_of_refusals_it_is_a_bounce(runtime: Runtime, relay: ScriptedRelay) -> None:
    relay.rcpt["b@kommune.example"] = "451 4.7.1 not now"
    runtime = with_relay(runtime, relay.port)
    launched = launch(runtime, "b@kommune.example")
    with runtime.database.write() as db:
        db.execute(update(Delivery).values(first_deferred_at=real_now() - timedelta(hours=73)))

    work(runtime, launched)

    assert states(runtime) == {"b@kommune.example": "bounced"}


def test_a_lost_relay_costs_no_recipient(runtime: Runtime) -> None:
    with relay_running(ScriptedRelay()) as gone:
        port = gone.port
    runtime = with_relay(runtime, port)
    launched = launch(runtime, "a@kommune.example", "b@kommune.example")

    assert work(runtime, launched) is False

    with runtime.database.read() as db:
        campaign = find_campaign(db, "brev")
        assert count_states(db, campaign.id)["pending"] == 2
        assert campaign.state == "sending"
        assert campaign.waiting_for is not None
        assert "Connection refused" in campaign.waiting_for
        assert db.scalars(select(Delivery.attempts)).all() == [0, 0]
        assert reconcile(db, campaign).ok


def test_a_relay_that_refuses_our_sender_blames_nobody(runtime: Runtime, relay: ScriptedRelay) -> None:
    relay.mail = "550 5.7.1 sender not allowed"
    runtime = with_relay(runtime, relay.port)
    launched = launch(runtime, "a@kommune.example")

    work(runtime, launched)

    assert states(runtime) == {"a@kommune.example": "pending"}


def test_the_next_relay_is_asked_when_one_is_gone(runtime: Runtime, relay: ScriptedRelay) -> None:
    with relay_running(ScriptedRelay()) as gone:
        port = gone.port
    runtime = with_relay(runtime, port, relay.port)
    launched = launch(runtime, "a@kommune.example")

    work(runtime, launched)

    assert states(runtime) == {"a@kommune.example": "sent"}


def test_a_connection_cut_before_the_dot_is_no_attempt_lost(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    relay.cut_before_dot["a@kommune.example"] = 1
    runtime = with_relay(runtime, relay.port)
    launched = launch(runtime, "a@kommune.example")

    work(runtime, launched)

    assert relay.recipients == ["a@kommune.example"]
    assert states(runtime) == {"a@kommune.example": "sent"}


def test_a_connection_cut_after_the_dot_leaves_that_one_letter_uncertain(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    relay.cut_after_dot.add("b@kommune.example")
    runtime = with_relay(runtime, relay.port)
    launched = launch(runtime, "a@kommune.example", "b@kommune.example", "c@kommune.example")

    work(runtime, launched)

    assert states(runtime) == {
        "a@kommune.example": "sent",
        "b@kommune.example": "uncertain",
        "c@kommune.example": "sent",
    }
    with runtime.database.read() as db:
        assert reconcile(db, find_campaign(db, "brev")).complete


def test_an_address_only_some_relays_could_take_fails_alone(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    relay.extensions = ("8BITMIME",)
    runtime = with_relay(runtime, relay.port)
    launched = launch(runtime, "søren@kommune.example", "a@kommune.example")

    work(runtime, launched)

    assert states(runtime) == {"søren@kommune.example": "failed", "a@kommune.example": "sent"}


def test_who_unsubscribes_after_the_freeze_gets_no_letter(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    runtime = with_relay(runtime, relay.port)
    launched = launch(runtime, "a@kommune.example", "b@kommune.example")
    with runtime.database.write() as db:
        gone = db.scalars(select(Recipient).where(Recipient.email == "b@kommune.example")).one()
        suppress(db, gone.address_hash, SuppressionReason.UNSUBSCRIBED, now=NOW)

    work(runtime, launched)

    assert relay.recipients == ["a@kommune.example"]
    assert states(runtime)["b@kommune.example"] == "suppressed"


def test_a_paused_campaign_sends_nothing_and_goes_on_when_resumed(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    runtime = with_relay(runtime, relay.port)
    launched = launch(runtime, "a@kommune.example")
    with runtime.database.write() as db:
        pause_campaign(db, find_campaign(db, "brev"))
    work(runtime, launched)
    assert relay.recipients == []

    with runtime.database.write() as db:
        resume_campaign(db, find_campaign(db, "brev"))
    work(runtime, launched)

    assert relay.recipients == ["a@kommune.example"]


def test_a_pause_in_full_flight_stops_a_batch_within_seconds(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    relay.delay_dot_seconds = 0.25
    runtime = with_relay(runtime, relay.port)
    launched = launch(runtime, *[f"p{n}@kommune.example" for n in range(60)])
    with runtime.sending_tools() as tools:
        worker = threading.Thread(
            target=send_batches, args=(tools,), kwargs={"campaign_id": launched.campaign_id}
        )
        worker.start()
        while not relay.accepted:
            pass
        with runtime.database.write() as db:
            pause_campaign(db, find_campaign(db, "brev"))
        worker.join(10)

    sent = len(relay.recipients)
    assert 0 < sent < 40
    with runtime.database.read() as db:
        counts = count_states(db, launched.campaign_id)
        assert reconcile(db, find_campaign(db, "brev")).ok
    assert (counts["sent"], counts["pending"], counts["claimed"]) == (sent, 60 - sent, 0)


def test_a_cancelled_campaign_accounts_for_what_it_never_sent(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    runtime = with_relay(runtime, relay.port)
    launched = launch(runtime, "a@kommune.example", "b@kommune.example")
    with runtime.database.write() as db:
        cancelled = cancel_campaign(db, find_campaign(db, "brev"), now=NOW, real_now=real_now())
    work(runtime, launched)

    assert cancelled == 2
    assert relay.recipients == []
    with runtime.database.read() as db:
        assert reconcile(db, find_campaign(db, "brev")).complete


def test_a_batch_is_claimed_by_one_worker_only(runtime: Runtime, relay: ScriptedRelay) -> None:
    runtime = with_relay(runtime, relay.port)
    launched = launch(runtime, "a@kommune.example")
    who = {"host": "h", "boot": "b", "now": real_now(), "shown": NOW}
    with runtime.database.write() as db:
        first = claim_batch(db, launched.campaign_id, owner="one", **who)  # type: ignore[arg-type]
    with runtime.database.write() as db:
        second = claim_batch(db, launched.campaign_id, owner="two", **who)  # type: ignore[arg-type]

    assert first is not None
    assert second is None
    with runtime.database.read() as db:
        assert count_states(db, launched.campaign_id)["claimed"] == 1
        assert reconcile(db, find_campaign(db, "brev")).ok


def test_another_hosts_claim_is_uncertain_when_its_lease_has_run_out(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    runtime = with_relay(runtime, relay.port)
    launched = launch(runtime, "a@kommune.example")
    with runtime.database.write() as db:
        claim_batch(
            db, launched.campaign_id, owner="x", host="elsewhere", boot="b", now=real_now(), shown=NOW
        )
    with runtime.sending_tools() as tools:
        sweep(tools, workers=1)
        assert states(runtime) == {"a@kommune.example": "pending"}
        with runtime.database.write() as db:
            db.execute(update(Batch).values(lease_until=real_now() - timedelta(seconds=1)))
        sweep(tools, workers=1)

    assert states(runtime) == {"a@kommune.example": "uncertain"}
    with runtime.database.read() as db:
        batch = db.scalars(select(Batch)).one()
        assert db.scalars(select(Campaign)).one().state == "finished"
    assert batch.state == BatchState.DONE


def test_a_batch_taken_over_is_not_written_twice(runtime: Runtime, relay: ScriptedRelay) -> None:
    runtime = with_relay(runtime, relay.port)
    launched = launch(runtime, "a@kommune.example")
    with runtime.database.write() as db:
        stale = claim_batch(
            db, launched.campaign_id, owner="x", host="h", boot="b", now=real_now(), shown=NOW
        )
    assert stale is not None
    with runtime.database.write() as db:
        taken = take_over_claim(db, db.get_one(Batch, stale.id))
    assert taken is not None

    with pytest.raises(FenceMoved), runtime.database.write() as db:
        finalise_batch(
            db,
            stale,
            [Outcome(1, DeliveryState.SENT)],
            handed_back=(),
            now=NOW,
            back_at=real_now(),
            real=real_now(),
        )
    assert states(runtime) == {"a@kommune.example": "pending"}
