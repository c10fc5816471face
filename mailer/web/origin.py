"""Where a request came from: the word of a proxy is taken only if the proxy is one of ours."""

import functools
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from starlette.types import Scope

_FORWARDED_FOR, _FORWARDED_PROTO = b"x-forwarded-for", b"x-forwarded-proto"
_SIGNS_OF_A_PROXY = frozenset({_FORWARDED_FOR, _FORWARDED_PROTO, b"forwarded", b"via", b"x-real-ip"})
_MOST_HOPS = 16
"""Proxies in a row that are believed; more is a loop or a lie."""
_SHORT_HEADER = 200
"""What is remembered for the next request from there; nobody fills the memory with long ones."""
_LONGEST_ENTRY = 64
"""An IPv6 address in brackets with a port has 47 characters at most."""


class Origins:
    """Reads a reader's address and whether they came by TLS, through the proxies that are trusted."""

    def __init__(self, trusted: Sequence[str]) -> None:
        """Trust these networks, such as ``10.0.0.0/8``; none: every forwarded header is ignored."""
        self._trusted = [ip_network(network) for network in trusted]
        self._is_trusted = functools.lru_cache(maxsize=4096)(self._look_up)
        self._read_short = functools.lru_cache(maxsize=4096)(self._read_hops)

    def address(self, scope: Scope) -> str | None:
        """The reader's address in its plain form; None where it cannot be known.

        The peer's own, unless the peer is trusted: then, read from the right, the first entry of
        ``X-Forwarded-For`` that is no trusted proxy. All before it is the reader's own say-so.
        """
        peer = scope.get("client")
        if peer is None:
            return None
        host: str = peer[0]
        if not self._trusted or not self._is_trusted(host):
            return host
        told = _all_of(scope, _FORWARDED_FOR)
        read = self._read_short if len(told) <= _SHORT_HEADER else self._read_hops
        return read(told) if told else host

    def _read_hops(self, told: bytes) -> str | None:
        hops = told.rsplit(b",", _MOST_HOPS)[-_MOST_HOPS:]
        address = None
        for hop in reversed(hops):
            address = _read_hop(hop)
            if address is None or not self._is_trusted(address):
                return address
        return address if len(hops) < _MOST_HOPS else None

    def _look_up(self, address: str) -> bool:
        try:
            found = _plain(ip_address(address))
        except ValueError:
            return False
        return any(found in network for network in self._trusted)

    def is_direct(self, scope: Scope) -> bool:
        """Whether a program of ours asks, on this machine or a trusted network, and through no proxy."""
        peer = scope.get("client")
        if peer is None or any(name in _SIGNS_OF_A_PROXY for name, _ in scope["headers"]):
            return False
        try:
            return _plain(ip_address(peer[0])).is_loopback or self._is_trusted(peer[0])
        except ValueError:
            return False

    def is_tls(self, scope: Scope) -> bool:
        """Whether the reader's connection is encrypted, as the server or a trusted proxy says."""
        if scope.get("scheme") == "https":
            return True
        peer = scope.get("client")
        if not self._trusted or peer is None or not self._is_trusted(peer[0]):
            return False
        told = _all_of(scope, _FORWARDED_PROTO)
        return bool(told) and all(part.strip().lower() == b"https" for part in told.split(b","))


def _all_of(scope: Scope, wanted: bytes) -> bytes:
    """The header's value; several lines of one name are one list (RFC 9110 §5.3)."""
    told = b""
    for name, value in scope["headers"]:
        if name == wanted:
            told = told + b"," + value if told else value
    return told


def _read_hop(hop: bytes) -> str | None:
    """The address of one entry, whether or not a port stands behind it; None for anything else."""
    if len(hop) > _LONGEST_ENTRY:
        return None
    text = hop.decode("latin-1").strip(" \t")
    if text.startswith("["):
        text, closed, port = text[1:].partition("]")
        if not closed or (port and not _is_port(port)):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _is_port(f":{port}"):
            return None
    if "%" in text:  # a zone is of meaning on the proxy's machine alone
        return None
    try:
        return str(_plain(ip_address(text)))
    except ValueError:
        return None


def _is_port(text: str) -> bool:
    return text[:1] == ":" and text[1:].isascii() and text[1:].isdigit() and len(text) <= 6


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """IPv4 is IPv4, also where a socket for both tells it as ``::ffff:…`` (RFC 4291 §2.5.5.2)."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
