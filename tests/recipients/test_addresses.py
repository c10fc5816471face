import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recipients.addresses import hash_address, parse_address
from recipients.errors import BadAddress


def test_an_address_is_written_to_as_given_and_known_by_its_folded_form() -> None:
    address = parse_address("  TR.Jensen@Aarhus.Example ")

    assert address.email == "TR.Jensen@Aarhus.Example"
    assert address.key == "tr.jensen@aarhus.example"
    assert address.domain == "aarhus.example"


def test_a_name_before_the_address_is_kept_apart() -> None:
    address = parse_address('"Sørensen, Åse" <aase@skole.example>')

    assert (address.email, address.name) == ("aase@skole.example", "Sørensen, Åse")


def test_an_international_domain_is_one_domain_however_it_is_written() -> None:
    spelled = parse_address("jorgen@KØBENHAVN.example")
    coded = parse_address("Jorgen@xn--kbenhavn-54a.example")

    assert spelled.key == coded.key
    assert spelled.domain == coded.domain == "xn--kbenhavn-54a.example"


def test_a_local_part_may_have_danish_letters() -> None:
    composed, decomposed = parse_address("ÅSE@skole.example"), parse_address("a\u030ase@skole.example")

    assert composed.key == decomposed.key == "åse@skole.example"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "ingen-snabel.example",
        "to@@snabler.example",
        "en@skole.example; to@skole.example",
        "navn@skole.test",
        "navn@skole.invalid",
        "navn@kommune",
        "navn@[127.0.0.1]",
        '"a b"@skole.example',
        "a b@skole.example",
        "a\r\nBcc: alle@skole.example",
        "a@skole.example\x00",
        "a\u2028@skole.example",
        "a\u200b@skole.example",
        "a\ud800@skole.example",
        "x" * 250 + "@skole.example",
        "Åse <>",
    ],
)
def test_what_cannot_be_written_to_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(BadAddress, match=r"\w+ \w+"):
        parse_address(text)


_LOCAL = st.text("abcXYZ019.+-_'!ø \"<>@\x00", min_size=1, max_size=12)
_DOMAIN = st.sampled_from(
    ["skole.example", "KØBENHAVN.example", "x.test", "a..example", "-a.example", "b.example.", "dk"]
)


@hypothesis_settings(max_examples=300, deadline=None)
@given(local=_LOCAL, domain=_DOMAIN)
@example(local="POSTMASTER", domain="skole.example")
@example(local="x" * 241, domain="skole.example")
def test_the_quick_way_judges_like_the_library(local: str, domain: str) -> None:
    text = f"{local}@{domain}"
    try:
        checked = validate_email(text.strip(), check_deliverability=False)
    except EmailNotValidError:
        with pytest.raises(BadAddress):
            parse_address(text)
    else:
        address = parse_address(text)
        assert address.domain == checked.ascii_domain.lower()
        assert address.key == f"{checked.local_part.casefold()}@{address.domain}"


def test_the_hash_needs_the_key_and_takes_a_key_of_any_length() -> None:
    hashes = {hash_address(key, "a@skole.example") for key in (b"one", b"two", b"x" * 200)}

    assert len(hashes) == 3
    assert all(len(each) == 32 for each in hashes)
    assert hash_address(b"one", "a@skole.example") in hashes
