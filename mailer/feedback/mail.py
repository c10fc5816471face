"""A message that came back, taken apart within bounds: headers, texts, reports and the returned letter.

Anybody may write to the return path, so nothing here trusts a header. ``email.parser`` recurses once per
level and has no bounds; the message is cut at its boundaries here, and the library decodes the pieces.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message

MOST_BYTES = 512 * 1024
"""Of a message that are read; reports stand before the letter they return."""
MOST_PARTS = 40
DEEPEST = 6
LONGEST_TEXT = 128 * 1024
"""Characters of one part that are read."""
MOST_HEADERS = 500
LONGEST_HEADER = 10_000
LONGEST_PARAMETERS = 2_000

_FIELD = re.compile(r"([!-9;-~]{1,80})[ \t]*:(.*)", re.DOTALL)
# Codecs such as punycode are slow on purpose-made input, others are no character sets at all.
_CHARACTER_SET = re.compile(
    r"(us-)?ascii|utf-?(8|7|16|32)|unicode-1-1-utf-7|latin-?\d|(iso|windows|cp|koi8|mac|shift|s-?jis|x-sjis|euc|gb|"
    r"big5|ks)[\w-]*",
    re.IGNORECASE,
)
_LINE_BREAK = re.compile(r"<(?:br|/p|/div|/tr|/li|/h\d|/pre|hr)\b[^<>]{0,200}>", re.IGNORECASE)
_UNSHOWN = re.compile(r"<(style|script|title)\b[^<>]{0,500}>[^<]{0,50000}</\1>", re.IGNORECASE)
_TAG = re.compile(r"<[a-z/!][^<>@]{0,2000}>", re.IGNORECASE)
_REPORT = re.compile(
    r"message/(?:x-?|global-)?(?:delivery-status|feedback-report|disposition-notification)"
)
_RETURNED = {
    "message/rfc822",
    "message/global",
    "message/partial",
    "text/rfc822-headers",
    "text/rfc822-header",
    "text/rfc822",
    "message/rfc822-headers",
    "message/global-headers",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a message that is no container."""

    kind: str
    """Content type in lower case, such as ``text/plain``."""
    text: str


@dataclass(frozen=True, slots=True)
class Mail:
    """One message: its headers and its pieces in order."""

    headers: Message
    parts: tuple[Part, ...]

    def of_kinds(self, *kinds: str) -> tuple[str, ...]:
        """The texts of the parts of these content types."""
        return tuple(part.text for part in self.parts if part.kind in kinds)

    @property
    def reports(self) -> tuple[Part, ...]:
        """The parts written for machines (RFC 3464, RFC 5965, RFC 8098)."""
        return tuple(part for part in self.parts if _REPORT.fullmatch(part.kind))

    @property
    def returned(self) -> str:
        """The letter that came back, or its headers; empty when none is enclosed."""
        return next((part.text.lstrip("\n") for part in self.parts if part.kind in _RETURNED), "")

    @property
    def written(self) -> str:
        """What the message says in words, without the returned letter; HTML only for want of text."""
        plain = [part.text for part in self.parts if part.kind == "text/plain" and part.text.strip()]
        if not plain:
            plain = [show_html(part.text) for part in self.parts if part.kind == "text/html"]
        return "\n\n".join(plain)[:LONGEST_TEXT]


def open_mail(raw: bytes) -> Mail:
    """Take a message apart, however it is written; its lines may end in CRLF, LF or CR."""
    text = (
        raw[:MOST_BYTES]
        .replace(b"\r\r\n", b"\n")
        .replace(b"\r\n", b"\n")
        .replace(b"\r", b"\n")
        .lstrip(b"\n")
    )
    headers, body = _divide(text)
    parts: list[Part] = []
    for part in _pieces(headers, body, "text/plain", depth=0):
        parts.append(part)
        if len(parts) >= MOST_PARTS:
            break
    return Mail(headers, tuple(parts))


def read_headers(text: str) -> Message:
    """The headers at the beginning of a text; lines that are none are passed over.

    Values are unfolded and cut to a length; they are not decoded, see `decode_words`.
    """
    fields: list[list[str]] = []
    for line in text.split("\n", MOST_HEADERS * 20)[: MOST_HEADERS * 20]:
        if not line.strip():
            break
        if line[0] in " \t":
            if fields:
                fields[-1].append(line.strip())
        elif field := _FIELD.fullmatch(line[:LONGEST_HEADER]):
            if len(fields) >= MOST_HEADERS:
                break
            fields.append([field[1], field[2].strip()])
    message = Message()
    for name, *lines in fields:
        value = " ".join(line for line in lines if line)
        length = LONGEST_PARAMETERS if name.lower().startswith("content-") else LONGEST_HEADER
        message[name] = value.replace("\x00", "")[:length]
    return message


def decode_words(value: str) -> str:
    """A header's value with its encoded words (RFC 2047) as text; as it stands where that fails."""
    value = value[:LONGEST_PARAMETERS]
    try:
        pieces = decode_header(value)
    except (HeaderParseError, ValueError):
        return value
    return "".join(
        piece if isinstance(piece, str) else _decode(piece, charset or "utf-8")
        for piece, charset in pieces
    )


def show_html(page: str) -> str:
    """The text of an HTML page, roughly: for finding addresses and words, not for showing."""
    shown = _TAG.sub(" ", _LINE_BREAK.sub("\n", _UNSHOWN.sub(" ", page[:LONGEST_TEXT])))
    return html.unescape(shown).replace("\xa0", " ")


def _divide(message: bytes) -> tuple[Message, bytes]:
    """The headers of a message or part, and its body."""
    if message.startswith(b"\n"):
        return Message(), message[1:]
    head, _, body = message.partition(b"\n\n")
    return read_headers(head[: MOST_HEADERS * 1000].decode("utf-8", "replace")), body


def _pieces(headers: Message, body: bytes, usual: str, *, depth: int) -> Iterator[Part]:
    """Yield the pieces of a part that are no containers; `usual` is the type of one that names none."""
    kind = _content_type(headers, usual)
    if kind.startswith("multipart/") and depth < DEEPEST:
        inner = list(_cut(body, headers))
        for piece in inner:
            inside = "message/rfc822" if kind == "multipart/digest" else "text/plain"
            yield from _pieces(*_divide(piece), inside, depth=depth + 1)
        if inner:
            return
        kind = "text/plain"
    readable = kind.startswith(("text/", "message/"))
    yield Part(kind, _text(headers, body) if readable else "")


def _content_type(headers: Message, usual: str) -> str:
    """The content type as written, which the library would take for text where it is odd."""
    written = str(headers.get("Content-Type", "")).partition(";")[0].strip().lower()
    return written if re.fullmatch(r"[\w.+-]+/[\w.+-]+", written) else usual


def _cut(body: bytes, headers: Message) -> Iterator[bytes]:
    """Yield what stands between the boundaries of a multipart body (RFC 2046 §5.1.1)."""
    boundary = _boundary(headers)
    if not boundary:
        return
    line = re.compile(rb"^--" + re.escape(boundary) + rb"(--)?[ \t]*$", re.MULTILINE)
    begin: int | None = None
    for number, found in enumerate(line.finditer(body)):
        if begin is not None:
            yield body[begin : max(begin, found.start() - 1)]
        begin = None if found[1] else found.end() + 1
        if number >= MOST_PARTS:
            return
    if begin is not None:
        yield body[begin:]


def _boundary(headers: Message) -> bytes:
    """The boundary a part names, or nothing."""
    try:
        return (headers.get_boundary() or "").encode("utf-8", "replace")
    except (ValueError, TypeError, LookupError):  # odd parameters (RFC 2231)
        return b""


def _text(headers: Message, body: bytes) -> str:
    """A part's text, decoded as it says and else as UTF-8, with what cannot be read replaced."""
    piece = Message()
    if encoding := headers.get("Content-Transfer-Encoding"):
        piece["Content-Transfer-Encoding"] = str(encoding).partition(";")[0].strip()
    piece.set_payload(body[: LONGEST_TEXT * 2].decode("ascii", "surrogateescape"))
    decoded = piece.get_payload(decode=True)
    try:
        charset = headers.get_content_charset() or "utf-8"
    except (ValueError, TypeError, LookupError):  # odd parameters (RFC 2231)
        charset = "utf-8"
    text = _decode(decoded if isinstance(decoded, bytes) else body, charset)
    return text.replace("\r\n", "\n").replace("\r", "\n")[:LONGEST_TEXT]


def _decode(text: bytes, charset: str) -> str:
    """Bytes as text in the character set named, else in UTF-8; never fails."""
    if _CHARACTER_SET.fullmatch(charset):
        try:
            return text.decode(charset, "replace")
        except (LookupError, UnicodeError):
            pass
    return text.decode("utf-8", "replace")
