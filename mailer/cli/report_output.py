"""How reports are handed out: as tables on a screen, or in a format to a file or pipe."""

import contextlib
import io
import sys
from collections.abc import Callable
from pathlib import Path

import click

from mailer.cli.output import whole_file

FORMATS = ("table", "json", "csv", "xlsx", "html")

format_option = click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="Default: as the ending of FILE says, else table.",
)
output_option = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write to FILE, which is there whole or not at all.",
)


def choose_format(form: str | None, *, as_json: bool, output: Path | None) -> str:
    """The format that is meant.

    Raises:
        click.UsageError: two are, or a workbook would go on a screen.
    """
    if as_json:
        if form not in {None, "json"}:
            raise click.UsageError(f"--json and --format {form} are two different things")
        return "json"
    ending = output.suffix.lstrip(".").lower() if output else ""
    chosen = form or (ending if ending in FORMATS else "table")
    if chosen == "xlsx" and output is None and sys.stdout.isatty():
        raise click.UsageError("a workbook does not go on a screen: add -o FILE.xlsx")
    return chosen


def hand_out(
    form: str, output: Path | None, *, show: Callable[[], None], render: Callable[[str], bytes]
) -> None:
    """Write a report to a file, or print it.

    Args:
        show: prints it as tables.
        render: makes it in any other format.
    """
    if form == "table" and output is None:
        show()
        return
    content = _printed(show) if form == "table" else render(form)
    if output is None:
        click.echo(content, nl=False)
        return
    with whole_file(output, mode=0o666) as file:  # figures, for whom the umask says
        file.write(content)


def _printed(show: Callable[[], None]) -> bytes:
    with contextlib.redirect_stdout(io.StringIO()) as screen:
        show()
    return screen.getvalue().encode()
