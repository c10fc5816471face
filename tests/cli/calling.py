"""The command line called within the test's process, as a script would call it."""

import io
import json
import logging
import re
from dataclasses import dataclass
from typing import Any

import pytest

from mailer.cli.main import main
from mailer.foundation.settings import Settings


@dataclass(frozen=True, slots=True)
class Answer:
    """What one call left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def data(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        read: dict[str, Any] = json.loads(self.stdout)
        return read


class Terminal(io.StringIO):
    """A screen that keeps what it is shown."""

    def isatty(self) -> bool:
        """It is one."""
        return True

    def lines(self) -> list[str]:
        """What stands on it, without colours."""
        plain = re.sub(r"\x1b\[[0-9;]*m", "", self.getvalue())
        return [line.rstrip() for line in plain.splitlines()]


class Caller:
    """Calls ``mailer`` with the settings of the test in its environment."""

    def __init__(
        self,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        self.set("STATE_DIR", str(settings.state_dir))
        self.set("DATABASE_URL", settings.database)
        assert settings.secret_key
        assert settings.suppression_key
        self.set("SECRET_KEY", settings.secret_key.get_secret_value())
        self.set("SUPPRESSION_KEY", settings.suppression_key.get_secret_value())
        self.set("SENDER", settings.sender or "")
        settings.state_dir.mkdir(exist_ok=True)
        monkeypatch.chdir(settings.state_dir)

    def set(self, name: str, value: str) -> None:
        """Set ``MAILER_NAME``."""
        self._monkeypatch.setenv(f"MAILER_{name}", value)

    def __call__(self, *arguments: str) -> Answer:
        self._monkeypatch.setattr("sys.argv", ["mailer", *arguments])
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        self._capsys.readouterr()
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
        captured = self._capsys.readouterr()
        return Answer(code, captured.out, captured.err)
