"""The event log keeps a person only where the campaign's mode and the person allow it."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign, Delivery
from mailer.tracking.log import record
from mailer.tracking.models import Label, Manner, TrackingCount, TrackingEvent, TrackingKind, UserAgent
from mailer.tracking.sightings import Sighting
from recipients.models import Recipient, TrackingChoice
from tests.conftest import NOW

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
ZONE = ZoneInfo("Europe/Copenhagen")


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


def click(campaign_id: int | None, position: int = 1, *, agent: str = FIREFOX) -> Sighting:
    return Sighting(
        TrackingKind.CLICK, NOW, campaign_id, position, 2, "midtjylland", user_agent=agent, network="abc"
    )


def logged(db: Session) -> list[int]:
    return list(db.scalars(select(TrackingEvent.position).order_by(TrackingEvent.id)))


def counted(db: Session) -> int:
    return db.scalar(select(func.coalesce(func.sum(TrackingCount.total), 0))) or 0


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

    assert record(db, [click(campaign_id)], zone=ZONE) == 1
    assert logged(db) == ([1] if personal else [])
    assert counted(db) == (0 if personal else 1)


def test_what_nobody_does_is_nobodys(db: Session) -> None:
    record(db, [click(send(db, mode="personal"), 0)], zone=ZONE)

    assert logged(db) == []


def test_an_erased_person_is_not_logged(db: Session) -> None:
    campaign_id = send(db, mode="personal")
    db.execute(delete(Recipient))

    record(db, [click(campaign_id)], zone=ZONE)

    assert logged(db) == []


def test_an_objection_silences_links_already_sent(db: Session) -> None:
    campaign_id = send(db, mode="personal")
    record(db, [click(campaign_id)], zone=ZONE)
    db.scalars(select(Recipient)).one().tracking = TrackingChoice.OBJECTION
    db.flush()

    record(db, [click(campaign_id)], zone=ZONE)

    assert logged(db) == [1]
    assert counted(db) == 1


def test_what_belongs_to_no_campaign_of_this_database_is_left_out(db: Session) -> None:
    campaign_id = send(db, mode="personal")

    assert record(db, [click(9999), click(campaign_id), click(None, 0)], zone=ZONE) == 2
    assert logged(db) == [1]
    assert counted(db) == 1


def test_many_are_written_together(db: Session) -> None:
    campaign_id = send(db, mode="personal")

    assert record(db, [click(campaign_id)] * 500, zone=ZONE) == 500
    assert record(db, [], zone=ZONE) == 0
    assert len(logged(db)) == 500


def test_what_the_label_is_judged_by_stays_beside_it(db: Session) -> None:
    record(db, [click(send(db, mode="personal"))], zone=ZONE)

    event = db.scalars(select(TrackingEvent)).one()
    assert (event.label, event.reason, event.settled) == (Label.PERSON, "browser", False)
    assert (event.manner, event.network, event.at) == (Manner.GET, "abc", NOW)
    assert (event.link_number, event.subject) == (2, "midtjylland")
    assert db.get_one(UserAgent, event.agent_id).text == FIREFOX


def test_each_user_agent_is_kept_once(db: Session) -> None:
    campaign_id = send(db, mode="personal")
    for _ in range(2):
        record(
            db, [click(campaign_id, agent=text) for text in ("a", "b", "a", "", "x" * 500)], zone=ZONE
        )

    assert sorted(db.scalars(select(UserAgent.text))) == ["", "a", "b", "x" * 300]


def test_what_is_nobodys_leaves_no_user_agent_and_no_network(db: Session) -> None:
    record(db, [click(send(db, mode="anonymous"), agent="seldom/1.0")], zone=ZONE)

    assert list(db.scalars(select(UserAgent))) == []
    row = db.scalars(select(TrackingCount)).one()
    assert (row.kind, row.link_number, row.subject, row.total) == (
        TrackingKind.CLICK,
        2,
        "midtjylland",
        1,
    )


def test_counts_are_added_by_local_day(db: Session) -> None:
    campaign_id = send(db, mode="anonymous")
    late = Sighting(TrackingKind.OPEN, datetime(2014, 3, 7, 22, 59, tzinfo=UTC), campaign_id)
    past = Sighting(TrackingKind.OPEN, late.at + timedelta(minutes=2), campaign_id)

    record(db, [late, late, past], zone=ZONE)
    record(db, [late], zone=ZONE)

    rows = db.execute(
        select(TrackingCount.day, TrackingCount.total)
        .order_by(TrackingCount.day)
        .execution_options(populate_existing=True)
    )
    assert [tuple(row) for row in rows] == [(date(2014, 3, 7), 3), (date(2014, 3, 8), 1)]


def test_one_batch_may_hold_many_campaigns(db: Session) -> None:
    campaigns = [send(db, mode=mode) for mode in ("personal", "consent", "anonymous", "none")]

    assert record(db, [click(each) for each in campaigns for _ in range(3)], zone=ZONE) == 12
    assert logged(db) == [1, 1, 1]
    assert counted(db) == 9
