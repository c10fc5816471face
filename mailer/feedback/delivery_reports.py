"""Delivery status notifications: their fields for machines (RFC 3464), wherever they stand."""

import re
from dataclasses import dataclass, field

from mailer.feedback.addresses import find_address
from mailer.feedback.findings import ReportedRecipient
from mailer.feedback.refusals import clean_reason, find_status, is_for_good

MOST_RECIPIENTS = 50
"""One report names; our letters have one recipient each."""
_MOST_LINES = 4_000
_ABOUT_ADDRESS = ("final-recipient", "original-recipient", "x-actual-recipient")
_ABOUT_RECIPIENT = (*_ABOUT_ADDRESS, "action", "status", "diagnostic-code")
_FIELD = re.compile(r"([A-Za-z][A-Za-z-]{1,60})[ \t]{0,20}:(.*)", re.DOTALL)
_DIAGNOSTIC_TYPE = re.compile(
    r"\s*(?:smtp|x-[\w-]{1,40}|dns|local|unknown|lmtp|esmtp)\s*;\s*", re.IGNORECASE
)
_ACTIONS = {"failed", "delayed", "delivered", "relayed", "expanded"}
_ACTION = re.compile(r"[a-z]+", re.IGNORECASE)
_LEFT_OVER = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")


@dataclass(slots=True)
class RecipientFields:
    """What a report says of one recipient."""

    fields: dict[str, str] = field(default_factory=dict)
    """By lower-case name: the unfolded values."""

    @property
    def action(self) -> str:
        """One of RFC 3464 §2.3.3: ``failed``, ``delayed``, ``delivered``…; else by the status code."""
        said = _ACTION.search(self.fields.get("action", ""))
        if said and said[0].lower() in _ACTIONS:
            return said[0].lower()
        status = find_status("", self.fields.get("status"))
        return "delivered" if status and status.startswith("2") else "failed"

    @property
    def address(self) -> str | None:
        """The address that failed, when there is one."""
        for name in _ABOUT_ADDRESS:
            # RFC 6533 §3: what is not ASCII may stand as \x{...} in an older report.
            value = _LEFT_OVER.sub(_character, self.fields.get(name, "")[:1000])
            if address := find_address(value):
                return address
        return None

    def as_recipient(self, explanation: str) -> ReportedRecipient | None:
        """What the fields come to; None when they name no address.

        Args:
            explanation: words from the rest of the report, for one whose fields give no reason.
        """
        if not (address := self.address):
            return None
        diagnostic = _DIAGNOSTIC_TYPE.sub("", self.fields.get("diagnostic-code", ""), count=1)
        stated = self.fields.get("status")
        reason = diagnostic if len(diagnostic) > 3 else (stated or "").partition("(")[2].rstrip(") ")
        words = reason or explanation
        return ReportedRecipient(
            address, is_for_good(words, stated), clean_reason(words), find_status(words, stated)
        )


def read_fields(text: str) -> list[RecipientFields]:
    """What a report says of each recipient, in order (RFC 3464 §2.3).

    Groups are divided by blank lines; writers who put blank lines inside a group, or none between
    two, are understood as well.
    """
    found: list[RecipientFields] = []
    pending = RecipientFields()
    for group in _groups(text):
        names = [name for name, _ in group]
        starts = any(name in _ABOUT_ADDRESS for name in names) and not _completes(pending, names)
        if starts and any(name in _ABOUT_RECIPIENT for name in pending.fields):
            found.append(pending)
        if starts:
            pending = RecipientFields()
        for name, value in group:
            if name in _ABOUT_RECIPIENT and name in pending.fields:
                found.append(pending)
                pending = RecipientFields()
            pending.fields.setdefault(name, value)
        if len(found) >= MOST_RECIPIENTS:
            return found
    if any(name in _ABOUT_RECIPIENT for name in pending.fields):
        found.append(pending)
    return found


def has_fields(text: str) -> bool:
    """Whether a plain text holds the fields of a report: an address and what became of it."""
    return any(
        group.address and ("action" in group.fields or "status" in group.fields)
        for group in read_fields(text)
    )


def _completes(pending: RecipientFields, names: list[str]) -> bool:
    """Whether these fields belong to a recipient begun before a stray blank line."""
    known = [name for name in pending.fields if name in _ABOUT_RECIPIENT]
    return (
        bool(known) and not any(name in _ABOUT_ADDRESS for name in known) and not set(known) & set(names)
    )


def _groups(text: str) -> list[list[tuple[str, str]]]:
    """The fields of a text by group; lines that are no fields are passed over."""
    groups: list[list[tuple[str, str]]] = [[]]
    for line in text.split("\n", _MOST_LINES)[:_MOST_LINES]:
        if not line.strip():
            if groups[-1]:
                groups.append([])
        elif line[0] in " \t":
            if groups[-1]:
                name, value = groups[-1][-1]
                if len(value) < 4000:
                    groups[-1][-1] = (name, f"{value} {line.strip()[:1000]}")
        elif said := _FIELD.fullmatch(line[:4000]):
            groups[-1].append((said[1].lower(), said[2].strip()))
    return groups


def _character(match: re.Match[str]) -> str:
    """The character a number stands for, or the text as it was."""
    number = int(match[1], 16)
    return chr(number) if 0x20 < number < 0xD800 or 0xE000 <= number < 0x110000 else match[0]
