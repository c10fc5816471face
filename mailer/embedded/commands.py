"""The command line as the demo drives it: real commands, each in a process of its own."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mailer.embedded.errors import DemoFailed

_END_SECONDS = 5.0
_TOLD_BYTES = 2_000


@dataclass(frozen=True, slots=True)
class Said:
    """How one command ended and what it said."""

    code: int
    out: str
    err: str
    seconds: float

    def json(self) -> dict[str, Any]:
        """The one object a command with ``--json`` prints."""
        told: dict[str, Any] = json.loads(self.out)
        return told


class Commands:
    """Runs `mailer` commands one after the other and keeps a transcript."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._folder = folder
        self._transcript = folder / "commands.log"
        self._child = subprocess.Popen(
            [sys.executable, "-m", "mailer.cli.warm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "warm.log").open("wb"),
            env=dict(environment),
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the process that waits for commands."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        try:
            self._child.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def run(self, *arguments: str, allowed: tuple[int, ...] = (0,)) -> Said:
        """Run one command to its end.

        Args:
            allowed: the exit codes that are no failure here.

        Raises:
            DemoFailed: it ended otherwise; the message says which command, and what it said.
        """
        began = time.monotonic()
        out, err = self._folder / "command.out", self._folder / "command.err"
        code = self._ask({"arguments": arguments, "stdout": str(out), "stderr": str(err)})
        said = Said(code, out.read_text("utf-8"), err.read_text("utf-8"), time.monotonic() - began)
        line = f"$ mailer {shlex.join(arguments)}"
        with self._transcript.open("a", encoding="utf-8") as transcript:
            transcript.write(f"{line}\n[exit code {code}, {said.seconds:.2f} s]\n{said.err}")
        if code not in allowed:
            last = said.err[-_TOLD_BYTES:].strip() or said.out[-_TOLD_BYTES:].strip()
            raise DemoFailed(f"exit code {code} from  {line[2:]}\n{last}\nlogs: {self._folder}")
        return said

    def read(self, *arguments: str, allowed: tuple[int, ...] = (0,)) -> dict[str, Any]:
        """Run one command with ``--json`` and return what it printed."""
        return self.run(*arguments, "--json", allowed=allowed).json()

    def _ask(self, request: dict[str, object]) -> int:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps(request) + "\n")
            self._child.stdin.flush()
            answer = self._child.stdout.readline().strip()
            if answer == "ready":
                answer = self._child.stdout.readline().strip()
            return int(answer)
        except (OSError, ValueError) as error:
            raise DemoFailed(
                f"the command line cannot be started; log: {self._folder / 'warm.log'}"
            ) from error
