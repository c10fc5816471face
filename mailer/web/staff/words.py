"""What the staff pages say of campaigns, in Danish."""

import re
from dataclasses import dataclass

from mailer.campaigns.attention import Alarm, Trouble
from mailer.reports.danish import clean, number
from mailer.reports.small_numbers import roughly

_DAYS = {
    "Mon": "mandag",
    "Tue": "tirsdag",
    "Wed": "onsdag",
    "Thu": "torsdag",
    "Fri": "fredag",
    "Sat": "lørdag",
    "Sun": "søndag",
}
_MONTHS = {
    "January": "januar",
    "February": "februar",
    "March": "marts",
    "April": "april",
    "May": "maj",
    "June": "juni",
    "July": "juli",
    "August": "august",
    "September": "september",
    "October": "oktober",
    "November": "november",
    "December": "december",
}
_MOMENT = re.compile(r"\b(\w{3}) (\d{1,2}) (\w+) (\d\d):(\d\d)\b")
_WAITING = (
    (re.compile(r"its time, (.*)"), r"på sit tidspunkt, \1"),
    (re.compile(r"somebody to resume it"), "på at nogen sætter den i gang igen"),
    (re.compile(r"its hours, (.*): it goes on (.*)"), r"på sit tidsrum, \1: den går videre \2"),
    (re.compile(r"a working day: it goes on (.*)"), r"på en hverdag: den går videre \1"),
    (re.compile(r"a worker: .*"), "på en afsender: breve er klar, og ingen tager dem"),
    (
        re.compile(r"somebody to mend a fault: .*"),
        "på, at en fejl bliver rettet: arbejdet med nogle af brevene går i stå igen og igen",
    ),
    (re.compile(r"the next part, (.*)"), r"på næste del, \1"),
    (
        re.compile(r"letters that were refused for now; the next attempt is at (\d\d):(\d\d):\d\d"),
        r"på breve, der blev udsat; næste forsøg er kl. \1.\2",
    ),
    (
        re.compile(r"the pace at which letters are taken at .*"),  # a domain may be a person's own
        "på, at modtagernes mailservere tager imod flere breve",
    ),
    (
        re.compile(r"letters that were refused for now; the next attempt is soon"),
        "på breve, der blev udsat; næste forsøg er snart",
    ),
)


@dataclass(frozen=True, slots=True)
class Words:
    """A text and its language: what a relay says stays in the relay's."""

    text: str
    language: str = "da"


def waiting(told: str | None) -> Words | None:
    """What a campaign waits for."""
    if not told:
        return None
    for pattern, words in _WAITING:
        match = pattern.fullmatch(told)
        if match:
            return Words(clean(_MOMENT.sub(_danish_moment, match.expand(words))))
    return Words(clean(told), "en")


def alarm(told: Alarm, letter: str | None = None) -> str:
    """An alarm as a sentence.

    Args:
        letter: of an automatic campaign, which is named by its letter and not by the minute it went in.
    """
    name = clean(told.campaign or "")
    if letter is not None:
        name = f"Brevet »{clean(letter)}«, der går af sig selv"
        if told.trouble is Trouble.UNCERTAIN:
            return f"{name}: {roughly(told.count or 0)} breve er uvisse. En administrator må se på dem."
        return f"{name}: er i gang, men der sker ikke noget."
    match told.trouble:
        case Trouble.UNCERTAIN:
            return f"{name}: {number(told.count)} breve er uvisse. Se, hvorfor, og tag stilling til dem."
        case Trouble.STILL if told.count is None:
            return f"{name}: er i gang, men intet brev er kommet af sted endnu."
        case Trouble.STILL:
            return f"{name}: er i gang, men der er ikke sket noget i {number(told.count)} minutter."
        case Trouble.LOST:
            return f"{number(told.count)} bundter breve er hos afsendere, der ikke giver livstegn."
        case Trouble.BROKEN:
            return (
                f"{name}: arbejdet med nogle af brevene er gået i stå {number(told.count)} gange."
                " En administrator må se, hvorfor."
            )


def pace(per_second: float | None) -> str:
    """How fast letters leave."""
    if not per_second:
        return ""
    if per_second >= 1:
        return f"{number(round(per_second))} breve i sekundet"
    return f"{number(round(per_second * 60, 1)).replace('.', ',')} breve i minuttet"


def _danish_moment(match: re.Match[str]) -> str:
    day, date, month, hour, minute = match.groups()
    if day not in _DAYS or month not in _MONTHS:
        return match[0]
    return f"{_DAYS[day]} den {date}. {_MONTHS[month]} kl. {int(hour)}.{minute}"
