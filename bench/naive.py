"""The product against a mass mailer as most teams write it, on the same stage in the same run.

The other one is ``naive_tasks.py``: a Celery task per recipient, the same templates parsed once,
subject, text and HTML rendered by Jinja2, ``EmailMessage.as_bytes``, smtplib over a kept connection; two
worker processes on the same Redis, into the same sink. Its time runs from the first task published to
the last letter in the sink's record, the product's from the queueing commit to the last batch done.
"""

import os
import time
from dataclasses import replace

from flight import count_letters, fly
from measuring import begin_measurement, options
from stage import Stage, StageFailed, open_stage, people

from mailer.embedded.services import worker_service
from mailer.foundation.settings import load_settings

_WARM_LETTERS = 40
_PATIENCE_SECONDS = 600.0
_DISTINCT_PEOPLE = 2_000


def main() -> None:
    """Print letters a second of both, and their ratio."""
    parser = options(__doc__, letters=50_000)
    parser.add_argument("--plain", type=int, default=2_000, help="letters of the other mailer a round")
    asked = parser.parse_args()
    measurement = begin_measurement("naive", asked)
    with open_stage("postgresql") as stage:
        stage.start_sink()
        stage.import_people(people(asked.letters, seed=asked.seed))
        for number in range(asked.rounds):
            stage.start_worker()
            stage.start_scheduler()
            flight = fly(stage, f"round{number}")
            stage.end("scheduler")
            stage.end("worker")
            plain = time_plain(stage, asked.plain)
            rate = flight.letters / flight.seconds
            measurement.add_round(letters_per_second=rate, plain_per_second=plain, ratio=rate / plain)
    measurement.finish(
        letters_per_second=measurement.spread("letters_per_second"),
        plain_per_second=measurement.spread("plain_per_second"),
        ratio=measurement.spread("ratio"),
    )


def time_plain(stage: Stage, letters: int) -> float:
    """Letters a second of the plain mailer, its processes warm."""
    os.environ["MAILER_CONFIG"] = stage.environment["MAILER_CONFIG"]
    import naive_tasks  # noqa: PLC0415 - its app reads the stage's settings

    settings = load_settings()
    shipped = worker_service(settings)
    command = list(shipped.command)
    command[command.index("-A") + 1] = "naive_tasks"
    command[command.index("--queues") + 1] = naive_tasks.QUEUE
    log = stage.folder / "plain.log"
    log.unlink(missing_ok=True)
    service = replace(
        shipped,
        command=tuple(command),
        is_ready=lambda: log.exists() and " ready." in log.read_text("utf-8", "replace"),
    )
    stage.start(
        "plain",
        service,
        **{
            naive_tasks.RECIPIENTS: str(min(letters, _DISTINCT_PEOPLE)),
            naive_tasks.RELAY_PORT: str(stage.sink_port),
        },
    )
    try:
        _send(stage, naive_tasks.send, _WARM_LETTERS)
        began = time.perf_counter()
        _send(stage, naive_tasks.send, letters)
        return letters / (time.perf_counter() - began)
    finally:
        stage.end("plain")


def _send(stage: Stage, task, letters: int) -> None:  # type: ignore[no-untyped-def]
    """Publish a task per letter and wait for the last letter."""
    domain = "plain.example"
    wanted = count_letters(stage.record, domain) + letters
    with task.app.producer_or_acquire() as producer:
        for number in range(letters):
            task.apply_async((number,), producer=producer)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while count_letters(stage.record, domain) < wanted:
        if time.monotonic() > deadline:
            raise StageFailed(f"the plain mailer stands still:\n{stage.tail('plain')}")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
