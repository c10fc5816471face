"""Which letter of a batch goes next, when domains and relays do not all take letters at once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from mailer.campaigns.models import Batch, DeliveryState
from mailer.foundation.clock import real_now
from mailer.foundation.journal import Journal
from mailer.rendering.errors import RecipientValueError
from mailer.rendering.values import Attributes, RecipientValues
from mailer.sending.addressees import Addressee
from mailer.sending.feed import PATIENCE_SECONDS, STARTS_FOR_SECONDS, BatchFeed, FeedTools, Watch
from mailer.sending.letters import Message
from mailer.sending.notes import Notes, read_notes
from mailer.sending.writer import LetterWriter
from mailer.smtp.envelope import Envelope
from mailer.smtp.line import LOST_TOO_OFTEN
from mailer.smtp.pace import Pace
from mailer.smtp.relays import Relay
from mailer.smtp.replies import Reply

HERE, THERE = Relay("here.example", 25, rate=100.0), Relay("there.example", 25)
TAKEN = Reply(250, "2.0.0", "taken")
GONE = Reply(550, "5.1.1", "no such user")
LATER = Reply(451, None, "later")


@dataclass
class PaceInTests:
    """Says how long a domain or relay must wait."""

    domains: dict[str, float] = field(default_factory=dict)
    relays: dict[str, float] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)

    def wait_for_relay(self, relay: Relay) -> float:
        self.asked[relay.name] += 1
        return self.relays.get(relay.name, 0.0)

    def wait_for_domain(self, relay: Relay, domain: str) -> float:
        del relay
        return self.domains.get(domain, 0.0)

    def answered(self, relay: Relay, domain: str, reply: Reply) -> None:
        pass


class WriterInTests:
    """Writes a letter of one line; some recipients lack what it uses."""

    def __init__(self) -> None:
        self.lacking: set[int] = set()
        self.asked: Counter[int] = Counter()

    def write(self, to: Addressee) -> Message:
        self.asked[to.position] += 1
        if to.position in self.lacking:
            raise RecipientValueError("the recipient has no attribute 'nummer'")
        return Message(
            to.position, Envelope("bounce@coi.example", to.email), (b"Hej\r\n",), 5, True, "id"
        )

    def why_not(self, error: Exception) -> str:
        return str(error)


@dataclass
class Stage:
    """A feed with everything it asks within reach."""

    feed: BatchFeed
    pace: PaceInTests
    writer: WriterInTests
    journal: Journal
    watch: Watch
    now: float = 0.0
    stopping: bool = False

    def next_position(self, relay: Relay = HERE) -> int | None:
        mail = self.feed.next_mail(relay)
        return None if mail is None else mail.position

    def take_all(self, relay: Relay = HERE) -> list[int]:
        return list(iter(lambda: self.next_position(relay) or 0, 0))


def addressee(position: int, domain: str, *, suppressed: bool = False) -> Addressee:
    values = RecipientValues(
        name=None,
        role="andet",
        sector="stat",
        organisation=None,
        workplace=None,
        confederation="ingen",
        region=None,
        language="da",
        attributes=Attributes(),
    )
    return Addressee(
        position=position,
        email=f"p{position}@{domain}",
        domain=domain,
        values=values,
        tracking=None,
        source=None,
        suppressed=suppressed,
    )


def stage(tmp_path: Path, addressees: Sequence[Addressee], *, relays: int = 1) -> Stage:
    journal = Journal(tmp_path / "journal" / "sending-test")
    pace, writer, watch = PaceInTests(), WriterInTests(), Watch()
    tools = FeedTools(
        writer=cast("LetterWriter", writer),
        notes=Notes(journal, Batch(id=7, fence=3)),
        pace=cast("Pace", pace),
        relay_count=relays,
        is_stopping=lambda: made.stopping,
        real=real_now,
        waits=[timedelta(minutes=1)],
        ticking=lambda: made.now,
    )
    made = Stage(BatchFeed(tools, watch), pace, writer, journal, watch)
    made.feed.load(addressees)
    return made


def test_letters_go_in_the_order_of_their_positions(tmp_path: Path) -> None:
    on = stage(tmp_path, [addressee(n, "a.example") for n in range(1, 4)])

    assert on.take_all() == [1, 2, 3]
    assert on.feed.wait_seconds() is None


def test_a_slow_domain_holds_nobody_up_and_keeps_its_own_order(tmp_path: Path) -> None:
    domains = ["slow.example", "a.example", "slow.example", "b.example", "slow.example"]
    on = stage(tmp_path, [addressee(n, domain) for n, domain in enumerate(domains, start=1)])
    on.pace.domains["slow.example"] = 0.5

    assert on.take_all() == [2, 4]
    assert on.feed.wait_seconds() == pytest.approx(0.5)
    assert on.feed.slow_domains == ["slow.example"]

    on.now = 0.6
    on.pace.domains.clear()
    assert on.take_all() == [1, 3, 5]


def test_patience_with_slow_domains_ends_while_other_batches_wait(tmp_path: Path) -> None:
    on = stage(tmp_path, [addressee(1, "slow.example")])
    on.pace.domains["slow.example"] = 0.5
    assert on.take_all() == []
    assert on.feed.wait_seconds() is not None

    on.now = PATIENCE_SECONDS + 0.1
    assert on.feed.wait_seconds() is None
    assert on.feed.left == [1]

    on.watch.others_wait = False
    assert on.feed.wait_seconds() is not None


def test_a_relay_without_allowance_is_asked_again_and_loses_no_letter(tmp_path: Path) -> None:
    on = stage(tmp_path, [addressee(1, "a.example"), addressee(2, "a.example")])
    on.pace.relays[HERE.name] = 0.2
    assert on.next_position() is None
    assert on.feed.wait_seconds() == pytest.approx(0.2)

    on.pace.relays.clear()
    assert on.take_all() == [1, 2]


def test_the_allowance_of_a_relay_is_kept_for_the_next_letter_that_may_go(tmp_path: Path) -> None:
    on = stage(tmp_path, [addressee(1, "slow.example")])
    on.pace.domains["slow.example"] = 0.5
    on.take_all()
    on.take_all()

    assert on.pace.asked[HERE.name] == 1


def test_a_domain_that_may_not_be_written_to_costs_the_relay_no_allowance(tmp_path: Path) -> None:
    domains = ["slow.example", "slow.example", "slow.example", "a.example"]
    on = stage(tmp_path, [addressee(n, domain) for n, domain in enumerate(domains, start=1)])
    on.feed.tools.pace = Pace(None, processes=1, clock=lambda: on.now)
    relay = Relay("here.example", 25, rate=0.5, domain_rate=0.01)
    assert on.take_all(relay) == [1]

    on.now = 2.1  # the relay takes one more
    assert on.take_all(relay) == [4]


def test_no_letter_is_begun_after_the_start_window_a_pause_or_the_end_of_the_process(
    tmp_path: Path,
) -> None:
    for n, happens in enumerate(("late", "paused", "ending")):
        on = stage(tmp_path / str(n), [addressee(1, "a.example")])
        on.now = STARTS_FOR_SECONDS + 1 if happens == "late" else 0.0
        on.watch.ended = happens == "paused"
        on.stopping = happens == "ending"

        assert on.next_position() is None
        assert on.feed.wait_seconds() is None
        assert on.feed.left == [1]


def test_the_dot_of_somebody_who_said_no_meanwhile_does_not_leave(tmp_path: Path) -> None:
    on = stage(tmp_path, [addressee(1, "a.example"), addressee(2, "a.example")])
    mail = on.feed.next_mail(HERE)
    assert mail is not None
    on.watch.suppressed = frozenset({1, 2})

    assert not on.feed.dot_leaves(mail, HERE)
    on.feed.not_sent(mail, HERE, "no longer wanted")
    assert on.take_all() == []
    assert {n: o.state for n, o in on.feed.outcomes.items()} == {
        1: DeliveryState.SUPPRESSED,
        2: DeliveryState.SUPPRESSED,
    }


def test_a_letter_that_cannot_be_written_fails_alone(tmp_path: Path) -> None:
    on = stage(tmp_path, [addressee(n, "a.example") for n in (1, 2, 3)])
    on.writer.lacking.add(2)

    assert on.take_all() == [1, 3]
    assert on.feed.outcomes[2].state is DeliveryState.FAILED
    assert "nummer" in (on.feed.outcomes[2].reason or "")


def test_what_is_written_ahead_is_written_once_whatever_fails_or_comes_back(tmp_path: Path) -> None:
    on = stage(tmp_path, [addressee(n, "a.example") for n in range(1, 101)])
    on.writer.lacking.update(range(1, 101, 2))
    first = on.feed.next_mail(HERE)
    assert first is not None
    on.feed.not_sent(first, HERE, "the connection was lost")

    assert on.take_all() == list(range(2, 101, 2))
    assert on.writer.asked == Counter(range(1, 101)) + Counter({2: 1})
    assert {on.feed.outcomes[n].state for n in range(1, 101, 2)} == {DeliveryState.FAILED}


def test_a_letter_one_relay_cannot_take_goes_to_the_other(tmp_path: Path) -> None:
    on = stage(tmp_path, [addressee(1, "a.example"), addressee(2, "a.example")], relays=2)
    mail = on.feed.next_mail(HERE)
    assert mail is not None
    on.feed.unfit(mail, HERE, "no SMTPUTF8")

    assert on.take_all(HERE) == [2]
    assert on.take_all(THERE) == [1]
    on.feed.unfit(mail, THERE, "no SMTPUTF8")
    assert on.feed.outcomes[1].state is DeliveryState.FAILED
    assert on.feed.outcomes[1].reason == "no SMTPUTF8"


def test_withdrawn_answers_leave_no_trace(tmp_path: Path) -> None:
    on = stage(tmp_path, [addressee(1, "a.example"), addressee(2, "b.example")])
    mails = [mail for mail in (on.feed.next_mail(HERE), on.feed.next_mail(HERE)) if mail]
    for mail in mails:
        on.feed.answered(mail, HERE, GONE)
    on.feed.withdrawn(mails, HERE, "it refuses everybody")
    on.feed.flush()

    assert on.feed.outcomes == {}
    assert on.feed.left == [1, 2]
    assert read_notes(on.journal.lines(), 7, 3).outcomes == {}
    assert sorted(on.take_all(THERE)) == [1, 2]


def test_whoever_is_spared_waits_longer_each_time_and_no_attempt_is_counted(tmp_path: Path) -> None:
    now = real_now()
    waits = [timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15)]
    since = [
        None,
        *(now - timedelta(minutes=minutes) for minutes in (2, 7, 600)),
        now - timedelta(days=4),
    ]
    people = [
        replace(addressee(n, "a.example"), first_deferred_at=first) for n, first in enumerate(since, 1)
    ]
    on = stage(tmp_path, people)
    on.feed.tools.real, on.feed.tools.waits = lambda: now, waits
    mails = [mail for mail in (on.feed.next_mail(HERE) for _ in people) if mail]
    on.feed.answered(mails[0], HERE, LATER)
    for mail in mails:
        on.feed.spared(mail, HERE, LATER)

    *waiting, over = on.feed.outcomes.values()
    assert {(o.state, o.code, o.attempted) for o in waiting} == {(DeliveryState.DEFERRED, 451, False)}
    minutes = [(o.due_at - now) / timedelta(minutes=1) for o in waiting if o.due_at]
    for wait, least in zip(minutes, (1, 5, 15, 15), strict=True):
        assert least <= wait <= 1.2 * least
    assert (over.state, over.attempted) == (DeliveryState.BOUNCED, True)
    assert over.reason == "given up after 72 hours: later"


def tried_for(tmp_path: Path, *times: timedelta) -> tuple[Stage, list[Message]]:
    """A feed whose letters were first deferred so long ago, each at its own domain; all are out."""
    now = real_now()
    people = [
        replace(addressee(n, f"d{n}.example"), first_deferred_at=now - time)
        for n, time in enumerate(times, 1)
    ]
    on = stage(tmp_path, people)
    on.feed.tools.real = lambda: now
    on.feed.tools.waits = [timedelta(minutes=minutes) for minutes in (1, 5, 15, 60)]
    return on, [mail for mail in (on.feed.next_mail(HERE) for _ in people) if mail]


def test_a_refusal_for_good_stands_after_three_waits(tmp_path: Path) -> None:
    on, mails = tried_for(tmp_path, timedelta(minutes=20), timedelta(minutes=22))
    for mail in mails:
        on.feed.spared(mail, HERE, GONE)

    doubted, stands = on.feed.outcomes.values()
    assert (doubted.state, doubted.attempted) == (DeliveryState.DEFERRED, False)
    assert (stands.state, stands.attempted) == (DeliveryState.BOUNCED, True)


def test_nobody_bounces_because_connections_are_lost(tmp_path: Path) -> None:
    on, mails = tried_for(tmp_path, timedelta(hours=72), timedelta(hours=72, seconds=1))
    for mail in mails:
        on.feed.spared(mail, HERE, LOST_TOO_OFTEN)

    waiting, over = on.feed.outcomes.values()
    assert (waiting.state, waiting.attempted) == (DeliveryState.DEFERRED, False)
    assert waiting.reason == LOST_TOO_OFTEN.text
    assert waiting.due_at is not None
    assert waiting.due_at - on.feed.tools.real() >= timedelta(minutes=60)
    assert (over.state, over.attempted) == (DeliveryState.FAILED, False)
    assert over.reason == f"given up after 72 hours: {LOST_TOO_OFTEN.text}"
    assert (over.relay, over.code, over.enhanced_code) == (HERE.name, None, None), "none said anything"


@pytest.mark.parametrize("reply", [LATER, GONE], ids=["for now", "for good"])
def test_who_was_refused_before_is_not_tried_again_in_the_same_batch(
    tmp_path: Path, reply: Reply
) -> None:
    on, mails = tried_for(tmp_path, timedelta(minutes=2), timedelta(hours=2), timedelta(days=4))
    for mail in mails:
        on.feed.answered(mail, HERE, reply)
    settled = on.feed.outcomes[3]
    on.feed.withdrawn(mails, HERE, "it refuses everybody")
    on.feed.flush()

    assert on.feed.left == []
    assert on.take_all() == []
    again = [on.feed.outcomes[n] for n in (1, 2)]
    assert {(o.state, o.code, o.attempted) for o in again} == {
        (DeliveryState.DEFERRED, reply.code, False)
    }
    assert all(o.due_at for o in again)
    assert on.feed.outcomes[3] == settled, "after 72 hours it is over"
    assert settled.state is DeliveryState.BOUNCED


@pytest.mark.parametrize("how", ["lost", "unfit"])
def test_the_note_of_a_dot_that_did_not_leave_is_taken_back(tmp_path: Path, how: str) -> None:
    on = stage(tmp_path, [addressee(1, "a.example")], relays=2)
    mail = on.feed.next_mail(HERE)
    assert mail is not None
    assert on.feed.dot_leaves(mail, HERE)
    if how == "lost":
        on.feed.not_sent(mail, HERE, "the connection was lost")
    else:
        on.feed.unfit(mail, HERE, "the letter is too long for it")
    on.feed.flush()

    assert read_notes(on.journal.lines(), 7, 3).outcomes == {}


def test_the_last_bounces_of_a_killed_process_are_in_doubt(tmp_path: Path) -> None:
    on = stage(tmp_path, [addressee(n, f"d{n}.example") for n in range(1, 9)])
    mails = [mail for mail in (on.feed.next_mail(HERE) for _ in range(8)) if mail]
    told = [GONE, TAKEN, GONE, Reply(554, None, "no"), GONE, GONE]
    for mail, reply in zip(mails, told, strict=False):
        assert on.feed.dot_leaves(mail, HERE)
        on.feed.answered(mail, HERE, reply)
    on.feed.answered(mails[6], THERE, TAKEN)
    on.feed.lost_after_dot(mails[7], HERE)
    on.feed.flush()

    notes = read_notes(on.journal.lines(), 7, 3).outcomes
    assert notes == {n: o for n, o in on.feed.outcomes.items() if n not in (5, 6)}
    assert sorted(notes) == [1, 2, 3, 4, 7, 8]


def test_the_notes_tell_what_the_feed_was_told(tmp_path: Path) -> None:
    on = stage(tmp_path, [addressee(n, "a.example") for n in range(1, 6)])
    mails = [mail for mail in (on.feed.next_mail(HERE) for _ in range(5)) if mail]
    for mail in mails:
        assert on.feed.dot_leaves(mail, HERE)
    on.feed.answered(mails[0], HERE, TAKEN)
    on.feed.answered(mails[1], HERE, GONE)
    on.feed.answered(mails[2], HERE, LATER)
    on.feed.lost_after_dot(mails[3], HERE)
    on.feed.flush()

    told = read_notes(on.journal.lines(), 7, 3).outcomes
    assert {n: told[n] for n in on.feed.outcomes} == on.feed.outcomes
    assert told[5].state is DeliveryState.UNCERTAIN
    assert told[5].relay == HERE.name
    assert read_notes(on.journal.lines(), 7, 4).outcomes == {}


def test_nobody_stays_for_a_letter_that_no_relay_in_reach_can_take(tmp_path: Path) -> None:
    on = stage(tmp_path, [addressee(1, "a.example")], relays=2)
    mail = on.feed.next_mail(HERE)
    assert mail is not None
    on.feed.unfit(mail, HERE, "the address needs SMTPUTF8")

    assert on.next_position(HERE) is None
    assert on.feed.wait_seconds() is None
    assert on.feed.left == [1]
    assert on.feed.misfits == "the address needs SMTPUTF8"
