"""Whatever a relay answers, each letter gets its own reply and nobody else's."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from tests.smtp.scripted import (
    ALL,
    CUT,
    SILENCE,
    Account,
    Letter,
    Packets,
    Script,
    letter,
    letters,
    serving,
)
from tests.smtp.talking import check, pool_for, send_over, slow

P = [f"p{number}@d{number}.example" for number in range(4)]
TAKEN = ["250"]
AGAIN = ["not sent", "250"]
NEVER = ["not sent", "not sent", "spared"]
LOST = ["lost"]
BEHIND = ["*", "250"]
"""It may have been on its way behind the second."""
WHOLE = (Packets.EACH_ALONE, Packets.TOGETHER)


@dataclass
class Case:
    """What the relay says, and what the second of four letters is told; the others are taken."""

    name: str
    replies: dict[str, str]
    told: list[str] = field(default_factory=lambda: TAKEN)
    connections: int = 1
    third: list[str] = field(default_factory=lambda: TAKEN)
    invites_without_recipient: bool = False
    only: Sequence[Packets] = tuple(Packets)


DECIDED = [
    Case("nothing special", {}),
    Case(
        "many lines",
        {"DOT": "250-2.0.0 a|250-2.0.0 b|250 2.0.0 c", "MAIL": "250-one|250 two", "DATA": "354-a|354 b"},
    ),
    Case("no text", {"DOT": "250", "MAIL": "250", "RCPT": "250", "DATA": "354"}),
    Case("text missing behind the blank", {"DOT": "250 ", "DATA": "354 "}),
    Case("will forward", {f"RCPT {P[1]}": "251 2.1.5 user not local; will forward"}),
    Case("recipient refused", {f"RCPT {P[1]}": "550 5.1.1 <x@y.example> unknown"}, ["550"]),
    Case("recipient refused in many lines", {f"RCPT {P[1]}": "550-5.1.1 un|550 5.1.1 known"}, ["550"]),
    Case("recipient refused for now", {f"RCPT {P[1]}": "450 4.2.1 later"}, ["450"]),
    Case(
        "recipient refused, letter invited",
        {f"RCPT {P[1]}": "550 5.1.1 unknown"},
        ["550"],
        invites_without_recipient=True,
    ),
    Case("closing at the recipient", {f"RCPT {P[1]}": f"421 4.3.2 bye{CUT}"}, ["421"], 2),
    Case("DATA refused", {f"DATA {P[1]}": "554 5.7.1 no"}, ["554"]),
    Case("DATA refused for now", {f"DATA {P[1]}": "451 4.3.0 later"}, ["451"]),
    Case("closing at DATA", {f"DATA {P[1]}": f"421 4.3.0 bye{CUT}"}, ["421"], 2),
    Case("letter refused", {f"DOT {P[1]}": "554 5.6.0 spam"}, ["554"]),
    Case("letter refused for now", {f"DOT {P[1]}": "452 4.3.1 full"}, ["452"]),
    Case("closing at the dot", {f"DOT {P[1]}": f"421 4.3.2 bye{CUT}"}, ["421"], 2, third=BEHIND),
    Case("closing behind the dot", {f"DOT {P[1]}": f"250 ok|421 bye{CUT}"}, TAKEN, 2, third=BEHIND),
    Case("closing at MAIL", {"2 MAIL": f"421 4.7.0 enough letters{CUT}"}, AGAIN, 2),
]
CUTS = [
    Case("cut at MAIL", {"2 MAIL": CUT}, AGAIN, 2),
    Case("cut at every RCPT", {f"RCPT {P[1]}": CUT}, NEVER, 3),
    Case("cut at every DATA", {f"DATA {P[1]}": CUT}, NEVER, 3),
    Case("cut within a reply", {f"DATA {P[1]}": f"35{CUT}"}, NEVER, 3),
    Case("cut after the dot", {f"DOT {P[1]}": CUT}, LOST, 2, third=BEHIND),
    Case(
        "cut within the reply to the dot",
        {f"DOT {P[1]}": f"250-2.0.0 ta|{CUT}"},
        LOST,
        2,
        third=BEHIND,
    ),
]
LIES = [
    Case("354 where 250 is due", {f"DOT {P[1]}": "354 go ahead"}, LOST, 2, BEHIND),
    Case("a greeting where 250 is due", {f"DOT {P[1]}": "220 hello"}, LOST, 2, BEHIND),
    Case("a farewell where 250 is due", {f"DOT {P[1]}": "221 bye"}, LOST, 2, BEHIND),
    Case("a challenge where 250 is due", {f"DOT {P[1]}": "334 eA=="}, LOST, 2, BEHIND),
    Case("codes disagree about the letter", {f"DOT {P[1]}": "250-ok|550 no"}, LOST, 2, BEHIND),
    Case("codes disagree about the sender", {"2 MAIL": "250-ok|550 no"}, AGAIN, 2),
    Case("354 to MAIL", {"2 MAIL": "354 go"}, AGAIN, 2),
    Case("354 to RCPT", {f"RCPT {P[1]}": "354 go"}, NEVER, 3),
    Case("250 to DATA", {f"DATA {P[1]}": "250 ok"}, NEVER, 3),
    Case("100 to the dot", {f"DOT {P[1]}": "100 wait"}, LOST, 2, BEHIND),
    Case("600 to the dot", {f"DOT {P[1]}": "600 ok"}, LOST, 2, BEHIND),
    Case("260 to the dot, without a blank", {f"DOT {P[1]}": "250ok"}, LOST, 2, BEHIND),
    Case("a word", {f"RCPT {P[1]}": "hello there"}, NEVER, 3),
    Case("a line feed alone", {f"RCPT {P[1]}": "250 ok\n250 ok"}, NEVER, 3),
    Case("a carriage return alone", {f"RCPT {P[1]}": "250 ok\r250 ok"}, NEVER, 3),
    Case("an endless line", {f"RCPT {P[1]}": "250 " + "x" * 9_000}, NEVER, 3, only=WHOLE),
    Case("endless lines", {f"RCPT {P[1]}": "250-x|" * 300 + "250 x"}, NEVER, 3, only=WHOLE),
    Case("RSET refused", {f"RCPT {P[1]}": "550 5.1.1 no", "RSET": "500 what"}, ["550"], 2, BEHIND),
    Case("two replies to the dot", {f"DOT {P[1]}": "250 ok|250 ok"}, TAKEN, 2, BEHIND),
    Case("a reply before the dot", {f"DATA {P[1]}": "354 go|250 taken"}, NEVER, 3, only=WHOLE),
]  # fmt: skip


def run(
    case: Case, packets: Packets, mails: Sequence[Letter], *, extensions: Sequence[str], options: str
) -> Script:
    """Send four letters, and see what each was told."""
    moments = {
        key.replace("DOT", "BDAT") if "chunking" in options else key: reply
        for key, reply in case.replies.items()
    }
    script = Script(
        replies=moments,
        packets=packets,
        extensions=extensions,
        invites_without_recipient=case.invites_without_recipient,
    )
    account, _ = asyncio.run(send_over(script, mails, options=options))

    assert account.told[P[0]] == TAKEN
    assert account.told[P[1]] == case.told
    if case.third[0] == "*":
        assert account.told[P[2]] in (AGAIN, TAKEN, case.third[1:])
    else:
        assert account.told[P[2]] == case.third
    assert account.told[P[3]] in (TAKEN, AGAIN)
    assert script.connections == case.connections
    return script


def name(case: object) -> str:
    return case.name.replace(" ", "-") if isinstance(case, Case) else str(case).replace(" ", "-")


ALL_CASES = [
    (case, packets) for case in (*DECIDED, *CUTS, *LIES) for packets in Packets if packets in case.only
]


@pytest.mark.parametrize(("case", "packets"), ALL_CASES, ids=name)
def test_pipelined_every_letter_gets_its_own_reply(case: Case, packets: Packets) -> None:
    script = run(case, packets, letters(4, domains=4), extensions=ALL, options="connections=1")
    if case in LIES:  # it is spoken to in lock-step from then on
        assert script.connections not in script.pipelined_on


@pytest.mark.parametrize(("case", "packets"), ALL_CASES, ids=name)
def test_in_lock_step_every_letter_gets_its_own_reply(case: Case, packets: Packets) -> None:
    run(case, packets, letters(4, domains=4), extensions=ALL[1:], options="connections=1")


CHUNKED = [
    *[case for case in DECIDED if not any("DATA" in key for key in case.replies)],
    Case("cut at MAIL", {"2 MAIL": CUT}, LOST, 2),
    Case("cut at RCPT", {f"RCPT {P[1]}": CUT}, LOST, 2),
    Case("cut after the chunk", {f"DOT {P[1]}": CUT}, LOST, 2),
    Case("354 to the chunk", {f"DOT {P[1]}": "354 go"}, LOST, 2),
    Case("a word", {f"RCPT {P[1]}": "hello there"}, LOST, 2),
    Case("codes disagree", {f"DOT {P[1]}": "250-ok|550 no"}, LOST, 2),
    Case("two replies to the chunk", {f"DOT {P[1]}": "250 ok|250 ok"}, TAKEN, 2, ["*", "lost"]),
]


@pytest.mark.parametrize("packets", Packets)
@pytest.mark.parametrize("case", CHUNKED, ids=name)
def test_in_chunks_every_letter_gets_its_own_reply(case: Case, packets: Packets) -> None:
    run(
        case,
        packets,
        letters(4, domains=4),
        extensions=(*ALL, "CHUNKING"),
        options="connections=1&chunking=1",
    )


@pytest.mark.parametrize("packets", Packets)
@pytest.mark.parametrize(
    "replies",
    [
        {},
        {f"RCPT {P[1]}": "550 5.1.1 unknown"},
        {f"RCPT {P[1]}": "450 4.2.1 later", f"RCPT {P[2]}": "550 5.1.1 unknown"},
        {f"BDAT {P[1]}": "552 5.2.2 full"},
    ],
)
def test_a_refusal_in_a_full_pipe_is_no_other_letters(replies: dict[str, str], packets: Packets) -> None:
    script = Script(replies=replies, packets=packets, extensions=(*ALL, "CHUNKING"))
    mails = letters(12, domains=12)

    account, _ = asyncio.run(send_over(script, mails, options="connections=1&chunking=4"))

    refused = {key.split()[1]: int(reply[:3]) for key, reply in replies.items()}
    assert account.codes == {mail.to: refused.get(mail.to, 250) for mail in mails}
    assert script.connections == 1


def test_a_cut_leaves_in_doubt_no_more_letters_than_the_pipe_holds() -> None:
    script = Script(replies={"BDAT p5@d5.example": CUT}, extensions=(*ALL, "CHUNKING"))

    account, _ = asyncio.run(
        send_over(script, letters(20, domains=20), options="connections=1&chunking=3")
    )

    lost = [to for to, told in account.told.items() if told == LOST]
    assert "p5@d5.example" in lost
    assert len(lost) <= 3
    assert sum(told == TAKEN for told in account.told.values()) == 20 - len(lost)


def test_what_still_stood_in_the_pipe_when_the_relay_went_is_offered_again() -> None:
    script = Script(
        replies={f"BDAT {P[0]}": f"421 4.3.2 shutting down{CUT}"}, extensions=("PIPELINING", "CHUNKING")
    )
    mails = letters(3, domains=3, data=b"y" * 12_000_000 + b"\r\n")  # more than sockets hold

    account, _ = asyncio.run(send_over(script, mails, options="connections=1&chunking=3"))

    assert account.told == {P[0]: ["421"], P[1]: AGAIN, P[2]: AGAIN}


def test_a_refused_sender_in_a_full_pipe_costs_no_letter() -> None:
    script = Script(replies={"3 MAIL": "550 5.7.1 not from you"}, extensions=(*ALL, "CHUNKING"))
    account, pool = asyncio.run(
        send_over(script, letters(6, domains=6), options="connections=1&chunking=4")
    )
    assert account.told["p2@d2.example"] == ["not sent"]
    assert "refuses our sender" in str(pool.trouble)
    assert {to for to, told in account.told.items() if told == TAKEN} == set(script.accepted)


def test_a_letter_in_chunks_needs_no_more_than_what_the_relay_offers() -> None:
    script = Script(extensions=ALL)
    account, _ = asyncio.run(send_over(script, letters(3), options="connections=1&chunking=4"))
    assert set(account.codes.values()) == {250}
    assert "DATA" in script.commands


@pytest.mark.parametrize(
    ("moment", "told"),
    [("DOT", LOST), ("2 MAIL", AGAIN), (f"RCPT {P[1]}", NEVER), (f"DATA {P[1]}", NEVER)],
)
@pytest.mark.parametrize("extensions", [ALL, ALL[1:]], ids=["pipelined", "lock-step"])
def test_a_relay_that_falls_silent_is_left(
    moment: str, told: list[str], extensions: Sequence[str]
) -> None:
    moment = f"DOT {P[1]}" if moment == "DOT" else moment
    patience = slow(command=0.15, data=0.15, dot=0.15)
    script = Script(replies={moment: SILENCE}, extensions=extensions)

    account, _ = asyncio.run(send_over(script, letters(4, domains=4), patience=patience))

    assert account.told[P[1]] == told
    assert account.told[P[0]] == account.told[P[3]] == TAKEN


def test_a_reply_that_drips_does_not_keep_us_for_ever() -> None:
    async def scenario() -> Account:
        dot_came = asyncio.Event()
        script = Script(replies={"DOT": SILENCE}, on_dot=lambda _: dot_came.set())
        account = Account(letters(1))
        async with serving(script):
            pool = pool_for(script, patience=slow(dot=0.2))

            async def drip() -> None:
                await dot_came.wait()
                for _ in range(90):
                    script.writers[0].write(b"250-x\r\n")
                    await asyncio.sleep(0.03)

            dripping = asyncio.create_task(drip())
            await pool.send(account)
            dripping.cancel()
        return account

    assert asyncio.run(scenario()).told == {"p0@d0.example": LOST}


def test_a_relay_that_reads_no_more_of_a_letter_is_left() -> None:
    script = Script(stops_reading_at_data=True, extensions=("PIPELINING",))
    big = letter(P[0], data=b"x" * 70 + b"\r\n" * 35 + b"y" * 30_000_000 + b"\r\n")

    account, _ = asyncio.run(
        send_over(script, [big], patience=slow(block=0.2, dot=60), options="connections=1")
    )

    assert account.told == {P[0]: ["not sent", "not sent", "spared"]}, "its dot never left"


def test_a_letter_whose_dot_may_not_leave_is_not_sent() -> None:
    async def scenario(options: str, extensions: Sequence[str]) -> tuple[Account, Script]:
        script = Script(extensions=extensions)
        account = Account(letters(5, domains=5))
        account.unwanted = {P[1]}
        async with serving(script):
            pool = pool_for(script, options=options)
            await pool.send(account)
            await pool.close()
        check(script, account)
        return account, script

    for options, extensions in (
        ("connections=1", ALL),
        ("connections=1", ALL[1:]),
        ("connections=1&chunking=3", (*ALL, "CHUNKING")),
    ):
        account, script = asyncio.run(scenario(options, extensions))
        assert account.told[P[1]] == ["not sent"]
        assert P[1] not in script.accepted
        assert len(script.accepted) == 4


@pytest.mark.parametrize(
    ("mail", "extensions", "why"),
    [
        (letter("ærø@d.example"), ("PIPELINING", "8BITMIME"), "SMTPUTF8"),
        (letter("a@d.example", data=b"x" * 3_000 + b"\r\n"), ("PIPELINING", "SIZE 2000"), "too long"),
        (letter("a@d.example", data="æ\r\n".encode()), ("PIPELINING",), "8BITMIME"),
    ],
)
def test_what_a_relay_cannot_take_is_not_offered(
    mail: Letter, extensions: Sequence[str], why: str
) -> None:
    script = Script(extensions=extensions)
    account, pool = asyncio.run(send_over(script, [mail, letter("b@d.example")]))
    assert why in account.told[mail.to][0]
    assert account.told["b@d.example"] == TAKEN
    assert script.counts["MAIL"] == 1
    assert pool.trouble is None


def test_mail_says_what_must_be_known_of_a_letter() -> None:
    mails = [letter("a@d.example"), letter("ø@d.example", data="æ\r\n".encode())]
    script = Script()
    asyncio.run(send_over(script, mails))
    said = [command for command in script.commands if command.startswith("MAIL")]
    assert said[0] == f"MAIL FROM:<bounce+a@brev.example> SIZE={len(mails[0].data)}"
    assert said[1].split(" ", 2)[2] == f"SIZE={len(mails[1].data)} SMTPUTF8 BODY=8BITMIME"


def test_a_letter_the_relay_finds_too_large_is_unfit_and_nobody_is_blamed() -> None:
    script = Script(replies={"2 MAIL": "552 5.3.4 message size exceeds limit"})
    account, pool = asyncio.run(send_over(script, letters(4, domains=4)))
    assert account.told[P[1]] == ["unfit: the letter is too long for it"]
    assert [account.told[to] for to in (P[0], P[2], P[3])] == [TAKEN] * 3
    assert script.connections == 1
    assert pool.trouble is None
