"""The pace that processes share through a real server, and what happens when it is not there."""

import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from mailer.embedded.redis import answers, find_server
from mailer.smtp.pace import LONGEST_WAIT_SECONDS, Pace
from mailer.smtp.relays import Relay
from mailer.smtp.replies import Reply
from tests.smtp.asking import wait_for

TAKEN = Reply(250, "2.0.0", "queued")
GREYLISTED = Reply(451, "4.7.1", "Greylisted: try again later")
THROTTLED = Reply(450, "4.7.1", "Error: too much mail from 192.0.2.7")
DOMAIN = "modtager.example"


class Server:
    """A server that may be ended and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.child: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        self.socket.unlink(missing_ok=True)
        command = [str(find_server()), "--port", "0", "--unixsocket", str(self.socket), "--save", ""]
        command += ["--dir", str(self.folder), *options]
        self.child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not answers(self.socket):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        assert self.child is not None
        self.child.send_signal(number)

    def kill(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            self.child = None

    def client(self) -> "redis.Redis":
        return redis.Redis.from_url(self.url, decode_responses=True)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="mailer-pace-"))  # a socket's path must be short
    yield made
    shutil.rmtree(made)


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    made = Server(folder)
    made.start()
    yield made
    made.kill()


@pytest.fixture
def open_pace() -> Iterator[Any]:
    opened: list[Pace] = []

    def open_one(url: str | None, processes: int = 1) -> Pace:
        opened.append(Pace(url, processes=processes))
        return opened[-1]

    yield open_one
    for pace in opened:
        pace.close()


def a_relay(**limits: float) -> Relay:
    return Relay("relay.example", 25, **limits)  # type: ignore[arg-type]


def send(
    pace: Pace,
    relay: Relay,
    *,
    seconds: float,
    domain: str = DOMAIN,
    replies: Sequence[Reply] = (TAKEN,),
) -> int:
    """How many letters may go within so many seconds, answered so by turns."""
    sent, end = 0, time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        wait = wait_for(pace, relay, domain)
        if wait:
            time.sleep(min(wait, max(0.0, end - now)))
        else:
            pace.answered(relay, domain, replies[sent % len(replies)])
            sent += 1
    return sent


def _send_in_a_process(url: str, relay: Relay, seconds: float, results: Any, start: Any) -> None:
    pace = Pace(url, processes=1)
    start.wait()
    results.put(send(pace, relay, seconds=seconds))
    pace.close()


def test_processes_together_keep_to_the_rate_and_each_gets_its_part(server: Server) -> None:
    spawning = multiprocessing.get_context("spawn")
    results, start = spawning.Queue(), spawning.Barrier(3)
    arguments = (server.url, a_relay(rate=200.0), 2.0, results, start)
    children = [spawning.Process(target=_send_in_a_process, args=arguments) for _ in range(2)]
    for child in children:
        child.start()
    start.wait()
    sent = [results.get(timeout=30) for _ in children]
    for child in children:
        child.join()
    assert sum(sent) <= 200 * 2 + 80  # what may be ahead at the beginning
    assert sum(sent) >= 0.75 * 200 * 2
    assert min(sent) >= 0.35 * sum(sent)


def test_one_of_two_processes_that_is_always_late_still_gets_half(
    server: Server, open_pace: Any
) -> None:
    relay = a_relay(domain_rate=10.0)
    sent = {}

    def run(name: str, late: float) -> None:
        pace = open_pace(server.url, processes=2)
        count, end = 0, time.monotonic() + 2
        while time.monotonic() < end:
            wait = wait_for(pace, relay, DOMAIN)
            if wait:
                time.sleep(wait + late)
            else:
                count += 1
        sent[name] = count

    threads = [threading.Thread(target=run, args=one) for one in (("prompt", 0.0), ("late", 0.02))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(sent.values()) <= 10 * 2 + 5
    assert sent["late"] >= 0.4 * sum(sent.values())


@pytest.mark.parametrize("shared", [True, False])
def test_what_is_greylisted_does_not_count_as_taken(
    server: Server, open_pace: Any, shared: bool
) -> None:
    pace, relay = open_pace(server.url if shared else None), a_relay(domain_rate=100.0)
    offered = send(pace, relay, seconds=3, replies=[*[TAKEN] * 7, GREYLISTED])
    taken = offered - offered // 8
    assert taken >= 0.92 * 100 * 3  # 88 in 100 if what is refused counted
    assert taken <= 100 * 3 + 40


@pytest.mark.parametrize(
    ("reply", "at_most"), [(GREYLISTED, 1.25), (Reply(550, "5.1.1", "No such user"), 1.0)]
)
def test_a_domain_that_refuses_everybody_is_asked_hardly_faster(
    open_pace: Any, reply: Reply, at_most: float
) -> None:
    offered = send(open_pace(None), a_relay(domain_rate=100.0), seconds=2, replies=[reply])
    assert offered <= at_most * 100 * 2 + 15


def test_a_pause_is_never_made_up_for(server: Server, open_pace: Any) -> None:
    pace, relay = open_pace(server.url), a_relay(rate=100.0)
    assert send(pace, relay, seconds=0.5) > 0
    time.sleep(1.5)
    burst = 0
    while not wait_for(pace, relay, DOMAIN):
        burst += 1
    assert burst <= 31  # two tenths of a second ahead, and what passed meanwhile


def test_no_wait_is_longer_than_a_minute(server: Server, open_pace: Any) -> None:
    for url in (server.url, None):
        pace, relay = open_pace(url), a_relay(rate=0.0001)
        while not (wait := pace.wait_for_relay(relay)):
            pass
        assert 30 < wait <= LONGEST_WAIT_SECONDS


def test_a_clock_that_is_set_back_stops_nobody(server: Server, open_pace: Any) -> None:
    pace, relay = open_pace(server.url), a_relay(rate=100.0)
    with server.client() as client:
        client.set("mailer:pace:relay:relay.example:25", f"{time.time() * 1e6 + 3.6e9:.0f} somebody")
        wait = wait_for(pace, relay, DOMAIN)
        assert wait < 4
        assert client.pttl("mailer:pace:relay:relay.example:25") < 10_000


def test_the_processes_alive_are_counted_and_leave(server: Server, open_pace: Any) -> None:
    relay = a_relay()
    with server.client() as client:
        for alive in (1, 2, 3):
            wait_for(open_pace(server.url), relay, DOMAIN)
            assert client.zcard("mailer:pace:alive") == alive
        last = open_pace(server.url)
        wait_for(last, relay, DOMAIN)
        last.close()
        assert client.zcard("mailer:pace:alive") == 3
        client.zadd("mailer:pace:alive", {"killed": (time.time() - 60) * 1e6})
        wait_for(open_pace(server.url), relay, DOMAIN)
        assert client.zcard("mailer:pace:alive") == 4


def throttle(pace: Pace, relay: Relay, *, accepted: int = 5, throttled: int = 40) -> None:
    """Have the domain answer like this, until it is limited."""
    assert wait_for(pace, relay, DOMAIN) == 0.0
    time.sleep(0.3)
    for reply, times in ((TAKEN, accepted), (THROTTLED, throttled)):
        for _ in range(times):
            pace.answered(relay, DOMAIN, reply)
    for _ in range(20):
        wait_for(pace, relay, "anden.example")


def is_limited(pace: Pace, relay: Relay) -> bool:
    """Whether more than a hundred letters at once are too many for the domain."""
    return any(wait_for(pace, relay, DOMAIN) for _ in range(100))


def becomes(limited: bool, pace: Pace, relay: Relay, *, within: float = 5.0) -> bool:
    deadline = time.monotonic() + within
    while is_limited(pace, relay) is not limited:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_a_limit_that_one_learned_slows_the_others_within_a_second(
    server: Server, open_pace: Any
) -> None:
    one, other, relay = open_pace(server.url), open_pace(server.url), a_relay()
    assert wait_for(other, relay, DOMAIN) == 0.0
    throttle(one, relay)
    assert is_limited(one, relay)
    assert becomes(True, other, relay, within=1.5)
    assert is_limited(open_pace(server.url), relay)
    assert not is_limited(other, Relay("other.example", 25))


def test_processes_settle_together_at_what_the_receiver_takes(server: Server, open_pace: Any) -> None:
    relay, lock, heard = a_relay(), threading.Lock(), []
    began = time.monotonic()
    left = [5.0, began]

    def receive() -> Reply:
        with lock:
            now = time.monotonic()
            left[:] = [min(5.0, left[0] + (now - left[1]) * 5), now]
            takes = left[0] >= 1
            left[0] -= takes
            heard.append((now - began, takes))
        return TAKEN if takes else THROTTLED

    def run() -> None:
        pace = open_pace(server.url, processes=3)
        while time.monotonic() - began < 7:
            wait = wait_for(pace, relay, DOMAIN)
            if wait:
                time.sleep(min(wait, 0.5))
            else:
                pace.answered(relay, DOMAIN, receive())
                time.sleep(0.001)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    accepted = sum(takes for at, takes in heard if at > 4) / 3
    throttled = sum(not takes for at, takes in heard if at > 4) / 3
    assert sum(at < 1 for at, _ in heard) > 200
    assert 2.5 <= accepted <= 7.5
    assert throttled <= 3


def test_what_was_learned_survives_an_emptied_server(server: Server, open_pace: Any) -> None:
    pace, relay = open_pace(server.url), a_relay()
    throttle(pace, relay)
    with server.client() as client:
        client.flushall()
        client.script_flush()
        time.sleep(1.1)
        assert is_limited(pace, relay)
        assert client.hexists("mailer:pace:limits:relay.example:25", DOMAIN)
    assert is_limited(open_pace(server.url), relay)


def test_the_rate_holds_over_an_emptied_server(server: Server, open_pace: Any) -> None:
    pace, relay = open_pace(server.url), a_relay(rate=100.0)
    sent = send(pace, relay, seconds=0.5)
    with server.client() as client:
        client.flushall()
    sent += send(pace, relay, seconds=0.5)
    assert 75 <= sent <= 100 + 60


def test_the_rate_holds_while_the_server_is_killed_and_comes_back(
    server: Server, open_pace: Any
) -> None:
    pace, relay = open_pace(server.url), a_relay(rate=100.0)
    with capture_logs() as logs:
        sent = send(pace, relay, seconds=0.5)
        server.kill()
        sent += send(pace, relay, seconds=1)
        server.start()
        sent += send(pace, relay, seconds=2.5)
    assert 0.7 * 400 <= sent <= 400 + 80
    assert [one["log_level"] for one in logs] == ["warning", "info"]
    with server.client() as client:
        assert client.exists("mailer:pace:alive")


def test_a_learned_limit_is_kept_while_the_server_is_away_and_told_when_it_is_back(
    server: Server, open_pace: Any
) -> None:
    pace, relay = open_pace(server.url), a_relay()
    throttle(pace, relay)
    server.kill()
    assert is_limited(pace, relay)
    server.start()
    other = open_pace(server.url)
    time.sleep(2)
    assert becomes(True, pace, relay)
    with server.client() as client:
        deadline = time.monotonic() + 3
        while not client.hexists("mailer:pace:limits:relay.example:25", DOMAIN):
            wait_for(pace, relay, DOMAIN)
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert is_limited(other, relay)


def test_away_each_process_keeps_to_its_share(open_pace: Any, folder: Path) -> None:
    pace, relay = open_pace(f"unix://{folder}/nobody.sock", processes=4), a_relay(rate=100.0)
    assert 12 <= send(pace, relay, seconds=1) <= 25 + 5


def test_a_share_is_made_for_all_that_were_alive(server: Server, open_pace: Any) -> None:
    relay = a_relay(rate=100.0)
    others = [open_pace(server.url) for _ in range(9)]
    for other in others:
        other.wait_for_relay(relay)
    pace = open_pace(server.url)
    pace.wait_for_relay(relay)
    server.kill()
    assert send(pace, relay, seconds=1) <= 100 / 10 + 12  # and what was granted before


@pytest.mark.parametrize(
    "trouble", ["stopped", "readonly", "full", "signed out", "wrong type", "nonsense"]
)
def test_no_trouble_reaches_the_caller_or_holds_it_up(
    server: Server, open_pace: Any, trouble: str
) -> None:
    pace, relay = open_pace(server.url, processes=2), a_relay(rate=50.0)
    wait_for(pace, relay, DOMAIN)
    key = "mailer:pace:relay:relay.example:25"
    with server.client() as client:
        if trouble == "readonly":
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
        elif trouble == "full":
            client.config_set("maxmemory", "1")
        elif trouble == "signed out":
            client.execute_command("ACL", "SETUSER", "default", "-@all", "+config")
        elif trouble == "wrong type":
            client.delete(key, "mailer:pace:alive")
            client.lpush(key, "x")
            client.set("mailer:pace:alive", "x")
        elif trouble == "nonsense":
            client.set(key, "nan inf -1e999")
            client.hset("mailer:pace:limits:relay.example:25", mapping={DOMAIN: "nan", "x": "9 9"})
    if trouble == "stopped":
        server.signal(signal.SIGSTOP)
    try:
        slowest, sent, end = 0.0, 0, time.monotonic() + 0.8
        while time.monotonic() < end:
            began = time.monotonic()
            wait = wait_for(pace, relay, DOMAIN)
            slowest = max(slowest, time.monotonic() - began)
            sent += not wait
            pace.answered(relay, DOMAIN, TAKEN)
            time.sleep(min(wait, 0.1))
    finally:
        server.signal(signal.SIGCONT)
    assert 6 <= sent <= 50 * 0.8 + 25
    assert slowest < 0.6  # a quarter of a second, on a machine that is busy


def test_a_server_that_says_anything_at_all_is_not_believed(open_pace: Any, folder: Path) -> None:
    replies = [
        b"*2\r\n:-5\r\n:1\r\n",
        b"*2\r\n:99999999999\r\n:1\r\n",
        b"$5\r\nhello\r\n",
        b"*0\r\n",
        b"*4\r\n:1\r\n$1\r\nx\r\n*1\r\n*1\r\n:9\r\n*0\r\n",
        b":7\r\n",
        b"?what\r\n",
        b"-NOSCRIPT no\r\n",
        b"-LOADING wait\r\n",
        b"$-1\r\n",
    ]
    with socket.socket(socket.AF_UNIX) as listener:
        path = folder / "liar.sock"
        listener.bind(os.fspath(path))
        listener.listen()
        listener.settimeout(10)
        ended = threading.Event()

        def lie() -> None:
            number = 0
            while not ended.is_set():
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(5)
                    while request := connection.recv(65536):
                        if b"EVAL" in request:
                            connection.sendall(replies[number % len(replies)])
                            number += 1
                        else:
                            connection.sendall(b"+PONG\r\n" if b"PING" in request else b"+OK\r\n")

        liar = threading.Thread(target=lie)
        liar.start()
        for _ in replies:
            pace = open_pace(f"unix://{path}", processes=2)
            relay = a_relay(rate=1000.0, domain_rate=900.0)
            for _ in range(50):
                wait = wait_for(pace, relay, DOMAIN)
                assert 0 <= wait <= LONGEST_WAIT_SECONDS
                pace.answered(relay, DOMAIN, TAKEN)
            pace.close()
        ended.set()
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(os.fspath(path))
        liar.join()


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:1/0", "rediss://127.0.0.1:1/0", "redis://x:secret@nowhere.invalid:6379/0"]
)
def test_a_server_that_cannot_be_reached_is_said_once_and_its_password_never(
    open_pace: Any, url: str
) -> None:
    pace, relay = open_pace(url), a_relay(rate=1000.0)
    with capture_logs() as logs:
        send(pace, relay, seconds=0.5)
    assert [one["log_level"] for one in logs] == ["warning"]
    assert "secret" not in str(logs)


def test_options_of_the_url_do_not_lengthen_a_stall(server: Server, open_pace: Any) -> None:
    pace = open_pace(f"{server.url}?socket_timeout=30&health_check_interval=1&max_connections=5")
    relay = a_relay(rate=1000.0)
    wait_for(pace, relay, DOMAIN)
    server.signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        send(pace, relay, seconds=0.5)
    finally:
        server.signal(signal.SIGCONT)
    assert time.monotonic() - began < 5


def test_nothing_is_left_for_ever_and_nobody_is_named(server: Server, open_pace: Any) -> None:
    relay = a_relay(rate=1000.0, domain_rate=1.0)
    pace = open_pace(server.url)
    throttle(pace, relay)
    send(pace, relay, seconds=0.3)
    with server.client() as client:
        keys = client.keys("*")
        assert len(keys) >= 4
        assert all(key.startswith("mailer:pace:") for key in keys)
        assert all(0 < client.pttl(key) <= 3_600_000 for key in keys)
        assert not [key for key in keys if "@" in key]


def test_thousands_of_quiet_domains_cost_no_questions(server: Server, open_pace: Any) -> None:
    pace, relay = open_pace(server.url), a_relay(domain_rate=20.0)
    wait_for(pace, relay, DOMAIN)
    with server.client() as client:
        before = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        for number in range(2000):
            assert wait_for(pace, relay, f"d{number}.example") == 0.0
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] - before < 20
    assert is_limited(pace, relay)


def test_a_domain_sent_to_by_turns_stays_within_its_rate(server: Server, open_pace: Any) -> None:
    relay = a_relay(domain_rate=20.0)
    paces = [open_pace(server.url) for _ in range(4)]
    sent, end = 0, time.monotonic() + 2
    while time.monotonic() < end:
        sent += sum(not wait_for(pace, relay, DOMAIN) for pace in paces)
        time.sleep(0.005)
    assert 0.75 * 40 <= sent <= 40 + 10


def test_a_relay_read_anew_keeps_its_pace(server: Server, open_pace: Any) -> None:
    pace, sent = open_pace(server.url), 0
    for _ in range(600):
        sent += not wait_for(pace, a_relay(rate=10.0), DOMAIN)
    assert sent <= 10


def test_closed_it_goes_on_alone(server: Server, open_pace: Any) -> None:
    pace, relay = open_pace(server.url), a_relay(rate=100.0)
    wait_for(pace, relay, DOMAIN)
    pace.close()
    pace.close()
    assert send(pace, relay, seconds=0.5) > 10
