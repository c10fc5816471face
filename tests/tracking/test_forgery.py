"""Whoever makes tokens up, or changes genuine ones, opens nothing.

``MAILER_TEST_FORGERIES=1000000`` makes up so many more; ``MAILER_TEST_EVERY_CHANGE=1`` tries every
character at every place of every token.
"""

import os
import random
import string
from collections.abc import Iterator
from itertools import pairwise

import pytest

from mailer.tracking.tokens import BadToken, Purpose, Tokens

FORGERIES = int(os.environ.get("MAILER_TEST_FORGERIES", "60000"))
EVERY_CHANGE = "MAILER_TEST_EVERY_CHANGE" in os.environ
GENUINE = 1_000
ALPHABET = string.ascii_letters + string.digits + "-_.~%/"
TAG_ALPHABET = "0123456789abcdefghijklmnopqrstuv"
TOKENS = Tokens([b"key-of-the-forgery-tests", b"key-before-that"])
PURPOSES = list(Purpose)


def genuine(rng: random.Random) -> Iterator[tuple[Purpose, str]]:
    """Tokens of the size that letters carry, of all purposes by turns."""
    for number in range(GENUINE):
        purpose = PURPOSES[number % len(PURPOSES)]
        yield purpose, TOKENS.sign(purpose, rng.randrange(1, 500), rng.randrange(1, 900_000))


def opens(purpose: Purpose, token: str) -> bool:
    try:
        TOKENS.verify(purpose, token)
    except BadToken:
        return False
    return True


def test_no_tag_made_up_behind_a_genuine_name_opens_anything() -> None:
    rng = random.Random(2014)
    names = [token[:-20] for _, token in genuine(rng)]

    for number in range(FORGERIES):
        tag = "".join(rng.choices(TAG_ALPHABET, k=20))
        assert not opens(PURPOSES[number % len(PURPOSES)], rng.choice(names) + tag)


def test_no_random_text_opens_anything() -> None:
    rng = random.Random(2015)

    for number in range(FORGERIES // 3):
        text = "".join(rng.choices(ALPHABET, k=rng.randrange(64)))
        assert not opens(PURPOSES[number % len(PURPOSES)], text)


def test_no_genuine_token_with_one_character_changed_opens_anything() -> None:
    rng = random.Random(2016)
    for purpose, token in genuine(rng):
        assert opens(purpose, token)
        places = range(len(token)) if EVERY_CHANGE else rng.sample(range(len(token)), 3)
        for place in places:
            for other in ALPHABET:
                if other != token[place]:
                    assert not opens(purpose, token[:place] + other + token[place + 1 :])


def test_no_genuine_token_with_a_character_more_or_less_or_moved_opens_anything() -> None:
    rng = random.Random(2017)
    for purpose, token in genuine(rng):
        for place in range(len(token)):
            assert not opens(purpose, token[:place] + token[place + 1 :])
            assert not opens(purpose, token[:place] + rng.choice(ALPHABET) + token[place:])
            moved = token[:place] + token[place + 1 : place + 2] + token[place] + token[place + 2 :]
            assert moved == token or not opens(purpose, moved)


def test_the_tag_of_one_token_opens_nothing_behind_another_name() -> None:
    rng = random.Random(2018)
    tokens = list(genuine(rng))

    for (purpose, one), (_, other) in pairwise(tokens):
        if one[:-20] != other[:-20]:
            assert not opens(purpose, one[:-20] + other[-20:])
            assert not opens(purpose, other[:-20] + one[-20:])


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_token_under_a_key_that_was_given_up_opens_nothing(purpose: Purpose) -> None:
    given_up = Tokens([b"key-that-leaked-and-was-given-up"])

    assert not opens(purpose, given_up.sign(purpose, 7, 4711))


@pytest.mark.parametrize("purpose", PURPOSES)
def test_the_name_of_another_key_does_not_make_a_tag_good(purpose: Purpose) -> None:
    old = Tokens([b"key-before-that"]).sign(purpose, 7, 4711)
    new = TOKENS.sign(purpose, 7, 4711)

    assert old[:2] != new[:2]
    assert opens(purpose, old)
    assert not opens(purpose, new[:2] + old[2:])
    assert not opens(purpose, old[:2] + new[2:])
