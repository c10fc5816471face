"""One row of an attendance list: who it is, and whether they come."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mailer.events.models import RegistrationState
from recipients.cells import undo_defuse
from recipients.columns import Layout
from recipients.entries import RowRefused, read_entry, tidy
from recipients.tables import Row
from recipients.words import fold

_STATES: Mapping[RegistrationState, Sequence[str]] = {
    RegistrationState.SEATED: (
        "seated",
        "tilmeldt",
        "bekræftet",
        "deltager",
        "plads",
        "ja",
        "x",
        "1",
        "sand",
        "registered",
        "confirmed",
        "attending",
        "yes",
        "true",
    ),
    RegistrationState.WAITING: (
        "waiting",
        "venteliste",
        "på venteliste",
        "venter",
        "waiting list",
        "on the waiting list",
        "waitlist",
        "waitlisted",
    ),
    RegistrationState.CANCELLED: (
        "cancelled",
        "canceled",
        "afmeldt",
        "afbud",
        "meldt afbud",
        "annulleret",
        "deltager ikke",
        "nej",
        "0",
        "falsk",
        "withdrawn",
        "declined",
        "not attending",
        "no",
        "false",
    ),
}
_STATE_OF = {fold(word): state for state, words in _STATES.items() for word in words}
_ASKING = ("tilmeldt", "registered", "attending")
"""Headings that ask a question, so that an empty cell below them is no yes."""
_HEADINGS = (
    "status",
    "state",
    "tilmeldingsstatus",
    "deltagerstatus",
    "registration status",
    *_ASKING,
)
"""Headings of the column with the state; the first of them that a list has is the one."""
_DAY = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}\b.*")


class Attendance(NamedTuple):
    """What one row says."""

    line: int
    email: str
    email_key: str
    name: str | None
    organisation: str | None
    state: RegistrationState


@dataclass(frozen=True, slots=True)
class StateColumn:
    """Where a list says who has a seat, waits, or does not come."""

    index: int
    asks: bool
    """Its heading asks whether they are registered: an empty cell does not say yes."""


def find_state_column(layout: Layout, heading: str | None) -> StateColumn | None:
    """The column that says who has a seat, if there is one.

    Args:
        heading: named by hand; then no other will do.
    """
    folded = [fold(text) for text in layout.headings]
    for wanted in [fold(heading)] if heading else map(fold, _HEADINGS):
        if wanted in folded:
            return StateColumn(folded.index(wanted), wanted in map(fold, _ASKING))
    return None


def read_attendance(row: Row, *, layout: Layout, column: StateColumn | None) -> Attendance:
    """What a row says; nothing else that stands in it is kept.

    Args:
        column: None: everybody on the list has a seat.

    Raises:
        RowRefused: too long or too many cells, or a state that is no word we know.
        BadAddress: the address cannot be one.
    """
    entry = read_entry([undo_defuse(cell) for cell in row.cells], layout)
    return Attendance(
        row.line,
        entry.email,
        entry.email_key,
        entry.name,
        entry.organisation or entry.workplace,
        _read_state(row.cells, column) if column else RegistrationState.SEATED,
    )


def _read_state(cells: Sequence[str], column: StateColumn) -> RegistrationState:
    text = tidy(cells[column.index]) if column.index < len(cells) else ""
    if not text and column.asks:
        raise RowRefused("does not say whether they are registered: ja or nej")
    if not text or _DAY.fullmatch(text):  # the day on which they registered
        return RegistrationState.SEATED
    state = _STATE_OF.get(fold(text))
    if state is None:
        raise RowRefused("the status is none of tilmeldt, venteliste, afmeldt, ja, nej")
    return state
