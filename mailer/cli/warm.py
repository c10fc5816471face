"""`python -m mailer.cli.warm`: runs many commands, each in a fork of one process that has imported all.

A command takes a second to import what it needs and a tenth of one to do its work; whoever runs forty
of them in a row (the demo) starts this once. Each line of standard input is a JSON object with
``arguments``, ``stdout`` and ``stderr`` (files); each answer is a line with the exit code.
"""

import gc
import importlib
import json
import os
import sys
import traceback
from typing import Any, NoReturn

import mailer.cli.errors  # noqa: F401 - imported before the forks
from mailer.cli.main import NOUNS, main


def serve() -> None:
    """Run commands until standard input ends."""
    for module in {place.partition(":")[0] for place, _ in NOUNS.values()}:
        importlib.import_module(module)
    gc.freeze()  # a collection in a child would copy what it only looks at
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while line := sys.stdin.readline():
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(request)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _become(request: dict[str, Any]) -> NoReturn:
    """Be the command, then end at once: to take down what was imported would first copy all of it."""
    _redirect(request)
    sys.argv = ["mailer", *request["arguments"]]
    code = 1
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        if sys.exc_info()[1] is not None:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _redirect(request: dict[str, Any]) -> None:
    """Point the three standard descriptors elsewhere."""
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
