"""A sighting survives the journal whatever its text, and nothing else passes for one."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.tracking.models import Manner, TrackingKind
from mailer.tracking.sightings import (
    LONGEST_USER_AGENT,
    BadLine,
    Sighting,
    quote_agent,
    read_line,
    read_manner,
    read_user_agent,
    write_line,
)
from tests.conftest import NOW

CLICK = Sighting(TrackingKind.CLICK, NOW, 7, 4711, 2, "midtjylland", Manner.GET, "Firefox", "abc", None)

numbers = st.none() | st.integers(min_value=0, max_value=2**63 - 1)
texts = st.none() | st.text(max_size=100) | st.text(alphabet='"\\\n\r\0[],\u2028\ud800', max_size=20)
zones = st.sampled_from([UTC, timezone(timedelta(hours=1)), timezone(timedelta(hours=-11, minutes=-30))])
sightings = st.builds(
    Sighting,
    st.sampled_from(TrackingKind),
    st.datetimes(min_value=datetime(1970, 1, 2), timezones=zones),  # noqa: DTZ001 - zones is added
    numbers,
    st.integers(min_value=0, max_value=2**63 - 1),
    numbers,
    texts,
    st.sampled_from(Manner),
    st.text(max_size=LONGEST_USER_AGENT),
    texts,
    texts,
)


@given(sightings)
def test_what_is_written_is_read(seen: Sighting) -> None:
    line = write_line(seen)

    assert read_line(line) == seen
    assert line.endswith(b"]\n")
    assert line.count(b"\n") == 1


@given(sightings, st.data())
def test_a_line_cut_short_is_no_line(seen: Sighting, data: st.DataObject) -> None:
    line = write_line(seen)
    cut = data.draw(st.integers(min_value=0, max_value=len(line) - 2))

    with pytest.raises(BadLine):
        read_line(line[:cut])


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
        lambda told: json.dumps(told).encode()
    )
)
def test_anything_else_is_refused_and_harms_nothing(line: bytes) -> None:
    with pytest.raises(BadLine):
        read_line(line)


@pytest.mark.parametrize(
    "more",
    [
        (0, "flew"),
        (1, "yesterday"),
        (1, "2014-03-07T09:00:00"),
        (1, 5),
        (2, "7"),
        (2, True),
        (2, 7.0),
        (3, None),
        (4, [1]),
        (5, 5),
        (6, "took"),
        (6, ["get"]),
        (7, None),
        (8, {}),
        (9, 1),
    ],
)
def test_a_field_of_another_kind_is_refused(more: tuple[int, object]) -> None:
    place, value = more
    told = json.loads(write_line(CLICK))
    told[place] = value

    with pytest.raises(BadLine):
        read_line(json.dumps(told).encode())


def test_a_deep_or_a_huge_line_is_refused() -> None:
    for line in (b"[" * 100_000, b"[" + b"9" * 100_000 + b"]", b'{"a":' * 5000):
        with pytest.raises(BadLine):
            read_line(line)


def test_only_so_much_of_a_user_agent_is_kept() -> None:
    endless = Sighting(TrackingKind.OPEN, NOW, user_agent="x" * 100_000)

    assert len(read_line(write_line(endless)).user_agent) == LONGEST_USER_AGENT
    assert len(json.loads(quote_agent(b"\xe6" * 100_000))) == LONGEST_USER_AGENT
    assert len(read_user_agent([(b"user-agent", b"x" * 100_000)])) == LONGEST_USER_AGENT


@pytest.mark.parametrize(
    ("method", "headers", "manner"),
    [
        ("GET", [], Manner.GET),
        ("HEAD", [(b"sec-purpose", b"prefetch")], Manner.HEAD),
        ("POST", [], Manner.POST),
        ("GET", [(b"sec-purpose", b"Prefetch;prerender")], Manner.AHEAD),
        ("GET", [(b"accept", b"x"), (b"x-moz", b"prefetch")], Manner.AHEAD),
        ("GET", [(b"purpose", b"preview")], Manner.AHEAD),
        ("GET", [(b"purpose", b"business")], Manner.GET),
        ("GET", [(b"accept", b"prefetch")], Manner.GET),
    ],
)
def test_the_manner_is_what_method_and_headers_say(
    method: str, headers: list[tuple[bytes, bytes]], manner: Manner
) -> None:
    assert read_manner(method, headers) is manner
