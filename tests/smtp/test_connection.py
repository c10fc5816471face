"""Replies cut at any byte, and replies that make no sense at all, over a transport that only listens."""

import asyncio
import itertools
import socket
import struct
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.smtp.commands import length_of
from mailer.smtp.connection import Connection
from mailer.smtp.envelope import Mail
from mailer.smtp.extensions import Extensions
from mailer.smtp.line import Line
from mailer.smtp.opening import Opened
from mailer.smtp.patience import Patience
from mailer.smtp.pool import RelayPool
from mailer.smtp.relays import Relay, parse_relay
from mailer.smtp.slots import Slot, Slots
from tests.smtp.scripted import Account, letters


class Ear:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.is_cut = False
        self.unsent = 0

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def write(self, data: bytes) -> None:
        assert not self.is_cut
        self.heard.append(data)

    def abort(self) -> None:
        self.is_cut = True

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: 0


class Bench:
    """A connection that is given letters as a pool would, without a server."""

    def __init__(self, count: int, *, options: str = "", pipelining: bool = True) -> None:
        self.errors: list[Exception] = []
        relay = parse_relay(f"smtp://relay.example?{options}")
        self.line = Line(
            relay,
            greet_as="brev.example",
            processes=1,
            slots=Slots(None, relay.name, 1),
            patience=Patience(),
            changed=lambda: None,
            failed=self.errors.append,
            not_noted=self.errors.append,
        )
        self.account = Account(letters(count, domains=count))
        self.line.feed = self.account
        self.ear = Ear()
        extensions = Extensions(pipelining=pipelining, chunking=True)
        self.connection = Connection(self.line, Opened(self.ear, extensions))  # type: ignore[arg-type]
        self.line._connections[self.connection] = Slot(None)
        mail = self.account.next_mail(relay)
        assert mail is not None
        self.connection.begin(mail)

    def hear(self, *packets: bytes) -> None:
        """What the relay says arrives."""
        for packet in packets:
            for start in range(0, len(packet), 4_096):
                part = packet[start : start + 4_096]
                self.connection.get_buffer(-1)[: len(part)] = part
                self.connection.buffer_updated(len(part))
        assert not self.errors

    def told(self) -> list[str]:
        """What was told of each letter, in order; nothing of those that were not begun."""
        return [what[-1] for _, what in sorted(self.account.told.items())]


LEAVE = b"250 2.1.0 sender ok\r\n250-2.1.5 recipient\r\n250 2.1.5 ok\r\n354 go ahead\r\n"
TURN = b"250 2.0.0 taken as 4F\r\n" + LEAVE
REFUSED = b"250 ok\r\n250 ok\r\n550-5.1.1 un\r\n550 5.1.1 known\r\n554 5.5.1 none\r\n"
CLOSING = b"250 taken\r\n250 ok\r\n421 4.3.2 bye\r\n"
FULL = b"452 4.3.1 full\r\n250 ok\r\n250 ok\r\n354 go\r\n"
LIES = b"354 go\r\n250 ok\r\n250 ok\r\n354 go\r\n"


@pytest.mark.parametrize(
    ("turn", "told"),
    [
        (TURN, ["250"]),
        (REFUSED, ["250", "550"]),
        (CLOSING, ["250", "421"]),
        (FULL, ["452"]),
        (LIES, ["lost", "not sent"]),
    ],
)
def test_a_reply_may_be_cut_anywhere(turn: bytes, told: list[str]) -> None:
    whole = Bench(3)
    whole.hear(LEAVE, turn)
    assert whole.told() == told
    for first, second in itertools.combinations(range(1, len(turn)), 2):
        if second - first not in (1, 2, 7):
            continue
        bench = Bench(3)
        bench.hear(LEAVE, turn[:first], turn[first:second], turn[second:])
        assert bench.told() == told
        assert b"".join(bench.ear.heard) == b"".join(whole.ear.heard)


def test_body_dot_and_the_next_letters_commands_leave_in_one_write() -> None:
    bench = Bench(3)
    data = bench.account.all["p0@d0.example"].data
    bench.hear(LEAVE)
    assert bench.ear.heard == [
        b"MAIL FROM:<bounce+p0@brev.example>\r\nRCPT TO:<p0@d0.example>\r\nDATA\r\n",
        data + b".\r\nMAIL FROM:<bounce+p1@brev.example>\r\nRCPT TO:<p1@d1.example>\r\nDATA\r\n",
    ]
    bench.hear(b"250 taken\r\n", b"250 ok\r\n250 ok\r\n")
    assert len(bench.ear.heard) == 2, "a second dot while the first is out"
    bench.hear(b"354 go\r\n")
    assert len(bench.ear.heard) == 3


def test_a_relay_that_ends_the_connection_leaves_one_letter_in_doubt() -> None:
    bench = Bench(3)
    bench.hear(LEAVE, TURN)
    bench.connection.eof_received()
    assert bench.told() == ["250", "lost", "not sent"]
    bench.connection.connection_lost(None)
    assert bench.told() == ["250", "lost", "not sent"]


def full_pipe(letters_behind: int) -> Bench:
    """Three letters in the pipe; the last bytes of so many of them have not left."""
    bench = Bench(4, options="chunking=3")
    (said,) = bench.ear.heard
    ends = [said.index(b"RSET"), said.rindex(b"RSET"), len(said)]
    if letters_behind:
        bench.ear.unsent = len(said) - ends[3 - letters_behind] + 1
        bench.connection.pause_writing()
    return bench


@pytest.mark.parametrize(
    ("letters_behind", "told"),
    [
        (0, ["lost", "lost", "lost"]),
        (1, ["lost", "lost", "not sent"]),
        (2, ["lost", "not sent", "not sent"]),
        (3, ["not sent", "not sent", "not sent"]),
    ],
)
def test_of_a_full_pipe_only_letters_that_left_whole_are_in_doubt(
    letters_behind: int, told: list[str]
) -> None:
    bench = full_pipe(letters_behind)
    bench.connection.eof_received()
    assert bench.told() == told

    bench = full_pipe(letters_behind)
    bench.hear(b"250 ok\r\n250 ok\r\n250 2.0.0 taken\r\n421 4.3.2 shutting down\r\n")
    assert bench.ear.is_cut == (letters_behind > 0), "or what is still here might leave"
    bench.connection.eof_received()
    assert bench.told() == ["250", *told[1:]]


@pytest.mark.parametrize("options", ["", "chunking=3"])
def test_the_length_of_what_was_said_is_known_to_the_byte(options: str) -> None:
    bench = Bench(4, options=options)
    if not options:
        bench.hear(LEAVE)
    extensions = Extensions(pipelining=True, chunking=True)
    said = bench.ear.heard[-1]
    awaited = bench.connection._awaited
    assert len(awaited) == (11 if options else 4)
    assert sum(length_of(step, mail, extensions) for step, mail in awaited) == len(said)


def test_a_dot_that_has_not_left_leaves_nothing_in_doubt() -> None:
    for unsent, told in ((None, "lost"), (0, "lost"), (1, "not sent")):
        bench = Bench(2)
        bench.hear(LEAVE)
        following = bench.ear.heard[1].index(b"MAIL")
        bench.ear.unsent = 0 if unsent is None else len(bench.ear.heard[1]) - following + unsent
        bench.connection.eof_received()
        assert bench.told() == [told, "not sent"]


def test_nothing_heard_after_a_lie_is_believed() -> None:
    bench = Bench(3)
    bench.hear(LEAVE, LIES, TURN, TURN)
    assert bench.told() == ["lost", "not sent"]


_LINES = st.sampled_from(
    [
        *(b"250 ok\r\n", b"250-ok\r\n", b"250 2.1.5 ok\r\n", b"354 go\r\n", b"550 5.1.1 no\r\n"),
        *(b"450 later\r\n", b"421 bye\r\n", b"220 hello\r\n", b"503 5.5.1 order\r\n", b"\r\n"),
        *(b"25", b"\n", b"999 x\r\n", LEAVE, TURN, REFUSED, FULL),
    ]
)


@given(
    said=st.lists(st.one_of(_LINES, st.binary(max_size=8)), max_size=24),
    options=st.sampled_from(["", "chunking=3", "letters=2"]),
    pipelining=st.booleans(),
)
def test_whatever_a_relay_says_every_letter_is_accounted_for(
    said: Sequence[bytes], options: str, pipelining: bool
) -> None:
    bench = Bench(5, options=options, pipelining=pipelining)
    for packet in said:
        if bench.ear.is_cut:
            break
        bench.hear(packet)
    dots_out = sum(part.count(b"\r\n.\r\n") + part.count(b" LAST\r\n") for part in bench.ear.heard)
    bench.connection.eof_received()

    assert not bench.account.out
    assert bench.account.unflushed == 0
    told = bench.told()
    assert told.count("250") + told.count("lost") <= dots_out
    accepted_lines = b"".join(said).count(b"250 ")
    assert told.count("250") <= accepted_lines


def test_a_stop_between_two_packets_begins_nothing_more() -> None:
    bench = Bench(3)
    bench.hear(LEAVE)
    bench.connection.stop("stopped")
    assert not bench.ear.is_cut
    bench.hear(b"250 taken\r\n250 ok\r\n250 ok\r\n354 go\r\n")
    assert bench.told() == ["250", "not sent"]
    assert bench.ear.is_cut
    assert len(bench.ear.heard) == 2


def test_a_relay_that_begins_to_speak_out_of_turn_gets_no_letter() -> None:
    bench = Bench(2)
    bench.hear(LEAVE + b"2")
    assert bench.told() == ["not sent"]
    assert len(bench.ear.heard) == 1


def test_a_letter_behind_anothers_dot_is_not_to_blame_for_the_connection() -> None:
    bench = Bench(2)
    bench.hear(LEAVE)
    bench.connection.eof_received()
    assert bench.told() == ["lost", "not sent"]
    assert not bench.line._losses._counts

    bench = Bench(2)
    bench.connection.eof_received()
    assert bench.line._losses._counts


def test_a_chunk_that_is_taken_although_its_sender_was_refused_is_in_doubt() -> None:
    bench = Bench(1, options="chunking=2")
    bench.hear(b"550 5.7.1 not you\r\n", b"503 5.5.1 no\r\n", b"250 2.0.0 taken\r\n")
    assert bench.told() == ["lost"]


def test_each_reply_has_its_own_time() -> None:
    bench = Bench(2)
    patience = bench.line.patience
    bench.hear(LEAVE)
    dot = bench.connection.deadline
    bench.hear(b"250 taken\r\n")
    mail = bench.connection.deadline
    assert abs(dot - mail - (patience.dot - patience.command)) < 10
    bench.hear(b"250 ok\r\n250 ok\r\n")
    assert abs(mail - bench.connection.deadline - (patience.command - patience.data)) < 10


def test_a_letter_may_take_long_as_long_as_some_of_it_leaves() -> None:
    bench = Bench(1)
    bench.hear(LEAVE)
    left = 900_000
    bench.ear.get_write_buffer_size = lambda: left  # type: ignore[attr-defined]
    bench.connection.pause_writing()
    now = bench.connection.deadline - 1
    for _ in range(5):
        left -= 1_000
        bench.connection.look(now)
        assert not bench.ear.is_cut
        now += bench.line.patience.block - 1
    bench.connection.look(now + 2)
    assert bench.ear.is_cut
    assert bench.told() == ["not sent"], "its dot never left"


@pytest.mark.parametrize(("count", "told"), [(1, ["not sent"]), (2, ["lost", "not sent"])])
def test_what_the_kernel_had_not_taken_when_the_connection_broke_is_not_sent(
    count: int, told: list[str]
) -> None:
    """The transport empties its buffer before it tells; that something was in it is known."""
    bench = Bench(count)
    bench.hear(LEAVE)
    bench.ear.unsent = 5
    bench.connection.pause_writing()
    bench.ear.unsent = 0
    bench.connection.connection_lost(ConnectionResetError())
    assert bench.told() == told, "with two, the dot was not the last that was said"


def test_a_dot_that_met_a_broken_connection_is_not_sent() -> None:
    """Over a real socket that is reset between the invitation and the dot."""

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            peer: list[socket.socket] = []

            def serve() -> None:
                peer.append(listening.accept()[0])
                peer[0].sendall(b"220 relay.example\r\n")
                for reply in (b"250-relay.example\r\n250 PIPELINING\r\n", LEAVE):
                    peer[0].recv(4_096)
                    peer[0].sendall(reply)

            class Resetting(Account):
                def dot_leaves(self, mail: Mail, relay: Relay) -> bool:
                    serving.join()
                    listening.close()
                    peer[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    peer[0].close()
                    return super().dot_leaves(mail, relay)

            serving = threading.Thread(target=serve, daemon=True)
            serving.start()
            account = Resetting(letters(2))
            port = listening.getsockname()[1]
            relay = parse_relay(f"smtp://127.0.0.1:{port}?starttls=never&connections=1")
            pool = RelayPool([relay], greet_as="brev.example")
            await pool.send(account)
            assert account.noted == {"p0@d0.example"}
            assert set(account.told["p0@d0.example"]) == {"not sent"}
            await pool.close()

    asyncio.run(scenario())
