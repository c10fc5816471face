"""At every door one kind of token opens; all others get one answer, and cost the database nothing.

The answers are compared as they come over the wire, byte for byte.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy.event

from mailer.foundation.database import Database
from mailer.tracking.models import TrackingKind
from mailer.tracking.tokens import Purpose, Tokens
from tests.web.conftest import FIREFOX, Mailing, Reader, serving
from tests.web.raw import ask, talk

FORM = b"List-Unsubscribe=One-Click"
DOORS = {
    ("GET", "/c/{}/1"): Purpose.CLICK,
    ("GET", "/c/{}/2"): Purpose.CLICK,
    ("GET", "/u/{}"): Purpose.UNSUBSCRIBE,
    ("POST", "/u/{}"): Purpose.UNSUBSCRIBE,
    ("GET", "/v/{}"): Purpose.VIEW,
    ("GET", "/p/{}"): Purpose.PASS_ON,
    ("GET", "/r/{}/midtjylland"): Purpose.REMIND,
    ("POST", "/r/{}/midtjylland"): Purpose.REMIND,
    ("GET", "/t/{}/midtjylland"): Purpose.REGISTER,
    ("POST", "/t/{}/midtjylland"): Purpose.REGISTER,
    ("GET", "/a/{}/midtjylland"): Purpose.ATTEND,
    ("POST", "/a/{}/midtjylland"): Purpose.ATTEND,
}
_DATE = re.compile(rb"\r\ndate: [^\r]*")


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough: it must not be asked at all."""
    return sqlite_url


def change(token: str, place: int) -> str:
    """The token with another character of its alphabet at that place."""
    return token[:place] + ("1" if token[place] != "1" else "2") + token[place + 1 :]


FORGED: dict[str, Callable[[Mailing, Purpose], str]] = {
    "made up": lambda _, __: "x",
    "nothing": lambda _, __: "-",
    "shaped like one": lambda mailing, purpose: sign(mailing, purpose)[:-20] + "0" * 20,
    "changed tag": lambda mailing, purpose: change(sign(mailing, purpose), -1),
    "changed campaign": lambda mailing, purpose: change(sign(mailing, purpose), 2),
    "changed position": lambda mailing, purpose: change(sign(mailing, purpose), -21),
    "cut short": lambda mailing, purpose: sign(mailing, purpose)[:-1],
    "longer": lambda mailing, purpose: sign(mailing, purpose) + "0",
    "capitals": lambda mailing, purpose: sign(mailing, purpose).upper(),
    "a key given up": lambda mailing, purpose: Tokens([b"a-key-that-was-given-up"]).sign(
        purpose, mailing.campaign_id, 1
    ),
    "another door's": lambda mailing, purpose: sign(
        mailing, Purpose.BOUNCE if purpose is not Purpose.BOUNCE else Purpose.OPEN
    ),
}


def sign(mailing: Mailing, purpose: Purpose) -> str:
    return mailing.runtime.tokens.sign(purpose, mailing.campaign_id, 1)


@contextmanager
def counting_statements(database: Database) -> Iterator[list[str]]:
    """What the database is asked while the block lasts."""
    said: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        said.append(statement)

    sqlalchemy.event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        sqlalchemy.event.remove(database.engine, "before_cursor_execute", note)


def test_every_purpose_at_every_door(reader: Reader, mailing: Mailing) -> None:
    mailing.freeze_letter(about="midtjylland")  # a seat is given back by letters about its event alone
    for (method, path), right in DOORS.items():
        for purpose in Purpose:
            number = 0 if purpose is Purpose.PASS_ON else 1
            token = mailing.runtime.tokens.sign(purpose, mailing.campaign_id, number)
            status = ask(reader, method, path.format(token)).status
            if purpose is not right:
                assert status == 404, (method, path, purpose)
            else:
                assert status in {200, 302, 410}, (method, path)  # nobody registers for it here


def test_at_the_wrong_door_nothing_is_done_or_noted(reader: Reader, mailing: Mailing) -> None:
    for (method, path), right in DOORS.items():
        for purpose in set(Purpose) - {right}:
            ask(
                reader,
                method,
                path.format(sign(mailing, purpose)),
                body=FORM if method == "POST" else b"",
            )
    for purpose in set(Purpose) - {Purpose.OPEN}:
        ask(reader, "GET", f"/o/{sign(mailing, purpose)}")

    assert mailing.seen() == []
    assert mailing.counted() == {}
    assert mailing.suppressed() is None


def test_every_forged_token_gets_the_same_bytes_as_any_other(mailing: Mailing) -> None:
    with serving(mailing.runtime) as base:
        for (method, path), purpose in DOORS.items():
            answers = {}
            for how, forge in FORGED.items():
                answers[how] = _ask(base, method, path.format(forge(mailing, purpose)))
                assert answers[how].startswith(b"HTTP/1.1 404 ")
            unlike = {how for how, answer in answers.items() if answer != answers["made up"]}
            assert unlike == set(), (method, path)


def test_a_genuine_token_of_a_campaign_that_is_gone_looks_like_a_forged_one(mailing: Mailing) -> None:
    with serving(mailing.runtime) as base:
        for (method, path), purpose in DOORS.items():
            if purpose in {Purpose.UNSUBSCRIBE, Purpose.REMIND}:
                continue  # answered without asking who it is: the database may be away
            gone = mailing.runtime.tokens.sign(purpose, 999_999, 1)
            answer = _ask(base, method, path.format(gone))
            assert answer == _ask(base, method, path.format("x")), (method, path)


def test_every_forged_pixel_looks_like_a_genuine_one(mailing: Mailing) -> None:
    with serving(mailing.runtime) as base:
        genuine = _ask(base, "GET", f"/o/{sign(mailing, Purpose.OPEN)}")
        assert genuine.startswith(b"HTTP/1.1 200 ")
        for how, forge in FORGED.items():
            assert _ask(base, "GET", f"/o/{forge(mailing, Purpose.OPEN)}") == genuine, how

    assert len(mailing.seen(TrackingKind.OPEN)) == 1


def test_a_forged_token_is_refused_before_the_database_is_asked(
    reader: Reader, mailing: Mailing
) -> None:
    with counting_statements(mailing.runtime.database) as said:
        for (method, path), purpose in DOORS.items():
            for forge in FORGED.values():
                forged = forge(mailing, purpose)
                assert ask(reader, method, path.format(forged)).status == 404
                ask(reader, "GET", f"/o/{forged}")

    assert said == []


def _ask(base: str, method: str, path: str) -> bytes:
    """The whole answer, without the time of day."""
    body = FORM if method == "POST" else b""
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    form = "Content-Type: application/x-www-form-urlencoded\r\n" if body else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: {FIREFOX}\r\n{form}{length}\r\n"
    return _DATE.sub(b"", talk(base, head.encode() + body).rpartition(b"HTTP/1.1 ")[0])
