"""The ledger: the only code that changes where a delivery stands."""

from datetime import timedelta

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from mailer.campaigns.account import count_states, reconcile
from mailer.campaigns.ledger import forget_recipients, release_waiting, settle_uncertain
from mailer.campaigns.lifecycle import cancel_campaign, finish_done, pause_all
from mailer.campaigns.models import (
    Batch,
    Campaign,
    CampaignState,
    Delivery,
    DeliveryState,
    UncertainPolicy,
)
from mailer.foundation.database import open_database
from recipients.models import Recipient
from tests.campaigns.making import claim, finalise, sending, states
from tests.conftest import NOW
from tests.making import make_campaign

BOUNCED, DEFERRED, UNCERTAIN = (
    DeliveryState.BOUNCED,
    DeliveryState.DEFERRED,
    DeliveryState.UNCERTAIN,
)


def test_whatever_becomes_of_the_letters_the_account_adds_up(db: Session) -> None:
    campaign = sending(db, 40, size=10)
    finalise(db, campaign, {1: BOUNCED, 2: DEFERRED, 3: UNCERTAIN, 4: DeliveryState.FAILED})
    finalise(db, campaign, dict.fromkeys(range(11, 21), DEFERRED))
    claim(db, campaign)

    counts = {state: count for state, count in count_states(db, campaign.id).items() if count}

    assert counts == {
        "pending": 10,
        "claimed": 10,
        "sent": 6,
        "deferred": 11,
        "bounced": 1,
        "failed": 1,
        "uncertain": 1,
    }
    proof = reconcile(db, campaign)
    assert proof.problems == []
    assert not proof.complete


def test_a_retry_batch_at_work_counts_as_claimed(db: Session) -> None:
    campaign = sending(db, 10, size=5)
    finalise(db, campaign, {1: DEFERRED, 3: DEFERRED})
    finalise(db, campaign, {})
    release_waiting(db, now=NOW)
    claim(db, campaign)
    assert count_states(db, campaign.id)["claimed"] == 2


def test_all_that_is_due_goes_into_retry_batches_however_much_it_is(
    db: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailer.campaigns.ledger.RETRY_BATCH_SIZE", 4)
    campaign = sending(db, 10, size=10)
    finalise(db, campaign, dict.fromkeys(range(1, 11), DEFERRED))

    release_waiting(db, now=NOW)

    retries = db.scalars(select(Batch.id).where(Batch.first.is_(None)).order_by(Batch.id)).all()
    placed = db.execute(select(Delivery.batch_id).order_by(Delivery.position)).scalars().all()
    assert placed == [retries[0]] * 4 + [retries[1]] * 4 + [retries[2]] * 2
    assert states(db, campaign) == {"pending": 10}
    assert reconcile(db, campaign).ok


def test_what_is_not_due_or_not_being_sent_waits_on(db: Session) -> None:
    campaign = sending(db, 2)
    finalise(db, campaign, {1: DEFERRED})
    release_waiting(db, now=NOW - timedelta(seconds=1))
    assert states(db, campaign) == {"deferred": 1, "sent": 1}
    pause_all(db)
    release_waiting(db, now=NOW)
    assert states(db, campaign) == {"deferred": 1, "sent": 1}


def test_the_time_of_trying_is_real_time_also_in_a_rehearsal(db: Session) -> None:
    campaign = sending(db, 1)
    real = NOW + timedelta(days=4000)
    finalise(db, campaign, {1: DEFERRED}, now=NOW, real=real)
    row = db.scalars(select(Delivery)).one()
    assert (row.first_deferred_at, row.at) == (real, NOW)


def test_a_campaign_is_finished_when_nothing_is_pending_claimed_or_deferred(db: Session) -> None:
    campaign = sending(db, 4, size=2)
    finalise(db, campaign, {1: DEFERRED, 2: UNCERTAIN})
    finish_done(db, now=NOW)
    assert db.get_one(Campaign, campaign.id).state == "sending"
    finalise(db, campaign, {})
    finish_done(db, now=NOW)
    db.refresh(campaign)
    assert campaign.state == "sending", "one is deferred"
    release_waiting(db, now=NOW)
    finish_done(db, now=NOW)
    db.refresh(campaign)
    assert campaign.state == "sending", "its retry batch is ready"
    finalise(db, campaign, {})
    finish_done(db, now=NOW)
    db.refresh(campaign)
    assert (campaign.state, campaign.finished_at) == ("finished", NOW)
    assert reconcile(db, campaign).complete


def test_an_uncertain_letter_to_be_sent_again_holds_its_campaign_open(db: Session) -> None:
    campaign = sending(db, 1, on_uncertain=UncertainPolicy.RESEND)
    finalise(db, campaign, {1: UNCERTAIN})
    finish_done(db, now=NOW)
    db.refresh(campaign)
    assert campaign.state == "sending"


def test_a_pending_letter_in_no_batch_keeps_its_campaign_from_being_called_finished(
    db: Session,
) -> None:
    campaign = sending(db, 2)
    db.execute(update(Batch).values(state="done"))
    finish_done(db, now=NOW)
    db.refresh(campaign)
    assert campaign.state == "sending"


def test_cancelling_leaves_batches_at_work_alone(db: Session) -> None:
    campaign = sending(db, 30, size=10)
    finalise(db, campaign, {1: DEFERRED, 2: UNCERTAIN})
    claim(db, campaign)
    assert cancel_campaign(db, campaign, now=NOW, real_now=NOW) == 11
    assert states(db, campaign) == {"sent": 8, "uncertain": 1, "pending": 10, "cancelled": 11}
    assert reconcile(db, campaign).ok


def test_stopping_pauses_all_that_moves_and_nothing_else(db: Session) -> None:
    for state in CampaignState:
        make_campaign(db, name=f"brev {state}").state = state
    db.flush()
    assert pause_all(db) == ["brev scheduled", "brev sending"]
    assert pause_all(db) == []
    left = db.scalars(select(Campaign.state).order_by(Campaign.state)).all()
    assert left == ["cancelled", "draft", "finished", "paused", "paused", "paused"]


def test_evidence_settles_an_uncertain_letter_once(db: Session) -> None:
    campaign = sending(db, 2)
    finalise(db, campaign, {1: UNCERTAIN, 2: BOUNCED})
    later = NOW + timedelta(hours=1)

    arrived = select(Delivery.campaign_id, Delivery.position)  # both did, one of them is uncertain

    assert settle_uncertain(db, arrived, evidence="a click came back", now=later) == 1
    assert settle_uncertain(db, arrived, evidence="a click came back", now=later) == 0

    row = db.get_one(Delivery, (campaign.id, 1))
    assert (row.state, row.reason, row.at, row.due_at) == ("sent", "a click came back", later, None)
    assert states(db, campaign) == {"sent": 1, "bounced": 1}
    assert reconcile(db, campaign).ok


def test_a_forgotten_recipient_stays_in_the_account_without_a_name(db: Session) -> None:
    campaign = sending(db, 3)
    gone = db.scalars(select(Recipient.id).limit(1)).one()

    assert forget_recipients(db, select(Recipient.id).where(Recipient.id == gone)) == 1
    db.execute(delete(Recipient).where(Recipient.id == gone))

    named = db.scalars(select(Delivery.recipient_id).where(Delivery.recipient_id.is_not(None))).all()
    assert len(named) == 2
    assert gone not in named
    assert reconcile(db, campaign).ok


@pytest.mark.postgres
def test_postgresql_writes_outcomes_without_touching_an_index(fresh_postgres_url: str) -> None:
    database = open_database(fresh_postgres_url)
    with database.write() as db:
        campaign_id = sending(db, 60, size=60).id
    with database.write() as db:
        finalise(db, db.get_one(Campaign, campaign_id), {})
        db.execute(text("SELECT pg_stat_force_next_flush()"))
    with database.read() as db:
        db.execute(text("SELECT pg_stat_clear_snapshot()"))
        counts = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'deliveries'"
        assert tuple(db.execute(text(counts)).one()) == (60, 60)
    database.dispose()
