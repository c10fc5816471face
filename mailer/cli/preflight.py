"""`mailer campaign preflight`: what would go wrong, before the first letter leaves."""

import csv
import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click

from mailer.cli.output import (
    count_of,
    json_option,
    print_json,
    print_table,
    progress,
    runtime_of,
    say,
    whole_file,
)
from mailer.sending.findings import Finding, Flaw
from mailer.sending.forecast import Forecast
from mailer.sending.preflight import Looking, Preflight
from mailer.sending.preflight import preflight as look
from recipients.cells import defuse

_COLUMNS = ("recipient", "address", "check", "gravity", "detail")
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


@click.command()
@click.argument("name")
@click.option("--show-recipients", is_flag=True, help="Whole addresses in the examples.")
@click.option(
    "-o",
    "output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="List every recipient with a problem in a CSV file, with their addresses.",
)
@click.option("--processes", type=click.IntRange(1, 64), help="How many work at it.")
@json_option
@click.pass_context
def preflight(
    ctx: click.Context,
    name: str,
    show_recipients: bool,
    output: Path | None,
    processes: int | None,
    as_json: bool,
) -> None:
    """Write every letter and look at it; nothing is sent. Exit 1 if anything is wrong."""
    runtime = runtime_of(ctx)
    tools = runtime.launch_tools
    began = time.monotonic()
    with _listing(output) as flaw, progress("letters looked at") as done:
        found = look(
            tools.letters,
            tools.relays,
            runtime.database,
            name,
            now=runtime.clock.now(),
            looking=Looking(
                processes=processes,
                show_recipients=show_recipients,
                progress=lambda so_far, _: done(so_far),
                flaw=flaw,
            ),
        )
    seconds = round(time.monotonic() - began, 1)
    if as_json:
        print_json({**asdict(found), "ok": found.ok, "seconds": seconds})
    else:
        _print(found, seconds)
    ctx.exit(0 if found.ok else 1)


@contextmanager
def _listing(path: Path | None) -> Iterator[Callable[[Flaw], None] | None]:
    """Where every recipient with a problem is written, if anywhere; a file for its owner's eyes."""
    if path is None:
        yield None
        return
    with whole_file(path) as raw, io.TextIOWrapper(raw, encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)

        def write(flaw: Flaw) -> None:
            told = (flaw.address, flaw.check, flaw.gravity.value, flaw.detail)
            writer.writerow([flaw.recipient, *map(defuse, told)])

        yield write


def _print(found: Preflight, seconds: float) -> None:
    if found.findings:
        print_table(
            ["", "check", "recipients", "what", "such as"],
            [
                (
                    finding.gravity.value,
                    finding.check,
                    finding.recipients,
                    finding.detail,
                    _such_as(finding),
                )
                for finding in found.findings
            ],
        )
        click.echo()
    print_table(["", f"{found.campaign} ({found.state})"], _facts(found))
    errors = sum(finding.gravity == "error" for finding in found.findings)
    warnings = len(found.findings) - errors
    say(
        f"{count_of(errors, 'error')}, {count_of(warnings, 'warning')};"
        f" {count_of(found.audience, 'letter')} looked at in {_duration(seconds)}"
    )


def _facts(found: Preflight) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [
        ("audience", f"{found.audience:,}"),
        ("letters that can be written", f"{found.writable:,}"),
    ]
    if found.trial is not None:
        rows.append(("inside the trial", f"{found.trial.inside:,}"))
    if found.sizes is not None:
        mean, least, most = (
            f"{size / 1000:,.1f}"
            for size in (found.sizes.mean, found.sizes.smallest, found.sizes.largest)
        )
        rows.append(("size", f"{mean} KB on average, from {least} to {most}"))
    if found.per_recipient_because:
        rows.append(("letter", f"rendered per recipient because {found.per_recipient_because}"))
    elif found.variants is not None:
        rows.append(("letter", f"compiled in {count_of(found.variants, 'variant')}"))
    if found.signed_by:
        rows.append(("signed by", ", ".join(found.signed_by)))
    return rows + (_forecast(found.forecast) if found.forecast else [])


def _forecast(foreseen: Forecast) -> list[tuple[str, object]]:
    rate = foreseen.letters_per_second
    where = {"relays": "the relays' rate", "campaigns": "what the last campaigns reached"}
    known = f"{rate:,.1f} letters a second, {where[foreseen.rate_from]}" if rate else ""
    duration = "unknown, the relay decides"
    if foreseen.seconds is not None:
        duration = f"{_duration(foreseen.seconds)}{f' at {known}' if known else ''}"
    each = f"{foreseen.bytes_per_delivery} bytes a letter"
    each += ", measured here" if foreseen.bytes_measured else ", as elsewhere"
    return [
        ("letters to send", f"{foreseen.letters:,}"),
        (
            "over the wire",
            f"{foreseen.megabytes:,.1f} MB, {count_of(foreseen.connections, 'connection')}",
        ),
        ("takes", duration),
        *[
            (
                "most letters to" if not index else "",
                f"{domain.domain}: {domain.letters:,}"
                + ("" if domain.seconds is None else f", {_duration(domain.seconds)}"),
            )
            for index, domain in enumerate(foreseen.slowest_domains)
        ],
        ("database grows by", f"{foreseen.database_megabytes:,.1f} MB ({each})"),
    ]


def _such_as(finding: Finding) -> str:
    return ", ".join(f"{example.recipient} {example.address}" for example in finding.examples)


def _duration(seconds: float) -> str:
    """``12 s``, ``3 min``, ``5 h 20 min``, ``2 days 4 h``."""
    if seconds < 2 * _MINUTE:
        return f"{seconds:,.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < 2 * _DAY:
        return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // _MINUTE:.0f} min"
    return f"{seconds // _DAY:.0f} days {seconds % _DAY // _HOUR:.0f} h"
