"""What follows from a message, and everything that must not."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event, update

from mailer.campaigns.account import reconcile
from mailer.campaigns.models import Batch, BatchState, Campaign, Delivery, DeliveryState
from mailer.feedback.applying import (
    ANSWERED,
    COMPLAINED,
    UNTOLD_BOUNCE,
    Applied,
    Result,
    apply_finding,
    recognise,
)
from mailer.feedback.findings import Finding, MailKind, ReportedRecipient
from mailer.runtime import Runtime
from mailer.tracking.log import NO_CAMPAIGN
from mailer.tracking.models import Label, Manner, TrackingCount, TrackingKind
from mailer.tracking.tokens import Purpose, Tokens, new_mark
from recipients.models import SuppressionReason, SuppressionScope
from recipients.suppression import resubscribe, suppress, unsuppress
from tests.campaigns.making import claim, sending
from tests.conftest import NOW
from tests.feedback.making import Mailing, mail_out

SENT, UNCERTAIN, BOUNCED = DeliveryState.SENT, DeliveryState.UNCERTAIN, DeliveryState.BOUNCED
LATER = NOW + timedelta(hours=1)
NO_FAULT_OF_THE_ADDRESS: list[tuple[str | None, bool | None]] = [
    ("5.2.2", True),
    ("5.7.1", True),
    ("5.0.0", True),
    ("4.4.7", False),
    ("4.1.1", False),
    (None, True),
    (None, None),
    ("5.1.7", True),
    ("5.1.8", True),
    ("5.1.1; x", True),
    ("5.11.1", True),
]
LEFT_ALONE = [state for state in DeliveryState if state not in (SENT, UNCERTAIN, DeliveryState.PENDING)]


@pytest.fixture
def mailing(runtime: Runtime) -> Mailing:
    return mail_out(runtime)


def apply(mailing: Mailing, finding: Finding) -> Applied:
    runtime = mailing.runtime
    with runtime.database.write() as db:
        return apply_finding(db, finding, tokens=runtime.tokens, now=LATER, zone=runtime.settings.zone)


def bounce(
    mailing: Mailing,
    *,
    status: str | None = "5.1.1",
    hard: bool | None = True,
    address: str | None = None,
    reason: str = "550 5.1.1 no such user",
    token: str | None = None,
) -> Finding:
    told = ReportedRecipient(address or mailing.address(), hard, reason, status)
    return Finding(MailKind.BOUNCE, (told,), token=token or mailing.token(Purpose.BOUNCE))


def complaint(mailing: Mailing, token: str | None = None) -> Finding:
    return Finding(MailKind.COMPLAINT, token=token or mailing.token(Purpose.BOUNCE))


def wish(mailing: Mailing, token: str | None = None) -> Finding:
    return Finding(MailKind.UNSUBSCRIBE, token=token or mailing.token(Purpose.UNSUBSCRIBE))


def is_untouched(mailing: Mailing) -> bool:
    suppressed = [mailing.suppression(position) for position in (1, 2, 3)]
    states = [mailing.delivery(position).state for position in (1, 2, 3)]
    return suppressed == [None] * 3 and states == [SENT] * 3 and mailing.events() == []


def as_sent(mailing: Mailing) -> None:
    with mailing.database.write() as db:
        db.execute(update(Delivery).values(state=SENT))


def test_a_hard_bounce_moves_the_delivery_and_suppresses_the_address(mailing: Mailing) -> None:
    applied = apply(mailing, bounce(mailing))

    assert applied == Applied(Result.APPLIED, "brev", 1, BOUNCED)
    delivery, suppressed = mailing.delivery(), mailing.suppression()
    assert (delivery.state, delivery.reason, delivery.at) == (BOUNCED, "no such user", LATER)
    assert (delivery.code, delivery.enhanced_code, delivery.relay) == (550, "5.1.1", "relay.example:587")
    assert suppressed is not None
    assert (suppressed.reason, suppressed.scope) == (
        SuppressionReason.BOUNCED,
        SuppressionScope.EVERYTHING,
    )
    assert mailing.delivery(2).state is SENT
    assert mailing.suppression(2) is None


@pytest.mark.parametrize("make", [bounce, complaint, wish])
def test_the_same_message_again_changes_nothing(
    mailing: Mailing, make: Callable[[Mailing], Finding]
) -> None:
    first = apply(mailing, make(mailing))
    before = (mailing.delivery().at, mailing.suppression().created_at, len(mailing.events()))  # type: ignore[union-attr]

    again = apply(mailing, make(mailing))

    assert (first.result, again.result) == (Result.APPLIED, Result.KNOWN)
    assert before == (
        mailing.delivery().at,
        mailing.suppression().created_at,  # type: ignore[union-attr]
        len(mailing.events()),
    )


@pytest.mark.parametrize("make", [bounce, complaint])
def test_what_was_lifted_since_is_not_suppressed_by_the_same_report(
    mailing: Mailing, make: Callable[[Mailing], Finding]
) -> None:
    apply(mailing, make(mailing))
    suppressed = mailing.suppression()
    assert suppressed is not None
    with mailing.database.write() as db:
        assert unsuppress(db, suppressed.address_hash)

    assert apply(mailing, make(mailing)).result is Result.KNOWN
    assert mailing.suppression() is None


def test_a_wish_taken_back_is_no_new_one_when_its_mail_is_given_again(mailing: Mailing) -> None:
    early = replace(wish(mailing), written_at=LATER - timedelta(minutes=5))
    assert apply(mailing, early).result is Result.APPLIED
    suppressed = mailing.suppression()
    assert suppressed is not None
    with mailing.database.write() as db:
        assert unsuppress(db, suppressed.address_hash)

    assert apply(mailing, early).result is Result.KNOWN
    assert mailing.suppression() is None
    newer = replace(early, written_at=LATER + timedelta(minutes=2))
    assert apply(mailing, newer).result is Result.APPLIED
    assert mailing.suppression() is not None


@pytest.mark.parametrize(
    ("kind", "formal", "is_suppressed"),
    [
        (MailKind.BOUNCE, False, False),
        (MailKind.COMPLAINT, False, False),
        (MailKind.COMPLAINT, True, True),
    ],
)
def test_who_knows_but_the_message_id_suppresses_nobody_unless_as_a_feedback_loop(
    mailing: Mailing, kind: MailKind, *, formal: bool, is_suppressed: bool
) -> None:
    message_id = f"<{mailing.token(Purpose.MESSAGE_ID)}@coi.example>"
    told = (ReportedRecipient(mailing.address(), True, "550 5.1.1 no such user", "5.1.1"),)
    applied = apply(mailing, Finding(kind, told, message_id=message_id, formal=formal))

    assert applied.result is Result.APPLIED
    assert mailing.delivery().state in (BOUNCED, DeliveryState.COMPLAINED)
    assert (mailing.suppression() is not None) is is_suppressed


def test_a_bounce_and_a_complaint_of_one_letter_never_wait_for_each_other(mailing: Mailing) -> None:
    troubles: list[Exception] = []
    for _ in range(20):
        as_sent(mailing)
        with mailing.database.write() as db:
            hashed = mailing.hash_of()
            unsuppress(db, hashed)
        both = threading.Barrier(2)

        def go(finding: Finding, both: threading.Barrier = both) -> None:
            try:
                both.wait(10)
                apply(mailing, finding)
            except Exception as error:  # noqa: BLE001 - told below
                troubles.append(error)

        threads = [threading.Thread(target=go, args=(make(mailing),)) for make in (bounce, complaint)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert troubles == []


def test_no_other_bounce_suppresses_the_address(mailing: Mailing) -> None:
    for status, hard in NO_FAULT_OF_THE_ADDRESS:
        as_sent(mailing)
        apply(mailing, bounce(mailing, status=status, hard=hard))
        assert mailing.suppression() is None, status
        assert mailing.delivery().state is BOUNCED


def test_every_bounce_for_the_address_suppresses_it(mailing: Mailing) -> None:
    for status in ("5.1.0", "5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"):
        as_sent(mailing)
        apply(mailing, bounce(mailing, status=status))
        suppressed = mailing.suppression()
        assert suppressed is not None, status
        with mailing.database.write() as db:
            assert unsuppress(db, suppressed.address_hash)


def test_a_bounce_that_names_another_address_suppresses_nobody(mailing: Mailing) -> None:
    apply(mailing, bounce(mailing, address=mailing.address(2)))

    assert mailing.delivery(1).state is BOUNCED
    assert mailing.delivery(2).state is SENT
    assert [mailing.suppression(position) for position in (1, 2, 3)] == [None] * 3


def test_of_several_addresses_the_letters_own_counts(mailing: Mailing) -> None:
    told = (
        ReportedRecipient("list@elsewhere.example", True, "550 mailbox full", "5.2.2"),
        ReportedRecipient(mailing.address().upper(), True, "550 no such user", "5.1.1"),
    )
    apply(mailing, Finding(MailKind.BOUNCE, told, token=mailing.token(Purpose.BOUNCE)))

    assert mailing.delivery().enhanced_code == "5.1.1"
    assert mailing.suppression() is not None


def test_a_bounce_that_says_nothing_more_is_one(mailing: Mailing) -> None:
    apply(mailing, Finding(MailKind.BOUNCE, token=mailing.token(Purpose.BOUNCE)))

    assert (mailing.delivery().state, mailing.delivery().reason) == (BOUNCED, UNTOLD_BOUNCE)
    assert mailing.suppression() is None


def test_a_complaint_is_a_state_and_a_suppression(mailing: Mailing) -> None:
    apply(mailing, complaint(mailing))

    assert (mailing.delivery().state, mailing.delivery().reason) == (
        DeliveryState.COMPLAINED,
        COMPLAINED,
    )
    suppressed = mailing.suppression()
    assert suppressed is not None
    assert suppressed.reason == SuppressionReason.COMPLAINED


@pytest.mark.parametrize("kind", [MailKind.BOUNCE, MailKind.COMPLAINT])
def test_the_message_id_names_the_delivery_where_no_token_does(mailing: Mailing, kind: MailKind) -> None:
    message_id = f"<{mailing.token(Purpose.MESSAGE_ID, 2)}@coi.example>"
    applied = apply(mailing, Finding(kind, message_id=message_id))

    assert (applied.result, applied.position) == (Result.APPLIED, 2)
    assert mailing.delivery(2).state != SENT


@pytest.mark.parametrize("make", [bounce, complaint])
def test_a_report_settles_an_uncertain_letter(
    runtime: Runtime, make: Callable[[Mailing], Finding]
) -> None:
    mailing = mail_out(runtime, {1: UNCERTAIN})
    apply(mailing, make(mailing))

    assert mailing.delivery().state in (BOUNCED, DeliveryState.COMPLAINED)
    assert mailing.delivery().due_at is None
    with mailing.database.read() as db:
        proof = reconcile(db, db.get_one(Campaign, mailing.campaign_id))
    assert (proof.ok, proof.problems) == (True, [])


@pytest.mark.parametrize("make", [bounce, complaint, wish])
def test_the_account_stays_right(mailing: Mailing, make: Callable[[Mailing], Finding]) -> None:
    apply(mailing, make(mailing))

    with mailing.database.read() as db:
        proof = reconcile(db, db.get_one(Campaign, mailing.campaign_id))
    assert (proof.ok, proof.complete, sum(proof.deliveries.values())) == (True, True, 3)


def test_no_other_state_is_left(mailing: Mailing) -> None:
    for state in LEFT_ALONE:
        with mailing.database.write() as db:
            db.execute(update(Delivery).values(state=state))
        apply(mailing, bounce(mailing))
        apply(mailing, complaint(mailing))
        assert mailing.delivery().state is state


@pytest.mark.parametrize("make", [bounce, complaint])
def test_a_report_that_is_quicker_than_its_batch_waits_for_it(
    runtime: Runtime, make: Callable[[Mailing], Finding]
) -> None:
    with runtime.database.write() as db:
        campaign = sending(db, 3)
        batch = claim(db, campaign)
        mailing = Mailing(runtime, campaign.id)
        db.flush()
    assert apply(mailing, make(mailing)).result is Result.WAITING
    assert mailing.delivery().state is DeliveryState.PENDING

    with runtime.database.write() as db:
        db.execute(update(Batch).where(Batch.id == batch.id).values(state=BatchState.DONE))
        db.execute(update(Delivery).values(state=SENT))
    assert apply(mailing, make(mailing)).result is Result.APPLIED
    assert mailing.delivery().state != SENT


def test_a_mail_unsubscribes_as_the_one_click_post_does(mailing: Mailing) -> None:
    applied = apply(mailing, wish(mailing))

    assert applied == Applied(Result.APPLIED, "brev", 1, SENT)
    suppressed = mailing.suppression()
    assert suppressed is not None
    assert (suppressed.reason, suppressed.scope, suppressed.note) == (
        SuppressionReason.UNSUBSCRIBED,
        SuppressionScope.EVERYTHING,
        None,
    )
    (event,) = mailing.events()
    assert (event.kind, event.position, event.manner) == (TrackingKind.UNSUBSCRIBE, 1, Manner.MAIL)
    assert event.label is Label.PERSON


def test_the_office_alone_takes_back_what_a_mail_asked_for(mailing: Mailing) -> None:
    apply(mailing, wish(mailing))
    suppressed = mailing.suppression()
    assert suppressed is not None

    with mailing.database.write() as db:
        for mark in ("", new_mark()):
            now = LATER + timedelta(minutes=1)
            assert not resubscribe(db, suppressed.address_hash, now=now, mark=mark)
    assert mailing.suppression() is not None
    with mailing.database.write() as db:
        assert unsuppress(db, suppressed.address_hash)

    assert mailing.suppression() is None


def test_reminders_only_becomes_nothing_at_all(mailing: Mailing) -> None:
    apply(mailing, wish(mailing))
    suppressed = mailing.suppression()
    assert suppressed is not None
    with mailing.database.write() as db:
        assert unsuppress(db, suppressed.address_hash)
        letters = SuppressionScope.LETTERS
        suppress(db, suppressed.address_hash, SuppressionReason.UNSUBSCRIBED, now=NOW, scope=letters)

    assert apply(mailing, wish(mailing)).result is Result.APPLIED
    widened = mailing.suppression()
    assert widened is not None
    assert widened.scope is SuppressionScope.EVERYTHING


def test_an_unsubscription_in_anonymous_mode_is_only_counted(runtime: Runtime) -> None:
    mailing = mail_out(runtime, tracking="anonymous")
    apply(mailing, wish(mailing))
    apply(mailing, wish(mailing))

    assert mailing.suppression() is not None
    assert mailing.events() == []
    with mailing.database.read() as db:
        (count,) = db.query(TrackingCount).all()
    assert (count.kind, count.total) == (TrackingKind.UNSUBSCRIBE, 1)
    assert count.campaign_id != NO_CAMPAIGN


@pytest.mark.parametrize("make", [bounce, complaint])
def test_no_other_token_bounces_or_complains(mailing: Mailing, make: Callable[..., Finding]) -> None:
    for purpose in set(Purpose) - {Purpose.BOUNCE}:
        finding = make(mailing, token=mailing.token(purpose))
        assert apply(mailing, finding) == Applied(Result.UNVERIFIED), purpose
    assert is_untouched(mailing)


def test_no_other_token_unsubscribes(mailing: Mailing) -> None:
    for purpose in set(Purpose) - {Purpose.UNSUBSCRIBE}:
        finding = wish(mailing, mailing.token(purpose))
        assert apply(mailing, finding) == Applied(Result.UNVERIFIED), purpose
    assert is_untouched(mailing)


def test_no_message_id_unsubscribes(mailing: Mailing) -> None:
    message_id = f"<{mailing.token(Purpose.MESSAGE_ID)}@coi.example>"
    unverified = Finding(MailKind.UNSUBSCRIBE, message_id=message_id)

    assert apply(mailing, unverified) == Applied(Result.UNVERIFIED)
    assert is_untouched(mailing)


def test_no_other_token_is_a_message_id(mailing: Mailing) -> None:
    for purpose in set(Purpose) - {Purpose.MESSAGE_ID}:
        finding = Finding(MailKind.BOUNCE, message_id=f"<{mailing.token(purpose)}@coi.example>")
        assert apply(mailing, finding) == Applied(Result.UNVERIFIED), purpose
    assert is_untouched(mailing)


@pytest.mark.parametrize("make", [bounce, complaint, wish])
def test_forged_tokens_and_unknown_letters_look_alike(
    mailing: Mailing, make: Callable[..., Finding]
) -> None:
    purpose = Purpose.UNSUBSCRIBE if make is wish else Purpose.BOUNCE
    genuine = mailing.token(purpose)
    forged = [
        "x",
        "",
        genuine[:-1],
        genuine + "0",
        genuine[:-1] + ("0" if genuine[-1] != "0" else "1"),
        genuine.replace("-1", "-2", 1),
        genuine + "\n",
        "ſ" + genuine[1:],
        Tokens([b"another key of 16 and more"]).sign(purpose, mailing.campaign_id, 1),
        mailing.runtime.tokens.sign(purpose, 999, 1),
        mailing.runtime.tokens.sign(purpose, mailing.campaign_id, 0),
        mailing.runtime.tokens.sign(purpose, mailing.campaign_id, 4),
    ]
    for token in forged:
        finding = replace(make(mailing), token=token)
        assert apply(mailing, finding) == Applied(Result.UNVERIFIED), token
    assert is_untouched(mailing)


@pytest.mark.parametrize("make", [bounce, complaint, wish])
def test_without_token_and_message_id_nobody_comes_to_harm(
    mailing: Mailing, make: Callable[..., Finding]
) -> None:
    for message_id in (None, "", "<>", "<1@coi.example>", "<\x00@coi.example>"):
        finding = replace(make(mailing), token=None, message_id=message_id)
        assert apply(mailing, finding) == Applied(Result.UNVERIFIED)
    assert is_untouched(mailing)


def test_a_token_survives_a_relay_that_shouts(mailing: Mailing) -> None:
    shouted = mailing.token(Purpose.BOUNCE).upper()

    assert apply(mailing, bounce(mailing, token=shouted)).result is Result.APPLIED


def test_nothing_follows_from_what_is_no_report(mailing: Mailing) -> None:
    for kind in (MailKind.REPLY, MailKind.AUTO_REPLY, MailKind.UNKNOWN):
        for purpose in (Purpose.BOUNCE, Purpose.UNSUBSCRIBE):
            finding = Finding(kind, token=mailing.token(purpose))
            assert apply(mailing, finding) == Applied(Result.NOTHING)
    assert is_untouched(mailing)


@pytest.mark.parametrize("kind", [MailKind.REPLY, MailKind.AUTO_REPLY, MailKind.UNKNOWN])
@pytest.mark.parametrize("named_by", [Purpose.BOUNCE, Purpose.MESSAGE_ID])
def test_what_names_an_uncertain_letter_shows_that_it_left_and_no_more(
    runtime: Runtime, kind: MailKind, named_by: Purpose
) -> None:
    mailing = mail_out(runtime, {1: UNCERTAIN, 2: UNCERTAIN})
    token = mailing.token(named_by)
    told = {"token": token} if named_by is Purpose.BOUNCE else {"message_id": f"<{token}@coi.example>"}
    finding = replace(Finding(kind, delayed=True), **told)

    assert apply(mailing, finding) == Applied(Result.APPLIED, "brev", 1, SENT)
    assert apply(mailing, finding) == Applied(Result.NOTHING)
    delivery = mailing.delivery()
    assert (delivery.state, delivery.reason, delivery.at) == (SENT, ANSWERED, LATER)
    assert mailing.delivery(2).state is UNCERTAIN
    assert (mailing.suppression(), mailing.events()) == (None, [])
    with mailing.database.read() as db:
        assert reconcile(db, db.get_one(Campaign, mailing.campaign_id)).ok


def test_who_has_not_seen_a_letter_cannot_settle_it(runtime: Runtime) -> None:
    mailing = mail_out(runtime, {1: UNCERTAIN})
    elsewhere = runtime.tokens.sign(Purpose.BOUNCE, NO_CAMPAIGN, 1)
    forged = (mailing.token(Purpose.BOUNCE)[:-1], mailing.token(Purpose.CLICK), elsewhere, "", "x" * 64)
    for token in forged:
        assert apply(mailing, Finding(MailKind.UNKNOWN, token=token, delayed=True)) == Applied(
            Result.NOTHING
        )
    by_id = Finding(MailKind.UNKNOWN, message_id=f"<{mailing.token(Purpose.BOUNCE)}@coi.example>")
    assert apply(mailing, by_id) == Applied(Result.NOTHING)
    assert mailing.delivery().state is UNCERTAIN


def test_no_warning_and_no_answer_moves_a_letter_out_of_another_state(mailing: Mailing) -> None:
    for state in [*LEFT_ALONE, SENT, DeliveryState.PENDING]:
        with mailing.database.write() as db:
            db.execute(update(Delivery).values(state=state))
        finding = Finding(MailKind.UNKNOWN, token=mailing.token(Purpose.BOUNCE), delayed=True)
        assert apply(mailing, finding) == Applied(Result.NOTHING)
        assert mailing.delivery().state is state


def test_an_answer_to_a_letter_that_is_known_to_have_left_writes_nothing(mailing: Mailing) -> None:
    """Automatic replies come by the thousand, each with a token of ours."""
    said: list[str] = []

    def listen(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        said.append(statement.split(maxsplit=1)[0])

    event.listen(mailing.database.engine, "before_cursor_execute", listen)
    try:
        finding = Finding(MailKind.AUTO_REPLY, token=mailing.token(Purpose.BOUNCE))
        assert apply(mailing, finding) == Applied(Result.NOTHING)
    finally:
        event.remove(mailing.database.engine, "before_cursor_execute", listen)

    assert [verb for verb in said if verb != "BEGIN"] == ["SELECT"]


def test_whatever_a_person_writes_to_the_address_for_it_unsubscribes(mailing: Mailing) -> None:
    tokens = mailing.runtime.tokens
    reply = Finding(MailKind.REPLY, token=mailing.token(Purpose.UNSUBSCRIBE))

    assert recognise(reply, tokens).kind is MailKind.UNSUBSCRIBE
    assert recognise(replace(reply, token=mailing.token(Purpose.BOUNCE)), tokens).kind is MailKind.REPLY
    auto = replace(reply, kind=MailKind.AUTO_REPLY)
    assert recognise(auto, tokens) == auto
    for kind in (MailKind.AUTO_REPLY, MailKind.UNKNOWN):
        marked = replace(reply, kind=kind, is_bare_wish=True)
        assert recognise(marked, tokens).kind is MailKind.UNSUBSCRIBE
        forged = replace(marked, token=mailing.token(Purpose.BOUNCE))
        assert recognise(forged, tokens) == forged


def test_what_a_server_said_names_nobody_and_fits_the_ledger(mailing: Mailing) -> None:
    said = f"550 5.1.1 <{mailing.address()}>: unknown \x1b[31m\x00\x9b\ud800 " + "x" * 600
    apply(mailing, bounce(mailing, reason=said))

    reason = mailing.delivery().reason
    assert reason is not None
    assert reason.startswith(("<address> unknown", "<address>: unknown"))
    assert mailing.address() not in reason
    assert reason.isprintable()
    assert len(reason) <= 300


def test_somebody_erased_comes_to_no_harm(mailing: Mailing) -> None:
    with mailing.database.write() as db:
        db.execute(update(Delivery).values(recipient_id=None))
    told = (ReportedRecipient("p@kommune.example", True, "550", "5.1.1"),)
    finding = Finding(MailKind.BOUNCE, told, token=mailing.token(Purpose.BOUNCE))

    assert apply(mailing, finding).result is Result.APPLIED
    assert apply(mailing, wish(mailing)).result is Result.KNOWN
    assert mailing.delivery().state is BOUNCED
