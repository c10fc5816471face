"""`python -m mailer.cli.warm`: runs many commands, each in a fork of one process that has imported all.

A command takes a second to import what it needs and a tenth of one to do its work; whoever runs forty
of them in a row (the demo) starts this once. Each line of standard input is a JSON object with
``arguments``, ``stdout`` and ``stderr`` (files); each answer is a line with the exit code.
"""

import importlib
import json
import os
import sys

import mailer.cli.errors  # noqa: F401 - imported before the forks
from mailer.cli.main import NOUNS, main


def serve() -> None:
    """Run commands until standard input ends."""
    for module in {place.partition(":")[0] for place, _ in NOUNS.values()}:
        importlib.import_module(module)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while line := sys.stdin.readline():
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _redirect(request)
            sys.argv = ["mailer", *request["arguments"]]
            main()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _redirect(request: dict[str, str]) -> None:
    """Point the three standard descriptors elsewhere; ``main`` then ends the process."""
    writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for path, flags, descriptor in (
        (os.devnull, os.O_RDONLY, 0),
        (request["stdout"], writing, 1),
        (request["stderr"], writing, 2),
    ):
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)


if __name__ == "__main__":
    serve()
