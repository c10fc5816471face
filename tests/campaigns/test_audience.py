"""The audience: frozen once, without the suppressed, and spread over the batches."""

from collections import Counter

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailer.campaigns.account import reconcile
from mailer.campaigns.audience import OUTSIDE_TRIAL, freeze_audience, is_suppressed
from mailer.campaigns.models import Batch, Campaign, Delivery
from recipients.models import Recipient, SuppressionReason, SuppressionScope
from recipients.suppression import suppress
from tests.conftest import NOW
from tests.making import make_campaign, make_recipient, make_recipients


def freeze(db: Session, *, allowed: list[str] | None = None, size: int = 10) -> Campaign:
    campaign = make_campaign(db)
    freeze_audience(
        db, campaign, select(Recipient.id), batch_size=size, allowed=allowed, now=NOW, due_at=NOW
    )
    db.flush()
    return campaign


def test_suppressed_recipients_get_no_delivery(db: Session) -> None:
    kept = make_recipient(db)
    gone = make_recipient(db, address="gone@eksempel.example")
    suppress(db, gone.address_hash, SuppressionReason.UNSUBSCRIBED, now=NOW)

    freeze(db)

    assert db.scalars(select(Delivery.recipient_id)).all() == [kept.id]


def test_who_wants_no_more_letters_gets_what_they_asked_for_and_no_letter(db: Session) -> None:
    kept = make_recipient(db)
    some = make_recipient(db, address="some@eksempel.example")
    none = make_recipient(db, address="none@eksempel.example")
    for recipient, scope in ((some, SuppressionScope.LETTERS), (none, SuppressionScope.EVERYTHING)):
        suppress(db, recipient.address_hash, SuppressionReason.UNSUBSCRIBED, now=NOW, scope=scope)

    def reached(scope: SuppressionScope) -> set[int]:
        return set(db.scalars(select(Recipient.id).where(~is_suppressed(scope))))

    assert reached(SuppressionScope.LETTERS) == {kept.id}
    assert reached(SuppressionScope.EVERYTHING) == {kept.id, some.id}
    freeze(db)
    assert db.scalars(select(Delivery.recipient_id)).all() == [kept.id]


def test_positions_run_without_gaps_and_batches_cover_them(db: Session) -> None:
    make_recipients(db, 23)

    campaign = freeze(db, size=10)

    assert campaign.audience == 23
    assert db.scalars(select(Delivery.position).order_by(Delivery.position)).all() == [*range(1, 24)]
    ranges = db.execute(select(Batch.first, Batch.last).order_by(Batch.first)).all()
    assert [tuple(row) for row in ranges] == [(1, 10), (11, 20), (21, 23)]
    assert reconcile(db, campaign).ok


def test_of_a_small_audience_several_workers_have_a_part(db: Session) -> None:
    make_recipients(db, 2_300)

    campaign = freeze(db, size=4_000)

    ranges = db.execute(select(Batch.first, Batch.last).order_by(Batch.first)).all()
    assert [tuple(row) for row in ranges] == [(1, 1_000), (1_001, 2_000), (2_001, 2_300)]
    assert campaign.batch_size == 1_000


def test_a_mail_domain_is_spread_evenly_over_the_batches(db: Session) -> None:
    make_recipients(db, 60, domain="stor.example")
    make_recipients(db, 20, domain="mellem.example")
    make_recipients(db, 10, domain="lille.example")

    freeze(db, size=9)

    joined = select(Delivery.position, Recipient.domain).join(
        Recipient, Recipient.id == Delivery.recipient_id
    )
    rows = db.execute(joined).all()
    for domain, per_batch in (("stor.example", 6), ("mellem.example", 2), ("lille.example", 1)):
        batches = Counter((position - 1) // 9 for position, at in rows if at == domain)
        assert set(batches) == set(range(10))
        assert max(batches.values()) <= per_batch + 1


def test_in_trial_mode_all_others_are_accounted_for_as_suppressed(db: Session) -> None:
    inside = [
        make_recipient(db, address="a@proeve.example"),
        make_recipient(db, address="Tr.Jensen@Kommune.example"),
        make_recipient(db, address="b@sub.proeve2.example"),
    ]
    make_recipient(db, address="c@kommune.example")
    make_recipient(db, address="a_b@kommune.example")

    campaign = freeze(db, allowed=["proeve.example", "tr.jensen@kommune.example", "*.proeve2.example"])

    rows = db.execute(select(Delivery.recipient_id, Delivery.state, Delivery.reason)).all()
    assert {row.recipient_id for row in rows if row.state == "pending"} == {r.id for r in inside}
    assert {row.reason for row in rows if row.state == "suppressed"} == {OUTSIDE_TRIAL}
    assert campaign.audience == 5
    assert reconcile(db, campaign).deliveries["suppressed"] == 2


def test_reconcile_names_what_does_not_add_up(db: Session) -> None:
    make_recipients(db, 5)
    campaign = freeze(db)
    db.delete(db.get_one(Delivery, (campaign.id, 3)))
    db.flush()

    proof = reconcile(db, campaign)

    assert not proof.ok
    assert "4 deliveries for an audience of 5" in proof.problems
    assert any("positions run" in problem for problem in proof.problems)


def test_reconcile_finds_pending_letters_nobody_will_send(db: Session) -> None:
    make_recipients(db, 5)
    campaign = freeze(db)
    db.execute(Batch.__table__.update().values(state="done"))  # type: ignore[attr-defined]

    assert "5 pending deliveries are in no open batch" in reconcile(db, campaign).problems
