"""A broken relay: the campaign waits and says for what, blames nobody, and goes on once it is mended."""

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select, update

from mailer.campaigns.account import count_states, reconcile
from mailer.campaigns.lifecycle import find_campaign
from mailer.campaigns.models import Delivery, DeliveryState
from mailer.campaigns.progress import look_at
from mailer.campaigns.resending import resend
from mailer.foundation.clock import real_now
from mailer.launch import launch_campaign
from mailer.runtime import Runtime
from mailer.sending.tools import SendingTools
from mailer.sending.work import send_batches, sweep
from mailer.smtp.patience import Patience
from mailer.smtp.pool import RelayPool
from recipients.models import Recipient, Suppression
from tests.conftest import NOW
from tests.making import ScriptedRelay, make_campaign, make_recipient, relay_running
from tests.servers.certificates import Authority, Certificate

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what a relay says, which is nothing to the database; how it is written down is tested on both."""
PEOPLE = 25
"""Each at a domain of their own: more than it takes to see that a refusal is not theirs."""
PASSWORD = "hemmelig-kode"
SHORT = Patience(
    connect=10.0,
    command=10.0,
    first_pause=0.05,
    longest_pause=0.2,
    look_every=0.05,
    farewell=0.2,
    slot=0.05,
)


@pytest.fixture
def relay() -> Iterator[ScriptedRelay]:
    with relay_running(ScriptedRelay()) as running:
        yield running


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def with_relays(runtime: Runtime, *urls: str, **settings: object) -> Runtime:
    changed = {"smtp_relays": SecretStr(" ".join(urls)), "worker_processes": 1, **settings}
    return replace(runtime, settings=runtime.settings.model_copy(update=changed))


def plain(relay: ScriptedRelay, **options: object) -> str:
    """The relay's URL, without TLS."""
    query = "".join(f"&{name}={value}" for name, value in options.items())
    return f"smtp://127.0.0.1:{relay.port}?starttls=never{query}"


def launch(runtime: Runtime, *addresses: str, name: str = "brev") -> int:
    with runtime.database.write() as db:
        for address in addresses:
            make_recipient(db, address=address)
        campaign = make_campaign(db, name=name)
        return launch_campaign(runtime.launch_tools, db, campaign, now=NOW).campaign_id


def everybody() -> list[str]:
    return [f"person{number}@kommune{number}.example" for number in range(PEOPLE)]


@contextmanager
def working(runtime: Runtime, patience: Patience = SHORT) -> Iterator[SendingTools]:
    """A worker's tools, with a pool that tries a broken relay again soon."""
    with runtime.sending_tools() as tools:
        pool = RelayPool(tools.relays, greet_as="brev.example", patience=patience)
        try:
            yield replace(tools, pool=pool)
        finally:
            tools.loop.run_until_complete(pool.close())


def try_for(tools: SendingTools, campaign_id: int, seconds: float) -> None:
    """What sweep and worker do, over and over, until the campaign is finished or the time is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sweep(tools, workers=1)
        send_batches(tools, campaign_id=campaign_id)
        with tools.database.read() as db:
            if not reconcile(db, find_campaign(db, "brev")).ok or is_done(tools):
                return
        time.sleep(0.05)


def is_done(tools: SendingTools) -> bool:
    with tools.database.read() as db:
        return find_campaign(db, "brev").state == "finished"


def assert_waits(runtime: Runtime, *words: str) -> None:
    """Still sending, with the reason; every delivery pending and as if it had never been tried."""
    with runtime.database.read() as db:
        campaign = find_campaign(db, "brev")
        progress = look_at(db, campaign, now=real_now(), shown=NOW, zone=runtime.settings.zone)
        proof = reconcile(db, campaign)
        touched = db.scalar(
            select(func.count()).where(
                (Delivery.attempts > 0)
                | Delivery.code.is_not(None)
                | Delivery.reason.is_not(None)
                | Delivery.first_deferred_at.is_not(None)
            )
        )
        suppressed = db.scalar(select(func.count()).select_from(Suppression))
    assert progress.state == "sending"
    assert proof.ok
    assert proof.deliveries["pending"] == proof.audience
    assert (touched, suppressed) == (0, 0)
    assert progress.waiting_for is not None
    for word in words:
        assert word in progress.waiting_for
    assert PASSWORD not in progress.waiting_for
    assert "@" not in progress.waiting_for, "nobody's address"


def assert_finished(runtime: Runtime, *relays: ScriptedRelay) -> None:
    """Everybody got it once, at the first counted attempt, and nothing is waited for."""
    with runtime.database.read() as db:
        campaign = find_campaign(db, "brev")
        assert reconcile(db, campaign).complete
        assert count_states(db, campaign.id)["sent"] == campaign.audience
        assert db.scalars(select(Delivery.attempts).distinct()).all() == [1]
        assert (
            look_at(db, campaign, now=real_now(), shown=NOW, zone=runtime.settings.zone).waiting_for
            is None
        )
        assert campaign.state == "finished"
    received = [to for relay in relays for to in relay.recipients]
    assert len(received) == len(set(received)) == campaign.audience


def refuse_every_recipient(relay: ScriptedRelay) -> None:
    relay.everybody = "554 5.7.1 <{}>: Relay access denied"


def say_everybody_is_unknown(relay: ScriptedRelay) -> None:
    relay.everybody = "550 5.1.1 <{}>: Recipient address rejected: User unknown"


def defer_every_recipient(relay: ScriptedRelay) -> None:
    relay.everybody = "451 4.3.0 <{}>: Temporary lookup failure"


def refuse_to_talk(relay: ScriptedRelay) -> None:
    relay.greeting = "554 5.3.2 no service here"


def refuse_to_talk_now(relay: ScriptedRelay) -> None:
    relay.greeting = "421 4.3.2 down for maintenance"


def refuse_our_sender(relay: ScriptedRelay) -> None:
    relay.mail = "550 5.7.1 sender not allowed"


def refuse_our_sender_now(relay: ScriptedRelay) -> None:
    relay.mail = "452 4.3.1 Insufficient system storage"


def refuse_the_password(relay: ScriptedRelay) -> None:
    relay.auth = "535 5.7.8 authentication failed"


def stop_offering_to_sign_in(relay: ScriptedRelay) -> None:
    relay.extensions = ("PIPELINING", "8BITMIME", "SMTPUTF8")


def speak_something_else(relay: ScriptedRelay) -> None:
    relay.greeting = "HTTP/1.1 400 Bad Request"


HEALTHY = ScriptedRelay(extensions=("PIPELINING", "8BITMIME", "SMTPUTF8", "AUTH PLAIN"))


def mend(relay: ScriptedRelay) -> None:
    for name in ("greeting", "mail", "auth", "everybody", "extensions"):
        setattr(relay, name, getattr(HEALTHY, name))


@ON_SQLITE
@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (say_everybody_is_unknown, ("it refuses everybody", "550 5.1.1", "User unknown")),
        (defer_every_recipient, ("it refuses everybody", "451 4.3.0", "Temporary lookup failure")),
        (refuse_to_talk, ("554 5.3.2", "no service here")),
        (refuse_to_talk_now, ("421 4.3.2", "down for maintenance")),
        (refuse_our_sender, ("our sender", "550 5.7.1", "sender not allowed")),
        (refuse_our_sender_now, ("our sender", "452 4.3.1", "Insufficient system storage")),
        (refuse_the_password, ("user name or password", "535 5.7.8")),
        (stop_offering_to_sign_in, ("does not offer to sign in",)),
        (speak_something_else, ("does not speak SMTP",)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_relay_that_will_not_have_us_is_waited_for_and_nobody_is_blamed(
    runtime: Runtime,
    relay: ScriptedRelay,
    break_it: Callable[[ScriptedRelay], None],
    words: tuple[str, ...],
) -> None:
    mend(relay)
    break_it(relay)
    with_password = plain(relay).replace("//", f"//brevduen:{PASSWORD}@")
    runtime = with_relays(runtime, with_password)
    campaign_id = launch(runtime, *everybody())
    with working(runtime) as tools:
        try_for(tools, campaign_id, 0.4)
        assert_waits(runtime, f"relay 127.0.0.1:{relay.port}", *words)
        assert relay.recipients == []

        mend(relay)
        try_for(tools, campaign_id, 20)

    assert_finished(runtime, relay)


def shows(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.certificate, certificate.key)
    return context


@ON_SQLITE
@pytest.mark.parametrize(
    ("host", "expired", "words"),
    [
        ("localhost", True, "expired"),
        ("elsewhere.example", False, "Hostname mismatch"),
        (None, False, "does not offer STARTTLS"),
    ],
    ids=["expired", "wrong name", "none"],
)
def test_a_relay_without_a_good_certificate_gets_no_letter(
    runtime: Runtime,
    relay: ScriptedRelay,
    authority: Authority,
    host: str | None,
    expired: bool,
    words: str,
) -> None:
    relay.protection = shows(authority.issue(host, expired=expired)) if host else None
    url = f"smtp://brevduen:{PASSWORD}@localhost:{relay.port}?ca={authority.ca}"
    relay.extensions = HEALTHY.extensions
    runtime = with_relays(runtime, url)
    campaign_id = launch(runtime, *everybody())
    with working(runtime) as tools:
        try_for(tools, campaign_id, 0.5)
        assert_waits(runtime, f"relay localhost:{relay.port}", words)
        assert relay.begun == []

        relay.protection = shows(authority.issue("localhost"))
        try_for(tools, campaign_id, 20)

    assert_finished(runtime, relay)


@ON_SQLITE
def test_a_relay_of_an_unknown_authority_gets_no_letter(
    runtime: Runtime, relay: ScriptedRelay, authority: Authority
) -> None:
    relay.protection = shows(authority.issue("localhost"))
    runtime = with_relays(runtime, f"smtp://localhost:{relay.port}")
    campaign_id = launch(runtime, *everybody())
    with working(runtime) as tools:
        try_for(tools, campaign_id, 0.3)

    assert_waits(runtime, f"relay localhost:{relay.port}", "certificate is not trusted")
    assert relay.begun == []


@ON_SQLITE
def test_a_relay_whose_name_does_not_resolve_is_waited_for(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    runtime = with_relays(runtime, "smtp://relay.invalid:25?starttls=never")
    campaign_id = launch(runtime, *everybody())
    with working(runtime) as tools:
        try_for(tools, campaign_id, 0.3)
    assert_waits(runtime, "relay relay.invalid:25", "not known")

    mended = with_relays(runtime, plain(relay))
    with working(mended) as tools:
        try_for(tools, campaign_id, 20)

    assert_finished(mended, relay)


def test_a_relay_that_refuses_everybody_is_waited_for_and_nobody_is_blamed(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    refuse_every_recipient(relay)
    runtime = with_relays(runtime, plain(relay))
    campaign_id = launch(runtime, *everybody())
    with working(runtime) as tools:
        try_for(tools, campaign_id, 0.4)
        assert_waits(runtime, f"relay 127.0.0.1:{relay.port}", "it refuses everybody", "554 5.7.1")

        mend(relay)
        try_for(tools, campaign_id, 20)

    assert_finished(runtime, relay)


@ON_SQLITE
def test_a_relay_is_not_tried_with_the_same_dead_letter_for_ever(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    say_everybody_is_unknown(relay)
    runtime = with_relays(runtime, plain(relay))
    campaign_id = launch(runtime, *everybody())
    with working(runtime) as tools:
        try_for(tools, campaign_id, 0.3)
        assert_waits(runtime, "it refuses everybody")

        mend(relay)
        with runtime.database.read() as db:
            whose = select(Delivery.recipient_id).where(Delivery.position == 1)
            first = db.scalars(
                select(Recipient.email).where(Recipient.id == whose.scalar_subquery())
            ).one()
        relay.rcpt[first] = f"550 5.1.1 <{first}>: Recipient address rejected: User unknown"
        try_for(tools, campaign_id, 20)

    with runtime.database.read() as db:
        counts = count_states(db, campaign_id)
    assert (counts["sent"], counts["bounced"]) == (PEOPLE - 1, 1)


@pytest.mark.parametrize("lost", [False, True], ids=["refused", "lost before the dot"])
def test_too_few_letters_to_tell_whose_fault_it_is_go_later_and_count_no_attempt(
    runtime: Runtime, relay: ScriptedRelay, lost: bool
) -> None:
    """A relay that begins to refuse everybody when fewer than twenty domains are left."""
    few = [f"person{number}@kommune{number}.example" for number in range(1 if lost else 10)]
    if lost:
        relay.cut_before_dot[few[0]] = 3
    else:
        relay.everybody = "550 5.1.1 <{}>: Recipient address rejected: User unknown"
    runtime = with_relays(runtime, plain(relay), retry_after="2s")
    campaign_id = launch(runtime, *few)
    with working(runtime) as tools:
        send_batches(tools, campaign_id=campaign_id)
        with runtime.database.read() as db:
            proof = reconcile(db, find_campaign(db, "brev"))
            assert proof.ok
            assert proof.deliveries["deferred"] == len(few)
            assert db.scalars(select(Delivery.attempts).distinct()).all() == [0]
            assert db.scalar(select(func.count()).select_from(Suppression)) == 0

        mend(relay)
        try_for(tools, campaign_id, 20)

    assert_finished(runtime, relay)


@ON_SQLITE
def test_a_letter_that_always_breaks_its_connection_ends_and_is_held_against_nobody(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    breaks, goes = "person1@kommune1.example", "person2@kommune2.example"
    relay.cut_before_dot[breaks] = 1_000
    runtime = with_relays(runtime, plain(relay), retry_after="1s")
    campaign_id = launch(runtime, breaks, goes)
    with working(runtime) as tools:
        try_for(tools, campaign_id, 3)
        with runtime.database.write() as db:
            counts = count_states(db, campaign_id)
            assert (counts["sent"], counts["failed"]) == (1, 0)
            assert counts["deferred"] + counts["pending"] == 1
            since = {"first_deferred_at": real_now() - timedelta(hours=73)}
            unsent = Delivery.state != "sent"
            assert db.scalar(select(Delivery.first_deferred_at).where(unsent)) is not None
            db.execute(update(Delivery).where(unsent).values(since))
        try_for(tools, campaign_id, 20)

    assert is_done(tools)
    with runtime.database.write() as db:
        proof = reconcile(db, find_campaign(db, "brev"))
        assert (proof.ok, proof.complete, proof.deliveries["failed"]) == (True, True, 1)
        ended = db.scalars(select(Delivery).where(Delivery.state == "failed")).one()
        assert (ended.attempts, ended.code) == (0, None)
        assert (
            ended.reason
            == "given up after 72 hours: the connection was lost before the letter was taken"
        )
        assert db.scalar(select(func.count()).select_from(Suppression)) == 0
        relay.cut_before_dot.clear()
        assert resend(db, find_campaign(db, "brev"), DeliveryState.FAILED, now=real_now()) == 1
    with working(runtime) as tools:
        try_for(tools, campaign_id, 20)
    assert sorted(relay.recipients) == [breaks, goes]


def test_domains_that_stay_dead_are_put_off_and_do_not_hold_up_the_campaign(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    """Deferred among letters that arrive, they meet again in a batch of nobody else."""
    dead = [f"p@mistet{number}.example" for number in range(25)]
    for address in dead:
        relay.rcpt[address] = "450 4.1.2 Recipient address rejected: Domain not found"
    alive = [f"p@levende{number}.example" for number in range(25)]
    together = [address for pair in zip(dead, alive, strict=True) for address in pair]
    runtime = with_relays(runtime, plain(relay, connections=1), retry_after="1h")
    campaign_id = launch(runtime, *together)
    with working(runtime) as tools:
        send_batches(tools, campaign_id=campaign_id)
        assert "levende" in [said for _, said in relay.begun if said.startswith("RCPT")][-1]
        with runtime.database.read() as db:
            assert count_states(db, campaign_id)["deferred"] == 25
        now = real_now()
        with runtime.database.write() as db:
            db.execute(update(Delivery).where(Delivery.state == "deferred").values(due_at=now))
        sweep(tools, workers=1)
        send_batches(tools, campaign_id=campaign_id)

    with runtime.database.read() as db:
        put_off = db.execute(
            select(Delivery.due_at, Delivery.attempts).where(Delivery.state == "deferred")
        ).all()
        assert reconcile(db, find_campaign(db, "brev")).ok
    assert len(put_off) >= 20, "everybody of whom the relay was asked"
    assert all(due_at > now for due_at, _ in put_off)
    assert {attempts for _, attempts in put_off} == {1}, "the second was none: whose fault is it?"


def test_a_relay_that_is_not_there_is_waited_for(runtime: Runtime) -> None:
    with relay_running(ScriptedRelay()) as gone:
        port = gone.port
    runtime = with_relays(runtime, f"smtp://127.0.0.1:{port}?starttls=never")
    campaign_id = launch(runtime, *everybody())
    with working(runtime) as tools:
        try_for(tools, campaign_id, 0.3)
        assert_waits(runtime, f"relay 127.0.0.1:{port}", "Connection refused")

        with relay_running(ScriptedRelay(port=port)) as back:
            try_for(tools, campaign_id, 20)

    assert_finished(runtime, back)


@ON_SQLITE
def test_a_relay_that_says_nothing_is_waited_for(runtime: Runtime, relay: ScriptedRelay) -> None:
    relay.greeting = None
    runtime = with_relays(runtime, plain(relay, connections=2))
    campaign_id = launch(runtime, *everybody())
    with working(runtime, replace(SHORT, command=0.2)) as tools:
        try_for(tools, campaign_id, 0.5)
        assert_waits(runtime, f"relay 127.0.0.1:{relay.port}", "does not answer")

    mend(relay)
    with working(runtime) as tools:
        try_for(tools, campaign_id, 20)

    assert_finished(runtime, relay)


def test_an_address_that_no_relay_can_take_fails_alone_with_that_reason(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    relay.extensions = ("PIPELINING", "8BITMIME")
    with relay_running(ScriptedRelay(extensions=("8BITMIME",))) as other:
        runtime = with_relays(runtime, plain(relay), plain(other))
        campaign_id = launch(runtime, "søren@kommune.example", *everybody())
        with working(runtime) as tools:
            try_for(tools, campaign_id, 20)

    with runtime.database.read() as db:
        campaign = find_campaign(db, "brev")
        counts = count_states(db, campaign.id)
        failed = db.scalars(select(Delivery).where(Delivery.state == "failed")).one()
    assert (counts["sent"], counts["failed"]) == (PEOPLE, 1)
    assert campaign.state == "finished"
    assert failed.reason is not None
    assert "SMTPUTF8" in failed.reason
    assert failed.attempts == 0
    assert not any("søren" in line for _, line in [*relay.begun, *other.begun])


def test_an_address_goes_to_the_one_relay_that_can_take_it(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    relay.extensions = ("PIPELINING", "8BITMIME")
    addresses = [f"søren{number}@kommune.example" for number in range(5)]
    with relay_running(ScriptedRelay()) as other:
        runtime = with_relays(runtime, plain(relay), plain(other))
        campaign_id = launch(runtime, *addresses, *everybody())
        with working(runtime) as tools:
            try_for(tools, campaign_id, 20)

    assert_finished(runtime, relay, other)
    assert set(addresses) <= set(other.recipients)


@ON_SQLITE
def test_an_address_whose_only_able_relay_is_away_waits_for_it(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    relay.extensions = ("PIPELINING", "8BITMIME")
    with relay_running(ScriptedRelay(greeting="554 5.3.2 not now")) as able:
        runtime = with_relays(runtime, plain(relay), plain(able))
        campaign_id = launch(runtime, "søren@kommune.example", *everybody())
        with working(runtime) as tools:
            try_for(tools, campaign_id, 0.7)
            with runtime.database.read() as db:
                counts = count_states(db, campaign_id)
            assert (counts["sent"], counts["pending"]) == (PEOPLE, 1)

            mend(able)
            try_for(tools, campaign_id, 20)

        assert_finished(runtime, relay, able)


def test_of_two_relays_the_good_one_carries_everything_and_the_other_joins_when_mended(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    with relay_running(ScriptedRelay(greeting="554 5.3.2 no service")) as broken:
        runtime = with_relays(runtime, plain(broken, connections=2), plain(relay, connections=2))
        campaign_id = launch(runtime, *everybody())
        with working(runtime) as tools:
            try_for(tools, campaign_id, 20)
            assert_finished(runtime, relay)

            mend(broken)
            relay.delay_dot_seconds = broken.delay_dot_seconds = 0.01
            time.sleep(SHORT.longest_pause)
            another = launch(runtime, name="andet-brev")
            send_batches(tools, campaign_id=another)

        assert broken.recipients
        assert len(broken.recipients) + len(relay.recipients) == 2 * PEOPLE
        with runtime.database.read() as db:
            assert count_states(db, another)["sent"] == PEOPLE


@ON_SQLITE
def test_two_relays_share_by_weight(runtime: Runtime, relay: ScriptedRelay) -> None:
    relay.delay_dot_seconds = 0.06  # so that the relays wait, and not this process for itself
    with relay_running(ScriptedRelay(delay_dot_seconds=0.06)) as strong:
        runtime = with_relays(
            runtime,
            plain(relay, connections=6, weight=1),
            plain(strong, connections=6, weight=3),
        )
        campaign_id = launch(runtime, *[f"p{n}@d{n % 50}.example" for n in range(160)])
        with working(runtime) as tools:
            try_for(tools, campaign_id, 20)

        assert_finished(runtime, relay, strong)
        assert 2 < len(strong.recipients) / len(relay.recipients) < 4
