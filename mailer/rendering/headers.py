"""Header fields as they go over the wire (RFC 5322 §2.2, RFC 2047), whatever stands in the values."""

import binascii
import functools
import re

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_PLAIN = re.compile(r"[\x20-\x7e]*")
_KEPT_NAMES = 2_048
_ATOM_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_FOLD_AT = 76
_BYTES_PER_WORD = 42
"""Base64 of 42 bytes with its frame is 68 characters: an encoded word ends at 75 (RFC 2047 §2)."""


def clean(value: str) -> str:
    """The value without control, line and paragraph separator characters: each run becomes a space."""
    if not value.isprintable():
        value = _FORBIDDEN.sub(" ", value)
    return " ".join(value.split())


def unstructured(name: str, value: str) -> bytes:
    """A field of free text such as Subject, folded, with its CRLF."""
    value = clean(value)
    words = value.split(" ") if _is_plain(value) else _encoded_words(value)
    return f"{_fold(name, words)}\r\n".encode()


def mailbox(name: str, display_name: str, address: str) -> bytes:
    """A field with one mailbox such as From or To (RFC 5322 §3.4), with its CRLF."""
    if " " in address or not address.isprintable():
        address = clean(address).replace(" ", "")
    begun, used = _begin_mailbox(name, display_name)
    if not used:
        return f"{name}: {address}\r\n".encode()
    blank = " " if used + len(address) + 3 <= _FOLD_AT else "\r\n "
    return f"{begun}{blank}<{address}>\r\n".encode()


@functools.lru_cache(maxsize=_KEPT_NAMES)
def _begin_mailbox(name: str, display_name: str) -> tuple[str, int]:
    """A field up to its address, and how many characters of the line are used; 0 without a name."""
    words = _phrase(display_name)
    if not words:
        return "", 0
    begun = _fold(name, words)
    return begun, len(begun) - (begun.rfind("\n") + 1)


def _phrase(display_name: str) -> list[str]:
    """A display name as the words that stand before the address."""
    display_name = clean(display_name)
    if not display_name:
        return []
    if not _is_plain(display_name):
        return _encoded_words(display_name)
    if _ATOM_PHRASE.fullmatch(display_name):
        return display_name.split(" ")
    escaped = display_name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'.split(" ")


def structured(name: str, value: str) -> bytes:
    """A field of our own making that must stay on one line, with its CRLF.

    Raises:
        ValueError: the value has a character that no such field may have.
    """
    if not _PLAIN.fullmatch(value):
        raise ValueError(f"{name} holds a character that no header may have")
    return f"{name}: {value}\r\n".encode("ascii")


def _is_plain(value: str) -> bool:
    """Whether a cleaned value may stand as it is."""
    if not value.isascii() or "=?" in value:
        return False
    return len(value) < _FOLD_AT or max(map(len, value.split(" "))) < _FOLD_AT


def _encoded_words(value: str) -> list[str]:
    data = value.encode()
    if len(data) <= _BYTES_PER_WORD:
        return [_encoded_word(data)]
    words, piece = [], b""
    for character in value:
        data = character.encode()
        if len(piece) + len(data) > _BYTES_PER_WORD:
            words.append(piece)
            piece = b""
        piece += data
    words.append(piece)
    return [_encoded_word(word) for word in words]


def _encoded_word(data: bytes) -> str:
    return f"=?utf-8?b?{binascii.b2a_base64(data, newline=False).decode()}?="


def _fold(name: str, words: list[str]) -> str:
    """The field's lines without the last CRLF."""
    if len(words) == 1:
        return f"{name}: {words[0]}"
    lines, line = [], f"{name}:"
    for word in words:
        if len(line) + 1 + len(word) > _FOLD_AT and line.strip() != "" and line != f"{name}:":
            lines.append(line)
            line = ""
        line += f" {word}"
    lines.append(line)
    return "\r\n".join(lines)
