"""Why a reminder does not go, or went otherwise than planned: one kind each, and what it is about."""

from dataclasses import dataclass
from enum import StrEnum


class ReasonKind(StrEnum):
    """What a reason says; the value is how it is said in English, which scripts read."""

    LACKING = "no {fields} yet"
    LACKED = "no {fields} in time"
    TOO_LATE = "more than {hours} hours late"
    HAD_BEGUN = "the event had begun"
    MOVED = "due before the event was moved"
    TAKEN_IN = "due before the event was taken in"
    WAS_CANCELLED = "due while the event was cancelled"
    CANCELLED = "the event does not take place"
    SEATS_TAKEN = "all seats are taken"
    """It would not go now; it goes if a seat is free again at its moment."""
    SEATS_WERE_TAKEN = "all seats were taken"
    CALLED_OFF = "it was called off"
    FORMER_TIME = "went for the former time"
    SAME_MOMENT = "the one {lead} before is due at the same moment"
    OVERTAKEN = "the next reminder of the event goes instead"
    UNKNOWN_LETTER = "no reminder letter {letters[0]!r}; there are: {known}"
    NO_LETTER = "no letter goes {lead} before an event unless it is named:  {lead}: LETTER"
    TWO_LETTERS = "letters {both} are both for this reminder: name one"
    BAD_SCHEDULE = "reminders: {fault}"


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason; as text it is the English for it."""

    kind: ReasonKind
    fields: tuple[str, ...] = ()
    """The event's fields that are not known, or came too late."""
    hours: int = 0
    """How late a reminder may be."""
    lead: str = ""
    """Of the reminder that goes instead, or that has no letter."""
    letters: tuple[str, ...] = ()
    """Those that were named, or that are both for the same reminder."""
    known: tuple[str, ...] = ()
    """The letters that might have been named."""
    fault: str = ""
    """What is wrong with the schedule, in English."""

    def __str__(self) -> str:
        """As the command line says it."""
        return self.kind.value.format(
            fields=" and no ".join(field.replace("_", " ") for field in self.fields),
            hours=self.hours,
            lead=self.lead,
            letters=self.letters,
            both=" and ".join(self.letters),
            known=", ".join(self.known) or "none",
            fault=self.fault,
        )
