"""An address reaches the relay as the one address it is, or not at all."""

import pytest

from mailer.smtp.envelope import Envelope, ascii_domain
from recipients.addresses import parse_address


@pytest.mark.parametrize(
    "address",
    [
        "a@b.example\r\nRCPT TO:<c@d.example",
        "a@b.example\nDATA",
        "a@b.example> SIZE=1 <c@d.example",
        '"a b"@c.example',
        "a@b.example\0",
        "ø@b.example\x85",
    ],
)
def test_an_address_cannot_end_its_command(address: str) -> None:
    with pytest.raises(UnicodeError):
        ascii_domain(address)


@pytest.mark.parametrize(
    "domain", ["straße.example", "københavn.example", "KØBENHAVN.example", "x.example"]
)
def test_a_letter_goes_to_the_domain_the_address_was_read_as(domain: str) -> None:
    read = parse_address(f"a@{domain}")

    assert ascii_domain(read.email) == f"a@{read.domain}"


@pytest.mark.parametrize(
    "bad", ["a@b.example\r\nDATA", "a@b.example> SIZE=1 <c@d.example", "a\0@b.example"]
)
def test_no_envelope_can_say_more_than_two_addresses(bad: str) -> None:
    for addresses in ((bad, "a@b.example"), ("a@b.example", bad)):
        with pytest.raises(UnicodeError):
            Envelope(*addresses)
