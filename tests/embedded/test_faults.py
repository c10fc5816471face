"""The sink misbehaves as it is told, to whom it is told, and the same way every run."""

from pathlib import Path

import pytest

from mailer.embedded.errors import BadFaults, FaultsNotFound
from mailer.embedded.fault_file import load_faults
from mailer.embedded.faults import (
    Behaviour,
    Fault,
    Faults,
    Latency,
    Limits,
    Pieces,
    Rate,
    SignIn,
    Tls,
)


def write(folder: Path, text: str) -> Path:
    path = folder / "faults.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_rules_are_read_in_order_and_the_first_that_applies_decides(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        [[fault]]
        recipient = "@lukket\\\\.example$"
        reply = "550 5.1.1 No such user"
        [[fault]]
        reply = "450 4.2.1 Try again"
        times = 1
        """,
    )
    faults = load_faults(path)
    assert faults.find("rcpt", "a@LUKKET.example") == faults.rules[0]
    assert faults.find("rcpt", "a@aaben.example") == faults.rules[1]
    assert faults.find("rcpt", "A@aaben.example") is None
    assert faults.find("dot", "b@aaben.example") is None


def test_a_share_chooses_the_same_addresses_every_run() -> None:
    rule = Fault(share=0.1, reply="450 4.2.1 Busy")
    addresses = [f"borger{number}@eksempel.example" for number in range(2000)]
    chosen = [each for each in addresses if Faults((rule,)).find("rcpt", each)]
    again = [each for each in addresses if Faults((rule,)).find("rcpt", each.upper())]
    assert 140 < len(chosen) < 260
    assert chosen == again


def test_another_seed_chooses_others_and_attempts_are_drawn_anew_where_told() -> None:
    addresses = [f"borger{number}@eksempel.example" for number in range(500)]
    rule = Fault(share=0.5, reply="450 4.2.1 Busy")
    chosen = [
        {each for each in addresses if Faults((rule,), Behaviour(seed=seed)).find("rcpt", each)}
        for seed in (0, 1, 1)
    ]
    assert chosen[0] != chosen[1] == chosen[2]

    faults = Faults((Fault(share=0.5, by="attempt", reply="450 4.2.1 Busy"),))
    attempts = [faults.find("rcpt", "a@b.example") is not None for _ in range(200)]
    assert 70 < sum(attempts) < 130


def test_a_greylisted_address_is_refused_until_its_time_has_passed(tmp_path: Path) -> None:
    now = [1000.0]
    told = load_faults(write(tmp_path, "[[fault]]\ngreylist = 60"))
    faults = Faults(told.rules, clock=lambda: now[0])
    assert faults.rules[0].reply == "451 4.7.1 Not yet: try again later"
    assert faults.rules[0].kind == "greylist"
    met = []
    for now[0] in (1000.0, 1059.0, 1060.0):
        met.append(faults.find("rcpt", "a@b.example") is not None)
    assert met == [True, True, False]
    assert faults.find("rcpt", "c@b.example")


def test_a_domain_that_waits_long_enough_gets_letters_again() -> None:
    now = [0.0]
    faults = Faults((), Behaviour(rates=(Rate(2.0, burst=2),)), clock=lambda: now[0])

    def goes(address: str) -> bool:
        return faults.find_domain_limit(address) is None

    assert [goes("a@b.example") for _ in range(3)] == [True, True, False]
    assert goes("a@c.example")
    now[0] = 0.5
    assert [goes("A@B.example") for _ in range(2)] == [True, False]


def test_a_random_delay_is_the_same_every_run_and_within_its_spread() -> None:
    rule = Fault(delay=1, spread=2)
    waits = [Faults((rule,)).wait_seconds(rule, f"{number}@b.example") for number in range(50)]
    again = [Faults((rule,)).wait_seconds(rule, f"{number}@B.example") for number in range(50)]
    assert waits == again
    assert 1 <= min(waits) < 1.5 < 2.5 < max(waits) <= 3


def test_everything_a_file_may_tell_is_read(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        seed = 7
        without = ["PIPELINING", "SMTPUTF8"]
        data_without_recipients = 503
        [limits]
        connections = 20
        [latency]
        round_trip = 0.05
        [pieces]
        size = 1
        [tls]
        certificate = "own.pem"
        key = "own.key"
        [auth]
        user = "brev"
        password = "hemmelig"
        mechanisms = ["PLAIN"]
        [[rate]]
        letters_per_second = 5
        [[fault]]
        at = "dot"
        drop = "in-reply"
        """,
    )
    told = load_faults(path)
    assert told.rules == (Fault(at="dot", drop="in-reply"),)
    assert told.behaviour == Behaviour(
        seed=7,
        without=frozenset({"PIPELINING", "SMTPUTF8"}),
        data_without_recipients=503,
        limits=Limits(connections=20),
        latency=Latency(round_trip=0.05),
        pieces=Pieces(size=1),
        tls=Tls(certificate=str(tmp_path / "own.pem"), key=str(tmp_path / "own.key")),
        sign_in=SignIn("brev", "hemmelig", mechanisms=("PLAIN",)),
        rates=(Rate(5),),
    )


def test_every_problem_of_a_file_is_told_with_its_line(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """seed = "x"
[limits]
size = 0
[auth]
user = "brev"
[[fault]]
share = 2
by = "luck"
delay = 1
[[fault]]
at = "connect"
recipient = "("
reply = "554 5.3.2 Away"
""",
    )
    with pytest.raises(BadFaults) as told:
        load_faults(path)
    shares = "share lies between 0 and 1, delay and spread are not below 0"
    unfinished = "recipient is no regular expression: missing ), unterminated subpattern at position 0"
    assert str(told.value).splitlines() == [
        f"{path}: [limits]: limits must be above 0 (line 2)",
        f"{path}: [auth]: password is missing (line 4)",
        f"{path}: the file: seed must be a whole number",
        f"{path}: rule 1: by must be address or attempt; {shares} (line 6)",
        f"{path}: rule 2: {unfinished}; nobody is named yet at connect (line 10)",
    ]


def test_hanging_up_belongs_to_the_content() -> None:
    faults = Faults((Fault(drop="after-dot"),))
    assert faults.find("rcpt", "a@b.example") is None
    assert faults.find("dot", "a@b.example") is faults.rules[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[[fault]]\nreply = "250 OK"', "rule 1: reply must look like"),
        ('[[fault]]\nreply = "450 4.0.0 x\\r\\n250 OK"', "rule 1: reply must look like"),
        ("[[fault]]\nshare = 0.5", "rule 1: a rule needs a reply, a drop or a delay"),
        ('[[fault]]\nshare = 2\nreply = "450 4.0.0 x"', "rule 1: share lies between"),
        ('[[fault]]\nshare = "2"\nreply = "450 4.0.0 x"', "rule 1: share must be a number"),
        ('[[fault]]\nrecipient = "("\nreply = "450 4.0.0 x"', "rule 1: recipient is no regular"),
        ('[[fault]]\ndelay = 1\n[[fault]]\nto = "x"', "rule 2: no such field: to"),
        ('[[fault]]\nat = "quit"\nreply = "450 4.0.0 x"', "rule 1: at must be one of"),
        ('[[fault]]\ndrop = "now"', "rule 1: drop must be one of"),
        ("[[fault]]\nreply = 450", "rule 1: reply must be text"),
        ("[faults]", r"rules are written as \[\[fault\]\]"),
        ("[[fault", "faults.toml: "),
        ("[[fault]]\nforget = 1", "rule 1: forget must be true or false"),
        ("[[fault]]\ndelay = true", "rule 1: delay must be a number"),
        ("[[fault]]\ntimes = 1.5\ndelay = 1", "rule 1: times must be a whole number"),
        ("fault = 1", "fault: write"),
        ("fault = [1]", "rule 1: this is no table"),
        ("latency = 1", r"\[latency\]: this is no table"),
        ("[latency]\nround_trip = -1", "no time is below 0"),
        ('without = ["DSN"]', "without can name PIPELINING"),
        ("without = [1]", "without must be a list of texts"),
        ('[auth]\nuser = "a"\npassword = "b"\nmechanisms = ["X"]', "mechanisms are PLAIN"),
        ('[tls]\ninject = "x\\r\\ny"', "inject must be a reply line"),
        ("[[rate]]\nletters_per_second = 0", "rate 1: letters_per_second must be above 0"),
        ("[[rate]]\n", "rate 1: letters_per_second is missing"),
    ],
)
def test_a_rule_that_makes_no_sense_is_named(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(BadFaults, match=reason):
        load_faults(write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FaultsNotFound, match=r"no such file: .*faults\.toml"):
        load_faults(tmp_path / "faults.toml")
