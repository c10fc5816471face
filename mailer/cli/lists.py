"""What the commands that import lists of people share: their options, and how they tell the result."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from mailer.cli.output import count_of, print_json, print_table, say
from recipients.lists import ImportResult


class FieldOfHeading(click.ParamType[tuple[str, str]]):
    """``FIELD=HEADING``, for fields of these names."""

    name = "FIELD=HEADING"

    def __init__(self, fields: Sequence[str]) -> None:
        self._fields = fields

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Return field and heading."""
        field, equals, heading = (part.strip() for part in str(value).partition("="))
        if not equals or not heading:
            self.fail(f"{value!r} does not look like email=Kontakt", param, ctx)
        if field not in self._fields:
            self.fail(f"no field {field!r}; there are: {', '.join(self._fields)}", param, ctx)
        return field, heading


class Encoding(click.ParamType[str]):
    """The name of a text encoding Python knows."""

    name = "encoding"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name as it was given."""
        try:
            "x".encode(str(value))
        except LookupError:
            self.fail(f"no encoding {value!r}; such as utf-8, cp1252, utf-16", param, ctx)
        return str(value)


encoding_option = click.option(
    "--encoding", type=Encoding(), metavar="E", help="Of a CSV file, if not found."
)
rejects_option = click.option(
    "--rejects",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where refused rows go (default: rejects/ in the state folder).",
)


def tell_import(result: ImportResult, *, as_json: bool, dry_run: bool, **more: object) -> None:
    """Name the first refused rows, and print what became of all.

    Args:
        more: what the JSON object has beside the counts.
    """
    for refusal in result.refusals:
        say(f"{refusal.file}, line {refusal.line}: {refusal.reason}")
    if result.rejected:
        refused = count_of(result.rejected, "row")
        say(f"{refused} refused: correct {result.rejects_file} and import it")
    if as_json:
        about = {"rejects_file": result.rejects_file, "seconds": round(result.seconds, 3)}
        print_json({**result.counts, **about, "dry_run": dry_run, **more})
        return
    title = "Would be (nothing was changed)" if dry_run else None
    shown = [("read" if name == "rows" else name, count) for name, count in result.counts.items()]
    print_table(["", "rows"], shown, title=title)
