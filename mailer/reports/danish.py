"""Danish for the report's page: numbers, days, the names of things, and sentences made of figures."""

import re
from collections.abc import Sequence
from datetime import date, datetime

from mailer.reports.report import CampaignReport, Dimension, EventFigures, Group, Moment

_NBSP = "\u00a0"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_WEEKDAYS = ("mandag", "tirsdag", "onsdag", "torsdag", "fredag", "lørdag", "søndag")
_MONTHS = (
    "januar",
    "februar",
    "marts",
    "april",
    "maj",
    "juni",
    "juli",
    "august",
    "september",
    "oktober",
    "november",
    "december",
)
UNKNOWN = "Ikke oplyst"

STATES = {
    "sent": (
        "Modtaget af mailserveren",
        "Mailserveren har taget imod brevet. Det er ikke det samme som læst.",
    ),
    "bounced": ("Afvist", "Adressen findes ikke, eller modtagerens mailserver ville ikke have brevet."),
    "complained": (
        "Meldt som spam",
        "Modtageren har meldt brevet som uønsket. Adressen får ikke flere breve.",
    ),
    "deferred": ("Udsat", "Mailserveren har bedt os vente. Brevet bliver prøvet igen."),
    "pending": ("Venter", "Brevet er klar, men endnu ikke tilbudt nogen mailserver."),
    "claimed": ("Ved at blive sendt", "Brevet er på vej ud i dette øjeblik."),
    "uncertain": (
        "Uvist",
        "Forbindelsen blev brudt, før svaret kom. Brevet kan være nået frem, og det kan det ikke.",
    ),
    "failed": (
        "Kunne ikke sendes",
        "Brevet kunne ikke dannes, eller ingen mailserver kunne tage adressen.",
    ),
    "suppressed": ("Holdt tilbage", "Adressen har sagt nej tak eller er uden for en prøveudsendelse."),
    "cancelled": ("Annulleret", "Udsendelsen blev stoppet, før brevet kom af sted."),
}
"""Per state of a delivery: its name, and what it means; in the order in which the page shows them."""

DIMENSIONS = {
    Dimension.ROLE: "Rolle",
    Dimension.SECTOR: "Sektor",
    Dimension.REGION: "Region",
    Dimension.ORGANISATION: "Organisation",
    Dimension.EVENT: "Møde",
    Dimension.LINK: "Link",
    Dimension.DOMAIN: "Maildomæne",
}
CAMPAIGN_STATES = {
    "draft": "kladde",
    "scheduled": "planlagt",
    "sending": "i gang",
    "paused": "på pause",
    "finished": "afsluttet",
    "cancelled": "annulleret",
}
TRACKING = {
    "none": "Der måles ikke på dette brev.",
    "anonymous": "Der tælles uden at vide, hvem der læser: hvor ofte, men ikke hos hvor mange.",
    "consent": "Kun de modtagere, der har sagt ja, indgår i antal modtagere; andre tælles for sig.",
    "personal": "Åbninger og klik er knyttet til brevet. Rapporten viser kun samlede tal.",
}
_UNITS = {"day": "dag", "days": "dage", "hour": "time", "hours": "timer"}
_LINKS = {
    "pack": "Startpakken som PDF",
    "pack_page": "Startpakken",
    "principles": "De syv principper",
    "events_page": "Alle møder",
}
_EVENT_LINKS = {
    "registration": "Tilmelding",
    "programme": "Program",
    "calendar": "Kalender",
    "page": "Om mødet",
}
_PAGES = {
    "startpakke": "Startpakken",
    "startpakke.pdf": "Startpakken som PDF",
    "principper": "De syv principper",
}


def clean(text: str) -> str:
    """The text without characters that no page or drawing may hold (XML 1.0 §2.2)."""
    return _CONTROL.sub("\ufffd", text)


def number(value: float | None) -> str:
    """1.987 for 1987; a dash for what nobody knows."""
    return "–" if value is None else f"{value:,}".replace(",", ".")


def percent(part: int | None, whole: int | None) -> str:
    """A share in whole percent, finer only where that would claim nought or all.

    1,987 of 2,000 are 99,4 %, never "100 %" while something is missing.
    """
    if part is None or not whole:
        return "–"
    tenths = (2000 * part + whole) // (2 * whole)  # half up, as people round, and no float's 99.35
    if part and not tenths:
        return f"under 0,1{_NBSP}%"
    if 0 < tenths < 10 or (part < whole and tenths > 990):
        tenths = min(tenths, 999)
        return f"{tenths // 10},{tenths % 10}{_NBSP}%"
    return f"{(200 * part + whole) // (2 * whole)}{_NBSP}%"


def day(value: date | datetime) -> str:
    """``24. marts 2014``."""
    return f"{short_day(value)} {value.year}"


def short_day(value: date | datetime) -> str:
    """``24. marts``."""
    return f"{value.day}.{_NBSP}{_MONTHS[value.month - 1]}"


def weekday(value: date | datetime) -> str:
    """``mandag den 24. marts``."""
    return f"{_WEEKDAYS[value.weekday()]} den {short_day(value)}"


def moment(value: datetime) -> str:
    """``7. marts 2014 kl. 9.05``."""
    return f"{day(value)} kl.{_NBSP}{value.hour}.{value.minute:02}"


def short_moment(value: datetime, step: str) -> str:
    """A label for an axis: ``kl. 14`` or ``7/3``."""
    return f"kl.{_NBSP}{value.hour}" if step == "hour" else f"{value.day}/{value.month}"


def letters(count: int) -> str:
    """``1 brev``, ``2.000 breve``."""
    return f"{number(count)}{_NBSP}{'brev' if count == 1 else 'breve'}"


def group_name(dimension: Dimension, group: Group, report: CampaignReport) -> str:
    """What a value of a dimension is called on the page."""
    if group.value is None:
        return UNKNOWN
    if group.groups > 1:
        return f"Andre ({number(group.groups)} lagt sammen)"
    if dimension is Dimension.EVENT:
        return event_name(group.value, report.events)
    if dimension is Dimension.LINK:
        return link_name(group.value, report.events)
    if dimension is Dimension.SECTOR and group.value == "ingen":
        return "Uden for sektorerne"
    if dimension in {Dimension.ROLE, Dimension.SECTOR}:
        return clean(group.value[:1].upper() + group.value[1:])
    return clean(group.value)


def event_name(slug: str, events: Sequence[EventFigures]) -> str:
    """The event's region, by which people tell them apart; else its title or slug."""
    for event in events:
        if event.slug == slug:
            return clean(event.region or event.title)
    return clean(slug)


def shortened(text: str, limit: int = 30) -> str:
    """The text, cut for a drawing; the table beside it has all of it."""
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def link_name(key: str, events: Sequence[EventFigures]) -> str:
    """What a link of the letter leads to, in words."""
    head, _, slug = key.partition("/")
    if head in _LINKS and not slug:
        return _LINKS[head]
    kind = _EVENT_LINKS.get(head.removeprefix("events."))
    if head.startswith("events.") and kind:
        return f"{kind}: {event_name(slug, events)}"
    return clean(key)


def lead(text: str) -> str:
    """``14 dage før`` for ``14 days``."""
    count, _, unit = text.partition(" ")
    return f"{clean(count)}{_NBSP}{_UNITS[unit]} før" if unit in _UNITS else clean(text)


def page_name(page: str | None) -> str:
    """What a public page is called."""
    if not page:
        return "Andre sider"
    return _PAGES.get(page, clean(page))


def headline(report: CampaignReport) -> str:
    """The campaign in one sentence, true at every stage of it."""
    counts = report.delivery
    audience, sent = counts["audience"], counts["sent"]
    waiting = counts["pending"] + counts["claimed"] + counts["deferred"]
    if not audience:
        return "Brevet er ikke sendt endnu."
    if not sent:
        ready = f"{letters(audience)} er klar til at blive sendt."
        return ready if waiting else "Ingen breve er modtaget af mailserveren."
    if sent < audience:
        subject = f"{number(sent)} af {letters(audience)}"
    else:
        subject = "Brevet" if audience == 1 else f"Alle {letters(audience)}"
    so_far = " indtil nu" if waiting else ""
    return f"{subject} er modtaget af mailserveren{so_far}{_and_opened(report, sent)}."


def _and_opened(report: CampaignReport, sent: int) -> str:
    opens = report.engagement.opens
    if opens.recipients:
        return f"; {percent(opens.recipients, sent)} er åbnet mindst én gang"
    return f"; der er talt {number(opens.total)} åbninger" if opens.total else ""


def lede(report: CampaignReport) -> str:
    """What was done with the letter, in a sentence; empty where nothing was."""
    done = report.engagement
    if done.clicks.recipients:
        who = "modtager" if done.clicks.recipients == 1 else "modtagere"
        parts = [f"{number(done.clicks.recipients)}{_NBSP}{who} har klikket på et link"]
        if done.downloads.recipients:
            parts.append(f"{number(done.downloads.recipients)} har hentet materialet")
        if done.registration_clicks.recipients:
            signing = number(done.registration_clicks.recipients)
            parts.append(f"{signing} har åbnet tilmeldingen til et møde")
        if done.registrations.recipients:
            parts.append(f"{number(done.registrations.recipients)} er tilmeldt")
        return f"{listed(parts)}."
    if done.clicks.total:
        parts = [f"{number(done.clicks.total)} klik"]
        if done.downloads.total:
            parts.append(f"{number(done.downloads.total)} hentninger af materialet")
        if done.registration_clicks.total:
            parts.append(f"{number(done.registration_clicks.total)} klik på tilmelding")
        if done.registrations.total:
            parts.append(f"{number(done.registrations.total)} tilmeldt til et møde")
        return f"Der er talt {listed(parts)}."
    return ""


def listed(parts: Sequence[str]) -> str:
    """``a, b og c``."""
    return " og ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def busiest(moments: Sequence[Moment], step: str) -> str:
    """When most was opened, in a sentence; clicks where nothing was opened.

    Nothing where any moment's count is hidden: it may be higher than those that are told.
    """
    opened = any(moment.opens for moment in moments)
    counts = [moment.opens if opened else moment.clicks for moment in moments]
    told = [count for count in counts if count is not None]
    if not any(told) or len(told) < len(counts):
        return ""
    count = max(told)
    top = moments[counts.index(count)]
    when = weekday(top.start)
    if step == "hour":
        when += f" mellem kl.{_NBSP}{top.start.hour} og {(top.start.hour + 1) % 24}"
    what = ("åbning" if count == 1 else "åbninger") if opened else "klik"
    return f"Flest på én {'time' if step == 'hour' else 'dag'}: {number(count)} {what} {when}."
