"""The short form of SIGKILL under load: no answered request is missing, none stands there twice.

Ten kills each, as long as one likes: ``bench/webchaos.py --variant kill drainer --kills 10``.
"""

from pathlib import Path

import pytest

from tests.web.chaos import run_short

pytestmark = pytest.mark.postgres


def test_killing_the_web_or_its_drainer_loses_and_doubles_nothing(tmp_path: Path) -> None:
    kills = ("--variant", "kill", "drainer", "--kills", "3", "--seconds", "3", "--letters", "3000")
    rounds = run_short("webchaos", tmp_path, *kills)

    assert [told["variant"] for told in rounds] == ["kill", "drainer"]
    for told in rounds:
        assert (told["lost"], told["twice"], told["unexplained"], told["refused"]) == (0, 0, 0, 0)
        assert told["answered"] <= told["counted"] <= told["answered"] + told["unanswered"]
        assert told["answered"] > 0
        assert told["kills"] == 3


def test_a_no_said_without_a_database_outlives_a_kill_right_after_it(tmp_path: Path) -> None:
    (told,) = run_short("webchaos", tmp_path, *("--variant", "unsubscribe", "--letters", "50"))

    assert told["status"] == 200
    assert told["problems"] == []
