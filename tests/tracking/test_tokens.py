"""Tokens: nobody makes one up, and each opens one door."""

import string
from collections.abc import Callable
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.tracking.tokens import DELIVERY_PURPOSES, BadToken, Grant, Purpose, Tokens

KEY, OLD_KEY = b"key-of-the-tests", b"key-before-that"
TOKENS = Tokens([KEY])
READERS = {purpose: TOKENS.reader(purpose) for purpose in Purpose}
URL_SAFE = string.ascii_letters + string.digits + "-_"

purposes = st.sampled_from(list(Purpose))
numbers = st.integers(min_value=0, max_value=2**63 - 1)
grants = st.builds(Grant, numbers, numbers)


@given(purposes, grants)
def test_a_token_names_what_was_signed(purpose: Purpose, grant: Grant) -> None:
    token = TOKENS.sign(purpose, grant.campaign_id, grant.number)

    assert TOKENS.verify(purpose, token) == grant


@given(purposes, grants)
def test_the_quick_reader_reads_what_was_signed_for_its_purpose(purpose: Purpose, grant: Grant) -> None:
    token = TOKENS.sign(purpose, grant.campaign_id, grant.number).encode()

    told = {each for each, read in READERS.items() if read(token) is not None}
    assert told == {purpose}
    assert READERS[purpose](token) == (grant.campaign_id, grant.number)
    assert Tokens([OLD_KEY, KEY]).reader(purpose)(token) == (grant.campaign_id, grant.number)
    assert Tokens([OLD_KEY]).reader(purpose)(token) is None


@given(purposes, grants, st.data())
def test_the_quick_reader_takes_no_part_of_a_token(
    purpose: Purpose, grant: Grant, data: st.DataObject
) -> None:
    token = TOKENS.sign(purpose, grant.campaign_id, grant.number).encode()
    begins = data.draw(st.integers(0, len(token)))
    ends = data.draw(st.integers(begins, len(token)))

    assert (READERS[purpose](token[begins:ends]) is None) == (token[begins:ends] != token)
    assert READERS[purpose](token[:2] + token[begins:ends] + token) is None


@given(purposes, grants, st.booleans())
def test_a_token_in_an_address_survives_any_case(purpose: Purpose, grant: Grant, upper: bool) -> None:
    token = TOKENS.sign(purpose, grant.campaign_id, grant.number)

    assert token == token.lower()
    assert TOKENS.verify_from_address(purpose, token.upper() if upper else token) == grant


@settings(max_examples=25)
@given(purposes, grants)
def test_every_change_of_one_character_fails(purpose: Purpose, grant: Grant) -> None:
    token = TOKENS.sign(purpose, grant.campaign_id, grant.number)

    for place, character in enumerate(token):
        for other in URL_SAFE:
            if other != character:
                assert_refused(purpose, token[:place] + other + token[place + 1 :])


@settings(max_examples=15)
@given(grants)
def test_every_change_of_one_character_in_an_address_fails(grant: Grant) -> None:
    token = TOKENS.sign(Purpose.BOUNCE, grant.campaign_id, grant.number)

    for place, character in enumerate(token):
        for other in string.ascii_lowercase + string.digits + "-_":
            if other != character:
                changed = token[:place] + other + token[place + 1 :]
                with pytest.raises(BadToken):
                    TOKENS.verify_from_address(Purpose.BOUNCE, changed)


@given(numbers, numbers)
def test_all_tokens_of_a_delivery_are_signed_in_one_go(campaign_id: int, position: int) -> None:
    signed = Tokens([KEY, OLD_KEY]).signer(campaign_id).sign_delivery(position)

    assert [token.decode() for token in signed] == [
        TOKENS.sign(purpose, campaign_id, position) for purpose in DELIVERY_PURPOSES
    ]


def test_what_is_signed_for_a_delivery_is_good_for_no_copy_to_pass_on() -> None:
    assert {*DELIVERY_PURPOSES, Purpose.PASS_ON} == set(Purpose)
    for token in TOKENS.signer(7).sign_delivery(4711):
        assert_refused(Purpose.PASS_ON, token.decode())


@given(purposes, numbers, numbers)
def test_campaign_and_number_cannot_be_shifted_against_each_other(
    purpose: Purpose, campaign_id: int, number: int
) -> None:
    token = TOKENS.sign(purpose, campaign_id, number)
    body, tag = token[:-20], token[-20:]
    digits = body[2:].replace("-", "")

    for cut in range(1, len(digits)):
        shifted = f"{body[:2]}{digits[:cut]}-{digits[cut:]}"
        if shifted != body:
            assert_refused(purpose, shifted + tag)


@given(purposes, grants, st.text(alphabet=URL_SAFE + "=/+ .\n\x00æ", min_size=1, max_size=3))
def test_a_token_has_one_spelling(purpose: Purpose, grant: Grant, more: str) -> None:
    token = TOKENS.sign(purpose, grant.campaign_id, grant.number)

    for respelled in (token + more, more + token, token[:-1], token[1:], token + "=", token + "=="):
        assert_refused(purpose, respelled)


@pytest.mark.parametrize(("signed", "asked"), [*permutations(Purpose, 2)])
def test_a_token_is_good_for_one_purpose(signed: Purpose, asked: Purpose) -> None:
    assert_refused(asked, TOKENS.sign(signed, 7, 4711))
    with pytest.raises(BadToken):
        TOKENS.verify_from_address(asked, TOKENS.sign(signed, 7, 4711))


@given(purposes, grants)
def test_old_keys_still_verify(purpose: Purpose, grant: Grant) -> None:
    token = Tokens([OLD_KEY]).sign(purpose, grant.campaign_id, grant.number)

    assert Tokens([KEY, OLD_KEY]).verify(purpose, token) == grant
    assert_refused(purpose, token)


@given(purposes, grants)
def test_new_tokens_bear_the_current_key(purpose: Purpose, grant: Grant) -> None:
    token = Tokens([KEY, OLD_KEY]).sign(purpose, grant.campaign_id, grant.number)

    assert TOKENS.verify(purpose, token) == grant


@settings(max_examples=500)
@given(purposes, st.text(alphabet=URL_SAFE, max_size=64) | st.text(max_size=64))
def test_made_up_text_is_no_token(purpose: Purpose, text: str) -> None:
    assert_refused(purpose, text)


@given(purposes, st.text(alphabet=string.hexdigits + "-ghv", max_size=48))
def test_made_up_text_behind_the_right_key_id_is_no_token(purpose: Purpose, tail: str) -> None:
    key_id = TOKENS.sign(purpose, 1, 1)[:2]

    assert_refused(purpose, key_id + tail)
    assert_refused(purpose, f"{key_id}1-1{tail:0>20}"[:60])


@pytest.mark.parametrize(
    "respell",
    [
        str.upper,
        lambda token: token[:2] + "0" + token[2:],
        lambda token: token.replace("-", "-0"),
        lambda token: token.replace("-", "--"),
        lambda token: token.replace("-", "_"),
        lambda token: token + "\n",
        lambda token: "+" + token,
        lambda token: token.replace("1", "\uff11"),
    ],
)
def test_a_number_is_written_in_the_one_shortest_way(respell: Callable[[str], str]) -> None:
    token = TOKENS.sign(Purpose.VIEW, 1, 0x11)

    assert respell(token) != token
    assert_refused(Purpose.VIEW, respell(token))


def test_a_delivery_of_a_large_campaign_fits_a_line_and_a_local_part() -> None:
    assert len(TOKENS.sign(Purpose.CLICK, 9_999, 800_000)) <= 32
    assert len("bounce+" + TOKENS.sign(Purpose.BOUNCE, 10**9, 10**9)) <= 64


def test_tokens_need_a_key() -> None:
    with pytest.raises(ValueError, match="key"):
        Tokens([])


def assert_refused(purpose: Purpose, token: str) -> None:
    with pytest.raises(BadToken):
        TOKENS.verify(purpose, token)
    assert READERS[purpose](token.encode()) is None


@pytest.mark.parametrize(("letter", "alike"), [("s", "ſ"), ("i", "ı"), ("k", "\u212a")])
def test_a_letter_that_only_looks_alike_is_another_one(letter: str, alike: str) -> None:
    signed = (TOKENS.sign(Purpose.BOUNCE, 1, number) for number in range(1000))
    token = next(token for token in signed if letter in token)

    with pytest.raises(BadToken):
        TOKENS.verify_from_address(Purpose.BOUNCE, token.replace(letter, alike, 1))
