"""Whether a refusal is for good, by its enhanced status code (RFC 3463) and by its words.

Only what says that the mailbox or its domain is not there is for good: the address gets no more letters.
A full mailbox, a filter, a block list or a relay in trouble may be otherwise tomorrow.
"""

import re

from mailer.feedback.wordings import (
    ABOUT_US,
    FULL_OR_BUSY,
    GONE,
    GONE_BEYOND_DOUBT,
    PERHAPS_GONE,
    POLICY,
)

LONGEST_REASON = 500
"""Characters of a reason that are kept."""
_LONGEST_READ = 2_000
"""Characters of a reason that are read."""

_ENHANCED = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?!\.?\d)")
_REPLY = re.compile(r"(?<![\d.:/-])([45]\d\d)(?=[ \t:;,)-]|$)")
_ANY_ADDRESS = re.compile(r"<?[^\s<>@\[\]():]{1,64}@[^\s<>@():]{1,255}>?|<>")
_LINK = re.compile(r"https?://[^\s<>]{1,500}")
_CONTROLS = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\s]+"
)

_FOR_GOOD = re.compile(r"5\.1\.(?:0|1|2|3|4|6|9|10)|5\.2\.1|5\.4\.4|5\.4\.310")
"""Codes for an address that is not there (RFC 3463 §3.2-3.5, RFC 7505 §4; 5.4.310 is Exchange's)."""
_ABOUT_SENDER = re.compile(r"5\.1\.[78]|5\.7\.27")
"""Codes that mean the sender's address (RFC 3463 §3.2, RFC 7505 §4.2)."""


def clean_reason(text: str) -> str:
    """One line of at most `LONGEST_REASON` characters, without control characters."""
    return _CONTROLS.sub(" ", text[:_LONGEST_READ]).strip()[:LONGEST_REASON].rstrip()


def find_status(reason: str, stated: str | None = None) -> str | None:
    """The enhanced status code of a refusal.

    What the refusing server itself said counts more than what the reporting one made of it, unless it
    says nothing (``5.0.0``).

    Args:
        reason: the reply as quoted.
        stated: the report's own Status field, comments and all.
    """
    said = _ENHANCED.search(reason[:_LONGEST_READ])
    field = _ENHANCED.search((stated or "")[:200])
    if said and field and said[1].endswith(".0.0") and said[1][0] == field[1][0]:
        return field[1]
    return said[1] if said else field[1] if field else None


def is_refusal(text: str) -> bool:
    """Whether these words tell of a refusal: a code of the 4 or 5 series, or a known wording."""
    text = _plain(text)
    patterns = (_ENHANCED, _REPLY, FULL_OR_BUSY, ABOUT_US, GONE, PERHAPS_GONE, POLICY)
    return any(pattern.search(text) for pattern in patterns)


def is_for_good(reason: str, stated: str | None = None) -> bool:
    """Whether the recipient's address is refused for good: a hard bounce.

    Args:
        reason: the reply or the explanation.
        stated: the report's own Status field.
    """
    text = _plain(reason)
    status = find_status(text, stated)
    if _is_temporary(text, status) or (status and _ABOUT_SENDER.fullmatch(status)):
        return False
    if FULL_OR_BUSY.search(text) or ABOUT_US.search(text):
        return False
    if POLICY.search(text) or (status and status.startswith("5.7.")):
        told = bool(status and _FOR_GOOD.fullmatch(status) and GONE.search(text))
        return told or GONE_BEYOND_DOUBT.search(text) is not None
    if GONE.search(text):
        return True
    if status and status.startswith("4"):
        return False
    return bool(PERHAPS_GONE.search(text) or (status and _FOR_GOOD.fullmatch(status)))


def _is_temporary(text: str, status: str | None) -> bool:
    """Whether the codes say so (RFC 5321 §4.2.1, RFC 3463 §2); the reply's own counts most."""
    said = _ENHANCED.search(text)
    reply = _REPLY.search(text)
    if said and not said[1].startswith("2"):
        return said[1].startswith("4")
    if reply:
        return reply[1].startswith("4")
    # 4.0.0 is what some write for want of a code.
    return bool(status and status.startswith("4") and not status.endswith(".0.0"))


def _plain(text: str) -> str:
    """A text to try wordings on: in lower case, its blanks single, without addresses and links."""
    text = text[:_LONGEST_READ].lower().replace("’", "'")
    return " ".join(_ANY_ADDRESS.sub(" ", _LINK.sub(" ", text)).split())
