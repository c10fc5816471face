"""The words lists use for roles, sectors, regions and the rest: Danish and English, in any case."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

from recipients.models import Confederation, Region, Role, Sector, TrackingChoice

_SPELLED_OUT = str.maketrans({"æ": "ae", "ø": "oe", "å": "aa"})
_NO_LETTER = re.compile(r"[^a-z0-9]+")
_MINISTER = re.compile(r"(\w+-,? (og )?)*\w+minister|(\w+)?minister for .+", re.IGNORECASE)
_FORMER = re.compile(r"(eks|ex)", re.IGNORECASE)
_LOWEST = len(Role)


@lru_cache(maxsize=4096)
def fold(text: str) -> str:
    """The form in which words are compared: ``E-mail (Ærø)`` as ``e mail aeroe``."""
    plain = unicodedata.normalize("NFC", text).casefold().translate(_SPELLED_OUT)
    return _NO_LETTER.sub(" ", plain).strip()


_ROLES: dict[Role, tuple[str, ...]] = {
    Role.MINISTER: (),
    Role.MAYOR: ("mayor", "overborgmester", "lord mayor"),
    Role.REGIONAL_CHAIR: (
        "regionsrådsformand",
        "formand for regionsrådet",
        "regional council chair",
        "regional chair",
        "chair of the regional council",
    ),
    Role.POLITICIAN: ("politician",),
    Role.UNION: ("union", "trade union", "forbund", "fagforbund", "faglig organisation"),
    Role.UNION_REPRESENTATIVE: (
        "TR",
        "FTR",
        "fællestillidsrepræsentant",
        "tillidsmand",
        "union representative",
        "shop steward",
    ),
    Role.SAFETY_REPRESENTATIVE: (
        "AMR",
        "arbejdsmiljø-repræsentant",
        "safety representative",
        "health and safety representative",
        "working environment representative",
    ),
    Role.EMPLOYEE_REPRESENTATIVE: ("employee representative", "staff representative"),
    Role.MANAGER: ("manager", "chef"),
    Role.EMPLOYEE: ("employee", "ansat"),
    Role.OTHER: ("other",),
}
_SECTORS: dict[Sector, tuple[str, ...]] = {
    Sector.STATE: ("staten", "statslig", "state", "central government"),
    Sector.REGION: ("regional", "regionen", "regioner"),
    Sector.MUNICIPALITY: (
        "kommunal",
        "kommunen",
        "kommuner",
        "municipality",
        "municipal",
        "local government",
    ),
    Sector.NONE: ("none",),
}
_CONFEDERATIONS: dict[Confederation, tuple[str, ...]] = {
    Confederation.FTF: (),
    Confederation.OAO: ("offentligt ansattes organisationer",),
    Confederation.AKADEMIKERNE: ("AC", "akademikernes centralorganisation"),
    Confederation.NONE: ("none",),
}
_REGIONS: dict[Region, tuple[str, ...]] = {
    Region.HOVEDSTADEN: ("capital region", "capital region of denmark", "capital", "RegionH"),
    Region.SJAELLAND: ("zealand",),
    Region.SYDDANMARK: ("southern denmark", "region of southern denmark", "south denmark"),
    Region.MIDTJYLLAND: ("midt", "central denmark", "central jutland", "mid jutland"),
    Region.NORDJYLLAND: ("nord", "north denmark", "north jutland", "northern jutland"),
}
_LANGUAGES: dict[str, tuple[str, ...]] = {
    "da": ("dansk", "danish", "dk", "da-DK", "dan"),
    "en": ("engelsk", "english", "en-GB", "en-US", "eng"),
}
_TRACKING: dict[TrackingChoice, tuple[str, ...]] = {
    TrackingChoice.CONSENT: (
        *("ja", "ja tak", "j", "samtykke", "samtykker", "har samtykket", "samtykke givet", "sand", "1"),
        *("yes", "y", "consented", "consents", "consent given", "true", "opt in"),
    ),
    TrackingChoice.OBJECTION: (
        *("nej", "nej tak", "n", "indsigelse", "gør indsigelse", "intet samtykke", "ikke samtykke"),
        *(
            "samtykke trukket tilbage",
            "trukket tilbage",
            "tilbagetrukket",
            "ingen sporing",
            "falsk",
            "0",
        ),
        *("no", "no thanks", "objected", "objects", "no consent", "consent withdrawn", "withdrawn"),
        *("no tracking", "false", "opt out"),
    ),
    TrackingChoice.UNSAID: (
        "ikke oplyst",
        "ikke spurgt",
        "ukendt",
        "not stated",
        "not asked",
        "unknown",
    ),
}


Word = TypeVar("Word", bound=str)


def _by_word(words: Mapping[Word, Sequence[str]]) -> dict[str, Word]:
    return {fold(word): value for value, more in words.items() for word in (str(value), *more)}


_ROLE_OF = _by_word(_ROLES)
_SECTOR_OF = _by_word(_SECTORS)
_CONFEDERATION_OF = _by_word(_CONFEDERATIONS)
_REGION_OF = _by_word(_REGIONS)
_LANGUAGE_OF = _by_word(_LANGUAGES)
_TRACKING_OF = _by_word(_TRACKING)
_PRECEDENCE = {role: place for place, role in enumerate(Role)}


@lru_cache(maxsize=4096)
def find_role(text: str) -> Role | None:
    """The role a word names exactly; None for any other title."""
    return _ROLE_OF.get(fold(text))


def is_minister_title(text: str) -> bool:
    """Whether a title is a minister's, such as ``Økonomi- og indenrigsminister``."""
    return bool(_MINISTER.fullmatch(text)) and not _FORMER.match(text)


@lru_cache(maxsize=4096)
def find_sector(text: str) -> Sector | None:
    """The sector a word names; None if it names none."""
    return _SECTOR_OF.get(fold(text))


@lru_cache(maxsize=4096)
def find_confederation(text: str) -> Confederation | None:
    """The confederation a word names; None if it names none."""
    return _CONFEDERATION_OF.get(fold(text))


@lru_cache(maxsize=4096)
def find_region(text: str) -> Region | None:
    """The region a word names, with or without ``Region`` before or after it; None if none."""
    word = fold(text)
    bare = word.removeprefix("region ").removesuffix(" region")
    return _REGION_OF.get(word) or _REGION_OF.get(bare)


@lru_cache(maxsize=4096)
def find_language(text: str) -> str | None:
    """The language code a word names; None for a language there are no letters in."""
    return _LANGUAGE_OF.get(fold(text))


@lru_cache(maxsize=4096)
def find_tracking(text: str) -> TrackingChoice | None:
    """What a word says about being tracked; None if that is not clear."""
    return _TRACKING_OF.get(fold(text))


def precedence(role: Role | None) -> int:
    """Smaller is the higher office; an unsaid one stands below all."""
    return _LOWEST if role is None else _PRECEDENCE[role]
