"""Moments as one writes them on the command line."""

from datetime import datetime

import click

from mailer.campaigns.timetable import BadTimetable, parse_moment
from mailer.runtime import Runtime


def read_moment(runtime: Runtime, text: str, *, option: str) -> datetime:
    """The moment a person named, in UTC; local time unless it has an offset.

    Raises:
        click.BadParameter: it is none; the message names the option and says what to write.
    """
    try:
        return parse_moment(text, runtime.settings.zone)
    except BadTimetable as error:
        raise click.BadParameter(str(error), param_hint=option) from error
