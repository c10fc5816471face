"""What one message that came back by mail says: the values between reading and applying."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class MailKind(StrEnum):
    """What a message that came back is."""

    BOUNCE = "bounce"
    """A letter was refused for at least one recipient, for good or for now (RFC 3464, or in words)."""
    COMPLAINT = "complaint"
    """A recipient called a letter spam (RFC 5965, from a feedback loop)."""
    REPLY = "reply"
    """A person wrote."""
    AUTO_REPLY = "auto-reply"
    """A machine answered on a person's behalf (RFC 3834): out of office, a receipt."""
    UNSUBSCRIBE = "unsubscribe"
    """Somebody asks for no more letters, by the mailto of List-Unsubscribe (RFC 2369) or in words."""
    UNKNOWN = "unknown"
    """Nothing that is to be acted on: a warning of delay, a delivery receipt, rubbish."""


@dataclass(frozen=True, slots=True)
class ReportedRecipient:
    """One address a bounce or complaint is about."""

    address: str
    """As the report wrote it; the domain is in lower case."""
    hard: bool | None
    """Whether it was refused for good; None in a complaint."""
    reason: str
    """One line of at most 500 characters, without control characters; may be empty."""
    status: str | None
    """Enhanced status code such as ``5.1.1`` (RFC 3463), when the report has one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one message says. Nothing in it is verified: anybody may write to the return path."""

    kind: MailKind
    recipients: tuple[ReportedRecipient, ...] = ()
    """Empty unless it is a bounce or a complaint; a bounce may name nobody."""
    token: str | None = None
    """What stood behind ``+`` in the address it was sent to, with its case as received."""
    message_id: str | None = None
    """Of the letter it is about, as quoted in the report, in angle brackets."""
    delayed: bool = False
    """A warning only: the letter is still being tried. Its kind is unknown."""
    formal: bool = False
    """A complaint in the form for machines (RFC 5965), as feedback loops send it."""
    is_bare_wish: bool = False
    """Its subject is the wish to get no more and nothing else, and its token stands in the address it
    was sent to: what a mail program writes by itself, though it may look like a machine's."""
    written_at: datetime | None = None
    """When, by its own Date."""
