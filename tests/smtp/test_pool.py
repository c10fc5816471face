"""How relays share the mail, how long one that fails is left alone, and how a sending ends."""

import asyncio
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mailer.smtp.envelope import Mail
from mailer.smtp.patience import Patience
from mailer.smtp.pool import RelayPool
from mailer.smtp.relays import Relay, parse_relay
from mailer.smtp.replies import Reply
from tests.smtp.scripted import ALL, CUT, SILENCE, Account, Letter, Script, letter, letters, serving
from tests.smtp.talking import QUICK, check, pool_for, send_over, slow, url

Scenario = Callable[[], Awaitable[None]]
BRIEF = slow(first_pause=0.1, longest_pause=0.4)


def run(scenario: Scenario) -> None:
    async def guarded() -> None:
        async with asyncio.timeout(20):
            await scenario()

    asyncio.run(guarded())


def test_no_more_connections_are_opened_than_there_is_mail() -> None:
    script = Script()
    asyncio.run(send_over(script, letters(2), options="connections=8"))
    assert script.connections <= 2

    script = Script(delay_dot=0.05)
    asyncio.run(send_over(script, letters(40), options="connections=4"))
    assert script.connections == script.most_at_once == 4


def test_a_pool_without_mail_opens_nothing() -> None:
    script = Script()
    account, pool = asyncio.run(send_over(script, []))
    assert script.connections == 0
    assert pool.trouble is None
    assert account.told == {}


def test_without_relays_the_trouble_is_named() -> None:
    async def scenario() -> None:
        pool = RelayPool([], greet_as="brev.example")
        account = Account(letters(1))
        await pool.send(account)
        assert pool.trouble == "no relay is set"
        assert len(account.waiting) == 1

    run(scenario)


def test_connections_are_kept_from_one_sending_to_the_next() -> None:
    async def scenario() -> None:
        script = Script()
        async with serving(script):
            pool = pool_for(script, options="connections=2")
            for _ in range(3):
                account = Account(letters(10))
                await pool.send(account)
                check(
                    Script(
                        accepted=script.accepted[-10:],
                        senders=script.senders[-10:],
                        bodies=script.bodies[-10:],
                    ),
                    account,
                )
            await pool.close()
        assert script.connections <= 2
        assert "RSET" not in script.commands

    run(scenario)


def test_an_idle_connection_that_died_meanwhile_costs_nothing() -> None:
    async def scenario() -> None:
        script = Script()
        async with serving(script):
            pool = pool_for(script)
            await pool.send(Account(letters(3)))
            script.writers[0].transport.abort()
            await asyncio.sleep(0.05)
            account = Account(letters(3))
            await pool.send(account)
            await pool.close()
        assert all(told == ["250"] for told in account.told.values())
        assert script.connections == 2

    run(scenario)


def test_a_death_seen_only_when_a_letter_is_begun_does_not_count_against_the_letter() -> None:
    async def scenario() -> None:
        script = Script(replies={f"{number} MAIL": CUT for number in (2, 3, 4, 5, 6, 7)})
        async with serving(script):
            pool = pool_for(script)
            await pool.send(Account([letter("first@d.example")]))
            account = Account([letter("a@d.example")])
            await pool.send(account)
            assert account.told["a@d.example"] == ["not sent", "not sent", "not sent", "spared"]

    run(scenario)


def test_after_a_long_rest_a_sign_of_life_is_asked_for() -> None:
    async def scenario() -> None:
        script = Script(replies={"2 RSET": f"421 too long{CUT}"})
        async with serving(script):
            pool = pool_for(script, patience=slow(idle=0.02))
            for _ in range(3):
                account = Account(letters(2))
                await pool.send(account)
                assert account.told["p1@d0.example"] == ["250"]
                await asyncio.sleep(0.05)
        assert script.counts["RSET"] == 2
        assert script.connections == 2
        assert account.told["p0@d0.example"] == ["not sent", "250"]

    run(scenario)


def test_a_connection_grows_only_so_old() -> None:
    for options in ("connections=1&letters=3", "connections=1&letters=3&chunking=2"):
        script = Script(extensions=(*ALL, "CHUNKING"))
        account, _ = asyncio.run(send_over(script, letters(10), options=options))
        assert set(account.codes.values()) == {250}
        assert max(Counter(script.taken_on).values()) == 3
        assert script.connections == 4
        assert script.commands.count("QUIT") == 4


def test_mail_that_may_go_later_is_waited_for() -> None:
    class Slow(Account):
        asked = 0

        def next_mail(self, relay: object) -> object:  # type: ignore[override]
            self.asked += 1
            if self.asked % 3:
                return None
            return super().next_mail(relay)  # type: ignore[arg-type]

        def wait_seconds(self) -> float | None:
            return 0.01 if self.waiting else None

    async def scenario() -> None:
        script = Script()
        account = Slow(letters(5))
        async with serving(script):
            pool = pool_for(script)
            await pool.send(account)  # type: ignore[arg-type]
            await pool.close()
        check(script, account)
        assert len(script.accepted) == 5

    run(scenario)


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ({"MAIL": "550 5.7.1 not from you"}, "refuses our sender: 550"),
        ({"MAIL": "451 4.3.0 later"}, "refuses our sender: 451"),
        ({"MAIL": f"421 4.3.2 later{CUT}"}, "refuses our sender: 421"),
        ({"GREETING": f"421 4.3.2 later{CUT}"}, "refuses connections"),
        ({"EHLO": "421 4.3.2 later"}, "refuses our greeting"),
    ],
)
@pytest.mark.parametrize("extensions", [ALL, ALL[1:], (*ALL, "CHUNKING")])
def test_a_relay_that_fails_costs_no_letter_and_is_left_alone(
    replies: dict[str, str], reason: str, extensions: tuple[str, ...]
) -> None:
    script = Script(replies=replies, extensions=extensions)
    options = "connections=1&chunking=1" if "CHUNKING" in extensions else "connections=1"
    account, pool = asyncio.run(send_over(script, letters(5), options=options))
    assert not account.replies
    assert len(account.waiting) == 5
    assert pool.trouble is not None
    assert pool.trouble.startswith(f"relay 127.0.0.1:{script.port}: ")
    assert reason in pool.trouble
    assert 4 < pool.retry_in <= 5
    assert script.connections == 1


def test_a_relay_is_left_alone_longer_each_time_and_then_tried_with_one_mail() -> None:
    async def scenario() -> None:
        script = Script(replies={"GREETING": "554 5.3.2 not now"})
        account = Account(letters(20, domains=20))
        async with serving(script):
            pool = pool_for(script, options="connections=4", patience=BRIEF)
            pauses = []
            for _ in range(4):
                await pool.send(account)
                pauses.append(pool.retry_in)
                await pool.send(account)
                assert script.connections == len(pauses), "it was not left alone"
                await asyncio.sleep(pool.retry_in + 0.01)
            assert [round(pause, 1) for pause in pauses] == [0.1, 0.2, 0.4, 0.4]
            script.replies.clear()
            await pool.send(account)
            assert pool.trouble is None
            await pool.close()
        check(script, account)
        assert len(script.accepted) == 20

    run(scenario)


def test_the_same_refusal_to_twenty_domains_in_a_row_is_the_relays_own() -> None:
    async def scenario() -> None:
        script = Script(replies={"RCPT": "550 5.7.1 client host 1.2.3.4 blocked"})
        account = Account(letters(60, domains=60))
        async with serving(script):
            pool = pool_for(script, patience=BRIEF)
            await pool.send(account)
            assert [told for told in account.told.values() if told == ["550", "withdrawn"]] == [
                ["550", "withdrawn"]
            ] * 20
            assert len(account.told) in (20, 21)  # one more may have been on its way
            assert "it refuses everybody: 550 5.7.1 client host" in str(pool.trouble)

            await asyncio.sleep(pool.retry_in + 0.01)
            before = script.counts["RCPT"]
            await pool.send(account)
            assert script.counts["RCPT"] == before + 1
            assert sum(told == ["550", "withdrawn"] for told in account.told.values()) == 21

            script.replies.clear()
            await asyncio.sleep(pool.retry_in + 0.01)
            await pool.send(account)
            assert pool.trouble is None
            assert not account.waiting

    run(scenario)


def test_refusals_that_differ_or_are_interrupted_are_the_recipients() -> None:
    mails = letters(90, domains=90)
    answers = {f"RCPT {mail.to}": "550 5.1.1 unknown" for mail in mails}
    for every, other in ((19, "250 ok"), (19, "450 4.2.1 later"), (1, "550 5.1.1 unknown at {}")):
        replies = dict(answers)
        for number, mail in enumerate(mails):
            if number % every == 0:
                replies[f"RCPT {mail.to}"] = other.format("abcdefghij"[number % 10])
        account, pool = asyncio.run(send_over(Script(replies=replies), mails))
        assert len(account.told) == 90
        assert pool.trouble is None


def test_only_mail_of_this_sending_is_withdrawn() -> None:
    """What was told of earlier mail has been acted on."""

    async def scenario() -> None:
        script = Script(replies={"RCPT": "550 5.7.1 blocked"})
        mails = letters(30, domains=30)
        first, second = Account(mails[:12]), Account(mails[12:])
        async with serving(script):
            pool = pool_for(script)
            await pool.send(first)
            await pool.send(second)
            assert all(told == ["550", "spared"] for told in first.told.values())
            assert sum(told == ["550", "withdrawn"] for told in second.told.values()) in (8, 9)
            assert "refuses everybody" in str(pool.trouble)

    run(scenario)


def test_the_last_letters_refused_alike_are_spared_until_more_is_known() -> None:
    """A relay that begins to refuse everybody near the end, before twenty domains saw it."""

    async def scenario() -> None:
        mails = letters(40, domains=40)
        script = Script(replies={f"RCPT {mail.to}": "550 5.7.1 blocked" for mail in mails[25:]})
        account = Account(mails)
        async with serving(script):
            pool = pool_for(script)
            await pool.send(account)
            assert [account.told[mail.to] for mail in mails] == [["250"]] * 25 + [["550", "spared"]] * 15

            more = Account(letters(10, domains=10, data=b"more\r\n"))
            script.replies = {"RCPT": "550 5.7.1 blocked"}
            await pool.send(more)
            assert pool.trouble is not None, "the run goes on in the next sending"
            assert sum(told == ["550", "withdrawn"] for told in more.told.values()) == 5
            await pool.close()

    run(scenario)


def test_a_letter_taken_after_refusals_lets_them_stand() -> None:
    mails = letters(11, domains=11)
    script = Script(replies={f"RCPT {mail.to}": "550 5.7.1 blocked" for mail in mails[:10]})
    account, _ = asyncio.run(send_over(script, mails))
    assert [account.told[mail.to] for mail in mails] == [["550"]] * 10 + [["250"]]


def test_refusals_of_one_or_two_domains_are_theirs() -> None:
    script = Script(replies={"RCPT": "550 5.1.1 unknown"})
    account, _ = asyncio.run(send_over(script, letters(10, domains=2)))
    assert set(map(tuple, account.told.values())) == {("550",)}


def test_the_last_letters_refused_alike_are_spared_every_time() -> None:
    """The feed knows how long each has been tried; a pool does not."""

    async def scenario() -> None:
        script = Script(replies={"RCPT": "550 5.1.1 unknown"})
        async with serving(script):
            pool = pool_for(script)
            for _ in range(5):
                account = Account(letters(5, domains=5))
                await pool.send(account)
                assert account.told["p4@d4.example"] == ["550", "spared"]
            await pool.close()

    run(scenario)


def test_the_same_refusal_within_one_domain_is_that_domains() -> None:
    script = Script(replies={"RCPT": "450 4.7.1 greylisted"})
    account, pool = asyncio.run(send_over(script, letters(60, domains=19)))
    assert set(account.codes.values()) == {450}
    assert len(account.codes) == 60
    assert pool.trouble is None


def test_one_refusal_said_in_each_domains_name_is_still_one() -> None:
    mails = [letter(f"a@{first}{second}.example") for first in "abcdef" for second in "ghijk"]
    replies = {
        f"RCPT {mail.to}": f"554 5.7.1 <{mail.to}>: {mail.to.partition('@')[2]} blocked, id 4F{number}"
        for number, mail in enumerate(mails)
    }
    account, pool = asyncio.run(send_over(Script(replies=replies), mails))
    assert "refuses everybody" in str(pool.trouble)
    assert any(told[-1] == "withdrawn" for told in account.told.values())


def test_a_relay_that_always_hangs_up_is_left_alone() -> None:
    script = Script(replies={"RCPT": CUT})
    account, pool = asyncio.run(send_over(script, letters(50, domains=50), options="connections=4"))
    assert "it takes no letter" in str(pool.trouble)
    assert script.connections < 30
    assert len(account.replies) < 12


def test_a_letter_that_breaks_every_connection_does_not_block_the_others() -> None:
    script = Script(replies={"DATA p3@d3.example": CUT})
    account, pool = asyncio.run(send_over(script, letters(20, domains=20), options="connections=2"))
    assert account.told["p3@d3.example"] == ["not sent", "not sent", "spared"]
    assert sum(told[-1] == "250" for told in account.told.values()) == 19
    assert pool.trouble is None


@pytest.mark.parametrize("how", ["421 4.7.0 too many connections", "554 5.7.0 go away", CUT])
def test_a_relay_that_wants_fewer_connections_gets_fewer_and_goes_on(how: str) -> None:
    script = Script(refuse_beyond=3, refuse_with=how, delay_dot=0.01)
    account, pool = asyncio.run(send_over(script, letters(60), options="connections=8"))
    assert set(account.codes.values()) == {250}
    assert len(account.codes) == 60
    assert pool.trouble is None
    assert script.connections < 12


def test_connections_come_back_one_by_one() -> None:
    async def scenario() -> None:
        script = Script(refuse_beyond=2, delay_dot=0.01)
        async with serving(script):
            pool = pool_for(script, options="connections=6", patience=slow(next_connection=0.1))
            await pool.send(Account(letters(30)))
            script.refuse_beyond, script.most_at_once = None, 0
            account = Account(letters(400))
            await pool.send(account)
            assert set(account.codes.values()) == {250}
            assert script.most_at_once == 6
            await pool.close()

    run(scenario)


def test_a_mail_goes_to_another_relay_when_one_cannot_be_used() -> None:
    async def scenario() -> None:
        broken = Script(replies={"GREETING": "554 5.3.2 no"})
        works = Script()
        account = Account(letters(30))
        async with serving(broken), serving(works):
            pool = pool_for(broken, works, options="connections=2")
            await pool.send(account)
            assert pool.trouble is None
            assert pool.retry_in == 0
            await pool.close()
        check(works, account)
        assert len(works.accepted) == 30
        assert broken.connections == 1

    run(scenario)


def test_trouble_names_every_relay_when_none_can_be_used() -> None:
    async def scenario() -> None:
        one, other = Script(replies={"MAIL": "550 no"}), Script(replies={"GREETING": "554 no"})
        async with serving(one), serving(other):
            pool = pool_for(one, other)
            await pool.send(Account(letters(5)))
            assert str(one.port) in str(pool.trouble)
            assert str(other.port) in str(pool.trouble)

    run(scenario)


def test_relays_share_by_weight() -> None:
    async def scenario(count: int, connections: int) -> list[int]:
        scripts = [Script(delay_dot=0.01), Script(delay_dot=0.01)]
        account = Account(letters(count))
        async with serving(scripts[0]), serving(scripts[1]):
            pool = pool_for(
                *scripts, change=lambda number: f"connections={connections}&weight={(3, 1)[number]}"
            )
            await pool.send(account)
            await pool.close()
        return [len(script.accepted) for script in scripts]

    heavy, light = asyncio.run(scenario(400, 8))
    assert 2 <= heavy / light <= 4.5
    heavy, light = asyncio.run(scenario(8, 16))
    assert (heavy, light) == (6, 2)


def test_a_relay_that_comes_back_does_not_get_all_it_missed() -> None:
    async def scenario() -> None:
        back, steady = Script(replies={"GREETING": "554 5.3.2 no"}), Script()
        async with serving(back), serving(steady):
            pool = pool_for(back, steady, options="connections=8", patience=BRIEF)
            await pool.send(Account(letters(100)))
            assert len(steady.accepted) == 100
            back.replies.clear()
            await asyncio.sleep(BRIEF.longest_pause + 0.1)
            await pool.send(Account(letters(10)))
            assert 1 <= len(back.accepted) <= 6
            await pool.close()

    run(scenario)


def test_a_slow_relay_holds_up_no_other() -> None:
    async def scenario() -> None:
        slow_one, quick = Script(delay_dot=0.5), Script()
        account = Account(letters(200))
        async with serving(slow_one), serving(quick):
            pool = pool_for(slow_one, quick, options="connections=2")
            await pool.send(account)
            await pool.close()
        assert len(slow_one.accepted) <= 12
        assert len(quick.accepted) >= 188

    run(scenario)


def test_a_relay_for_which_there_is_no_mail_does_not_stop_the_other() -> None:
    class Choosy(Account):
        only = 0

        def next_mail(self, relay: object) -> object:  # type: ignore[override]
            return super().next_mail(relay) if relay.port == self.only else None  # type: ignore[arg-type,attr-defined]

    async def scenario() -> None:
        idle, works = Script(), Script()
        account = Choosy(letters(100))
        async with serving(idle), serving(works):
            account.only = works.port
            pool = pool_for(idle, works, options="connections=2")
            await pool.send(account)  # type: ignore[arg-type]
            await pool.close()
        assert len(works.accepted) == 100
        assert idle.connections == 0

    run(scenario)


def test_processes_share_the_connections_of_a_machine(tmp_path: Path) -> None:
    """Another process holds the only connection; when it is killed, its slot is free at once."""
    holder = textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        from mailer.smtp.slots import Slots
        slot = Slots(Path({str(tmp_path)!r}), sys.argv[1], 2).take()
        print("held", flush=True)
        time.sleep(60)
        """
    )

    async def scenario() -> None:
        script = Script()
        async with serving(script):
            name = f"127.0.0.1:{script.port}"
            others = [
                subprocess.Popen(  # noqa: ASYNC220
                    [sys.executable, "-c", holder, name], stdout=subprocess.PIPE, text=True
                )
                for _ in range(2)
            ]
            try:
                for other in others:
                    assert other.stdout is not None
                    assert other.stdout.readline() == "held\n"
                relay = parse_relay(url(script, "connections=2"))
                pool = RelayPool([relay], greet_as="x.example", slots_dir=tmp_path, patience=QUICK)
                account = Account(letters(5))
                await pool.send(account)
                assert pool.trouble == (
                    f"relay {name}: all 2 connections to the relay are in use by other processes"
                )
                assert 0 < pool.retry_in < 5
                assert len(account.waiting) == 5
                others[0].kill()
                others[0].wait()
                await pool.send(account)
                assert pool.trouble is None
                assert script.most_at_once == 1
                await pool.close()
            finally:
                for other in others:
                    other.kill()
                    other.communicate()
            check(script, account)

    run(scenario)


def test_with_fewer_connections_than_processes_each_gets_its_turn(tmp_path: Path) -> None:
    async def scenario() -> None:
        script = Script()
        async with serving(script):
            relay = parse_relay(url(script, "connections=1"))
            pools = [
                RelayPool([relay], greet_as="x.example", processes=3, slots_dir=tmp_path, patience=QUICK)
                for _ in range(3)
            ]
            for number, pool in enumerate(pools):
                account = Account([letter(f"a{number}@d.example")])
                await pool.send(account)
                assert pool.trouble is None
                assert account.told == {f"a{number}@d.example": ["250"]}
            for pool in pools:
                await pool.close()
        assert script.most_at_once == 1

    run(scenario)


def test_a_process_opens_its_share_and_no_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        script = Script(delay_dot=0.02)
        async with serving(script):
            relay = parse_relay(url(script, "connections=8"))
            pool = RelayPool(
                [relay], greet_as="x.example", processes=3, slots_dir=tmp_path, patience=QUICK
            )
            await pool.send(Account(letters(60)))
            assert script.most_at_once == 3
            assert script.commands.count("QUIT") == 1  # two are its own for good
            await pool.close()

    run(scenario)


def stopping(script: Script, *, within: float) -> Account:
    """Stop while the third letter is being answered, or said nothing to."""
    account = Account(letters(10, domains=10))
    account.keeps = False

    async def scenario() -> None:
        came = asyncio.Event()
        script.on_dot = lambda to: came.set() if to == "p2@d2.example" else None
        async with serving(script):
            pool = pool_for(script)
            sending = asyncio.create_task(pool.send(account))
            await came.wait()
            pool.stop(within=within)
            await sending
            await pool.close()
        check(script, account)

    run(scenario)
    return account


@pytest.mark.parametrize("extensions", [ALL, ALL[1:]])
def test_stopping_waits_for_the_dot_that_is_out_and_begins_nothing_more(
    extensions: tuple[str, ...],
) -> None:
    account = stopping(Script(extensions=extensions, delay_dot=0.1), within=5)
    assert account.told["p2@d2.example"] == ["250"]
    assert account.told.get("p3@d3.example", ["not sent"]) == ["not sent"]
    assert len(account.told) + len(account.waiting) == 10
    assert len(account.codes) == 3


def test_stopping_cuts_what_takes_longer() -> None:
    account = stopping(Script(replies={"DOT p2@d2.example": SILENCE}), within=0.1)
    assert account.told["p2@d2.example"] == ["lost"]
    assert len(account.codes) == 2


def test_stopping_does_not_wait_for_a_connection_that_is_being_opened() -> None:
    async def scenario() -> None:
        script = Script(replies={"GREETING": SILENCE})
        account = Account(letters(3))
        account.keeps = False
        async with serving(script):
            pool = pool_for(script)
            sending = asyncio.create_task(pool.send(account))
            await asyncio.sleep(0.05)
            pool.stop(within=10)
            await asyncio.wait_for(sending, 2)
        assert list(account.told.values()) == [["not sent"]]
        assert not account.out

    run(scenario)


@pytest.mark.parametrize("moment", ["before the first", "before the second", "while it begins"])
def test_a_stop_is_heard_however_early_it_comes(moment: str) -> None:
    async def scenario() -> None:
        script = Script()
        account = Account(letters(20))
        async with serving(script):
            pool = pool_for(script)
            if moment == "before the second":
                await pool.send(Account([]))
            if moment != "while it begins":
                pool.stop(within=5)
            sending = asyncio.create_task(pool.send(account))
            await asyncio.sleep(0)
            if moment == "while it begins":
                pool.stop(within=5)
            await sending
            assert account.told == {}
            assert len(account.waiting) == 20

            await pool.send(account)
            assert len(script.accepted) == 20, "it is heard once"
            await pool.close()

    run(scenario)


def test_after_an_error_of_the_feed_a_relay_that_was_left_alone_is_tried_again() -> None:
    class Failing(Account):
        def unfit(self, mail: object, relay: object, why: str) -> None:
            raise OSError(28, "No space left on device")

    async def scenario() -> None:
        script = Script(replies={"GREETING": "554 5.3.2 not now"}, extensions=ALL[:2])
        async with serving(script):
            pool = pool_for(script, patience=BRIEF)
            await pool.send(Account(letters(1)))
            assert pool.trouble is not None
            await asyncio.sleep(pool.retry_in + 0.01)
            script.replies.clear()
            with pytest.raises(OSError, match="No space"):
                await pool.send(Failing([letter("sø@d.example")]))  # type: ignore[arg-type]

            account = Account(letters(3))
            await pool.send(account)
            assert set(account.codes.values()) == {250}
            assert pool.trouble is None
            await pool.close()

    run(scenario)


def test_an_error_while_a_connection_is_opened_leaves_its_place_to_another(tmp_path: Path) -> None:
    async def scenario() -> None:
        script = Script()
        async with serving(script):
            relay = parse_relay(url(script, "connections=1"))
            wrong = slow(connect="soon")  # type: ignore[arg-type]
            pool = RelayPool([relay], greet_as="brev.example", slots_dir=tmp_path, patience=wrong)
            with pytest.raises(TypeError):
                await pool.send(Account(letters(1)))

            other = RelayPool([relay], greet_as="brev.example", slots_dir=tmp_path, patience=QUICK)
            account = Account(letters(1))
            await other.send(account)
            assert set(account.codes.values()) == {250}
            await other.close()

    run(scenario)


def test_after_a_stop_the_next_sending_is_as_any_other() -> None:
    async def scenario() -> None:
        script = Script(delay_dot=0.02)
        async with serving(script):
            pool = pool_for(script)
            account = Account(letters(20))
            sending = asyncio.create_task(pool.send(account))
            await asyncio.sleep(0.05)
            pool.stop(within=5)
            await sending
            assert account.waiting
            await pool.send(account)
            await pool.close()
            check(script, account)
        assert len(script.accepted) == 20

    run(scenario)


@pytest.mark.parametrize("moment", ["next_mail", "dot_leaves", "flush", "answered"])
def test_an_error_of_the_feed_ends_the_sending_and_comes_out_of_it(moment: str) -> None:
    """A journal that cannot be written must stop every dot, not only be noted in a log."""
    calls = 0

    async def scenario() -> None:
        script = Script()
        account = Account(letters(20))
        usual = getattr(account, moment)

        def fail(*values: object) -> object:
            nonlocal calls
            calls += 1
            if calls >= 5:
                raise OSError(28, "No space left on device")
            return usual(*values)

        setattr(account, moment, fail)
        async with serving(script):
            pool = pool_for(script)
            with pytest.raises(OSError, match="No space"):
                await pool.send(account)
            assert calls == 5
            assert len(script.accepted) <= 5
            assert script.accepted == [to for to in script.accepted if to in account.flushed]

            again = Account(letters(3, data=b"again\r\n"))
            await pool.send(again)
            assert set(again.codes.values()) == {250}
            await pool.close()

    run(scenario)


class FailsOnce(Account):
    """Fails to give one mail, or at being told of one."""

    def __init__(self, count: int, *, at: str, when: int) -> None:
        super().__init__(letters(count, domains=10))
        self.at, self.calls_left = at, when

    def _fail_when_due(self, moment: str) -> None:
        self.calls_left -= moment == self.at
        if moment == self.at and self.calls_left == 0:
            raise ZeroDivisionError

    def next_mail(self, relay: Relay) -> Mail | None:
        assert self.at != "next_mail" or self.calls_left > 0, "nothing is begun after it failed"
        self._fail_when_due("next_mail")
        return super().next_mail(relay)

    def dot_leaves(self, mail: Mail, relay: Relay) -> bool:
        self._fail_when_due("dot_leaves")
        return super().dot_leaves(mail, relay)

    def answered(self, mail: Mail, relay: Relay, reply: Reply) -> None:
        self._fail_when_due("answered")
        super().answered(mail, relay, reply)

    def lost_after_dot(self, mail: Mail, relay: Relay) -> None:
        self._fail_when_due("lost_after_dot")
        super().lost_after_dot(mail, relay)

    def not_sent(self, mail: Mail, relay: Relay, why: str) -> None:
        self._fail_when_due("not_sent")
        super().not_sent(mail, relay, why)


@pytest.mark.parametrize("options", ["", "&chunking=4"])
@pytest.mark.parametrize("when", [1, 4, 5, 11, 24])
@pytest.mark.parametrize("extensions", [(*ALL, "CHUNKING"), (*ALL[1:], "CHUNKING")])
def test_a_letter_that_cannot_be_given_leaves_no_other_in_doubt(
    extensions: tuple[str, ...], when: int, options: str
) -> None:
    """What is under way comes to its end, also on the connection that asked for the letter."""

    async def scenario() -> None:
        script = Script(extensions=extensions, delay_dot=0.02)
        account = FailsOnce(60, at="next_mail", when=when)
        account.keeps = False
        async with serving(script):
            pool = pool_for(script, options=f"connections=4{options}")
            with pytest.raises(ZeroDivisionError):
                await pool.send(account)
            check(script, account)
            assert len(account.codes) == when - 1, "all that was given out was sent"
            assert account.noted == {*account.codes}

            again = Account(letters(3, data=b"again\r\n"))
            await pool.send(again)
            assert set(again.codes.values()) == {250}
            await pool.close()

    run(scenario)


@pytest.mark.parametrize("options", ["", "&chunking=4"])
@pytest.mark.parametrize("moment", ["dot_leaves", "answered"])
def test_an_error_about_one_letter_leaves_those_of_other_connections_in_no_doubt(
    moment: str, options: str
) -> None:
    async def scenario() -> None:
        script = Script(extensions=(*ALL, "CHUNKING"), delay_dot=0.02)
        account = FailsOnce(60, at=moment, when=10)
        async with serving(script):
            pool = pool_for(script, options=f"connections=4{options}")
            with pytest.raises(ZeroDivisionError):
                await pool.send(account)
            in_doubt = [to for to, told in account.told.items() if told[-1] == "lost"]
            at_most = 4 if options else 1
            assert len(in_doubt) + len(account.out) <= at_most, "those of the one connection"
            for to, reply in account.replies.items():
                assert script.accepted.count(to) == (reply.code == 250)
            await pool.close()

    run(scenario)


def test_after_an_error_a_stop_still_cuts_what_takes_too_long() -> None:
    async def scenario() -> None:
        script = Script(replies={"DOT p0@d0.example": SILENCE})
        account = FailsOnce(60, at="next_mail", when=8)
        async with serving(script):
            pool = pool_for(script, options="connections=4", patience=slow(dot=60))
            sending = asyncio.create_task(pool.send(account))
            await asyncio.sleep(0.3)
            assert not sending.done()
            assert account.calls_left == 0
            pool.stop(within=0.1)
            with pytest.raises(ZeroDivisionError):
                await asyncio.wait_for(sending, 2)
            assert account.told["p0@d0.example"] == ["lost"]
            assert account.codes
            await pool.close()

    run(scenario)


class Strange(Letter):
    """A letter of which the program cannot even say how long it is."""

    @property
    def size_bytes(self) -> int:
        raise ZeroDivisionError


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("fault", ["dot_leaves", "letter"])
@pytest.mark.parametrize(("options", "pipelining"), [("", True), ("", False), ("chunking=3", True)])
def test_a_letter_at_which_the_program_fails_comes_back_too(
    options: str, pipelining: bool, fault: str, at: int
) -> None:
    class Failing(Account):
        def dot_leaves(self, mail: Mail, relay: Relay) -> bool:
            if fault == "dot_leaves" and mail is self.all[f"p{at}@d{at}.example"]:
                raise ZeroDivisionError
            return super().dot_leaves(mail, relay)

    mails = letters(4, domains=4)
    if fault == "letter":
        mails[at] = Strange(mails[at].envelope)

    async def scenario() -> None:
        account = Failing(mails)
        account.keeps = False
        script = Script(extensions=(*(ALL if pipelining else ALL[1:]), "CHUNKING"))
        async with serving(script):
            pool = pool_for(script, options=f"connections=1&{options}")
            with pytest.raises(ZeroDivisionError):
                await pool.send(account)
            await pool.close()
        assert not account.out
        assert account.told[f"p{at}@d{at}.example"] == ["not sent"]

    run(scenario)


@pytest.mark.parametrize("when", [1, 2, 4])
@pytest.mark.parametrize(("silent", "moment"), [("DOT", "lost_after_dot"), ("RCPT", "not_sent")])
def test_an_error_about_one_letter_does_not_keep_a_stop_from_the_other_connections(
    silent: str, moment: str, when: int
) -> None:
    async def scenario() -> None:
        script = Script(replies={silent: SILENCE})
        account = FailsOnce(4, at=moment, when=when)
        async with serving(script):
            pool = pool_for(script, options="connections=4", patience=slow(dot=60, command=60))
            sending = asyncio.create_task(pool.send(account))
            await asyncio.sleep(0.3)
            assert len(account.out) == 4
            pool.stop(within=0.1)
            with pytest.raises(ZeroDivisionError):
                await asyncio.wait_for(sending, 2)
            assert len(account.told) == 3
            assert [what for told in account.told.values() for what in told] == [
                moment.removesuffix("_after_dot").replace("_", " ")
            ] * 3
            await pool.close()

    run(scenario)


def test_a_feed_that_fails_again_is_told_nothing_more() -> None:
    class Failing(Account):
        calls = 0

        def answered(self, mail: Mail, relay: Relay, reply: Reply) -> None:
            self.calls += 1
            raise ZeroDivisionError(self.calls)

    async def scenario() -> None:
        script = Script(delay_dot=0.02)
        account = Failing(letters(60, domains=10))
        async with serving(script):
            pool = pool_for(script, options="connections=4")
            with pytest.raises(ZeroDivisionError, match="1"):
                await pool.send(account)
            assert account.calls <= 2
            await pool.close()

    run(scenario)


def test_a_sending_that_is_cancelled_leaves_no_letter_on_its_way() -> None:
    async def scenario() -> None:
        script = Script(replies={"DOT": SILENCE})
        account = Account(letters(3))
        async with serving(script):
            pool = pool_for(script)
            sending = asyncio.create_task(pool.send(account))
            await asyncio.sleep(0.1)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            await asyncio.sleep(0.05)
            assert script.readers[0].at_eof()
            told = dict(account.told)
            await pool.close()
        assert account.told == told

    run(scenario)


def test_no_dot_leaves_before_it_is_noted() -> None:
    async def scenario() -> None:
        for options in ("connections=4", "connections=4&chunking=4"):
            script = Script(extensions=(*ALL, "CHUNKING"))
            account = Account(letters(100, domains=30))
            missing = []
            script.on_dot = lambda to, a=account, m=missing: None if to in a.flushed else m.append(to)  # type: ignore[misc]
            async with serving(script):
                pool = pool_for(script, options=options)
                await pool.send(account)
                await pool.close()
            assert not missing
            assert len(script.accepted) == 100

    run(scenario)


def test_the_patience_is_that_of_the_rfc() -> None:
    """RFC 5321 §4.5.3.2: minimum values, from 2 to 10 minutes."""
    patience = Patience()
    assert (patience.command, patience.data, patience.block, patience.dot) == (300, 120, 180, 600)


def test_a_relay_that_cuts_after_every_dot_is_left_alone_before_all_letters_are_in_doubt() -> None:
    mails = letters(300)
    script = Script(replies={f"DOT {mail.envelope.recipient}": CUT for mail in mails})
    account, pool = asyncio.run(send_over(script, mails, options="connections=4"))

    in_doubt = [to for to, told in account.told.items() if told == ["lost"]]
    assert 12 <= len(in_doubt) <= 12 + 4
    assert len(account.waiting) == 300 - len(in_doubt)
    assert pool.trouble is not None
    assert "lost before it answers" in pool.trouble


def test_a_connection_whose_letters_could_not_be_noted_leaves_its_place_to_another() -> None:
    class FullDisk(Account):
        def flush(self) -> None:
            raise OSError("no space left on device")

    async def scenario() -> None:
        script = Script()
        async with serving(script):
            pool = pool_for(script, options="connections=1")
            for _ in range(3):
                with pytest.raises(OSError, match="no space"):
                    await pool.send(FullDisk(letters(3)))
            account = Account(letters(3))
            await pool.send(account)
            assert account.waiting == []
            await pool.close()

    run(scenario)
