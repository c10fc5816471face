"""Bounces written for people: what servers without delivery status notifications say.

Every server has its own sentences, and most of them a short list: an address at the beginning of a line,
and behind or below it what was said. Rules for that reach further than a list of servers.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mailer.feedback.addresses import find_addresses, fold, is_machine
from mailer.feedback.findings import ReportedRecipient
from mailer.feedback.refusals import clean_reason, find_status, is_for_good, is_refusal

_MOST_OWN_LINES = 20
"""Of what is said of one of several recipients."""
MOST_LINES = 600
"""Of a report that are read."""
MOST_RECIPIENTS = 20
_LONGEST_LINE = 600

_SEPARATOR = re.compile(
    r"[\s>*=-]*(?:below this line is a copy|this is a copy of (?:the|your) message|-+ ?original message|"
    r"(?:the )?headers? of the original message|message headers? follows?|included is a copy|"
    r"(?:unsent|original|returned|your) message (?:follows|header|is enclosed|text|content)|"
    r"enclosed is a copy|below is a copy|returned message|original headers|message header|"
    r"start of (?:the )?(?:returned|original) message|undelivered message follows|"
    r"the following (?:is|text is) (?:a|the) (?:copy|header|original)|forwarded message|"
    r"body of message generated)",
    re.IGNORECASE,
)
_LETTER_FIELD = re.compile(
    r"(return-path|received|from|to|subject|date|message-id|mime-version|content-type|x-[\w-]+|dkim-signature|sender|"
    r"reply-to|cc|delivered-to|content-transfer-encoding|user-agent|precedence|list-[\w-]+|in-reply-to|references)\s{0,5}:",
    re.IGNORECASE,
)
_ANY_FIELD = re.compile(r"[A-Za-z][\w-]{1,60}:\s")
_TELLING_FIELDS = {
    "received",
    "message-id",
    "return-path",
    "mime-version",
    "from",
    "to",
    "subject",
    "date",
}

_AT_START = re.compile(
    r"[\s>*•\"'\[(-]{0,40}(?:\d{1,3}[.)]\s{1,5}|[45]\d\d[ -](?:[45]\.\d\.\d{1,3} )?)?"
    r"[<'\"]{0,2}(?=[^\s<>]{1,130}@)"
)
_NAMED = re.compile(
    r"(?:rcpt to|recipients?(?: address(?:es)?)?|addressed to|failed (?:address|recipient)s?|"
    r"failed to deliver to|address(?:es)?|undeliverable (?:to|address)|rcpt|受信者|受取人|宛先)"
    r"\s{0,5}(?:is|was)?\s{0,5}[:=]\s{0,20}[<\"'\[]{0,3}(?=\S{1,130}@)",
    re.IGNORECASE,
)
_IN_SENTENCE = re.compile(
    r"(?:mail|e-mail|message|deliver(?:y|ed|ing)?|delivering your (?:mail|message)|sen[dt]|reach|"
    r"recipients?|address(?:es)?|user|mailbox|account|undeliverable|host|size|userid)"
    r"(?: (?:to|for|was not|could not|recipient|the))*[ \t:]{1,5}[<\"'\[(]{0,3}(?=\S{1,130}@)",
    re.IGNORECASE,
)
_CODE = re.compile(r"(?<![\d.])[45]\d\d(?:[ -]|$)|(?<![\d.])[45]\.\d{1,3}\.\d{1,3}(?!\.?\d)")


@dataclass(frozen=True, slots=True)
class BounceText:
    """A bounce in words, apart from the letter it returns."""

    report: str
    letter: str
    """The returned letter from its first header on; empty when none is quoted."""


def divide(text: str) -> BounceText:
    """Part a report from the letter it quotes: at its announcement or where its headers begin."""
    lines = text.split("\n", MOST_LINES)[:MOST_LINES]
    announced: int | None = None
    for number, line in enumerate(lines):
        if announced is None and _SEPARATOR.match(line[:200]):
            announced = number
        near = announced is not None and number - announced < 8
        if _begins_letter(lines, number, enough=1 if near else 3):
            # What stands between announcement and headers is a rule or a blank line.
            before = "\n".join(lines[: announced if announced is not None and near else number])
            # Some reports begin with the letter's headers; then what they report stands below.
            if near or find_addresses(before, most=1) or is_refusal(before):
                return BounceText(before, "\n".join(lines[number:]))
    return BounceText("\n".join(lines), "")


def _begins_letter(lines: list[str], number: int, *, enough: int) -> bool:
    """Whether a letter's headers begin at this line, with so many that every letter has."""
    if not _LETTER_FIELD.match(lines[number][:100]) or (
        number and _LETTER_FIELD.match(lines[number - 1][:100])
    ):
        return False
    seen: set[str] = set()
    for line in lines[number : number + 150]:
        if not line.strip():
            break
        if field := _LETTER_FIELD.match(line[:100]):
            seen.add(field[1].lower())
        elif line[0] not in " \t" and not _ANY_FIELD.match(line[:100]):
            break
    return len(seen & _TELLING_FIELDS) >= enough


def read_recipients(
    text: str, *, addressed: frozenset[str], ours: frozenset[str], failed: tuple[str, ...] = ()
) -> tuple[ReportedRecipient, ...]:
    """The recipients a report in words is about, the surest reading first.

    Args:
        text: the report without the letter it returns.
        addressed: whom the returned letter was addressed to, folded.
        ours: the report's own sender and receiver, folded; they failed only if the letter was for them.
        failed: addresses that the report's headers name.
    """
    lines = [line[:_LONGEST_LINE] for line in text.split("\n", MOST_LINES)[:MOST_LINES]]
    names = failed or _name_recipients(lines, addressed, ours)
    if not names:
        return ()
    names = names[:MOST_RECIPIENTS]
    overall = _reason(lines)
    if len(names) == 1:
        return (_judge(names[0], overall),)
    known = fold(names)
    return tuple(_judge(name, _own_reason(name, known, lines) or overall) for name in names)


def _name_recipients(
    lines: list[str], addressed: frozenset[str], ours: frozenset[str]
) -> tuple[str, ...]:
    """Who failed, by the surest of the ways that names anybody."""
    for begin in (_AT_START.match, _NAMED.search, _IN_SENTENCE.search):
        found: dict[str, str] = {}
        for line in lines:
            if (place := begin(line)) and (address := _address_at(line, place.end())):
                key = address.casefold()
                if key in addressed or not (key in ours or is_machine(address)):
                    found.setdefault(key, address)
        if found:
            return tuple(found.values())
    everyone = find_addresses("\n".join(lines))
    expected = [each for each in everyone if each.casefold() in addressed]
    return tuple(
        expected or [each for each in everyone if not (each.casefold() in ours or is_machine(each))][:1]
    )


def _address_at(line: str, place: int) -> str | None:
    """The address that stands at this place of a line."""
    for address in find_addresses(line[place : place + 330], most=1):
        if line[place:].lower().startswith(address.lower()):
            return address
    return None


def _judge(address: str, reason: str) -> ReportedRecipient:
    """What a reason comes to for one recipient."""
    return ReportedRecipient(address, is_for_good(reason), clean_reason(reason), find_status(reason))


def _own_reason(address: str, names: frozenset[str], lines: list[str]) -> str:
    """What is said of one of several recipients in the lines about it; empty when that is no refusal."""
    own = list(_lines_about(address, names, lines))
    return _reason(own) if is_refusal("\n".join(own)) else ""


def _lines_about(address: str, names: frozenset[str], lines: list[str]) -> Iterator[str]:
    """The first lines from each mention of an address to the next mention of another."""
    key = address.casefold()
    about = False
    left = _MOST_OWN_LINES
    for line in lines:
        folded = line.casefold()
        if key in folded:
            about = True
        elif about and any(name in folded for name in names):
            about = False
        if about:
            yield line
            left -= 1
            if not left:
                return


def _reason(lines: list[str]) -> str:
    """The paragraph that tells why, from the line that does: a code counts more than words."""
    for telling in (_CODE.search, is_refusal):
        for number, line in enumerate(lines):
            if telling(line):
                return " ".join(_until_blank(lines[number:]))
    return " ".join(_until_blank([line for line in lines if line.strip()]))


def _until_blank(lines: list[str]) -> Iterator[str]:
    """The lines of one paragraph, at most a few."""
    for line in lines[:12]:
        if not line.strip():
            return
        yield line.strip()
