from collections.abc import Sequence
from datetime import timedelta
from itertools import permutations
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
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
VISIT, ANOTHER = "0123456789", "abcdefghij"
"""The marks of two visits to a letter's page."""
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


def test_the_persons_own_no_replaces_a_bounce_and_only_a_graver_one_replaces_it(db: Session) -> None:
    said = [
        suppress(db, HASH, SuppressionReason.BOUNCED, now=NOW),
        suppress(db, HASH, SuppressionReason.UNSUBSCRIBED, now=NOW),
        suppress(db, HASH, SuppressionReason.BOUNCED, now=NOW),
        suppress(db, HASH, SuppressionReason.COMPLAINED, now=NOW),
    ]

    assert said == [True, True, False, True]
    assert kept(db) == (SuppressionReason.COMPLAINED, EVERYTHING)


@pytest.mark.parametrize("reason", SuppressionReason)
def test_of_two_scopes_the_wider_stays(db: Session, reason: SuppressionReason) -> None:
    assert suppress(db, HASH, SuppressionReason.UNSUBSCRIBED, now=NOW, scope=LETTERS)

    assert suppress(db, HASH, reason, now=NOW)
    assert not suppress(db, HASH, reason, now=NOW, scope=LETTERS)
    found = kept(db)
    assert found is not None
    assert found[1] == EVERYTHING


def test_of_the_persons_own_choices_the_last_one_counts(db: Session) -> None:
    said = []
    for minute, scope in enumerate((LETTERS, LETTERS, EVERYTHING, EVERYTHING, LETTERS)):
        said.append(unsubscribe(db, HASH, scope, now=NOW + timedelta(minutes=minute), mark=VISIT))
        assert kept(db) == (SuppressionReason.UNSUBSCRIBED, scope)

    assert said == [True, False, True, False, True]


def test_what_was_asked_earlier_does_not_undo_what_was_asked_later(db: Session) -> None:
    unsubscribe(db, HASH, EVERYTHING, now=LATER, mark=VISIT)

    assert not unsubscribe(db, HASH, LETTERS, now=NOW, mark=VISIT)
    assert not resubscribe(db, HASH, now=NOW, mark=VISIT)
    assert kept(db) == (SuppressionReason.UNSUBSCRIBED, EVERYTHING)


@pytest.mark.parametrize("reason", OTHER_REASONS)
def test_reminders_only_does_not_narrow_another_reason(db: Session, reason: SuppressionReason) -> None:
    suppress(db, HASH, reason, now=NOW)
    unsubscribe(db, HASH, LETTERS, now=LATER, mark=VISIT)
    unsubscribe(db, HASH, LETTERS, now=LATER, mark=VISIT)

    found = kept(db)
    assert found is not None
    assert found[1] == EVERYTHING


def test_taking_it_back_lifts_the_persons_own_unsubscription(db: Session) -> None:
    unsubscribe(db, HASH, LETTERS, now=NOW, mark=VISIT)

    assert resubscribe(db, HASH, now=LATER, mark=VISIT)
    assert kept(db) is None
    assert not resubscribe(db, HASH, now=LATER, mark=VISIT)


@pytest.mark.parametrize("reason", OTHER_REASONS)
def test_taking_it_back_lifts_no_other_reason(db: Session, reason: SuppressionReason) -> None:
    suppress(db, HASH, reason, now=NOW, note="told at the desk: twice")

    assert not resubscribe(db, HASH, now=LATER, mark=VISIT)
    assert kept(db) == (reason, EVERYTHING)


@pytest.mark.parametrize("reason", OTHER_REASONS)
@pytest.mark.parametrize("unsubscribed_first", [False, True])
def test_unsubscribing_and_taking_it_back_launders_no_other_reason(
    db: Session, reason: SuppressionReason, *, unsubscribed_first: bool
) -> None:
    if unsubscribed_first:
        unsubscribe(db, HASH, LETTERS, now=NOW, mark=VISIT)
    suppress(db, HASH, reason, now=NOW, note="told at the desk: twice")
    for minute, scope in enumerate((LETTERS, EVERYTHING, LETTERS), start=1):
        unsubscribe(db, HASH, scope, now=NOW + timedelta(minutes=minute), mark=VISIT)
    resubscribe(db, HASH, now=NOW + timedelta(minutes=9), mark=VISIT)

    found = find_suppression(db, HASH)
    assert found is not None
    assert (found.reason, found.scope, found.note) == (reason, EVERYTHING, "told at the desk: twice")


def test_an_unsubscription_an_administrator_wrote_down_is_not_taken_back(db: Session) -> None:
    suppress(db, HASH, SuppressionReason.UNSUBSCRIBED, now=NOW, note="on the telephone")

    assert not resubscribe(db, HASH, now=LATER, mark=VISIT)
    unsubscribe(db, HASH, LETTERS, now=LATER, mark=VISIT)
    assert kept(db) == (SuppressionReason.UNSUBSCRIBED, EVERYTHING)


def test_the_longest_note_fits_beside_the_reason(db: Session) -> None:
    suppress(db, HASH, SuppressionReason.MANUAL, now=NOW, note="x" * LONGEST_NOTE)
    unsubscribe(db, HASH, EVERYTHING, now=LATER, mark=VISIT)
    resubscribe(db, HASH, now=LATER, mark=VISIT)

    assert kept(db) == (SuppressionReason.MANUAL, EVERYTHING)


@pytest.mark.parametrize("scope", [LETTERS, EVERYTHING])
@pytest.mark.parametrize("other", [None, SuppressionReason.BOUNCED, SuppressionReason.MANUAL])
def test_a_late_withdrawal_does_not_lift_a_no_that_was_said_again_after_it(
    db: Session, other: SuppressionReason | None, scope: SuppressionScope
) -> None:
    unsubscribe(db, HASH, scope, now=NOW, mark=VISIT)
    if other is not None:
        suppress(db, HASH, other, now=NOW)
    assert not unsubscribe(db, HASH, scope, now=NOW + timedelta(minutes=2), mark=VISIT)
    # One that comes late does not bring the moment back.
    unsubscribe(db, HASH, scope, now=NOW, mark=VISIT)

    assert not resubscribe(db, HASH, now=LATER, mark=VISIT)
    found = find_suppression(db, HASH)
    assert found is not None
    assert found.reason == SuppressionReason.UNSUBSCRIBED
    assert resubscribe(db, HASH, now=NOW + timedelta(minutes=2), mark=VISIT)


def test_the_offices_unsubscription_wins_over_the_webs_beside_a_bounce(db: Session) -> None:
    suppress(db, HASH, SuppressionReason.BOUNCED, now=NOW)
    unsubscribe(db, HASH, EVERYTHING, now=NOW, mark=VISIT)
    suppress(db, HASH, SuppressionReason.UNSUBSCRIBED, now=NOW, note="on the telephone")
    unsubscribe(db, HASH, EVERYTHING, now=LATER, mark=VISIT)

    assert not resubscribe(db, HASH, now=LATER, mark=VISIT)
    found = find_suppression(db, HASH)
    assert found is not None
    assert (found.reason, found.note) == (SuppressionReason.UNSUBSCRIBED, "on the telephone")


def test_an_unsubscription_kept_beside_a_complaint_by_an_earlier_version_gives_way_to_it(
    db: Session,
) -> None:
    unsubscribe(db, HASH, EVERYTHING, now=NOW, mark=VISIT)
    found = find_suppression(db, HASH)
    assert found is not None
    found.note = f"undo {VISIT}=everything also complained: by post"
    db.flush()

    assert resubscribe(db, HASH, now=LATER, mark=VISIT)
    assert kept(db) == (SuppressionReason.COMPLAINED, EVERYTHING)
    assert found.note == "by post"


GRAVITY = ("objected", "complained", "office", "manual", "bounced")
"""The reasons that nobody but the office lifts, the gravest first."""
Happening = tuple[str, int]
"""What happened, in which minute."""
happenings = st.tuples(st.sampled_from([*GRAVITY, "letters", "everything", "undo"]), st.integers(1, 4))


def happen(db: Session, what: str, minute: int) -> None:
    """Tell the table of one thing that happened."""
    now = NOW + timedelta(minutes=minute)
    if what == "undo":
        resubscribe(db, HASH, now=now, mark=VISIT)
    elif what in {"letters", "everything"}:
        unsubscribe(db, HASH, SuppressionScope(what), now=now, mark=VISIT)
    elif what == "office":
        suppress(db, HASH, SuppressionReason.UNSUBSCRIBED, now=now, note="office")
    else:
        suppress(db, HASH, SuppressionReason(what), now=now, note=what)


def state_after(db: Session, arrivals: Sequence[Happening]) -> tuple[str, str, str | None] | None:
    """Reason, scope and note once all that happened has come in, in this order."""
    unsuppress(db, HASH)
    for what, minute in arrivals:
        happen(db, what, minute)
    db.expire_all()
    found = find_suppression(db, HASH)
    if found is None:
        return None
    of_the_visit = (f"undo {VISIT}={scope}" for scope in SuppressionScope)
    note = found.note
    for each in of_the_visit:
        note = note.removeprefix(each).strip() or None if note else None
    return found.reason.value, found.scope.value, note


def state_by_moments(happened: Sequence[Happening]) -> tuple[str, str, str | None] | None:
    """What must stand in the end: the gravest reason, and the person's last word on the web."""
    said = sorted(
        (minute, what) for what, minute in happened if what in {"letters", "everything", "undo"}
    )
    last = said[-1][1] if said and said[-1][1] != "undo" else None
    other = min((what for what, _ in happened if what in GRAVITY), key=GRAVITY.index, default=None)
    if other is None:
        return ("unsubscribed", last, None) if last else None
    if other == "office":
        return "unsubscribed", "everything", "office"
    if last and other in {"manual", "bounced"}:
        return "unsubscribed", "everything", f"also {other}: {other}"
    return other, "everything", other


def is_overtaken(arrivals: Sequence[Happening]) -> bool:
    """Whether a withdrawal came in before an unsubscription made earlier, and none behind it."""

    def withdrawn(minute: int, among: Sequence[Happening]) -> bool:
        return any(what == "undo" and later > minute for what, later in among)

    return any(
        withdrawn(minute, arrivals[:index]) and not withdrawn(minute, arrivals[index + 1 :])
        for index, (what, minute) in enumerate(arrivals)
        if what in {"letters", "everything"}
    )


def one_web_word_a_minute(happened: Sequence[Happening]) -> list[Happening]:
    """Without a second word on the web within a minute: of those nobody knows the order."""
    minutes: dict[int, str] = {}
    return [
        (what, minute)
        for what, minute in happened
        if what in GRAVITY or minutes.setdefault(minute, what) == what
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(happenings, max_size=5), st.randoms(use_true_random=False))
def test_in_whatever_order_things_come_in_the_moments_decide(
    db: Session, happened: list[Happening], chance: Random
) -> None:
    arrivals = one_web_word_a_minute(happened)
    expected = state_by_moments(arrivals)
    chance.shuffle(arrivals)
    found = state_after(db, arrivals)
    if is_overtaken(arrivals):  # the withdrawal had nothing to lift: in doubt for silence
        assert found is not None
        assert found == expected or found[0] == "unsubscribed"
    else:
        assert found == expected
    assert state_after(db, [each for each in arrivals for _ in range(2)]) == found


@pytest.mark.parametrize("last", ["letters", "everything", "undo"])
def test_every_order_of_all_reasons_ends_alike(db: Session, last: str) -> None:
    happened = [("everything", 1), ("office", 2), ("complained", 3), (last, 4)]
    expected = state_by_moments(happened)
    assert {state_after(db, order) for order in permutations(happened)} == {expected}


@pytest.mark.parametrize("other", ["bounced", "manual"])
def test_every_order_ends_in_the_last_word_or_in_silence(db: Session, other: str) -> None:
    happened = [("everything", 1), ("undo", 2), ("everything", 3), (other, 2)]
    expected = state_by_moments(happened)
    assert {state_after(db, order) for order in permutations(happened)} == {expected}


def test_a_withdrawal_that_comes_before_and_behind_what_it_lifts_lifts_it(db: Session) -> None:
    assert state_after(db, [("undo", 2), ("letters", 1), ("undo", 2)]) is None
    assert state_after(db, [("undo", 2), ("letters", 1)]) is not None


def test_what_was_said_in_one_visit_is_not_taken_back_in_another(db: Session) -> None:
    unsubscribe(db, HASH, EVERYTHING, now=NOW, mark=VISIT)

    assert not resubscribe(db, HASH, now=LATER, mark=ANOTHER)
    assert not resubscribe(db, HASH, now=LATER, mark="")
    assert kept(db) == (SuppressionReason.UNSUBSCRIBED, EVERYTHING)


@pytest.mark.parametrize("earlier", ["", VISIT])
@pytest.mark.parametrize("scope", [LETTERS, EVERYTHING])
def test_saying_no_and_taking_it_back_leaves_an_earlier_no_as_it_stood(
    db: Session, earlier: str, scope: SuppressionScope
) -> None:
    unsubscribe(db, HASH, scope, now=NOW, mark=earlier)
    unsubscribe(db, HASH, EVERYTHING, now=LATER, mark=ANOTHER)
    resubscribe(db, HASH, now=LATER, mark=ANOTHER)
    resubscribe(db, HASH, now=LATER, mark=ANOTHER)

    assert kept(db) == (SuppressionReason.UNSUBSCRIBED, scope)


@pytest.mark.parametrize("earlier", ["", VISIT])
def test_another_visit_makes_no_no_narrower(db: Session, earlier: str) -> None:
    unsubscribe(db, HASH, EVERYTHING, now=NOW, mark=earlier)

    assert not unsubscribe(db, HASH, LETTERS, now=LATER, mark=ANOTHER)
    assert kept(db) == (SuppressionReason.UNSUBSCRIBED, EVERYTHING)


@pytest.mark.parametrize("order", [(VISIT, ANOTHER), (ANOTHER, VISIT)])
def test_two_noes_are_lifted_when_both_are_taken_back(db: Session, order: tuple[str, str]) -> None:
    unsubscribe(db, HASH, EVERYTHING, now=NOW, mark=VISIT)
    unsubscribe(db, HASH, LETTERS, now=NOW, mark=ANOTHER)
    for mark in order:
        assert kept(db) is not None
        resubscribe(db, HASH, now=LATER, mark=mark)

    assert kept(db) is None


def test_a_no_without_a_mark_is_never_taken_back(db: Session) -> None:
    suppress(db, HASH, SuppressionReason.UNSUBSCRIBED, now=NOW)
    unsubscribe(db, HASH, LETTERS, now=NOW)

    for mark in ("", VISIT):
        assert not resubscribe(db, HASH, now=LATER, mark=mark)
    assert kept(db) == (SuppressionReason.UNSUBSCRIBED, EVERYTHING)


def test_of_too_many_noes_to_keep_apart_the_widest_stays(db: Session) -> None:
    for mark, scope in (("a", LETTERS), ("b", EVERYTHING), ("", LETTERS), ("c", LETTERS)):
        unsubscribe(db, HASH, scope, now=NOW, mark=mark)
        unsubscribe(db, HASH, LETTERS, now=NOW, mark="d")
    for mark in ("a", "b", "c", "d"):
        resubscribe(db, HASH, now=LATER, mark=mark)

    assert kept(db) == (SuppressionReason.UNSUBSCRIBED, EVERYTHING)


marks = st.sampled_from(["", *(f"{number:010}" for number in range(6))])
words = st.sampled_from(["letters", "everything", "undo"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(marks, words), max_size=12), st.sampled_from([None, "bounced", "manual"]))
def test_no_row_of_words_lifts_what_somebody_else_said(
    db: Session, said: list[tuple[str, str]], other: str | None
) -> None:
    unsuppress(db, HASH)
    standing: dict[str, str] = {}
    if other is not None:
        suppress(db, HASH, SuppressionReason(other), now=NOW, note="x" * LONGEST_NOTE)
    for minute, (mark, word) in enumerate(said):
        now = NOW + timedelta(minutes=minute)
        if word == "undo":
            resubscribe(db, HASH, now=now, mark=mark)
            standing.pop(mark, None) if mark else None
        else:
            unsubscribe(db, HASH, SuppressionScope(word), now=now, mark=mark)
            widest = standing.get(mark) == "everything" and not mark
            standing[mark] = "everything" if widest else word
        found = kept(db)
        if standing or other:
            assert found is not None
            assert found[1] == EVERYTHING or "everything" not in standing.values()
            assert found[1] == EVERYTHING or other is None
    found = kept(db)
    if len({mark for mark, _ in said}) <= 3:  # so many are kept apart; then silence wins
        assert (found is not None) == bool(standing or other)
