"""The tasks of the reminder queue."""

import functools
from datetime import datetime

from mailer.runtime import Runtime
from mailer.tasks.app import app, settings
from mailer.tasks.configuration import TICK
from mailer.tasks.due import IS_DUE
from mailer.tasks.process import runtime
from mailer.tasks.ring import ring
from mailer.tasks.ticking import tick


@app.task(name=TICK, expires=60)
def tick_task() -> None:
    """Start what is due by date: harmless when lost, doubled or late."""
    opened = runtime()
    now = opened.clock.now()
    launches = {kind: functools.partial(launch_if_due, opened, kind, now=now) for kind in IS_DUE}
    campaigns = tick(opened.database, launches)
    if campaigns:
        ring(settings, campaigns)


def launch_if_due(opened: Runtime, kind: str, *, now: datetime) -> list[int]:
    """Start all that is due of a kind and return the campaigns."""
    if not IS_DUE[kind](opened, now):
        return []
    # Only here: launching takes 8 MB, and every process that ticks sends as well, mostly that alone.
    from mailer.tasks.launching import LAUNCH  # noqa: PLC0415

    return LAUNCH[kind](opened, now)
