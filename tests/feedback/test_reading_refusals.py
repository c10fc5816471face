"""Which refusals are for good."""

import pytest

from mailer.feedback.refusals import find_status, is_for_good

HARD = [
    (
        "550 5.1.1 <kim@k.example>: Recipient address rejected: User unknown in local recipient table",
        None,
    ),
    ("550-5.1.1 The account that you tried to reach does not exist. See https://x.example/policy", None),
    ("550 5.2.1 The account that you tried to reach is disabled.", None),
    ("550 5.4.1 Recipient address rejected: Access denied. AS(2018)", None),
    ("554 5.4.4 Name service error for name=k.example type=A: Host not found", "5.4.4"),
    ("550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by lookup", None),
    ("550 5.4.310 DNS domain k.example does not exist", None),
    ("556 5.1.10 Recipient address rejected: Domain k.example does not accept mail (nullMX)", None),
    ("550 Requested action not taken: mailbox unavailable", None),
    ("554 delivery error: This user doesn't have a k.example account (kim@k.example) [0]", None),
    ("550 5.7.1 <kim@k.example>... User unknown", None),
    ("550 kim@k.example... No such user", "5.0.0"),
    ("sorry, no mailbox here by that name (#5.1.1)", None),
    ("551 not our customer", "5.1.6"),
    ("Lookup of k.example responded with NXDOMAIN: Domain name not found", "4.0.0"),
    ("User Kim (kim@k.example) not listed in Domino Directory", None),
    ("Unrouteable address", None),
    ("550 #5.1.0 Address rejected.", None),
    ("", "5.1.1"),
    ("", "5.1.2"),
    ("", "5.1.10"),
    ("no words", "5.1.1 (bad destination mailbox address)"),
]
SOFT = [
    ("Your e-mail could not be sent: connection closed", None),
    ("550 Your IP address is not registered with us", None),
    ("550 destination server is not available", None),
    ("554 5.5.1 Error: no valid recipients", None),
    ("452 4.2.2 The account is over quota", None),
    ("552 5.2.2 Over quota", "5.2.2"),
    ("550 mailbox is full", None),
    ("550 5.1.1 mailbox full, user unknown to have space", None),
    ("550 User account is overquota", None),
    ("450 4.1.1 User unknown, verification pending", None),
    ("450 4.2.0 <kim@k.example>: Recipient address rejected: Greylisted", None),
    ("450-4.2.1 The user you are trying to contact is receiving mail at a rate that prevents", None),
    ("421 4.7.0 try again later", "5.7.1"),
    ("552 5.3.4 Message size exceeds fixed limit", None),
    ("550 5.2.3 too large", "5.2.3"),
    (
        "550 5.7.1 Client host [192.0.2.1] blocked. If your address is no longer listed, write to us",
        None,
    ),
    ("550 5.7.1 IP address blacklisted by recipient", "5.1.1"),
    ("554 5.7.1 <kim@k.example>: Relay access denied", None),
    ("554 5.7.1 <kim@k.example>: Recipient address rejected: Access denied", None),
    ("550 5.7.26 Unauthenticated mail is not accepted due to the domain's DMARC policy", None),
    ("550-Requested action not taken: mailbox unavailable 550 Reject due to policy restrictions", None),
    ("550 5.1.1 Message rejected as spam by our content filter", None),
    ("550 5.1.8 Sender address rejected: Domain not found", None),
    ("550 5.1.7 No such domain brev.coi.example", None),
    ("550 Sender verify failed: no such user", None),
    ("554 mail servers must have a PTR record with a valid reverse DNS entry", None),
    ("Name service error for name=k.example type=MX: Host not found, try again", "4.4.3"),
    ("connect to mx.k.example[192.0.2.1]:25: Connection timed out", "4.4.1"),
    ("554 5.4.6 Too many hops", None),
    ("554 5.4.7 delivery expired (message too old)", None),
    ("554 5.0.0 Service unavailable", "5.0.0"),
    ("554 Message refused", None),
    ("", "5.0.0"),
    ("", "5.7.1"),
    ("", "4.4.7"),
    ("", None),
]


@pytest.mark.parametrize(("reason", "stated"), HARD)
def test_an_address_that_is_not_there_is_refused_for_good(reason: str, stated: str | None) -> None:
    assert is_for_good(reason, stated)


@pytest.mark.parametrize(("reason", "stated"), SOFT)
def test_what_may_be_otherwise_tomorrow_is_not_for_good(reason: str, stated: str | None) -> None:
    assert not is_for_good(reason, stated)


@pytest.mark.parametrize(
    ("reason", "stated", "status"),
    [
        ("550 5.1.1 unknown", "5.0.0", "5.1.1"),
        ("550 5.7.1 blocked", "5.1.1", "5.7.1"),
        ("550 5.0.0 no", "5.1.1", "5.1.1"),
        ("550 no", "5.2.1 (disabled)", "5.2.1"),
        ("unreachable (#4.4.1)", None, "4.4.1"),
        ("550 no, 5.1.1.9 and 192.5.1.1 are addresses", None, None),
        ("", None, None),
    ],
)
def test_the_refusing_servers_own_code_counts_most(
    reason: str, stated: str | None, status: str | None
) -> None:
    assert find_status(reason, stated) == status
