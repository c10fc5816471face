"""Reconcile: each thing that must hold is broken by hand, and must be named."""

from typing import Any

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from mailer.campaigns.account import reconcile
from mailer.campaigns.ledger import release_waiting
from mailer.campaigns.models import Batch, BatchState, Campaign, Delivery, DeliveryState
from recipients.models import Recipient
from tests.campaigns.making import claim, finalise, sending
from tests.conftest import NOW


@pytest.fixture
def campaign(db: Session) -> Campaign:
    """Forty letters, one in every state that needs a reply, a retry batch, and a batch at work."""
    made = sending(db, 40, size=10)
    sending(db, 10, size=10, name="et andet")
    finalise(
        db,
        made,
        {
            1: DeliveryState.BOUNCED,
            2: DeliveryState.DEFERRED,
            3: DeliveryState.UNCERTAIN,
            4: DeliveryState.FAILED,
        },
    )
    release_waiting(db, now=NOW)
    finalise(db, made, {11: DeliveryState.DEFERRED})
    claim(db, made)
    assert reconcile(db, made).problems == []
    return made


def break_delivery(db: Session, campaign: Campaign, position: int, **values: Any) -> None:
    ours = (Delivery.campaign_id == campaign.id, Delivery.position == position)
    db.execute(update(Delivery).where(*ours).values(**values))


@pytest.mark.parametrize(
    ("position", "values", "problem"),
    [
        (5, {"relay": None}, "1 sent deliveries name neither relay and reply nor what else shows it"),
        (5, {"code": None}, "1 sent deliveries name neither relay and reply nor what else shows it"),
        (5, {"attempts": 0}, "1 deliveries were offered and count no attempt"),
        (1, {"attempts": 0}, "1 deliveries were offered and count no attempt"),
        (3, {"attempts": 0}, "1 deliveries were offered and count no attempt"),
        (3, {"reason": None}, "1 deliveries do not say why"),
        (4, {"reason": None}, "1 deliveries do not say why"),
        (5, {"state": "suppressed"}, "1 deliveries do not say why"),
        (5, {"at": None}, "1 deliveries came to their state at no known time"),
        (11, {"due_at": None}, "1 deferred deliveries have no next attempt"),
        (3, {"due_at": None}, "1 uncertain deliveries do not say since when"),
        (5, {"due_at": NOW}, "1 deliveries have a next attempt and wait for none"),
        (5, {"state": "pending"}, "1 pending deliveries are in no open batch"),
        (5, {"batch_id": 99}, "1 deliveries name a retry batch that is not the campaign's"),
        (5, {"recipient_id": 99_999}, "1 deliveries name a recipient who is gone"),
    ],
)
def test_a_broken_delivery_is_named(
    db: Session, campaign: Campaign, position: int, values: dict[str, Any], problem: str
) -> None:
    break_delivery(db, campaign, position, **values)
    proof = reconcile(db, campaign)
    assert proof.problems == [problem]
    assert not proof.ok
    assert not proof.complete


def test_a_delivery_in_another_campaigns_batch_is_named(db: Session, campaign: Campaign) -> None:
    elsewhere = Batch.campaign_id != campaign.id
    other = db.scalars(select(Batch.id).where(elsewhere)).one()
    break_delivery(db, campaign, 5, batch_id=other)
    (problem,) = reconcile(db, campaign).problems
    assert "name a retry batch that is not the campaign's" in problem


def test_a_pending_delivery_of_a_retry_batch_that_is_done_is_named(
    db: Session, campaign: Campaign
) -> None:
    db.execute(update(Batch).where(Batch.first.is_(None)).values(state=BatchState.READY))
    break_delivery(db, campaign, 2, state="pending")
    assert reconcile(db, campaign).ok
    db.execute(update(Batch).where(Batch.first.is_(None)).values(state=BatchState.DONE))
    assert reconcile(db, campaign).problems == ["1 pending deliveries are in no open batch"]


def test_somebody_with_two_letters_is_named(db: Session, campaign: Campaign) -> None:
    twice = db.scalar(
        select(Delivery.recipient_id).where(Delivery.campaign_id == campaign.id, Delivery.position == 6)
    )
    break_delivery(db, campaign, 5, recipient_id=twice)
    assert reconcile(db, campaign).problems == ["1 recipients have more than one delivery"]


def test_a_missing_delivery_is_named(db: Session, campaign: Campaign) -> None:
    gone = (Delivery.campaign_id == campaign.id, Delivery.position == 5)
    db.execute(delete(Delivery).where(*gone))
    problems = reconcile(db, campaign).problems
    assert problems == [
        "39 deliveries for an audience of 40",
        "positions run from 1 to 40 for 39 deliveries",
    ]


@pytest.mark.parametrize("field", ["owner", "host", "lease_until"])
def test_a_claim_without_an_owner_is_named(db: Session, campaign: Campaign, field: str) -> None:
    db.execute(update(Batch).where(Batch.state == BatchState.CLAIMED).values({field: None}))
    assert reconcile(db, campaign).problems == ["1 batches are claimed by nobody"]


def test_batches_that_do_not_cover_the_audience_are_named(db: Session, campaign: Campaign) -> None:
    ours = Batch.campaign_id == campaign.id
    db.execute(update(Batch).where(ours, Batch.first == 1).values(last=9))
    assert reconcile(db, campaign).problems == ["the batches cover 39 positions for an audience of 40"]


def test_a_batch_due_at_no_time_is_named(db: Session, campaign: Campaign) -> None:
    ours = Batch.campaign_id == campaign.id
    db.execute(update(Batch).where(ours, Batch.first == 31).values(due_at=None))
    assert reconcile(db, campaign).problems == ["1 batches are due at no time"]


def test_a_finished_campaign_with_letters_to_come_is_named(db: Session, campaign: Campaign) -> None:
    db.execute(update(Campaign).where(Campaign.id == campaign.id).values(state="finished"))
    db.expire_all()
    assert reconcile(db, campaign).problems == [
        "22 deliveries are to come, and the campaign is finished"
    ]


def test_an_erased_recipient_is_no_problem(db: Session, campaign: Campaign) -> None:
    gone = select(Delivery.recipient_id).where(
        Delivery.campaign_id == campaign.id, Delivery.position == 5
    )
    recipient = db.get_one(Recipient, db.scalar(gone))
    break_delivery(db, campaign, 5, recipient_id=None)
    db.delete(recipient)
    db.flush()
    assert reconcile(db, campaign).ok


def test_unread_journals_are_something_to_come(db: Session) -> None:
    campaign = sending(db, 2)
    finalise(db, campaign, {})
    assert reconcile(db, campaign).complete
    proof = reconcile(db, campaign, unread_journals=2)
    assert (proof.ok, proof.complete, proof.unread_journals) == (True, False, 2)
