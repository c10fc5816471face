"""`mailer sink` as a process: what it acknowledged survives, what it is told later counts."""

import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mailer.embedded.mailstore import read_faults, read_record
from mailer.embedded.services import free_port, greets
from tests.embedded.talking import ENVELOPE, LETTER, client

FAULTS = '[[fault]]\nrecipient = "^vaek@"\nreply = "550 5.1.1 Gone"\n'


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def sink(folder: Path, *options: str) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    port = free_port()
    command = [sys.executable, "-m", "mailer.cli", "sink", "--port", str(port), "--folder", "sink"]
    with (folder / "sink.log").open("wb") as log:
        process = subprocess.Popen([*command, *options], cwd=folder, stderr=log)
        try:
            wait_for(lambda: greets(port))
            yield process, port
        finally:
            process.kill()
            process.wait(10)


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    with sink(tmp_path, "--keep", "0") as (process, port), client(port) as relay:
        relay.say("EHLO x")
        relay.send(ENVELOPE % b"0@c.example")
        assert relay.lines(3) == ["250", "250", "354"]
        for number in range(1, 51):
            relay.send(LETTER + b".\r\n" + ENVELOPE % f"{number}@c.example".encode())
            assert relay.lines(4) == ["250", "250", "250", "354"]
        process.kill()
        process.wait(10)
    recipients = [kept.recipient for kept in read_record(tmp_path / "sink")]
    assert recipients == [f"{number}@c.example" for number in range(50)]


def test_faults_are_read_again_and_bad_ones_change_nothing(tmp_path: Path) -> None:
    file, log = tmp_path / "faults.toml", tmp_path / "sink.log"
    file.write_text("")
    with sink(tmp_path, "--faults", "faults.toml") as (process, port), client(port) as relay:
        assert relay.begin("vaek@c.example").startswith("250")
        file.write_text(FAULTS)
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: "following faults.toml as it is now" in log.read_text())
        assert relay.say("RCPT TO:<vaek@c.example>") == "550 5.1.1 Gone"

        file.write_text(FAULTS + "[[fault]]\nshare = 2\n")
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: "stay in force: faults.toml: rule 2: " in log.read_text())
        assert relay.say("RCPT TO:<vaek@c.example>") == "550 5.1.1 Gone"

        assert log.read_text().count(f"relay: smtp://127.0.0.1:{port}?starttls=never\n") == 2
        file.write_text(FAULTS + '[tls]\ncertificate = "expired"\n')
        process.send_signal(signal.SIGHUP)
        told = f"relay: smtp://127.0.0.1:{port}?starttls=require&ca={tmp_path}/sink/authority.pem\n"
        wait_for(lambda: told in log.read_text())
    assert [each.kind for each in read_faults(tmp_path / "sink")] == ["reply", "reply"]


def test_endless_letters_cost_no_memory_and_what_the_disk_refuses_is_not_acknowledged(
    tmp_path: Path,
) -> None:
    (tmp_path / "faults.toml").write_text("[limits]\nsize = 1000000\n")
    with sink(tmp_path, "--faults", "faults.toml") as (process, port):
        status = Path(f"/proc/{process.pid}/status")
        before = _peak_kilobytes(status)
        with client(port) as relay:
            relay.begin()
            relay.say("DATA")
            line = b"x" * 997 + b"\r\n"
            for _ in range(60):
                relay.send(line * 1000)
            relay.send(b".\r\n")
            assert relay.line().startswith("552")
            assert _peak_kilobytes(status) - before < 20_000

            record = tmp_path / "sink" / "letters.tsv"
            full = record.stat().st_size + 40
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (full, full))
            assert relay.begin().startswith("250")
            relay.say("DATA")
            relay.send(b"x\r\n.\r\n")
            assert relay.line() == ""
        assert read_record(tmp_path / "sink") == []
        assert record.read_bytes().endswith(b"\n")
        assert process.poll() is None


def _peak_kilobytes(status: Path) -> int:
    [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])
