from datetime import timedelta

from sqlalchemy.orm import Session

from recipients.addresses import hash_address
from recipients.models import SuppressionReason
from recipients.suppression import find_suppression, suppress, unsuppress
from tests.conftest import NOW

HASH = hash_address(b"key", "nobody@skole.example")


def test_an_address_nobody_imported_can_be_suppressed(db: Session) -> None:
    assert suppress(db, HASH, SuppressionReason.MANUAL, now=NOW, note="asked by phone")

    found = find_suppression(db, HASH)
    assert found is not None
    assert (found.reason, found.note, found.created_at) == (
        SuppressionReason.MANUAL,
        "asked by phone",
        NOW,
    )


def test_the_first_reason_stays(db: Session) -> None:
    suppress(db, HASH, SuppressionReason.UNSUBSCRIBED, now=NOW)

    assert not suppress(db, HASH, SuppressionReason.BOUNCED, now=NOW + timedelta(days=1))
    found = find_suppression(db, HASH)
    assert found is not None
    assert found.reason is SuppressionReason.UNSUBSCRIBED


def test_unsuppressing_says_whether_there_was_anything_to_undo(db: Session) -> None:
    suppress(db, HASH, SuppressionReason.MANUAL, now=NOW)

    assert unsuppress(db, HASH)
    assert not unsuppress(db, HASH)
    assert find_suppression(db, HASH) is None


def test_the_persons_own_no_replaces_a_bounce_and_nothing_replaces_it(db: Session) -> None:
    said = [
        suppress(db, "h", SuppressionReason.BOUNCED, now=NOW),
        suppress(db, "h", SuppressionReason.UNSUBSCRIBED, now=NOW),
        suppress(db, "h", SuppressionReason.BOUNCED, now=NOW),
        suppress(db, "h", SuppressionReason.COMPLAINED, now=NOW),
    ]
    db.expire_all()

    kept = find_suppression(db, "h")

    assert said == [True, True, False, False]
    assert kept is not None
    assert kept.reason == SuppressionReason.UNSUBSCRIBED
