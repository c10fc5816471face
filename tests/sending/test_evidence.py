"""Letters of unknown fate, settled by what their readers do."""

import pytest
from sqlalchemy import insert
from sqlalchemy.orm import Session

from mailer.campaigns.account import reconcile
from mailer.campaigns.models import Campaign, Delivery, DeliveryState
from mailer.sending.evidence import settle_by_tracking
from mailer.tracking.models import Label, TrackingEvent, TrackingKind
from tests.campaigns.making import finalise, sending, states
from tests.conftest import NOW


def happened(db: Session, campaign: Campaign, position: int, kind: TrackingKind) -> None:
    db.execute(
        insert(TrackingEvent).values(
            campaign_id=campaign.id,
            position=position,
            kind=kind,
            label=Label.MACHINE,
            reason="a test",
            at=NOW,
        )
    )


def uncertain(db: Session, name: str = "brev") -> Campaign:
    campaign = sending(db, 3, name=name)
    finalise(db, campaign, {1: DeliveryState.UNCERTAIN, 2: DeliveryState.UNCERTAIN})
    return campaign


@pytest.mark.parametrize("kind", ["open", "click", "view", "remind", "unsubscribe", "trap"])
def test_a_letter_with_which_somebody_did_something_has_arrived(db: Session, kind: str) -> None:
    campaign, other = uncertain(db), uncertain(db, "et andet")
    happened(db, campaign, 2, TrackingKind(kind))

    assert settle_by_tracking(db, now=NOW) == 1
    assert settle_by_tracking(db, now=NOW) == 0

    row = db.get_one(Delivery, (campaign.id, 2))
    assert (row.state, row.reason) == ("sent", "something in the letter was opened")
    assert states(db, campaign) == {"sent": 2, "uncertain": 1}
    assert states(db, other) == {"sent": 1, "uncertain": 2}
    assert reconcile(db, campaign).ok


def test_the_copy_that_was_passed_on_shows_nothing(db: Session) -> None:
    campaign = uncertain(db)
    happened(db, campaign, 1, TrackingKind.PASS_ON)
    assert settle_by_tracking(db, now=NOW) == 0


def test_a_letter_that_was_refused_stays_refused_whoever_opens_a_copy(db: Session) -> None:
    campaign = sending(db, 1)
    finalise(db, campaign, {1: DeliveryState.BOUNCED})
    happened(db, campaign, 1, TrackingKind.OPEN)
    assert settle_by_tracking(db, now=NOW) == 0
    assert states(db, campaign) == {"bounced": 1}
