"""How every command speaks: data on stdout, the rest on stderr, and a question before harm."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime
from pathlib import Path
from typing import IO, Any
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from mailer.foundation.files import create_new, is_stream
from mailer.foundation.log import configure_log
from mailer.foundation.settings import Settings, load_settings
from mailer.runtime import Runtime, open_runtime

SCHEMA_VERSION = 1
_REPORT_EVERY_SECONDS = 10.0
_SHORT = 20
"""Characters of a text that stays on one line, such as ``Fri 2014-03-21 09:00``."""
_LONGEST_WORD = 40
"""Characters of a word that is never broken."""
_FILE_WIDTH = 1000
"""Columns a table may take in a file or pipe, where nothing need be folded."""

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask; needed off a terminal.")


def settings_of(ctx: click.Context) -> Settings:
    """The settings in force for this call.

    Raises:
        SettingsError: a value is wrong, or the named file cannot be read.
    """
    return load_settings(**(ctx.find_root().obj or {}))


def runtime_of(ctx: click.Context) -> Runtime:
    """The opened runtime of this call.

    Raises:
        SettingsError, SchemaBehind, DatabaseUnavailable: as ``open_runtime``.
    """
    settings = settings_of(ctx)
    configure_log(settings.log_format)
    runtime = open_runtime(settings)
    ctx.call_on_close(runtime.database.dispose)
    return runtime


def say_not_rung() -> None:
    """Tell that letters are ready and no worker heard of it, which costs seconds and no letter."""
    say("rung: false - no Redis answered; the sweep finds the campaign within ten seconds")


def say(message: str) -> None:
    """Tell a person something that is not data."""
    click.echo(message, err=True)


def json_text(data: dict[str, Any]) -> str:
    """One JSON object, its schema version first; moments with their offset (ISO 8601)."""
    return json.dumps(
        {"schema_version": SCHEMA_VERSION, **data}, default=_plain, ensure_ascii=False, indent=2
    )


def print_json(data: dict[str, Any]) -> None:
    """Print one JSON object, as ``json_text`` writes it."""
    click.echo(json_text(data))


def print_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    title: str | None = None,
    zone: ZoneInfo | None = None,
) -> None:
    """Print a table; numbers to the right, missing values as a dash.

    Where a terminal is too narrow, texts go on below, broken between words. Slugs, states, moments and
    numbers are never broken.

    Args:
        zone: in which moments are shown; by default their own.
    """
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    shown = [[cell_text(value, zone) for value in row] for row in rows]
    for index, heading in enumerate(headings):
        numeric = any(isinstance(row[index], int | float) for row in rows)
        cells = [heading, *(row[index] for row in shown)]
        wraps = any(len(cell) > (_SHORT if " " in cell else _LONGEST_WORD) for cell in cells)
        widths = [len(part) for cell in cells for part in (cell.split() if wraps else [cell])]
        table.add_column(
            heading,
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=not wraps,
            min_width=min(max(widths, default=0), _LONGEST_WORD),
        )
    for cells in shown:
        table.add_row(*cells)
    width = None if sys.stdout.isatty() else _FILE_WIDTH
    Console(width=width, soft_wrap=width is not None).print(table, markup=False, crop=False)


def count_of(count: int, noun: str) -> str:
    """``1 letter``, ``2,000 letters``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


@contextmanager
def whole_file(path: Path, *, mode: int = 0o600) -> Iterator[IO[bytes]]:
    """A file written beside its place and moved there when whole: nobody ever reads half of it.

    What is no file, such as ``/dev/stdout`` or a pipe, is written to as it stands.

    Args:
        mode: who may read it, under the umask; by default its owner alone.

    Raises:
        click.ClickException: it cannot be written; what lay there before is as it was.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if is_stream(path):
            with path.open("wb") as stream:
                yield stream
            return
        with os.fdopen(create_new(beside, mode=mode), "wb") as file:
            yield file
        beside.replace(path)
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    say(f"written: {path}")


def confirm(question: str, *, yes: bool) -> None:
    """Ask before harm.

    Raises:
        click.UsageError: off a terminal without ``--yes``; nothing was done.
        click.Abort: the answer was no; nothing was done.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Add --yes to do this without being asked.")
    click.confirm(question, abort=True, err=True)


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show progress on stderr: a bar on a terminal, otherwise a line every ten seconds.

    Yields:
        A function that takes how many are done so far.
    """
    if sys.stderr.isatty():
        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.update(task, completed=done)
        return
    last = time.monotonic()

    def report(done: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _REPORT_EVERY_SECONDS:
            last = time.monotonic()
            say(f"{what}: {done}" + (f" of {total}" if total else ""))

    yield report


def cell_text(value: object, zone: ZoneInfo | None = None) -> str:
    """A value as a table shows it."""
    if value is None or value == "":
        return "–"
    if isinstance(value, datetime):
        return f"{value.astimezone(zone) if zone else value:%Y-%m-%d %H:%M}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _plain(value: object) -> str:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)
