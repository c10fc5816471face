"""A worker process is small: it loads what sending takes, and shares what its parent has loaded."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mailer.tasks import celery_worker

ROOT = Path(__file__).parents[2]
NOT_FOR_SENDING = (
    *("alembic", "argon2", "calamine", "cryptography.hazmat.bindings._rust", "holidays", "icalendar"),
    *("click_repl", "email_validator", "imaplib", "poplib", "prompt_toolkit"),
    *("prometheus_client", "starlette", "uvicorn", "xlsxwriter"),
    "mailer.feedback.processing",
    *("mailer.cli", "mailer.embedded", "mailer.web", "mailer.launch", "mailer.sending.preflight"),
    *("mailer.rendering.signing_keys", "mailer.reports.report", "recipients.staging"),
)
_LOADED = """
import json, sys
import mailer.tasks.celery_worker
from worker import app
app.loader.import_default_modules()
print(json.dumps({"tasks": list(app.tasks), "modules": list(sys.modules)}))
"""
_BEGUN = """
import json, runpy, sys
try:
    runpy.run_module("mailer.tasks.celery_worker", run_name="__main__", alter_sys=True)
finally:
    print(json.dumps(list(sys.modules)))
"""
_FORKED = """
import gc, json, os
from celery.signals import worker_before_create_process, worker_process_init
from worker import app
app.loader.import_default_modules()
worker_before_create_process.send(sender=None)
frozen = gc.get_freeze_count()
worker_process_init.send(sender=None)
print(json.dumps({"frozen": frozen, "left": len(gc.get_objects()), "after": gc.get_threshold()[0]}))
"""


def python(*arguments: str, folder: Path, **environment: str) -> str:
    """What a fresh process prints that has the settings of nobody."""
    strange = ("MAILER_", "CELERY_")
    plain = {name: value for name, value in os.environ.items() if not name.startswith(strange)}
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**plain, "PYTHONPATH": str(ROOT), "MAILER_STATE_DIR": str(folder), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def run(code: str, folder: Path) -> dict[str, Any]:
    """What a fresh process tells of itself."""
    told: dict[str, Any] = json.loads(python("-c", code, folder=folder))
    return told


def test_a_worker_knows_every_task_and_loads_nothing_that_sending_does_not_take(tmp_path: Path) -> None:
    told = run(_LOADED, tmp_path)

    assert {"sending.send_batches", "sending.sweep", "reminders.tick"} <= set(told["tasks"])
    heavy = [name for name in NOT_FOR_SENDING if name in told["modules"]]
    assert heavy == []


def test_what_is_loaded_before_the_fork_is_out_of_the_collectors_sight(tmp_path: Path) -> None:
    told = run(_FORKED, tmp_path)

    assert told["frozen"] > 100_000
    assert told["left"] < 10_000
    assert told["after"] > 10_000


@pytest.mark.parametrize(
    "command",
    [
        ("-m", "mailer.tasks.celery_worker"),
        (celery_worker.__file__,),  # so a worker that is told to begin anew (SIGHUP) calls itself
        ("-m", "celery"),
    ],
)
def test_a_worker_is_begun_by_its_module_and_by_its_file(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    told = python(*command, "-A", "worker", "worker", "--help", folder=tmp_path)

    assert "--concurrency" in told


def test_a_worker_prints_errors_without_what_would_colour_them(tmp_path: Path) -> None:
    told = python("-c", _BEGUN, "-A", "worker", "worker", "--help", folder=tmp_path)
    loaded = json.loads(told.splitlines()[-1])

    assert "structlog.dev" in loaded
    assert "rich.console" not in loaded


def test_a_workers_options_are_read_from_the_environment_as_by_celery(tmp_path: Path) -> None:
    wrong = {"CELERY_WORKER_CONCURRENCY": "many"}
    for module in ("celery", "mailer.tasks.celery_worker"):
        with pytest.raises(subprocess.CalledProcessError) as refused:
            python("-m", module, "-A", "worker", "worker", folder=tmp_path, **wrong)

        assert "Invalid value for '-c' / '--concurrency'" in refused.value.stderr, module
