"""Who is refused for good because there is no such address is not written to again."""

import threading

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailer.campaigns.audience import freeze_audience
from mailer.campaigns.ledger import Outcome, finalise_batch
from mailer.campaigns.models import Batch, Delivery, DeliveryState
from mailer.foundation.database import Database
from recipients.models import Recipient, Suppression, SuppressionReason, SuppressionScope
from tests.campaigns.making import claim, sending
from tests.conftest import NOW

CODES = {
    "5.1.1": True,
    "5.1.2": True,
    "5.1.3": True,
    "5.1.10": True,
    "5.1.7": False,
    "5.1.8": False,
    "5.2.1": False,
    "5.2.2": False,
    "5.7.1": False,
    "4.1.1": False,
    "15.1.1": False,
    None: False,
}


def refuse(db: Session, batch: Batch, state: DeliveryState = DeliveryState.BOUNCED) -> None:
    """Finalise a batch of as many deliveries as there are codes, each refused with its own."""
    assert batch.first is not None
    outcomes = [
        Outcome(batch.first + number, state, "relay", 550, code, "no", NOW)
        for number, code in enumerate(CODES)
    ]
    finalise_batch(db, batch, outcomes, handed_back=(), now=NOW, back_at=NOW, real=NOW)


def refused(db: Session) -> dict[str | None, bool]:
    """By code, whether the address is suppressed for it."""
    rows = db.execute(
        select(Delivery.enhanced_code, Suppression.reason, Suppression.scope)
        .join(Recipient, Recipient.id == Delivery.recipient_id)
        .outerjoin(Suppression, Suppression.address_hash == Recipient.address_hash)
    ).all()
    assert {tuple(row[1:]) for row in rows} <= {
        (None, None),
        (SuppressionReason.BOUNCED, SuppressionScope.EVERYTHING),
    }
    return {code: reason is not None for code, reason, _ in rows}


def test_only_an_address_that_is_no_good_is_suppressed(db: Session) -> None:
    campaign = sending(db, len(CODES), size=len(CODES))
    refuse(db, claim(db, campaign))
    assert refused(db) == CODES


@pytest.mark.parametrize("state", [DeliveryState.DEFERRED, DeliveryState.FAILED])
def test_what_is_no_bounce_suppresses_nobody(db: Session, state: DeliveryState) -> None:
    campaign = sending(db, len(CODES), size=len(CODES))
    refuse(db, claim(db, campaign), state)
    assert not any(refused(db).values())


def test_a_graver_reason_stays(db: Session) -> None:
    campaign = sending(db, len(CODES), size=len(CODES))
    batch = claim(db, campaign)
    first = db.scalars(select(Recipient.address_hash).order_by(Recipient.id)).first()
    assert first is not None
    everything, objected = SuppressionScope.EVERYTHING, SuppressionReason.OBJECTED
    db.add(Suppression(address_hash=first, reason=objected, scope=everything, created_at=NOW))
    db.flush()

    refuse(db, batch)

    kept = db.get_one(Suppression, first)
    assert kept.reason == objected


def test_two_batches_that_refuse_the_same_people_at_once_both_end(database: Database) -> None:
    with database.write() as db:
        batches = [claim(db, sending(db, len(CODES), size=len(CODES))).id]
        people = select(Recipient.id)
        campaign = sending(db, 0, name="igen")
        sizes = {"batch_size": len(CODES), "allowed": None, "now": NOW, "due_at": NOW}
        freeze_audience(db, campaign, people, **sizes)  # type: ignore[arg-type]
        batches.append(claim(db, campaign).id)
    together = threading.Barrier(2)
    ended = []

    def work(number: int) -> None:
        together.wait(30)
        with database.write() as db:
            refuse(db, db.get_one(Batch, number))
        ended.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(ended) == batches
    with database.read() as db:
        kept = db.scalars(select(Suppression.reason)).all()
    assert kept == [SuppressionReason.BOUNCED] * sum(CODES.values())
