"""What a journal keeps when the disk is full: of several lines all or none, and nothing cut short."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_ON_A_FULL_DISK = """
import json, resource, sys
from pathlib import Path
from mailer.foundation.journal import Journal

journal = Journal(Path(sys.argv[1]))
journal.write("first")
usual = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (len("first\\n") + int(sys.argv[2]), usual[1]))
told = []
for _ in range(2):
    try:
        told.append({call})
    except OSError:
        told.append("refused")
    told.append(Path(sys.argv[1]).read_text())
resource.setrlimit(resource.RLIMIT_FSIZE, usual)
{call}
print(json.dumps([*told, list(journal.lines())]))
"""


def on_a_full_disk(folder: Path, call: str, *, room: int) -> list[Any]:
    """What a call returns and leaves, twice where so many bytes have room; all lines once more have."""
    done = subprocess.run(
        [sys.executable, "-c", _ON_A_FULL_DISK.replace("{call}", call), str(folder / "j"), str(room)],
        capture_output=True,
        text=True,
        check=True,
    )
    told: list[Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("room", range(15))
def test_of_lines_written_together_all_are_noted_or_none(tmp_path: Path, room: int) -> None:
    told = on_a_full_disk(tmp_path, 'journal.write("second\\nthird 3")', room=room)

    assert told == [*["refused", "first\n"] * 2, ["first", "second", "third 3"]]


@pytest.mark.parametrize("room", [0, 1, 6, 7, 8, 13, 14])
def test_of_lines_appended_those_that_are_whole_are_noted(tmp_path: Path, room: int) -> None:
    told = on_a_full_disk(tmp_path, 'journal.append(b"second\\nthird 3\\n")', room=room)

    noted, then, _, at_last, lines = told
    assert noted == (room // 7 > 0 if room else "refused")
    assert then == "first\n" + "second\n" * (room >= 7)
    assert at_last == "first\n" + "second\n" * (room // 7)
    assert lines == ["first", *["second"] * (room // 7), "second", "third 3"]
