"""A letter as it lies on disk, and as a campaign keeps it: its files, and what its manifest declares."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailer.rendering.enclosures import Enclosure, enclosed_paths, read_enclosures
from mailer.rendering.errors import LetterError, LetterNotFound

MANIFEST = "letter.toml"
PARTS = ("subject.txt", "body.txt", "body.html")
DEFAULT_LANGUAGE = "da"
FRAME = "frame"
"""The folder beside the letters that holds what they share: head, styles, header and footer."""
_SUFFIXES = frozenset({".txt", ".html"})
_FROM_FRAME = re.compile(rf"""["']({FRAME}/[^"'\n]+)["']""")


@dataclass(frozen=True, slots=True)
class Signatory:
    """One who signs: an office and, where it has one, a name."""

    office: str
    name: str


@dataclass(frozen=True, slots=True)
class LetterSource:
    """One letter: its template files by path, and its manifest.

    The paths are as the templates write them: ``body.html``, ``en/body.html``, ``frame/frame.html``.
    """

    name: str
    files: Mapping[str, str]
    manifest: Mapping[str, Any]
    enclosures: tuple[Enclosure, ...] = ()
    """The files that go with every copy."""

    @property
    def title(self) -> str:
        """What people call the letter."""
        return str(self.manifest.get("title", self.name))

    @property
    def kind(self) -> str | None:
        """``reminder``, ``change``, ``cancellation`` or ``confirmation``; None where it is not said."""
        kind = self.manifest.get("kind")
        return None if kind is None else str(kind)

    @property
    def rules(self) -> tuple[str, ...]:
        """Whom a reminder is written for, such as ``registered``; unsaid it is those who asked."""
        is_reminder = self.leads or self.optional_leads
        return tuple(self.manifest.get("rules", ("asked",) if is_reminder else ()))

    @property
    def leads(self) -> tuple[str, ...]:
        """How long before any event the reminder goes, such as ``14 days``; empty for other letters."""
        return tuple(self.manifest.get("leads", ()))

    @property
    def optional_leads(self) -> tuple[str, ...]:
        """How long before an event that names this lead the reminder goes."""
        return tuple(self.manifest.get("optional_leads", ()))

    @property
    def needs(self) -> tuple[str, ...]:
        """The event's fields this reminder cannot do without."""
        return tuple(self.manifest.get("needs", ()))

    @property
    def needs_at(self) -> Mapping[str, tuple[str, ...]]:
        """By lead, the fields it cannot do without there, where they are not those of ``needs``."""
        return {lead: tuple(needs) for lead, needs in self.manifest.get("needs_at", {}).items()}

    @property
    def calendar(self) -> bool:
        """Whether a calendar file of its event goes with every copy."""
        return bool(self.manifest.get("calendar", False))

    def signatories(self, language: str) -> tuple[Signatory, ...]:
        """Who signs the letter, in order, with their offices in a language (``office_en``)."""
        return tuple(
            Signatory(str(entry.get(f"office_{language}", entry["office"])), str(entry["name"]))
            for entry in self.manifest.get("signatories", ())
        )

    @property
    def preview_note(self) -> str | None:
        """What a preview says above the letter, and the letter itself does not."""
        note = self.manifest.get("preview_note")
        return None if note is None else str(note)

    def counts_as(self, key: str) -> str:
        """What a click on a link counts as: ``download``, ``registration`` or ``link``.

        Args:
            key: ``pack``, ``events.registration``, or a literal address of the letter.
        """
        counts: Mapping[str, Sequence[str]] = self.manifest.get("counts", {})
        return next((kind for kind, keys in counts.items() if key in keys), "link")

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages the letter or a part of it has been written in, Danish first."""
        written = {path.partition("/")[0] for path in self.files if path.partition("/")[2] in PARTS}
        return (DEFAULT_LANGUAGE, *sorted(written - {FRAME, DEFAULT_LANGUAGE}))

    @property
    def fragments(self) -> tuple[str, ...]:
        """The paths of what parts extend or include: files of the frame, and others of the letter."""
        parts = {self.part(part, language) for part in PARTS for language in self.languages}
        return tuple(path for path in self.files if path not in parts)

    def texts(self, language: str) -> list[str]:
        """Every template text a letter in this language may be made of."""
        parts = [self.part(part, language) for part in PARTS]
        return [self.files[path] for path in (*parts, *self.fragments)]

    def part(self, part: str, language: str) -> str:
        """The path of a part in a language, falling back to Danish."""
        translated = f"{language}/{part}"
        return translated if translated in self.files else part

    def has(self, language: str) -> bool:
        """Whether the letter has been written in this language."""
        return language == DEFAULT_LANGUAGE or f"{language}/body.html" in self.files


def load_letter(name: str, folders: Sequence[Path]) -> LetterSource:
    """Read a letter's folder from the first of the template folders that has it, and its frame.

    Raises:
        LetterNotFound: none has it.
        LetterError: a part is missing or cannot be read; the message names the file.
    """
    folder = next((found for base in folders if (found := base / "letters" / name).is_dir()), None)
    if folder is None or name in {"", ".", "..", FRAME} or "/" in name:
        known = ", ".join(list_letters(folders)) or "none"
        raise LetterNotFound(f"no letter {name!r}; there are: {known}")
    manifest = _read_manifest(folder / MANIFEST)
    try:
        enclosed, enclosures = enclosed_paths(manifest), read_enclosures(folder, manifest)
    except LetterError as error:
        raise LetterError(f"letter {name}: {error}") from error
    paths = {path.relative_to(folder).as_posix(): path for path in _find_templates(folder)}
    files = {place: _read(path) for place, path in paths.items() if place not in enclosed}
    missing = [part for part in PARTS if part not in files]
    if missing:
        raise LetterError(f"letter {name}: {', '.join(missing)} is missing in {folder}")
    files |= _read_frame(files, folders)
    return LetterSource(name, files, manifest, enclosures)


def list_letters(folders: Sequence[Path]) -> list[str]:
    """The names of all letters, sorted."""
    names = {path.parent.name for base in folders for path in base.glob(f"letters/*/{PARTS[0]}")}
    return sorted(names - {FRAME})


def _read_frame(files: Mapping[str, str], folders: Sequence[Path]) -> dict[str, str]:
    """The frame's files that a letter's files name, or those named in their turn.

    Each comes from the first of the template folders that has it. A letter may bring its own.
    """
    found: dict[str, Path] = {}
    for base in reversed(folders):
        letters = base / "letters"
        found |= {
            path.relative_to(letters).as_posix(): path for path in _find_templates(letters / FRAME)
        }
    frame: dict[str, str] = {}
    unread = list(files.values())
    while unread:
        for path in _FROM_FRAME.findall(unread.pop()):
            if path in found and path not in files and path not in frame:
                frame[path] = _read(found[path])
                unread.append(frame[path])
    return frame


def _find_templates(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in _SUFFIXES)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LetterError(f"{path}: {error}") from error


def _read_manifest(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(_read(path)) if path.exists() else {}
    except tomllib.TOMLDecodeError as error:
        raise LetterError(f"{path}: {error}") from error
