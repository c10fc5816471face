"""What one message that came back says: bounce, complaint, answer, or wish to get no more letters.

Nothing in a message is trusted: what it says is a finding, and whether its token is ours is verified
where it is applied. Whatever bytes come, reading them ends soon and raises nothing.
"""

import re
from dataclasses import replace
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime

from mailer.feedback.addresses import find_address, find_addresses, fold, is_machine
from mailer.feedback.bounce_texts import BounceText, divide, read_recipients
from mailer.feedback.complaints import is_feedback, read_complaint
from mailer.feedback.delivery_reports import RecipientFields, has_fields, read_fields
from mailer.feedback.findings import Finding, MailKind, ReportedRecipient
from mailer.feedback.mail import Mail, Part, open_mail, read_headers
from mailer.feedback.signs import (
    asks_to_stop,
    is_automatic,
    is_bare_wish,
    is_passed_on,
    is_perhaps_automatic,
    is_warning,
    looks_like_bounce,
)
from mailer.smtp.envelope import ascii_domain

_SENT_TO = (
    "Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "X-Delivered-To", "X-Rcpt-To",
    "Original-Recipient", "X-Apparently-To", "Apparently-To", "X-Forwarded-To", "Resent-To", "To", "Cc",
)  # fmt: skip
_ABOUT_FAILURE = ("X-Failed-Recipients", "X-Bounced-Address", "X-Failed-Recipient")
_MESSAGE_ID = re.compile(r"[^\s<>()@\x00-\x1f]{1,300}@[^\s<>()\x00-\x1f]{1,255}")
_QUOTED_ID = re.compile(
    r"(?:original-)?message-?id\s{0,5}:\s{0,20}<?([^\s<>]{1,400}@[^\s<>]{1,250})", re.IGNORECASE
)
_MOST_RECEIVED = 50
_LONGEST_TOLD = 64 * 1024
"""Characters of what reports say in which the letter's Message-ID is looked for."""
_REPORTS = frozenset({MailKind.BOUNCE, MailKind.COMPLAINT})
_NOT_RETURN_PATH = re.compile(r"list-unsubscribe|list-post|list-help", re.IGNORECASE)


def read_mail(raw: bytes, *, bounces_to: str) -> Finding:
    """What a message says.

    Args:
        raw: the message as it was delivered; lines may end in CRLF, LF or CR.
        bounces_to: what return paths are made of: ``bounce@domain`` for ``bounce+TOKEN@domain``.

    Returns:
        The finding; rubbish is of the kind unknown. Never raises for what a message holds.
    """
    mail = open_mail(raw)
    text = divide(mail.written)
    letter = mail.returned or text.letter
    returned = read_headers(letter)
    finding = _find(mail, replace(text, letter=letter), returned)
    # What a person quotes of a letter is no address they wrote to.
    quotes = (letter.partition("\n\n")[0], text.report) if finding.kind in _REPORTS else ()
    pattern = _pattern_of(bounces_to)
    own = _token_in(mail, _SENT_TO, pattern)
    return replace(
        finding,
        token=own or _token_in(mail, ("Received",), pattern) or _quoted_token(mail, quotes, pattern),
        message_id=_find_message_id(mail, text.report, returned),
        is_bare_wish=own is not None and is_bare_wish(mail),
        written_at=_written_at(mail),
    )


def _find(mail: Mail, text: BounceText, returned: Message) -> Finding:
    """Kind and recipients; the surest sign of what a message is comes first."""
    if is_feedback(mail):
        complaint = read_complaint(mail, returned)
        if complaint is None:
            return Finding(MailKind.UNKNOWN)
        formal = bool(mail.of_kinds("message/feedback-report"))
        return Finding(MailKind.COMPLAINT, (complaint,) if complaint.address else (), formal=formal)
    if found := _read_report(mail, text, returned):
        return found
    if looks_like_bounce(mail, text.report):
        if is_warning(mail, text.report):
            return Finding(MailKind.UNKNOWN, delayed=True)
        return Finding(MailKind.BOUNCE, _read_words(mail, text, returned))
    if is_automatic(mail):
        return Finding(MailKind.AUTO_REPLY)
    if asks_to_stop(mail, text.report):
        return Finding(MailKind.UNSUBSCRIBE)
    if is_perhaps_automatic(mail):
        return Finding(MailKind.AUTO_REPLY)
    sender = find_address(str(mail.headers.get("From", "")))
    if sender and not is_machine(sender):
        return Finding(MailKind.REPLY)
    return Finding(MailKind.UNKNOWN)


def _read_report(mail: Mail, text: BounceText, returned: Message) -> Finding | None:
    """What a delivery status notification says, in its own part or in the text; None without one."""
    statuses = [part for part in mail.reports if part.kind.endswith("delivery-status")]
    if not statuses:
        if any(part.kind.endswith("disposition-notification") for part in mail.reports):
            return Finding(MailKind.AUTO_REPLY)
        if is_passed_on(mail) or not has_fields(text.report):
            return None
        statuses = [Part("text/plain", text.report)]
    groups = [group for part in statuses for group in read_fields(part.text)]
    failed = [group for group in groups if group.action == "failed"]
    if groups and not failed:
        return Finding(MailKind.UNKNOWN, delayed=any(group.action == "delayed" for group in groups))
    if not groups and is_warning(mail, text.report):
        return Finding(MailKind.UNKNOWN, delayed=True)
    return Finding(MailKind.BOUNCE, _merge(failed, _read_words(mail, text, returned)))


def _merge(
    failed: list[RecipientFields], told: tuple[ReportedRecipient, ...]
) -> tuple[ReportedRecipient, ...]:
    """The recipients of a report's fields, and those told in words where the fields name none."""
    words = {each.address.casefold(): each.reason for each in told}
    overall = told[0].reason if len(told) == 1 else ""
    found: dict[str, ReportedRecipient] = {}
    for group in failed:
        address = group.address or ""
        recipient = group.as_recipient(words.get(address.casefold(), overall))
        if recipient is None and len(told) == 1:  # the fields are about somebody, the text says whom
            recipient = replace(
                group, fields={**group.fields, "final-recipient": told[0].address}
            ).as_recipient(overall)
        if recipient:
            found.setdefault(recipient.address.casefold(), recipient)
    return tuple(found.values()) or told


def _read_words(mail: Mail, text: BounceText, returned: Message) -> tuple[ReportedRecipient, ...]:
    """Whom a report in words is about; where it names nobody, whom the returned letter was for."""
    addressed = _addressed(returned)
    ours = fold(
        address
        for headers, names in (
            (mail.headers, ("To", "From", "Reply-To", *_SENT_TO)),
            (returned, ("From", "Return-Path", "Sender")),
        )
        for name in names
        for address in find_addresses(str(headers.get(name, ""))[:2000], most=10)
    )
    failed = tuple(
        dict.fromkeys(
            address
            for name in _ABOUT_FAILURE
            for value in mail.headers.get_all(name, [])[:10]
            for address in find_addresses(str(value))
        )
    )
    found = read_recipients(text.report, addressed=fold(addressed), ours=ours, failed=failed)
    if not found and len(addressed) == 1:
        found = read_recipients(text.report, addressed=fold(addressed), ours=ours, failed=addressed)
    return found


def _addressed(returned: Message) -> tuple[str, ...]:
    """Whom a returned letter was for: its To and Cc, else what its Received lines say."""
    named = find_addresses(" ".join(str(returned.get(name, ""))[:5000] for name in ("To", "Cc")))
    if named:
        return named
    received = returned.get_all("Received", [])[:_MOST_RECEIVED]
    for value in received:
        if (said := re.search(r"\bfor\s{1,5}<?(?=\S{1,130}@)", str(value))) and (
            address := find_address(str(value)[said.end() :])
        ):
            return (address,)
    return ()


def _pattern_of(bounces_to: str) -> re.Pattern[str]:
    """Our address with something behind ``+``, which is the first group."""
    local, _, domain = bounces_to.rpartition("@")
    try:
        domains = {domain, ascii_domain(bounces_to).rpartition("@")[2]}
    except UnicodeError:
        domains = {domain}
    ours = "|".join(re.escape(each) for each in domains)
    return re.compile(
        rf"(?<![\w.+-]){re.escape(local)}\+([A-Za-z0-9_.=-]{{1,64}})@(?:{ours})(?![\w.-])", re.IGNORECASE
    )


def _token_in(mail: Mail, names: tuple[str, ...], pattern: re.Pattern[str]) -> str | None:
    """What stands behind ``+`` in our address in one of these headers, the first named first."""
    for name in names:
        for value in mail.headers.get_all(name, [])[:_MOST_RECEIVED]:
            if found := pattern.search(str(value)):
                return found[1]
    return None


def _quoted_token(mail: Mail, quotes: tuple[str, ...], pattern: re.Pattern[str]) -> str | None:
    """What stands behind ``+`` in the return path that a message quotes."""
    # The letter's List-Unsubscribe has a token for another purpose.
    quoted = [
        line
        for text in (*(part.text for part in mail.reports), *quotes)
        for line in _unfold(text)
        if not _NOT_RETURN_PATH.match(line)
    ]
    return found[1] if (found := pattern.search("\n".join(quoted))) else None


def _unfold(text: str) -> list[str]:
    """The lines of a text, with continuation lines joined to the one they continue."""
    return re.sub(r"\n[ \t]", " ", text).split("\n")


def _find_message_id(mail: Mail, report: str, returned: Message) -> str | None:
    """The Message-ID of the letter a message is about: as returned, as told or as answered."""
    if found := _MESSAGE_ID.search(str(returned.get("Message-ID", ""))):
        return f"<{found[0]}>"
    told = "\n".join([*(part.text for part in mail.reports), report])[:_LONGEST_TOLD]
    if found := _QUOTED_ID.search(told):
        return f"<{found[1]}>"
    if found := _MESSAGE_ID.search(str(mail.headers.get("In-Reply-To", ""))):
        return f"<{found[0]}>"
    references = _MESSAGE_ID.findall(str(mail.headers.get("References", "")))
    return f"<{references[-1]}>" if references else None


def _written_at(mail: Mail) -> datetime | None:
    try:
        said = parsedate_to_datetime(str(mail.headers.get("Date", ""))[:100])
        return (said if said.tzinfo else said.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
