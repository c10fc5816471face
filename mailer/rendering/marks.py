"""Marks that stand for what differs in a text that is otherwise the same for many."""

import re
import secrets
from collections.abc import Callable

Write = Callable[[str], str]
"""Writes what stands for a slot."""


class Marks:
    """Places in a rendering: strings nobody can know in advance, of letters and digits alone."""

    def __init__(self) -> None:
        """Choose what these marks have and no text can."""
        self._nonce = "q" + secrets.token_hex(10)
        self._numbers: dict[str, int] = {}
        self._slots: list[str] = []
        self._pattern = re.compile(self._nonce + "x([0-9]+)x")

    def mark(self, slot: str) -> str:
        """What stands for a slot's value in a rendering."""
        number = self._numbers.setdefault(slot, len(self._slots))
        if number == len(self._slots):
            self._slots.append(slot)
        return f"{self._nonce}x{number}x"

    def split(self, text: str) -> list[str]:
        """Fixed text and names of slots in turn, fixed text first and last."""
        parts = self._pattern.split(text)
        parts[1::2] = [self._slots[int(number)] for number in parts[1::2]]
        return parts

    def follow(self, pattern: str, text: str) -> bool:
        """Whether a mark stands right behind what the pattern matches."""
        return re.search(pattern + self._nonce, text) is not None

    def fill(self, text: str, write: Write) -> str:
        """The text with every mark replaced by what is written for its slot."""
        parts = self.split(text)
        parts[1::2] = map(write, parts[1::2])
        return "".join(parts)
