"""What the staff pages say of events and reminders, in Danish."""

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, time

from mailer.events.audiences import AudienceRule
from mailer.events.models import EventState, ReminderState
from mailer.events.reminders import ALL_SEATS_TAKEN
from mailer.reports import danish
from mailer.reports.danish import clean, listed
from mailer.reports.small_numbers import people, roughly
from mailer.web.staff_words import Words

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
_REASONS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"more than (\d+) hours late"), r"den var mere end \1 timer forsinket"),
    (re.compile(r"the event had begun"), "mødet var begyndt"),
    (re.compile(r"the next reminder of the event goes instead"), "den næste påmindelse går i stedet"),
    (re.compile(r"the event does not take place"), "mødet er aflyst"),
    (re.compile(r"all seats were taken"), "alle pladser er taget"),
    (re.compile(ALL_SEATS_TAKEN), "så længe alle pladser er taget"),
    (re.compile(r"due before the event was moved"), "tiden var gået, før mødet blev flyttet"),
    (re.compile(r"due before the event was taken in"), "tiden var gået, før mødet blev oprettet"),
    (re.compile(r"due while the event was cancelled"), "tiden gik, mens mødet var aflyst"),
    (re.compile(r"went for the former time"), "den gik efter mødets tidligere tidspunkt"),
)
_HOLE = re.compile(r"no (.+) yet")
_SAME_MOMENT = re.compile(r"the one (.+) before is due at the same moment")


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


def why(reason: str | None) -> Words | None:
    """Why a reminder does not go; in English where no Danish is known for it."""
    if not reason:
        return None
    hole = _HOLE.fullmatch(reason)
    if hole:
        fields = tuple(name.replace(" ", "_") for name in hole[1].split(" and no "))
        return Words(f"mangler {fields_listed(fields)}")
    same = _SAME_MOMENT.fullmatch(reason)
    if same:
        return Words(f"den {danish.lead(same[1])} går på samme tid")
    for pattern, words in _REASONS:
        match = pattern.fullmatch(reason)
        if match:
            return Words(match.expand(words))
    return Words(clean(reason), "en")


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
