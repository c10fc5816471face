"""What the staff pages say of events and reminders, in Danish."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, time

from mailer.events.audiences import AudienceRule
from mailer.events.models import EventState, ReminderState
from mailer.events.reasons import Reason, ReasonKind
from mailer.reports import danish
from mailer.reports.danish import clean, listed
from mailer.reports.small_numbers import people, roughly

_FIELDS = {
    "title": "titel",
    "date": "dato",
    "time": "tidspunkt",
    "place": "sted",
    "address": "adresse",
    "region": "region",
    "programme_url": "program",
    "registration_url": "tilmeldingsside",
    "capacity": "antal pladser",
    "hosted": "tilmelding hos os",
    "reminders": "påmindelser",
    "state": "tilstand",
}
EVENT_STATES = {
    EventState.OPEN: "åbent",
    EventState.MOVED: "flyttet",
    EventState.FULL: "fuldt",
    EventState.CANCELLED: "aflyst",
}
OVER = "afholdt"
REMINDER_STATES = {
    ReminderState.PLANNED: "planlagt",
    ReminderState.DUE: "går nu",
    ReminderState.BLOCKED: "holdt op",
    ReminderState.MISSED: "ikke sendt",
    ReminderState.SENT: "sendt",
    ReminderState.CANCELLED: "aflyst",
}
LATE = {ReminderState.SENT: "sendt for sent", ReminderState.DUE: "skulle være gået"}
RULES = {
    AudienceRule.REGISTERED: "Tilmeldte",
    AudienceRule.ASKED: "Har bedt om at blive mindet",
    AudienceRule.CLICKED: "Har åbnet tilmeldingen",
    AudienceRule.REGION: "Andre i regionen",
}
_REASONS = {
    ReasonKind.LACKING: "mangler {fields}",
    ReasonKind.LACKED: "manglede {fields}, da den skulle gå",
    ReasonKind.TOO_LATE: "den var mere end {hours} timer forsinket",
    ReasonKind.HAD_BEGUN: "mødet var begyndt",
    ReasonKind.MOVED: "tiden var gået, før mødet blev flyttet",
    ReasonKind.TAKEN_IN: "tiden var gået, før mødet blev oprettet",
    ReasonKind.WAS_CANCELLED: "tiden gik, mens mødet var aflyst",
    ReasonKind.CANCELLED: "mødet er aflyst",
    ReasonKind.SEATS_TAKEN: "så længe alle pladser er taget",
    ReasonKind.SEATS_WERE_TAKEN: "alle pladser er taget",
    ReasonKind.CALLED_OFF: "den blev aflyst",
    ReasonKind.FORMER_TIME: "den gik efter mødets tidligere tidspunkt",
    ReasonKind.SAME_MOMENT: "den {lead} går på samme tid",
    ReasonKind.OVERTAKEN: "den næste påmindelse går i stedet",
    ReasonKind.UNKNOWN_LETTER: "der er intet påmindelsesbrev {letters}; der er: {known}",
    ReasonKind.NO_LETTER: "intet brev går {lead}, hvis mødet ikke selv nævner et",
    ReasonKind.TWO_LETTERS: "brevene {letters} er begge til denne påmindelse",
    ReasonKind.BAD_SCHEDULE: "mødets egne påmindelser er skrevet, så de ikke kan læses",
}


def field_name(field: str) -> str:
    """What a field of an event is called."""
    return _FIELDS.get(field, clean(field))


def fields_listed(fields: tuple[str, ...]) -> str:
    """Fields of an event: ``sted, adresse og program``."""
    return listed([field_name(field) for field in fields]) if fields else ""


def value_of(field: str, value: str | None) -> str:
    """What a field held, as people write it; a dash where nothing was known."""
    if value is None:
        return "–"
    readings: dict[str, Callable[[str], str]] = {
        "date": lambda text: danish.day(date.fromisoformat(text)),
        "time": lambda text: clock(time.fromisoformat(text)),
        "state": lambda text: EVENT_STATES[EventState(text)],
        "hosted": lambda text: {"true": "ja", "false": "nej"}[text.casefold()],
    }
    with suppress(ValueError, KeyError):
        return readings[field](value)
    return clean(value)


def why(reason: Reason | None) -> str | None:
    """Why a reminder does not go."""
    if reason is None:
        return None
    return _REASONS[reason.kind].format(
        fields=fields_listed(reason.fields),
        hours=reason.hours,
        lead=danish.lead(reason.lead),
        letters=" og ".join(f"»{clean(name)}«" for name in reason.letters),
        known=clean(", ".join(reason.known) or "ingen"),
    )


def audience(rule: AudienceRule, count: int) -> str:
    """To how many a reminder goes.

    All but those registered are told in round numbers: how many live in a region, clicked or asked is
    known, and what is left would tell of those who have registered since.
    """
    return people(count) if rule is AudienceRule.REGISTERED else roughly(count)


def clock(value: time | datetime) -> str:
    """``kl. 9.05``."""
    return f"kl.\u00a0{value.hour}.{value.minute:02}"


def long_day(value: date | datetime) -> str:
    """``Fredag den 21. marts 2014``."""
    words = f"{danish.weekday(value)} {value.year}"
    return words[:1].upper() + words[1:]


def moment(value: datetime) -> str:
    """``fredag den 21. marts 2014 kl. 9.05``."""
    return f"{danish.weekday(value)} {value.year} {clock(value)}"


def in_utc(local: datetime) -> str:
    """``8.05 UTC``, with the day where that is another one there."""
    utc = local.astimezone(UTC)
    day = "" if utc.date() == local.date() else f"{danish.short_day(utc)} "
    return f"{day}{utc.hour}.{utc.minute:02} UTC"
