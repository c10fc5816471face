"""The sink's account and the ledger's must tell the same story, letter by letter."""

from mailer.embedded.mailstore import Kept
from mailer.embedded.proof import compare


def kept(number: int, recipient: str = "b@c.example") -> Kept:
    return Kept("2014-03-07T08:00:00+00:00", recipient, f"<{number}@x.example>", "a@x.example", 1, "")


def row(number: int, state: str = "sent", recipient: str = "b@c.example") -> dict[str, str]:
    return {"recipient": recipient, "state": state, "message_id": f"{number}@x.example"}


def test_accounts_that_agree_have_no_problems() -> None:
    found = compare([kept(1), kept(2)], [row(1), row(2), row(3, "bounced"), row(4, "uncertain")])
    assert found.problems == ()
    assert (found.accepted, found.sent, found.uncertain) == (2, 2, 1)


def test_an_uncertain_letter_may_have_arrived() -> None:
    assert compare([kept(1)], [row(1, "uncertain")]).problems == ()


def test_one_address_is_one_address_in_any_spelling_of_its_domain() -> None:
    rows = [row(1, recipient="Søren@københavn.example")]
    assert compare([kept(1, "søren@xn--kbenhavn-54a.example")], rows).problems == ()


def test_a_letter_that_arrived_twice_is_found() -> None:
    assert compare([kept(1), kept(1)], [row(1)]).problems == ("1 letters arrived more than once",)


def test_a_lost_letter_is_found() -> None:
    assert compare([], [row(1)]).problems == ("1 letters are sent in the ledger and never arrived",)


def test_a_letter_that_should_not_have_arrived_is_found() -> None:
    assert compare([kept(1)], [row(1, "pending")]).problems == (
        "1 letters arrived and are not sent in the ledger",
    )
    assert compare([kept(1)], []).problems == ("1 letters arrived that no ledger knows",)
