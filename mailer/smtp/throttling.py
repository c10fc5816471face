"""Which refusals ask for fewer letters, and which have another reason."""

import re

from mailer.smtp.replies import CLOSING, Reply

_ANOTHER_REASON = re.compile(
    r"""
    gr[ae]y[\s-]?list                                       # comes to everybody's first letter
    | (?:mailbox|inbox|account|user|recipient)\b.{0,40}\b(?:full|quota|size|storage)
    | over[\s-]?quota | quota\ exceeded\ for\ (?:user|mailbox)
    | receiving\ mail\ (?:at\ a\ rate|too\ quickly)         # of one mailbox
    | (?:insufficient|not\ enough|out\ of|no)\b.{0,20}\b(?:space|storage|disk|memory)
    | queue\ file | local\ (?:problem|error|configuration) | configuration\ error
    """,
    re.VERBOSE,
)
_SAYS_SO = re.compile(
    r"""
    throttl
    | slow(?:ing)?\ (?:it\ )?down
    | too\ (?:many|much)\ (?:(?:concurrent|simultaneous|open|new|smtp|tcp|tls|ssl|unauthenticated)\ )*
      (?:connections?|sessions|messages?|e-?mails?|mails?|recipients|requests|deliveries|commands)
    | rate[\s-]?(?:limit|control|exceed|over) | \brates?\ (?:is\ |was\ |has\ been\ )?(?:limited|exceeded)
    | (?:sending|message|sender|connection|mail|delivery|submission)\ rate
    | unusual\ rate | overlimit
    | (?:connections?|messages?|hourly|daily|sending|concurrent|concurrency)\b.{0,30}\b
      (?:limits?\b.{0,12}\b(?:exceed|reach|hit)|(?:exceed|reach|hit)\w*\b.{0,20}\blimit|quota\ exceeded)
    | exceed\w*\b.{0,40}\b(?:connections|messages|threshold) | (?:connections|messages)\ exceeded
    | deferred\ due\ to | temporar(?:il)?y\ deferred
    | unexpected\ volume | volume\ of\ (?:e-?)?mail
    | server\ (?:is\ )?(?:too\ )?busy
    """,
    re.VERBOSE,
)
_HINTS = re.compile(r"\brate|too many|throttl|try again later|\blimit")
"""Enough beside an enhanced code that only speaks of security or policy."""
_CODES = frozenset({"4.7.28", "4.3.2", "4.4.5", "4.7.500", "4.7.650"})
"""System not accepting, congestion (RFC 3463 §3.4, §3.5); Gmail's unusual rate; Microsoft's server busy
and rate limited for its reputation."""
_OF_THE_MAILBOX = "4.2."
_OF_STORAGE = "4.3.1"
_POLICY = "4.7.0"


def is_throttling(reply: Reply) -> bool:
    """Whether a reply asks for fewer letters to its domain, or slower ones.

    Greylisting, full mailboxes, a mailbox's own limits and the receiver's own troubles do not: they
    pass by waiting, however few letters we send.
    """
    code, enhanced, text = reply.code, reply.enhanced_code or "", reply.text.lower()
    if code // 100 != 4 or _ANOTHER_REASON.search(text):
        return False
    if code == CLOSING or _SAYS_SO.search(text):
        return True
    if enhanced.startswith(_OF_THE_MAILBOX) or enhanced == _OF_STORAGE:
        return False
    return enhanced in _CODES or (enhanced == _POLICY and _HINTS.search(text) is not None)
