"""Header fields as they go over the wire (RFC 5322 §2.2, RFC 2047), whatever stands in the values."""

import base64
import functools
import re

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_PLAIN = re.compile(r"[\x20-\x7e]*")
_ATOM_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_FOLD_AT = 76
_BYTES_PER_WORD = 42
"""Base64 of 42 bytes with its frame is 68 characters: an encoded word ends at 75 (RFC 2047 §2)."""


def clean(value: str) -> str:
    """The value without control, line and paragraph separator characters: each run becomes a space."""
    return " ".join(_FORBIDDEN.sub(" ", value).split())


def unstructured(name: str, value: str) -> bytes:
    """A field of free text such as Subject, folded, with its CRLF."""
    value = clean(value)
    if _is_plain(value):
        return _fold(name, value.split(" "))
    return _fold(name, _encoded_words(value))


def mailbox(name: str, display_name: str, address: str) -> bytes:
    """A field with one mailbox such as From or To (RFC 5322 §3.4), with its CRLF."""
    address = clean(address).replace(" ", "")
    words = _phrase(display_name)
    return _fold(name, [*words, f"<{address}>"] if words else [address])


@functools.lru_cache(maxsize=1 << 16)
def _phrase(display_name: str) -> tuple[str, ...]:
    """A display name as the words that stand before the address."""
    display_name = clean(display_name)
    if not display_name:
        return ()
    if not _is_plain(display_name):
        return tuple(_encoded_words(display_name))
    if _ATOM_PHRASE.fullmatch(display_name):
        return tuple(display_name.split(" "))
    escaped = display_name.replace("\\", "\\\\").replace('"', '\\"')
    return tuple(f'"{escaped}"'.split(" "))


def structured(name: str, value: str) -> bytes:
    """A field of our own making that must stay on one line, with its CRLF.

    Raises:
        ValueError: the value has a character that no such field may have.
    """
    if not _PLAIN.fullmatch(value):
        raise ValueError(f"{name} holds a character that no header may have")
    return f"{name}: {value}\r\n".encode("ascii")


def _is_plain(value: str) -> bool:
    longest = max((len(word) for word in value.split(" ")), default=0)
    return bool(_PLAIN.fullmatch(value)) and "=?" not in value and longest < _FOLD_AT


def _encoded_words(value: str) -> list[str]:
    words, piece = [], b""
    for character in value:
        data = character.encode()
        if len(piece) + len(data) > _BYTES_PER_WORD:
            words.append(piece)
            piece = b""
        piece += data
    words.append(piece)
    return [f"=?utf-8?b?{base64.b64encode(word).decode()}?=" for word in words]


def _fold(name: str, words: list[str]) -> bytes:
    lines, line = [], f"{name}:"
    for word in words:
        if len(line) + 1 + len(word) > _FOLD_AT and line.strip() != "" and line != f"{name}:":
            lines.append(line)
            line = ""
        line += f" {word}"
    lines.append(line)
    return ("\r\n".join(lines) + "\r\n").encode()
