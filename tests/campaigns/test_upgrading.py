"""A database with letters under way is brought to the second revision, and back."""

import pytest
from alembic import command
from sqlalchemy import insert, select, text

from mailer.campaigns.account import reconcile
from mailer.campaigns.models import Batch, Campaign, Delivery, DeliveryState
from mailer.foundation.database import Database
from mailer.migrations.upgrading import migrating, upgrade_schema
from mailer.tracking.models import TrackingCount
from tests.campaigns.making import claim, finalise, sending
from tests.conftest import NOW


@pytest.fixture
def postgres_url(fresh_postgres_url: str) -> str:
    """These tests change more than rows."""
    return fresh_postgres_url


def test_letters_under_way_survive_the_way_to_the_second_revision_and_back(
    database: Database,
) -> None:
    with database.write() as db:
        campaign = sending(db, 20, size=10)
        finalise(db, campaign, {1: DeliveryState.UNCERTAIN, 2: DeliveryState.DEFERRED})
        db.execute(text("UPDATE batches SET due_at = NULL, planned_at = :now"), {"now": str(NOW)[:19]})

    with migrating(database) as config:
        command.downgrade(config, "0001")
    with database.read() as db:
        dated = "SELECT state FROM deliveries WHERE due_at IS NOT NULL"
        assert db.scalars(text(dated)).all() == ["deferred"]
        assert db.scalars(text("SELECT due_at FROM batches WHERE due_at IS NULL")).all() == []
    upgrade_schema(database)

    with database.read() as db:
        dated = select(Delivery.state).where(Delivery.due_at.is_not(None)).order_by(Delivery.position)
        assert db.scalars(dated).all() == ["uncertain", "deferred"]
        assert db.scalars(select(Batch.due_at)).all() == [NOW, NOW]
        assert reconcile(db, db.scalars(select(Campaign)).one()).problems == []


def test_letters_that_had_left_before_versions_were_kept_have_seen_none(database: Database) -> None:
    with database.write() as db:
        campaign = sending(db, 30, size=10)
        finalise(db, campaign, {})
        claim(db, campaign)
        told = {
            "campaign_id": campaign.id,
            "day": NOW.date(),
            "link_number": 0,
            "subject": "",
            "total": 1,
        }
        for kind in ("object", "unsubscribe"):
            db.execute(insert(TrackingCount).values(kind=kind, label="person", reason="form", **told))

    with migrating(database) as config:
        command.downgrade(config, "0005")
    upgrade_schema(database)

    with database.read() as db:
        seen = db.scalars(select(Batch.versions_seen).order_by(Batch.id)).all()
        assert seen == [0, 0, None], "done, claimed, and one that has read nobody yet"
        kinds = db.scalars(select(TrackingCount.kind)).all()
        assert kinds == ["unsubscribe"], "objections are of a kind that the revision before cannot read"
        assert reconcile(db, db.scalars(select(Campaign)).one()).problems == []
