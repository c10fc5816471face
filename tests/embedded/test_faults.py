"""The sink misbehaves as it is told, to whom it is told, and the same way every run."""

from pathlib import Path

import pytest

from mailer.embedded.errors import BadFaults, FaultsNotFound
from mailer.embedded.faults import Fault, Faults, load_faults


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
        ('[[fault]]\nat = "ehlo"\nreply = "450 4.0.0 x"', "rule 1: at must be one of"),
        ('[[fault]]\ndrop = "now"', "rule 1: drop must be one of"),
        ("[[fault]]\nreply = 450", "rule 1: reply must be text"),
        ("[faults]", r"rules are written as \[\[fault\]\]"),
        ("[[fault", "faults.toml: "),
    ],
)
def test_a_rule_that_makes_no_sense_is_named(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(BadFaults, match=reason):
        load_faults(write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FaultsNotFound, match=r"no such file: .*faults\.toml"):
        load_faults(tmp_path / "faults.toml")
