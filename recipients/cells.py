"""Text in files that people open in a spreadsheet."""

import re

_FORMULA = re.compile(r'^(?=[\t\r])|(?:^|[;,\t\r\n])(?="*[=+\-@])')
_MARK = re.compile(r"""^'(?=[\t\r])|(^|[;,\t\r\n])'(?="*[=+\-@])""")


def defuse(text: str) -> str:
    """The text, marked as text wherever a spreadsheet would compute it (CWE-1236).

    Also behind separators: a Danish spreadsheet splits at semicolons, an English one at commas,
    whichever of them the file was written with.
    """
    return _FORMULA.sub(lambda found: f"{found[0]}'", text)


def undo_defuse(text: str) -> str:
    """The text as it was before ``defuse``."""
    return _MARK.sub(lambda found: found[1] or "", text)
