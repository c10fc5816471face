"""Files that go with a letter: attachments, and images in its HTML (RFC 2183, RFC 2387, RFC 2392)."""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mailer.rendering.errors import LetterError

MOST_BYTES = 2_000_000
"""All files of one letter together, before base64: every worker holds a few letters at a time."""
_UNKNOWN = "application/octet-stream"
_OFFICE = "application/vnd.openxmlformats-officedocument"
_TYPES = {
    ".pdf": "application/pdf",
    ".ics": "text/calendar; charset=utf-8",
    ".csv": "text/csv",
    ".txt": "text/plain",
    ".docx": f"{_OFFICE}.wordprocessingml.document",
    ".xlsx": f"{_OFFICE}.spreadsheetml.sheet",
    ".pptx": f"{_OFFICE}.presentationml.presentation",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".zip": "application/zip",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
"""What a file is sent as; everything else is bytes that nothing opens by itself."""
_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""What mail programs show in a letter; SVG is none of it, and may hold scripts."""
_INLINE_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_PLAIN_NAME = re.compile(r"[\w.()+,@-]+(?: [\w.()+,@-]+)*", re.ASCII)
"""What no program reads otherwise than it is written; all other names are encoded (RFC 2231 §4)."""
_LONGEST_NAME = 120
_LINE = 76
_ROOM = 60
"""Characters of a long file name on one line (RFC 2231 §3)."""


@dataclass(frozen=True, slots=True)
class Enclosure:
    """One file as it goes with every copy of a letter."""

    file_name: str
    content_type: str
    content: str
    """In base64, without line ends."""
    inline_as: str | None = None
    """Under which name the templates show the image; None for an attachment."""

    def content_id(self, domain: str) -> str:
        """How the HTML refers to the image (RFC 2392), without angle brackets."""
        return f"{self.inline_as}@{domain}"

    @property
    def data_url(self) -> str:
        """The image itself, for the letter in a browser (RFC 2397)."""
        return f"data:{self.content_type};base64,{self.content}"

    def part(self, domain: str) -> str:
        """The MIME part with its header, without boundaries; ASCII, its lines ending in CRLF."""
        inline = self.inline_as is not None
        lines = [
            f"Content-Type: {self.content_type}",
            "Content-Transfer-Encoding: base64",
            f"Content-Disposition: {'inline' if inline else 'attachment'};",
            *(f" {parameter}" for parameter in _parameters("filename", self.file_name)),
            *([f"Content-ID: <{self.content_id(domain)}>"] if inline else []),
            "",
            *(self.content[at : at + _LINE] for at in range(0, len(self.content), _LINE)),
            "",
        ]
        return "\r\n".join(lines)


def read_enclosures(folder: Path, manifest: Mapping[str, Any]) -> tuple[Enclosure, ...]:
    """The files a letter's manifest names, out of the letter's own folder.

    Raises:
        LetterError: one is missing, lies elsewhere or is no image where one must be; they are too large.
    """
    left = MOST_BYTES
    enclosures = []
    for place, name, inline_as in _named_files(manifest):
        data = _read(folder, place, name, left)
        left -= len(data)
        content_type = _TYPES.get(Path(name).suffix.lower(), _UNKNOWN)
        if inline_as is not None and content_type not in _IMAGES:
            raise LetterError(f"{place}: {name!r} is no PNG, JPEG, GIF or WebP image")
        content = base64.b64encode(data).decode("ascii")
        enclosures.append(Enclosure(Path(name).name, content_type, content, inline_as))
    return tuple(enclosures)


def enclosed_paths(manifest: Mapping[str, Any]) -> frozenset[str]:
    """The paths of the files that go along as they are, and are no templates.

    Raises:
        LetterError: the manifest does not say it in the way it must.
    """
    return frozenset(Path(name).as_posix() for _, name, _ in _named_files(manifest))


def _named_files(manifest: Mapping[str, Any]) -> Sequence[tuple[str, str, str | None]]:
    """Where the manifest names a file, the file, and the name of an image."""
    attachments, inline = manifest.get("attachments", []), manifest.get("inline", {})
    if not isinstance(attachments, list) or not all(isinstance(name, str) for name in attachments):
        raise LetterError('letter.toml: attachments is a list of file names: attachments = ["a.pdf"]')
    if not isinstance(inline, dict) or not all(isinstance(name, str) for name in inline.values()):
        raise LetterError('letter.toml: [inline] gives images names: logo = "logo.png"')
    for key in inline:
        if not _INLINE_NAME.fullmatch(key) or hasattr(dict, key):
            raise LetterError(
                f"letter.toml: [inline] {key!r} is no name for an image: a-z, 0-9 and _, a letter first,"
                " and none of keys, values, items, get, pop, copy, clear, update"
            )
    return [
        *(("letter.toml: attachments", name, None) for name in attachments),
        *((f"letter.toml: [inline] {key}", name, key) for key, name in inline.items()),
    ]


def _read(folder: Path, place: str, name: str, left: int) -> bytes:
    """A file of the letter's own folder, whatever links or dots its name holds."""
    if not name.isprintable() or not Path(name).name or len(Path(name).name) > _LONGEST_NAME:
        raise LetterError(f"{place}: {name!r} cannot be a file's name in a letter")
    home = folder.resolve()
    path = (home / name).resolve()
    if not path.is_relative_to(home):
        raise LetterError(f"{place}: {name!r} lies outside the letter's folder")
    if not path.is_file():
        raise LetterError(f"{place}: there is no file {name!r} in the letter's folder")
    try:
        with path.open("rb") as file:
            data = file.read(left + 1)
    except OSError as error:
        raise LetterError(f"{place}: {name!r}: {error.strerror}") from error
    if len(data) > left:
        raise LetterError(f"{place}: with {name!r} the files are larger than {MOST_BYTES:,} bytes")
    return data


def _parameters(name: str, value: str) -> Iterable[str]:
    """A header parameter in as many lines as it takes, the last without semicolon."""
    if len(value) <= _ROOM and _PLAIN_NAME.fullmatch(value):
        return [f'{name}="{value}"']
    pieces, piece = [], "utf-8''"
    for character in value:
        escaped = quote(character, safe="")
        if len(piece) + len(escaped) > _ROOM:
            pieces.append(piece)
            piece = ""
        piece += escaped
    pieces.append(piece)
    if len(pieces) == 1:
        return [f"{name}*={piece}"]
    last = len(pieces) - 1
    return [
        f"{name}*{number}*={piece}{';' if number < last else ''}" for number, piece in enumerate(pieces)
    ]
