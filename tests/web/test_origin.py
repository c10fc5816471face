"""A reader's address is the peer's; a proxy's word counts only if the proxy is one of ours."""

import string
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.tracking.networks import Networks
from mailer.web.origin import Origins

PROXY, EDGE, READER = "10.0.0.1", "10.0.0.2", "192.0.2.7"
OURS = ["10.0.0.0/8", "2001:db8:aaaa::/48"]
DAY = date(2014, 3, 7)


def scope(peer: str | None, *headers: tuple[str, str], scheme: str = "http") -> dict[str, Any]:
    return {
        "type": "http",
        "scheme": scheme,
        "client": None if peer is None else (peer, 40_000),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }


def seen(peer: str | None, *forwarded: str, trusted: list[str] = OURS) -> str | None:
    lines = [("x-forwarded-for", value) for value in forwarded]
    return Origins(trusted).address(scope(peer, *lines))


def test_without_a_proxy_nobodys_word_is_taken() -> None:
    assert seen(READER, "198.51.100.1", trusted=[]) == READER
    assert seen(PROXY, "198.51.100.1", trusted=[]) == PROXY
    assert seen(READER, "198.51.100.1") == READER


def test_the_proxys_own_entry_counts_and_nothing_a_reader_put_before_it() -> None:
    assert seen(PROXY, READER) == READER
    assert seen(PROXY, f"198.51.100.1, {READER}") == READER
    assert seen(PROXY, f"10.0.0.9, 127.0.0.1, {READER}") == READER
    assert seen(PROXY, f"garbage, , {READER}") == READER


def test_trusted_proxies_in_a_row_are_passed_by() -> None:
    assert seen(PROXY, f"198.51.100.1, {READER}, {EDGE}") == READER
    assert seen(PROXY, f"{READER}, {EDGE}, 2001:db8:aaaa::1") == READER


def test_several_lines_are_one_list() -> None:
    assert seen(PROXY, "198.51.100.1", READER) == READER
    assert seen(PROXY, "198.51.100.1", f"{READER}, {EDGE}") == READER


def test_a_reader_within_our_own_networks_is_the_outermost_there() -> None:
    assert seen(PROXY) == PROXY
    assert seen(PROXY, "10.1.2.3") == "10.1.2.3"
    assert seen(PROXY, "10.1.2.3, 10.0.0.2") == "10.1.2.3"


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ("192.0.2.7:40000", "192.0.2.7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
        ("\t192.0.2.7 ", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("[::ffff:192.0.2.7]:1", "192.0.2.7"),
    ],
)
def test_an_entry_may_have_brackets_and_a_port(entry: str, address: str) -> None:
    assert seen(PROXY, f"198.51.100.1, {entry}") == address


@pytest.mark.parametrize(
    "entry",
    [
        "unknown",
        "_hidden",
        "",
        "192.0.2.7:",
        "192.0.2.7:x",
        "192.0.2.7:1234567",
        "192.0.2.7:-1",
        "192.0.2.07",
        "192.0.2",
        "3221225991",
        "0x7f.1",
        "[192.0.2.7",
        "[2001:db8::7]443",
        "[2001:db8::7]]:1",
        "fe80::1%eth0",
        "192.0.2.7 10.0.0.3",
        "192.0.2.7;10.0.0.3",
        "\x00",
        "é",
        "1" * 65,
    ],
)
def test_what_is_no_address_leaves_the_reader_unknown(entry: str) -> None:
    assert seen(PROXY, f"192.0.2.7, {entry}") is None


def test_a_proxy_may_be_known_by_its_ipv4_address_on_a_socket_for_both() -> None:
    assert seen("::ffff:10.0.0.1", READER) == READER
    assert seen("::ffff:192.0.2.9", READER) == "::ffff:192.0.2.9"


def test_a_chain_longer_than_ours_is_nobodys() -> None:
    assert seen(PROXY, ", ".join([READER] + ["10.0.0.2"] * 10)) == READER
    assert seen(PROXY, ", ".join([READER] + ["10.0.0.2"] * 20_000)) is None


def test_a_header_of_64_kilobytes_is_read_from_its_end_alone() -> None:
    assert seen(PROXY, "10.0.0.2," * 7_000 + READER) == READER
    assert seen(PROXY, "a" * 65_000 + f", {READER}") == READER
    assert seen(PROXY, "a" * 65_000) is None


def test_long_headers_are_not_remembered() -> None:
    origins = Origins(OURS)
    for number in range(50):
        long = f"{'a' * 60_000}{number}, {READER}"
        assert origins.address(scope(PROXY, ("x-forwarded-for", long))) == READER
    assert origins._read_short.cache_info().currsize == 0


def test_a_peer_without_an_address_is_unknown() -> None:
    assert seen(None, READER) is None
    assert seen("testclient", READER) == "testclient"


@given(st.lists(st.text(string.printable + "é", max_size=60), max_size=5))
def test_no_header_makes_it_fail_or_gives_more_than_an_address(values: list[str]) -> None:
    lines = [("x-forwarded-for", value) for value in values]
    address = Origins(OURS).address(scope(PROXY, *lines))
    assert address is None or not set(address) - set("0123456789abcdef.:")


def test_tls_is_what_the_server_or_a_trusted_proxy_says() -> None:
    origins = Origins(OURS)
    https = ("x-forwarded-proto", "https")
    assert origins.is_tls(scope(READER, scheme="https"))
    assert origins.is_tls(scope(PROXY, https))
    assert origins.is_tls(scope(PROXY, ("x-forwarded-proto", " HTTPS ")))
    assert not origins.is_tls(scope(READER, https))
    assert not origins.is_tls(scope(PROXY))
    assert not origins.is_tls(scope(PROXY, ("x-forwarded-proto", "http")))
    assert not origins.is_tls(scope(PROXY, https, ("x-forwarded-proto", "http")))
    assert not origins.is_tls(scope(PROXY, ("x-forwarded-proto", "https, http")))
    assert not origins.is_tls(scope(PROXY, ("x-forwarded-proto", "httpsx")))
    assert not Origins([]).is_tls(scope("127.0.0.1", https))


def test_a_program_of_ours_asks_directly() -> None:
    origins = Origins(OURS)
    for peer in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "10.9.9.9"):
        assert origins.is_direct(scope(peer))
        for name in ("x-forwarded-for", "forwarded", "via", "x-real-ip", "x-forwarded-proto"):
            assert not origins.is_direct(scope(peer, (name, "127.0.0.1")))
    for other in (READER, "2001:db8::1", "testclient", None):
        assert not origins.is_direct(scope(other))


def test_neighbours_share_a_name_for_the_day_and_no_longer() -> None:
    networks = Networks(b"0123456789abcdef")
    name = networks.pseudonym("192.0.2.7", DAY)
    assert name is not None
    assert len(name) == 12
    assert not set(name) - set("0123456789abcdefghijklmnopqrstuv")
    assert networks.pseudonym("192.0.2.255", DAY) == name
    assert networks.pseudonym("::ffff:192.0.2.8", DAY) == name
    assert networks.pseudonym("192.0.3.7", DAY) != name
    assert networks.pseudonym("192.0.2.7", date(2014, 3, 8)) != name
    assert networks.pseudonym("192.0.2.7", DAY) == name
    assert Networks(b"another-0123456789").pseudonym("192.0.2.7", DAY) != name


def test_an_ipv6_site_is_one_network() -> None:
    networks = Networks(b"0123456789abcdef")
    name = networks.pseudonym("2001:db8:1:2::3", DAY)
    assert networks.pseudonym("2001:db8:1:ffff::1", DAY) == name
    assert networks.pseudonym("2001:db8:2::1", DAY) != name


@pytest.mark.parametrize("address", [None, "", "unknown", "192.0.2.7/24", "testclient", "é"])
def test_what_is_no_address_has_no_network(address: str | None) -> None:
    assert Networks(b"0123456789abcdef").pseudonym(address, DAY) is None


def test_names_of_networks_are_forgotten_before_they_fill_the_memory() -> None:
    networks = Networks(b"0123456789abcdef")
    for number in range(50_100):
        networks.pseudonym(f"10.{number >> 8}.{number & 255}.1", DAY)
    assert len(networks._known) <= 50_000
