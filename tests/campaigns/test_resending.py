"""Letters offered once more because an administrator says so."""

import threading
import time
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from mailer.campaigns.account import reconcile
from mailer.campaigns.errors import NotAllowedNow
from mailer.campaigns.ledger import settle_uncertain
from mailer.campaigns.lifecycle import finish_done
from mailer.campaigns.models import Batch, Campaign, CampaignState, Delivery, DeliveryState
from mailer.campaigns.resending import RESENDABLE, Resendable, count_resendable, resend
from mailer.foundation.database import Database, open_database
from recipients.models import Recipient, SuppressionReason
from recipients.suppression import suppress
from tests.campaigns.making import finalise, sending, states
from tests.conftest import NOW

LATER = NOW + timedelta(days=3)
_SOMEBODY_WAITS = """SELECT count(*) FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND datname = current_database()"""


def _somebody_waits(database: Database) -> bool:
    with database.read() as db:  # one transaction sees one and the same moment of these statistics
        return bool(db.scalar(text(_SOMEBODY_WAITS)))


def finished(db: Session, count: int, state: DeliveryState) -> Campaign:
    campaign = sending(db, count, size=max(count, 1))
    finalise(db, campaign, dict.fromkeys(range(1, count + 1), state))
    finish_done(db, now=NOW)
    db.refresh(campaign)
    return campaign


@pytest.mark.parametrize("state", RESENDABLE)
def test_a_resent_letter_is_offered_again_with_its_attempts_kept(
    db: Session, state: DeliveryState
) -> None:
    campaign = finished(db, 2, state)
    before = db.scalars(select(Delivery.attempts)).all()

    assert resend(db, campaign, state, now=LATER) == 2

    assert campaign.state == CampaignState.SENDING
    assert campaign.finished_at is None
    assert states(db, campaign) == {"pending": 2}
    row = db.get_one(Delivery, (campaign.id, 1), populate_existing=True)
    assert (row.first_deferred_at, row.due_at, row.code, row.relay) == (None, None, None, None)
    assert row.reason == f"to be sent once more; it was {state}"
    assert db.scalars(select(Delivery.attempts)).all() == before
    assert db.scalar(select(Batch.due_at).where(Batch.first.is_(None))) == LATER
    assert reconcile(db, campaign).ok

    finalise(db, campaign, {})
    finish_done(db, now=LATER)
    db.refresh(campaign)
    assert campaign.state == CampaignState.FINISHED
    assert states(db, campaign) == {"sent": 2}
    assert db.scalars(select(Delivery.reason)).all() == [None, None]
    assert reconcile(db, campaign).complete


def test_who_gets_no_more_mail_or_was_erased_is_left_out(db: Session) -> None:
    campaign = finished(db, 3, DeliveryState.BOUNCED)
    suppressed, erased, _kept = db.scalars(select(Recipient).order_by(Recipient.id)).all()
    suppress(db, suppressed.address_hash, SuppressionReason.BOUNCED, now=NOW)
    row = db.scalars(select(Delivery).where(Delivery.recipient_id == erased.id)).one()
    row.recipient_id = None
    db.flush()

    assert count_resendable(db, campaign, DeliveryState.BOUNCED) == Resendable(1, 2)
    assert resend(db, campaign, DeliveryState.BOUNCED, now=LATER) == 1
    assert states(db, campaign) == {"pending": 1, "bounced": 2}


def test_with_nothing_to_resend_a_finished_campaign_stays_finished(db: Session) -> None:
    campaign = finished(db, 2, DeliveryState.SENT)
    assert resend(db, campaign, DeliveryState.UNCERTAIN, now=LATER) == 0
    assert campaign.state == CampaignState.FINISHED
    assert db.scalar(select(func.count()).select_from(Batch)) == 1


def test_a_paused_campaign_stays_paused(db: Session) -> None:
    campaign = finished(db, 2, DeliveryState.FAILED)
    campaign.state = CampaignState.PAUSED
    db.flush()
    assert resend(db, campaign, DeliveryState.FAILED, now=LATER) == 2
    assert campaign.state == CampaignState.PAUSED


@pytest.mark.parametrize(
    "state", [CampaignState.DRAFT, CampaignState.SCHEDULED, CampaignState.CANCELLED]
)
def test_a_campaign_that_was_not_sent_or_is_over_cannot_resend(
    db: Session, state: CampaignState
) -> None:
    campaign = finished(db, 1, DeliveryState.BOUNCED)
    campaign.state = state
    db.flush()
    with pytest.raises(NotAllowedNow):
        count_resendable(db, campaign, DeliveryState.BOUNCED)
    with pytest.raises(NotAllowedNow):
        resend(db, campaign, DeliveryState.BOUNCED, now=LATER)
    assert states(db, campaign) == {"bounced": 1}


def test_two_resends_at_once_put_no_letter_into_two_batches(database: Database) -> None:
    with database.write() as db:
        campaign_id = finished(db, 50, DeliveryState.UNCERTAIN).id
    ready, counts = threading.Barrier(2), []

    def again() -> None:
        ready.wait()
        with database.write() as db:
            campaign = db.get_one(Campaign, campaign_id)
            counts.append(resend(db, campaign, DeliveryState.UNCERTAIN, now=LATER))

    threads = [threading.Thread(target=again) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert sorted(counts) == [0, 50]
    with database.read() as db:
        campaign = db.get_one(Campaign, campaign_id)
        assert db.scalar(select(func.count(Delivery.batch_id.distinct()))) == 1
        assert reconcile(db, campaign).ok


@pytest.mark.postgres
def test_a_letter_settled_while_it_is_chosen_is_not_sent_again(postgres_url: str) -> None:
    """The resend waits for the row, and must then find that it is no longer uncertain."""
    database = open_database(postgres_url)
    with database.write() as db:
        campaign_id = finished(db, 2, DeliveryState.UNCERTAIN).id
    counts: list[int] = []

    def again() -> None:
        with database.write() as db:
            campaign = db.get_one(Campaign, campaign_id)
            counts.append(resend(db, campaign, DeliveryState.UNCERTAIN, now=LATER))

    with database.write() as db:
        arrived = select(Delivery.campaign_id, Delivery.position).where(Delivery.position == 1)
        assert settle_uncertain(db, arrived, evidence="a click came back", now=NOW) == 1
        thread = threading.Thread(target=again)
        thread.start()
        until = time.monotonic() + 20
        while not _somebody_waits(database):
            assert time.monotonic() < until
            time.sleep(0.01)
    thread.join(20)

    assert counts == [1]
    with database.read() as db:
        assert states(db, db.get_one(Campaign, campaign_id)) == {"sent": 1, "pending": 1}
    database.dispose()
