"""Addresses: what a cell says, what it is known by, and the hash that outlives it."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from email_validator import EmailNotValidError, ValidatedEmail, validate_email

from recipients.errors import BadAddress

_ASCII_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_NAMED = re.compile(r"(?P<name>[^<>]*)<(?P<address>[^<>]*)>")
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_LONGEST = 254  # octets, RFC 5321 §4.5.3.1.3 less the angle brackets (RFC 3696 erratum 1690)
_LONGEST_KEY = 320
_LONGEST_HASH_KEY = 64  # RFC 7693 §2.1


@dataclass(frozen=True, slots=True)
class Address:
    """An address that may be written to."""

    email: str
    """As given, without the blanks around it."""
    key: str
    """The case-folded, normalised form by which an address is one address."""
    domain: str
    """The mail domain in ASCII (RFC 5890), lower case."""
    name: str | None = None
    """The name that stood before it: ``Navn <adresse>``."""


@dataclass(frozen=True, slots=True)
class _Domain:
    ascii: str
    longest: int
    """Octets of its longest form: as given, international or ASCII."""


def parse_address(text: str) -> Address:
    """What a cell says: an address, or ``Navn <adresse>``.

    email-validator decides; nothing is looked up. For a plain ASCII local part its verdict is kept
    per domain, which is 13 times as fast and the same.

    Raises:
        BadAddress: it is no address that may be written to; the message says why.
    """
    text = text.strip()
    name = None
    if text.endswith(">") and (named := _NAMED.fullmatch(text)):
        name = named["name"].strip().strip("\"'").strip() or None
        text = named["address"].strip()
    if not text:
        raise BadAddress("there is no address")
    if unseen := _UNSEEN.search(text):
        raise BadAddress(f"the address holds a character that cannot be seen (U+{ord(unseen[0]):04X})")
    if text.count("@") > 1 and '"' not in text:
        raise BadAddress("there is more than one @-sign: one address per row")
    local, _, domain = text.partition("@")
    if domain and _ASCII_LOCAL_PART.fullmatch(local):
        known = _judge_domain(domain)
        if isinstance(known, str):
            raise BadAddress(known)
        if len(local) + 1 + known.longest <= _LONGEST:
            return Address(text, f"{local.lower()}@{known.ascii}", known.ascii, name)
    checked = _validate(text)
    if isinstance(checked, str):
        raise BadAddress(checked)
    return _unusual_address(text, checked, name)


def hash_address(secret: bytes, email_key: str) -> str:
    """The keyed hash by which suppressions know an address: 32 hexadecimal digits (RFC 7693 §2.9)."""
    key = secret if len(secret) <= _LONGEST_HASH_KEY else hashlib.blake2b(secret).digest()
    return hashlib.blake2b(email_key.encode(), digest_size=16, key=key).hexdigest()


def _unusual_address(text: str, checked: ValidatedEmail, name: str | None) -> Address:
    domain = checked.ascii_domain.lower()
    local = unicodedata.normalize("NFC", checked.local_part.casefold())
    key = f"{local}@{domain}"
    if len(key) > _LONGEST_KEY:
        raise BadAddress("the address is too long")
    return Address(text, key, domain, name)


@lru_cache(maxsize=65_536)
def _judge_domain(domain: str) -> _Domain | str:
    checked = _validate(f"a@{domain}")
    if isinstance(checked, str):
        return checked
    ascii_domain = checked.ascii_domain.lower()
    forms = (domain, checked.domain, ascii_domain)
    return _Domain(ascii_domain, max(len(form.encode()) for form in forms))


def _validate(text: str) -> ValidatedEmail | str:
    """The library's view of an address, or its reason against it."""
    try:
        return validate_email(text, check_deliverability=False)
    except EmailNotValidError as error:
        return str(error).rstrip(".").replace("\n", " ")
