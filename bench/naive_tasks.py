"""A mass mailer as most teams write it: one Celery task per recipient, EmailMessage, smtplib.

Kinder to it than life: templates are parsed once, each process keeps its connection, and the recipients
lie in memory, so that no task asks a database.
"""

import os
import smtplib
import tempfile
from functools import cache
from pathlib import Path

from celery import Celery
from letters import naive, prepare

from mailer.foundation.settings import load_settings
from mailer.sending.letters import common_fields

SENDER = "naive@plain.example"
QUEUE = "naive"
RECIPIENTS, RELAY_PORT = "BENCH_RECIPIENTS", "BENCH_RELAY_PORT"

app = Celery("naive", broker=load_settings().broker)
app.conf.update(task_ignore_result=True, task_default_queue=QUEUE, worker_hijack_root_logger=False)


@cache
def _prepared():  # type: ignore[no-untyped-def]
    with tempfile.TemporaryDirectory() as folder:
        return prepare(Path(folder), int(os.environ[RECIPIENTS]))


@cache
def _relay() -> smtplib.SMTP:
    return smtplib.SMTP("127.0.0.1", int(os.environ[RELAY_PORT]))


@app.task(name="naive.send")
def send(number: int) -> None:
    """Write and send the letter to one recipient."""
    tools, letter, people = _prepared()
    to = people[number % len(people)]
    content = naive(tools, letter, common_fields(tools, letter), to)
    _relay().sendmail(SENDER, [f"modtager{number}@aarhus.example"], content)


if RECIPIENTS in os.environ:
    _prepared()  # in the worker's parent, before it forks
