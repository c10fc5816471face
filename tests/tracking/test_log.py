"""The event log keeps a person only where the campaign's mode and the person allow it."""

import pytest
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign, Delivery
from mailer.tracking.labels import Judgement
from mailer.tracking.log import Sighting, personal_position, record
from mailer.tracking.models import Label, TrackingEvent, TrackingKind
from recipients.models import Recipient, TrackingChoice
from tests.conftest import NOW

FIREFOX = Judgement(Label.PERSON, "browser")


def send(db: Session, *, mode: str, choice: TrackingChoice | None = None) -> int:
    """One campaign, sent to one person as position 1; returns the campaign."""
    recipient = Recipient(
        email="aase@eksempel.example",
        email_key=f"{mode}-{choice}@eksempel.example",
        address_hash=f"{mode}-{choice}",
        domain="eksempel.example",
        tracking=choice,
        created_at=NOW,
        updated_at=NOW,
    )
    campaign = Campaign(name=f"brev-{mode}-{choice}", letter="brev", tracking=mode, created_at=NOW)
    db.add_all([recipient, campaign])
    db.flush()
    db.add(Delivery(campaign_id=campaign.id, position=1, recipient_id=recipient.id))
    db.flush()
    return campaign.id


def click(campaign_id: int | None, position: int = 1) -> Sighting:
    return Sighting(TrackingKind.CLICK, NOW, FIREFOX, campaign_id=campaign_id, position=position)


def logged(db: Session) -> list[int | None]:
    return list(db.scalars(select(TrackingEvent.position).order_by(TrackingEvent.id)))


@pytest.mark.parametrize(
    ("mode", "choice", "personal"),
    [
        ("none", None, False),
        ("none", TrackingChoice.CONSENT, False),
        ("anonymous", None, False),
        ("anonymous", TrackingChoice.CONSENT, False),
        ("consent", None, False),
        ("consent", TrackingChoice.CONSENT, True),
        ("consent", TrackingChoice.OBJECTION, False),
        ("personal", None, True),
        ("personal", TrackingChoice.CONSENT, True),
        ("personal", TrackingChoice.OBJECTION, False),
    ],
)
def test_mode_and_person_decide_what_is_personal(
    db: Session, mode: str, choice: TrackingChoice | None, personal: bool
) -> None:
    campaign_id = send(db, mode=mode, choice=choice)

    assert personal_position(db, campaign_id, 1) == (1 if personal else None)
    assert record(db, [click(campaign_id)]) == 1
    assert logged(db) == [1 if personal else None]


def test_nobodys_position_is_nobodys(db: Session) -> None:
    assert personal_position(db, send(db, mode="personal"), 0) is None


def test_an_erased_person_leaves_no_position(db: Session) -> None:
    campaign_id = send(db, mode="personal")
    db.execute(delete(Recipient))

    assert personal_position(db, campaign_id, 1) is None


def test_an_objection_silences_links_already_sent(db: Session) -> None:
    campaign_id = send(db, mode="personal")
    record(db, [click(campaign_id)])
    db.scalars(select(Recipient)).one().tracking = TrackingChoice.OBJECTION
    db.flush()

    record(db, [click(campaign_id)])

    assert logged(db) == [1, None]


def test_what_belongs_to_no_campaign_of_this_database_is_left_out(db: Session) -> None:
    campaign_id = send(db, mode="personal")

    assert record(db, [click(9999), click(campaign_id), click(None, 0)]) == 2
    assert logged(db) == [1, None]


def test_many_are_written_together(db: Session) -> None:
    campaign_id = send(db, mode="personal")

    assert record(db, [click(campaign_id)] * 500) == 500
    assert record(db, []) == 0
    assert len(logged(db)) == 500
