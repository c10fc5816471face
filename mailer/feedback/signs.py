"""Signs of what a message is where no report for machines says it: in headers, subject and words."""

from mailer.feedback.addresses import find_address, is_machine
from mailer.feedback.mail import Mail, decode_words
from mailer.feedback.refusals import is_refusal
from mailer.feedback.wordings import (
    AUTOMATIC_SUBJECT,
    DAEMON,
    DELAY,
    DELAY_SUBJECT,
    FAILURE,
    FAILURE_SUBJECT,
    GIVEN_UP,
    PASSED_ON_SUBJECT,
    WISH_ALONE,
    WISH_LINE,
    WISH_SUBJECT,
)

_LONGEST_READ = 20_000
"""Characters of a text that are read for what kind it is of."""
_LONGEST_WISH = 2_000
_WISH_LINES = 5
_BY_MACHINES = (
    "X-Autoreply",
    "X-Autorespond",
    "X-Autoresponder",
    "X-Auto-Reply-From",
    "X-Mail-Autoreply",
    "X-AutoReply-From",
    "X-Apple-Action",
    "List-Id",
)
_NAMING_FAILED = ("X-Failed-Recipients", "X-Bounced-Address")


def is_automatic(mail: Mail) -> bool:
    """Whether a machine wrote a message (RFC 3834 §2, §3.1.7, and what machines did before it)."""
    headers = mail.headers
    precedence = str(headers.get("Precedence", headers.get("X-Precedence", ""))).strip().lower()
    return (
        _submitted(mail) not in {"", "no"}
        or precedence in {"bulk", "junk", "list", "auto_reply", "auto-reply"}
        or any(name in headers for name in _BY_MACHINES)
        or has_null_return_path(mail)
        or bool(AUTOMATIC_SUBJECT.match(_subject(mail)))
    )


def is_perhaps_automatic(mail: Mail) -> bool:
    """Whether a message asks for no automatic answers, as machines do, some in a person's name."""
    return "X-Auto-Response-Suppress" in mail.headers


def has_null_return_path(mail: Mail) -> bool:
    """Whether a message came from the empty return path, as those of machines do (RFC 5321 §4.5.5)."""
    return "".join(str(mail.headers.get("Return-Path", "none")).split()) in {"<>", ""}


def is_passed_on(mail: Mail) -> bool:
    """Whether a person answers or forwards something, by the subject."""
    return PASSED_ON_SUBJECT.match(_subject(mail)) is not None


def looks_like_bounce(mail: Mail, report: str) -> bool:
    """Whether a message without a delivery status notification tells of a letter not delivered.

    A person may quote a bounce; therefore both who wrote it and what it says must be like one.
    """
    if any(name in mail.headers for name in _NAMING_FAILED):
        return True
    sender = decode_words(str(mail.headers.get("From", ""))).lower()
    address = find_address(sender)
    subject = _subject(mail)
    failure = bool(FAILURE.search(report[:_LONGEST_READ].lower()))
    tells = failure or is_refusal(report)
    if is_machine(address) if address else DAEMON.search(sender):
        return (
            tells if AUTOMATIC_SUBJECT.match(subject) else tells or bool(FAILURE_SUBJECT.search(subject))
        )
    if AUTOMATIC_SUBJECT.match(subject) or is_passed_on(mail):
        return False
    machine = (
        bool(DAEMON.search(sender))
        or has_null_return_path(mail)
        or "Return-Path" not in mail.headers
        or bool(mail.returned)
    )
    return machine and tells and bool(FAILURE_SUBJECT.search(subject))


def is_warning(mail: Mail, report: str) -> bool:
    """Whether a report in words says that the letter is late, not that it failed."""
    text = report[:_LONGEST_READ].lower()
    if GIVEN_UP.search(text):
        return False
    return bool(DELAY.search(text) or DELAY_SUBJECT.search(_subject(mail)))


def asks_to_stop(mail: Mail, text: str) -> bool:
    """Whether somebody asks for no more letters: in the subject, or first of all in the text."""
    if WISH_SUBJECT.fullmatch(_subject(mail)):
        return True
    lines = (
        line.strip() for line in text[:_LONGEST_WISH].lower().split("\n") if not line.startswith(">")
    )
    own = [line for line in lines if line]
    return any(WISH_LINE.fullmatch(line) for line in own[:_WISH_LINES])


def is_bare_wish(mail: Mail) -> bool:
    """Whether a message is what a mail program makes of our ``mailto:``, which some mark as a machine's.

    What answers a message is none: who is out of office asks for nothing.
    """
    return (
        WISH_ALONE.fullmatch(_subject(mail)) is not None
        and _submitted(mail) in {"", "no", "auto-generated"}
        and not any(name in mail.headers for name in _BY_MACHINES)
        and not mail.reports
    )


def _submitted(mail: Mail) -> str:
    """How automatic a message says it is (RFC 3834 §5); ``no`` where it does not say."""
    said = str(mail.headers.get("Auto-Submitted", "no")).lower()
    return said.replace("(", ";").partition(";")[0].strip()


def _subject(mail: Mail) -> str:
    """The subject, decoded, on one line, in lower case."""
    return " ".join(decode_words(str(mail.headers.get("Subject", ""))).lower().split())[:500]
