"""Why letters did not get through is told without naming anybody."""

from sqlalchemy import update
from sqlalchemy.orm import Session

from mailer.campaigns.models import Delivery, DeliveryState
from mailer.reports.reasons import Reason, count_reasons
from tests.reports.factories import deliver, make_campaign


def test_words_that_fewer_than_five_letters_share_are_put_together_by_code(db: Session) -> None:
    campaign = make_campaign(db)
    told = ["Mailbox full"] * 5 + [f"User person{number} unknown" for number in range(7)]
    for reason in told:
        position = deliver(db, campaign, None, DeliveryState.BOUNCED)
        db.execute(
            update(Delivery)
            .where(Delivery.campaign_id == campaign.id, Delivery.position == position)
            .values(relay="mx:25", code=550, enhanced_code="5.1.1", reason=reason)
        )

    assert count_reasons(db, campaign.id) == [
        Reason(DeliveryState.BOUNCED, "mx:25", 550, "5.1.1", None, 7),
        Reason(DeliveryState.BOUNCED, "mx:25", 550, "5.1.1", "Mailbox full", 5),
    ]
