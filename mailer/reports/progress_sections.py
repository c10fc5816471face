"""The parts of a report of progress in Danish: figures with their words, charts and tables."""

from collections.abc import Iterable, Mapping

from mailer.reports import danish
from mailer.reports.charts import Bar, bar_chart
from mailer.reports.danish import number, percent
from mailer.reports.hiding import FEWEST, REST
from mailer.reports.progress import (
    STATES,
    EventProgress,
    LetterFigures,
    Period,
    ProgressReport,
    Standing,
)
from mailer.reports.progress_events import sum_told
from mailer.reports.report import Dimension, Engagement, Group, Page
from mailer.reports.sections import Figure, Legend, Note, Section, Table
from mailer.reports.small_numbers import FEW_HIDDEN

Titles = Mapping[str, str]
"""What people call the letters that go by themselves, by name."""

STANDINGS = {
    Standing.HELD: "holdt",
    Standing.COMING: "kommer",
    Standing.CANCELLED: "aflyst",
}
DOINGS = {
    "opens": "Åbninger",
    "clicks": "Klik",
    "downloads": "Hentninger af materialet",
    "registration_clicks": "Klik på tilmelding",
    "views": "Læst i browser",
    "unsubscribes": "Afmeldinger",
}
REASONS = {
    "unsubscribed": "Har afmeldt sig",
    "bounced": "Adressen findes ikke",
    "complained": "Har meldt brevet som spam",
    "objected": "Har gjort indsigelse",
    "manual": "Taget af listen af en medarbejder",
}
_NBSP = "\u00a0"


def period_in_words(period: Period) -> str:
    """``25. oktober 2013 til 7. april 2014``."""
    if period.first == period.last:
        return danish.day(period.first)
    return f"{danish.day(period.first)} til {danish.day(period.last)}"


def headline(report: ProgressReport) -> str:
    """The period in one sentence."""
    sent, totals = report.invitations.delivery["sent"] or 0, report.totals
    said = [f"{danish.letters(sent)} modtaget af mailserverne" if sent else "ingen breve sendt"]
    if totals.held or totals.coming:
        said.append(f"{_meetings(totals.held)} holdt")
        said.append(f"{number(totals.coming)} på vej")
    line = danish.listed(said)
    return f"{line[:1].upper()}{line[1:]}."


def _meetings(count: int) -> str:
    return f"{number(count)}{_NBSP}{'møde' if count == 1 else 'møder'}"


def key_figures(report: ProgressReport) -> list[Figure]:
    """The figures the report begins with."""
    mail, totals = report.invitations, report.totals
    letters, sent = mail.delivery["letters"], mail.delivery["sent"]
    figures = [
        Figure("Breve modtaget", number(sent), f"{percent(sent, letters)} af periodens breve"),
    ]
    for by_many, so_often, doing in (
        ("Åbnet", "Åbninger", "opens"),
        ("Klikket på et link", "Klik", "clicks"),
        ("Materialet hentet", "Hentninger", "downloads"),
        ("Tilmelding åbnet", "Klik på tilmelding", "registration_clicks"),
    ):
        done = mail.engagement[doing]
        if done.recipients is not None:
            figures.append(Figure(by_many, number(done.recipients), "breve, mindst én gang"))
        elif done.total:
            figures.append(Figure(so_often, number(done.total), "talt i alt"))
    waiting = f"og {number(totals.waiting)} på venteliste" if totals.waiting else "så vidt vi ved"
    note = waiting if totals.seated is not None else FEW_HIDDEN
    figures.append(Figure("Tilmeldt møderne", number(totals.seated), note))
    figures.append(Figure("Møder holdt", number(totals.held), _standing_words(report)))
    figures.append(
        Figure("Påmindelser", _at_least(totals.reminded), _reminder_words(report) or "breve i perioden")
    )
    figures.append(Figure("Besøg på siderne", number(report.reach.visits), "ud over modtagerne"))
    return figures


def _standing_words(report: ProgressReport) -> str:
    totals = report.totals
    said = [f"{number(totals.coming)} på vej"]
    said += [f"{number(totals.moved)} flyttet"] if totals.moved else []
    said += [f"{number(totals.cancelled)} aflyst"] if totals.cancelled else []
    return danish.listed(said)


def _reminder_words(report: ProgressReport) -> str:
    totals = report.totals
    said = []
    if totals.reminders_late:
        said.append(f"{number(totals.reminders_late)} sendt for sent")
    if totals.reminders_missed:
        said.append(f"{number(totals.reminders_missed)} ikke sendt")
    return danish.listed(said) if said else ""


def letters(report: ProgressReport, titles: Titles) -> Table | None:
    """What became of each letter; None where nothing was sent."""
    rows = [*report.letters]
    if not rows:
        return None
    headings = ["Brev", "Sendt i perioden", "Modtaget", "Afvist", "Uvist", "Andet", "Åbnet", "Klikket"]
    return Table(
        "Breve i perioden",
        headings,
        [_letter_row(letter_name(row, titles), row) for row in rows],
        "Åbnet og klikket er antal breve, også breve fra før perioden. En streg: det måles eller vises"
        " ikke. Andet er spammeldt, udsat, venter, holdt tilbage eller annulleret. Breve, der går af sig"
        " selv, er rundet ned, hver udsendelse for sig.",
    )


def letter_name(letter: LetterFigures, titles: Titles) -> str:
    """What a letter is called in the report."""
    if letter.name == REST:
        what = "automatiske breve" if letter.automatic else "breve"
        together = f" ({number(letter.names)} lagt sammen)" if letter.names > 1 else ""
        return f"Andre {what}{together}"
    return danish.clean(titles.get(letter.name, letter.name) if letter.automatic else letter.name)


def _letter_row(name: str, letter: LetterFigures) -> list[str]:
    delivery, done = letter.delivery, letter.engagement
    apart = ("sent", "bounced", "uncertain")
    counts = [delivery["letters"], *[delivery[state] for state in apart]]
    counts.append(sum_told(delivery[state] for state in STATES if state not in apart))
    return [
        name,
        *map(number, counts),
        number(done["opens"].recipients),
        number(done["clicks"].recipients),
    ]


def doings(report: ProgressReport) -> Table | None:
    """How much of what was done was done by people; None where nothing was."""
    rows = []
    for sort, mail in (("", report.invitations), ("automatiske breve: ", report.automatic)):
        for doing, name in DOINGS.items():
            done = mail.engagement[doing]
            if done.total:
                rows.append([f"{sort}{name.lower() if sort else name}".capitalize(), *_by_whom(done)])
    if not rows:
        return None
    return Table(
        "Mennesker og maskiner", ["Handling", "Breve", "I alt", "Mennesker", "Uvist", "Maskiner"], rows
    )


def _by_whom(done: Engagement) -> list[str]:
    counts = (done.recipients, done.total, done.people, done.unsure, done.machines)
    return [number(count) for count in counts]


def events(report: ProgressReport) -> Section | None:
    """How each event stands; None where there is none."""
    if not report.events:
        return None
    drawn = [(event.seated or 0, event.registration_clicks or 0) for event in report.events]
    most = max(map(max, drawn)) or 1
    bars = [
        Bar(
            _event_label(event),
            f"{_people(event.seated)} tilmeldt · {_clicks(event)} klik",
            [(clicks / most, "c-open"), (seated / most, "c-register")],
        )
        for event, (seated, clicks) in zip(report.events, drawn, strict=True)
    ]
    told = "; ".join(f"{bar.label}: {bar.words}" for bar in bars)
    return Section(
        "moeder",
        "Møderne",
        "Et klik på tilmelding er ikke en tilmelding: tilmeldt er den, der står på en liste hos os.",
        [Legend("c-register", "Tilmeldt"), Legend("c-open", "Klik på tilmelding")],
        bar_chart("moeder-graf", "Møderne: tilmeldte og klik på tilmelding", f"{told}.", bars),
        event_table(report),
    )


def event_table(report: ProgressReport) -> Table:
    """The events with what is known of interest in them."""
    return Table(
        "Møderne",
        ["Møde", "Tilmeldt", "Venteliste", "Klik på tilmelding", "Vil mindes om det", "Påmindelser"],
        [
            [
                danish.clean(event.title),
                _people(event.seated),
                _people(event.waiting),
                _clicks(event),
                _people(event.asked),
                _at_least(event.reminded),
            ]
            for event in report.events
        ],
        "Klik på tilmelding er klik i de breve, vi selv har sendt ud; klik, der ville vise, hvad nogle"
        " få har gjort, er udeladt. Påmindelser er breve, hver udsendelse rundet ned til nærmeste fem,"
        " fra hundrede til to cifre.",
        explanations=[danish.clean(event_facts(event)) for event in report.events],
    )


def _people(count: int | None) -> str:
    return number(count) if count is not None else f"færre end {FEWEST}"


def _clicks(event: EventProgress) -> str:
    return (
        _at_least(event.registration_clicks)
        if event.clicks_untold
        else number(event.registration_clicks)
    )


def _at_least(count: int | None) -> str:
    """A number that is rounded down, or from which something is left out."""
    return f"mindst {number(count)}" if count else number(count)


def event_facts(event: EventProgress) -> str:
    """When and where, how it stands, and what went wrong with its reminders."""
    facts = [danish.day(event.date), *([event.place] if event.place else [])]
    facts.append(STANDINGS[event.standing])
    if event.moved:
        facts.append("flyttet i perioden")
    if event.reminders_late:
        facts.append(f"{_reminders(event.reminders_late)} sendt for sent")
    if event.reminders_missed:
        facts.append(f"{_reminders(event.reminders_missed)} ikke sendt")
    return ", ".join(facts)


def _reminders(count: int) -> str:
    return f"{number(count)}{_NBSP}{'påmindelse' if count == 1 else 'påmindelser'}"


def _event_label(event: EventProgress) -> str:
    name = danish.shortened(danish.clean(event.region or event.title), 24)
    return f"{name}, {danish.short_day(event.date)}"


def groups(report: ProgressReport) -> list[Table]:
    """Who was written to, and what they did, by what they are; in distinct recipients."""
    tables = []
    for dimension, rows in report.by.items():
        name = danish.DIMENSIONS[dimension]
        if rows:
            headings = [
                name,
                "Modtagere",
                "Modtaget",
                "Afvist",
                "Åbnet",
                "Klikket",
                "Hentet",
                "Tilmelding",
            ]
            tables.append(
                Table(
                    f"Modtagere efter {name.lower()}",
                    headings,
                    [[group_name(dimension, row), *map(number, _group_counts(row))] for row in rows],
                )
            )
    return tables


def group_name(dimension: Dimension, group: Group) -> str:
    """What a group of recipients is called."""
    if group.value is None:
        return danish.UNKNOWN
    if group.groups > 1:
        return f"Andre ({number(group.groups)} lagt sammen)"
    if dimension is Dimension.SECTOR and group.value == "ingen":
        return "Uden for sektorerne"
    return danish.clean(group.value[:1].upper() + group.value[1:])


def _group_counts(group: Group) -> Iterable[int | None]:
    return (
        group.audience,
        group.sent,
        group.bounced,
        group.opened,
        group.clicked,
        group.downloaded,
        group.registration_clicked,
    )


def reach(report: ProgressReport) -> Table | None:
    """Readers beyond the recipients; None where there were none."""
    passed, pages = report.reach.pass_on, report.reach.pages
    if not (passed.total or pages):
        return None
    counted: list[tuple[str, Engagement | Page]] = [("Brevet, sendt videre", passed)]
    counted += [(danish.page_name(page.page), page) for page in pages]
    return Table(
        "Besøg uden for modtagerkredsen",
        ["Side", "Besøg", "Mennesker", "Uvist", "Maskiner"],
        [
            [name, number(n.total), number(n.people), number(n.unsure), number(n.machines)]
            for name, n in counted
        ],
    )


def suppressions(report: ProgressReport) -> Table | None:
    """Who gets no more mail since the period; None where nobody."""
    if not report.suppressions:
        return None
    return Table(
        "Får ikke flere breve",
        ["Årsag", "Adresser"],
        [
            [REASONS.get(reason, reason), _people(count)]
            for reason, count in sorted(
                report.suppressions.items(), key=lambda each: (-(each[1] or 0), each[0])
            )
        ],
    )


def notes(report: ProgressReport) -> list[Note]:
    """What the figures mean and do not mean."""
    told = [
        Note(
            "Modtaget er ikke læst",
            "En mailserver har taget imod brevet. Om det ligger i indbakken eller i et spamfilter,"
            " kan ingen afsender se.",
        ),
        Note(
            "Åbninger er usikre",
            "En åbning er et usynligt billede, der bliver hentet. Nogle mailprogrammer henter det, uden"
            " at nogen læser; andre viser aldrig billeder.",
        ),
        Note(
            "Et klik på tilmelding er ikke en tilmelding",
            "Tilmeldt er den, der har meldt sig på vores egen side eller står på en deltagerliste, vi"
            " har fået.",
        ),
        Note(
            "Tal, ikke personer",
            "Grupper på færre end fem lægges sammen, og tal, der ville pege på nogle få, er udeladt."
            " Hovedorganisation indgår ikke i nogen opgørelse.",
        ),
    ]
    if report.leaves_out:
        told.append(
            Note(
                "Små tal er skjult",
                f"»Færre end {FEWEST}«, »mindst« eller en streg står, hvor et tal ville vise, hvad nogle"
                " få har gjort, eller hvor andre tal ville røbe det. Summer, som det kunne regnes ud af,"
                " er udeladt, også af dem, der har afmeldt sig.",
            )
        )
    return told


def paragraphs(text: str | None) -> list[list[str]]:
    """A text's paragraphs, each its lines; without characters that no page may hold."""
    if not text:
        return []
    return [danish.clean(part).split("\n") for part in text.split("\n\n")]
