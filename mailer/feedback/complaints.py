"""Complaints: what feedback loops send when somebody calls a letter spam (RFC 5965, and older forms)."""

import re
from email.message import Message

from mailer.feedback.addresses import find_address, is_machine
from mailer.feedback.findings import ReportedRecipient
from mailer.feedback.mail import Mail, decode_words, read_headers
from mailer.feedback.refusals import clean_reason

_OLD_SUBJECT = re.compile(
    r"complaint about message from|(?:e-?mail )?(?:abuse|spam) (?:report|complaint)", re.IGNORECASE
)
_NO_COMPLAINTS = {"not-spam", "auth-failure", "dmarc"}
"""Feedback of another kind (RFC 6430, RFC 6591): nobody called anything spam."""


def is_feedback(mail: Mail) -> bool:
    """Whether a message is a feedback report of any kind."""
    if mail.of_kinds("message/feedback-report"):
        return True
    kind = str(mail.headers.get_param("report-type", "") or "").lower()
    if kind == "feedback-report":
        return True
    # Before RFC 5965 a complaint was a mail with the letter enclosed.
    subject = decode_words(str(mail.headers.get("Subject", "")))
    return bool(mail.returned and _OLD_SUBJECT.search(subject))


def read_complaint(mail: Mail, returned: Message) -> ReportedRecipient | None:
    """Who complains; None when the report is no complaint, an empty address when it was taken out."""
    report = read_headers("\n".join(_report_lines(mail)))
    feedback = str(report.get("Feedback-Type", "")).strip().lower()
    if feedback in _NO_COMPLAINTS:
        return None
    named = (
        report.get("Original-Rcpt-To"),
        report.get("Removal-Recipient"),
        returned.get("X-HmXmrOriginalRecipient"),
        mail.headers.get("X-HmXmrOriginalRecipient"),
        returned.get("X-Original-To"),
        returned.get("Delivered-To"),
        returned.get("X-Apparently-To"),
        returned.get("To"),
    )
    addresses = (find_address(str(value)) for value in named if value)
    address = next((each for each in addresses if each and not is_redacted(each)), "")
    return ReportedRecipient(address, None, clean_reason(feedback or "complaint"), None)


def is_redacted(address: str) -> bool:
    """Whether a feedback loop took the name out (RFC 6590), or it is no recipient's."""
    local = address.partition("@")[0].lower()
    return is_machine(address) or local in {
        "redacted",
        "undisclosed",
        "undisclosed-recipients",
        "hidden",
    }


def _report_lines(mail: Mail) -> list[str]:
    """The report's lines without the blank ones that some writers put between its fields."""
    text = "\n".join(mail.of_kinds("message/feedback-report"))
    return [line for line in text.split("\n")[:1000] if line.strip()]
