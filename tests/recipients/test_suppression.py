from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from recipients.addresses import hash_address
from recipients.models import SuppressionReason, SuppressionScope
from recipients.suppression import (
    LONGEST_NOTE,
    find_suppression,
    resubscribe,
    suppress,
    unsubscribe,
    unsuppress,
)
from tests.conftest import NOW

HASH = hash_address(b"key", "nobody@skole.example")
LATER = NOW + timedelta(minutes=1)
LETTERS, EVERYTHING = SuppressionScope.LETTERS, SuppressionScope.EVERYTHING
OTHER_REASONS = [reason for reason in SuppressionReason if reason != SuppressionReason.UNSUBSCRIBED]


def kept(db: Session) -> tuple[SuppressionReason, SuppressionScope] | None:
    """Reason and scope as they stand in the database."""
    db.expire_all()
    found = find_suppression(db, HASH)
    return (found.reason, found.scope) if found else None


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
    assert kept(db) == (SuppressionReason.UNSUBSCRIBED, EVERYTHING)


def test_unsuppressing_says_whether_there_was_anything_to_undo(db: Session) -> None:
    suppress(db, HASH, SuppressionReason.MANUAL, now=NOW)

    assert unsuppress(db, HASH)
    assert not unsuppress(db, HASH)
    assert find_suppression(db, HASH) is None


def test_the_persons_own_no_replaces_a_bounce_and_nothing_replaces_it(db: Session) -> None:
    said = [
        suppress(db, HASH, SuppressionReason.BOUNCED, now=NOW),
        suppress(db, HASH, SuppressionReason.UNSUBSCRIBED, now=NOW),
        suppress(db, HASH, SuppressionReason.BOUNCED, now=NOW),
        suppress(db, HASH, SuppressionReason.COMPLAINED, now=NOW),
    ]

    assert said == [True, True, False, False]
    assert kept(db) == (SuppressionReason.UNSUBSCRIBED, EVERYTHING)


@pytest.mark.parametrize("reason", SuppressionReason)
def test_of_two_scopes_the_wider_stays(db: Session, reason: SuppressionReason) -> None:
    assert suppress(db, HASH, SuppressionReason.UNSUBSCRIBED, now=NOW, scope=LETTERS)

    assert suppress(db, HASH, reason, now=NOW)
    assert not suppress(db, HASH, reason, now=NOW, scope=LETTERS)
    assert kept(db) == (SuppressionReason.UNSUBSCRIBED, EVERYTHING)


def test_of_the_persons_own_choices_the_last_one_counts(db: Session) -> None:
    said = []
    for minute, scope in enumerate((LETTERS, LETTERS, EVERYTHING, EVERYTHING, LETTERS)):
        said.append(unsubscribe(db, HASH, scope, now=NOW + timedelta(minutes=minute)))
        assert kept(db) == (SuppressionReason.UNSUBSCRIBED, scope)

    assert said == [True, False, True, False, True]


def test_what_was_asked_earlier_does_not_undo_what_was_asked_later(db: Session) -> None:
    unsubscribe(db, HASH, EVERYTHING, now=LATER)

    assert not unsubscribe(db, HASH, LETTERS, now=NOW)
    assert not resubscribe(db, HASH, now=NOW)
    assert kept(db) == (SuppressionReason.UNSUBSCRIBED, EVERYTHING)


@pytest.mark.parametrize("reason", OTHER_REASONS)
def test_reminders_only_does_not_narrow_another_reason(db: Session, reason: SuppressionReason) -> None:
    suppress(db, HASH, reason, now=NOW)
    unsubscribe(db, HASH, LETTERS, now=LATER)
    unsubscribe(db, HASH, LETTERS, now=LATER)

    found = kept(db)
    assert found is not None
    assert found[1] == EVERYTHING


def test_taking_it_back_lifts_the_persons_own_unsubscription(db: Session) -> None:
    unsubscribe(db, HASH, LETTERS, now=NOW)

    assert resubscribe(db, HASH, now=LATER)
    assert kept(db) is None
    assert not resubscribe(db, HASH, now=LATER)


@pytest.mark.parametrize("reason", OTHER_REASONS)
def test_taking_it_back_lifts_no_other_reason(db: Session, reason: SuppressionReason) -> None:
    suppress(db, HASH, reason, now=NOW, note="told at the desk: twice")

    assert not resubscribe(db, HASH, now=LATER)
    assert kept(db) == (reason, EVERYTHING)


@pytest.mark.parametrize("reason", OTHER_REASONS)
@pytest.mark.parametrize("unsubscribed_first", [False, True])
def test_unsubscribing_and_taking_it_back_launders_no_other_reason(
    db: Session, reason: SuppressionReason, *, unsubscribed_first: bool
) -> None:
    if unsubscribed_first:
        unsubscribe(db, HASH, LETTERS, now=NOW)
    suppress(db, HASH, reason, now=NOW, note="told at the desk: twice")
    for minute, scope in enumerate((LETTERS, EVERYTHING, LETTERS), start=1):
        unsubscribe(db, HASH, scope, now=NOW + timedelta(minutes=minute))
    resubscribe(db, HASH, now=NOW + timedelta(minutes=9))

    found = find_suppression(db, HASH)
    assert found is not None
    assert (found.reason, found.scope, found.note) == (reason, EVERYTHING, "told at the desk: twice")


def test_an_unsubscription_an_administrator_wrote_down_is_not_taken_back(db: Session) -> None:
    suppress(db, HASH, SuppressionReason.UNSUBSCRIBED, now=NOW, note="on the telephone")

    assert not resubscribe(db, HASH, now=LATER)
    unsubscribe(db, HASH, LETTERS, now=LATER)
    assert kept(db) == (SuppressionReason.UNSUBSCRIBED, EVERYTHING)


def test_the_longest_note_fits_beside_the_reason(db: Session) -> None:
    suppress(db, HASH, SuppressionReason.MANUAL, now=NOW, note="x" * LONGEST_NOTE)
    unsubscribe(db, HASH, EVERYTHING, now=LATER)
    resubscribe(db, HASH, now=LATER)

    assert kept(db) == (SuppressionReason.MANUAL, EVERYTHING)
