"""What a relay's reply says of a letter (RFC 5321 §4.2, RFC 3463)."""

import re
from dataclasses import dataclass
from enum import StrEnum

_ENHANCED = re.compile(r"^([245]\.\d{1,3}\.\d{1,3})\b\s*")
_ADDRESS = re.compile(r"<?[^\s<>@:;,]+@[^\s<>@:;,]+>?")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\uffff]+")
_LONGEST_TEXT = 200


class ReplyClass(StrEnum):
    """What a final reply means for what was asked."""

    ACCEPTED = "accepted"
    REFUSED_FOR_NOW = "refused for now"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply; its text names nobody."""

    code: int
    enhanced_code: str | None
    text: str

    @property
    def kind(self) -> ReplyClass:
        """What it means.

        Raises:
            ValueError: it is no final reply.
        """
        return classify_reply(self.code)

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced_code, self.text) if part)


def classify_reply(code: int) -> ReplyClass:
    """Return what a reply code means (RFC 5321 §4.2.1: the first digit decides).

    Raises:
        ValueError: the code is no final reply (1xx, 3xx or out of range).
    """
    match code // 100:
        case 2:
            return ReplyClass.ACCEPTED
        case 4:
            return ReplyClass.REFUSED_FOR_NOW
        case 5:
            return ReplyClass.REFUSED
        case _:
            raise ValueError(f"{code} is no final reply")


def read_reply(code: int, text: bytes) -> Reply:
    """The reply with its enhanced code taken out and every address removed from its text.

    Relays like to repeat the recipient; what is kept goes into reports and logs.
    """
    words = _UNPRINTABLE.sub(" ", text.decode("utf-8", "replace"))
    enhanced = _ENHANCED.match(words)
    if enhanced:
        words = words[enhanced.end() :]
    words = _ADDRESS.sub("<address>", words)
    return Reply(code, enhanced[1] if enhanced else None, " ".join(words.split())[:_LONGEST_TEXT])
