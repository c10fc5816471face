"""What stands for a reader's network for one day; no address is kept."""

import base64
import hashlib
from datetime import date
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_CHARACTERS = 12
_IPV4_BITS, _IPV6_BITS = 24, 48
"""An office or a household at the smallest; an IPv6 site gets /48 to /56 (RFC 6177 §2)."""
_MOST_KEPT = 50_000


class Networks:
    """Gives a network the same name all day, and another one the day after.

    The name is keyed: without the key, the few addresses there are could all be tried.
    """

    def __init__(self, key: bytes) -> None:
        secret = hashlib.blake2b(key, digest_size=32, person=b"networks").digest()
        self._begun = hashlib.blake2b(key=secret, digest_size=8, person=b"network-of-a-day")
        self._day = date.min
        self._known: dict[str, str | None] = {}

    def pseudonym(self, address: str | None, day: date) -> str | None:
        """Twelve characters of base32hex in lower case; None for what is no address.

        Args:
            day: in the office's time zone.
        """
        if address is None:
            return None
        if day != self._day or len(self._known) >= _MOST_KEPT:
            self._known, self._day = {}, day
        try:
            return self._known[address]
        except KeyError:
            named = self._known[address] = self._name(address, day)
            return named

    def _name(self, address: str, day: date) -> str | None:
        try:
            network = _network_of(ip_address(address))
        except ValueError:
            return None
        state = self._begun.copy()
        state.update(f"{network} {day.isoformat()}".encode())
        return base64.b32hexencode(state.digest()).decode().lower()[:_CHARACTERS]


def _network_of(address: IPv4Address | IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    address = mapped or address
    bits = _IPV4_BITS if address.version == 4 else _IPV6_BITS
    return str(ip_network((address.packed, bits), strict=False))
