"""Who is registered for an event, as a list to keep at the door: CSV and XLSX, in Danish.

The headings and states are words that ``registration import`` knows.
"""

import csv
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import BinaryIO, TextIO
from zoneinfo import ZoneInfo

from mailer.events.attendees import Attendee
from mailer.events.models import RegistrationState
from mailer.reports.spreadsheet import NUMBER, TEXT, Sheet, write_sheets
from recipients.cells import defuse

_HEADINGS = (
    "Navn",
    "Organisation",
    "Arbejdssted",
    "E-mail",
    "Status",
    "Nummer på ventelisten",
    "Registreret",
)
_STATES = {
    RegistrationState.SEATED: "tilmeldt",
    RegistrationState.WAITING: "venteliste",
    RegistrationState.CANCELLED: "afmeldt",
}
_FORMATS = (TEXT, TEXT, TEXT, TEXT, TEXT, NUMBER, TEXT)

_Row = tuple[str | None, str | None, str | None, str, str, int | None, str]


def write_door_csv(attendees: Sequence[Attendee], stream: TextIO, zone: ZoneInfo) -> None:
    """Write a CSV as a Danish Excel opens it; no cell can be taken for a formula.

    Args:
        stream: of ``utf-8-sig``, without newline translation.
    """
    writer = csv.writer(stream, delimiter=";", lineterminator="\r\n")
    writer.writerow(_HEADINGS)
    for row in _rows(attendees, zone):
        writer.writerow([defuse(cell) if isinstance(cell, str) else cell for cell in row])


def write_door_workbook(
    attendees: Sequence[Attendee], target: BinaryIO, zone: ZoneInfo, *, title: str, now: datetime
) -> None:
    """Write a workbook of one sheet."""
    sheet = Sheet("Tilmeldte", _HEADINGS, _FORMATS, list(_rows(attendees, zone)))
    write_sheets(target, [sheet], title=title, created=now)


def _rows(attendees: Sequence[Attendee], zone: ZoneInfo) -> Iterator[_Row]:
    for each in attendees:
        yield (
            each.name,
            each.organisation,
            each.workplace,
            each.email,
            _STATES[each.state],
            each.place,
            f"{each.registered_at.astimezone(zone):%Y-%m-%d %H:%M}",
        )
