"""The demo tells the whole story through the real parts, touches nothing of yours, and adds up."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mailer.embedded.demo import run_demo
from mailer.embedded.errors import DemoFailed
from mailer.embedded.mailstore import read_record
from mailer.embedded.processes import find_leftovers


def test_the_whole_story_adds_up_whatever_the_settings_say(tmp_path: Path) -> None:
    (tmp_path / "mailer.toml").write_text("no settings file of ours")
    foreign = {"MAILER_SMTP_RELAYS": "smtp://127.0.0.1:1", "DATABASE_URL": "postgresql://127.0.0.1:1/x"}
    done = subprocess.run(
        [sys.executable, "-m", "mailer.cli", "demo", "--recipients", "60"],
        cwd=tmp_path,
        env={**os.environ, **foreign, "MAILER_CLOCK": "never"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "var" / "demo"
    report = Path(done.stdout.splitlines()[-1])
    assert report == folder / "report.html"
    assert "<html" in report.read_text("utf-8")
    assert "15 reminders of spring 2014 came due" in done.stderr
    reminders = len(re.findall(r"\d+ who (?:asked|clicked|registered)\b", done.stderr))
    assert reminders >= 15
    assert f"{reminders + 1} campaigns reconcile, ok and complete" in done.stderr
    assert len(read_record(folder / "sink")) > 60
    assert find_leftovers(folder / "run") == []
    assert not (folder / "redis.sock").exists()


def test_a_folder_that_no_demo_made_is_not_emptied(tmp_path: Path) -> None:
    mine = tmp_path / "var" / "demo" / "vigtigt.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mit")
    with pytest.raises(DemoFailed, match="no demo made it"):
        run_demo(mine.parent, recipients=1, tell=print, show=print)
    assert mine.read_text() == "mit"
