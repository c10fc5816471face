"""The spring of 2014 rehearsed day by day: who got which letter when, by a table written by hand."""

import email
import html
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from email.policy import default
from email.utils import parsedate_to_datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select

from mailer.campaigns.account import reconcile
from mailer.campaigns.audience import is_suppressed
from mailer.campaigns.models import Campaign
from mailer.events.audiences import interested_recipients
from mailer.events.catalogue import find_event
from mailer.foundation.clock import set_rehearsal
from mailer.foundation.settings import load_settings
from mailer.notices.reminders import launch_due_reminders
from mailer.runtime import Runtime, open_runtime
from mailer.tasks.ring import ring
from recipients.models import Recipient
from tests.conftest import SECRET_KEY, SUPPRESSION_KEY
from tests.journey.service import Service, running_service, wait_for

DENMARK = ZoneInfo("Europe/Copenhagen")
EVENTS = Path(__file__).parents[2] / "templates/letters/startpakke/events.toml"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
FIRST, LAST = date(2014, 3, 1), date(2014, 6, 30)
MONTHS = ("January", "February", "March", "April", "May", "June")
PEOPLE = ("anne", "bent", "carl", "dorte", "erik", "fie", "gert", "hans", "ida", "jens", "karen")

# Day of 2014, letter, event, to whom. All of them leave at nine o'clock, Danish time.
EXPECTED = """
10 March  paamindelse            hovedstaden  anne
17 March  paamindelse            hovedstaden  anne bent
21 March  paamindelse-dagen-foer hovedstaden  anne bent
24 March  paamindelse            midtjylland  erik
24 March  stadig-plads           midtjylland  carl
24 March  vi-ses                 midtjylland  dorte
31 March  stadig-plads           midtjylland  carl
31 March  vi-ses                 midtjylland  dorte
4 April   vi-ses                 midtjylland  carl dorte
28 April  paamindelse            syddanmark   fie jens karen
5 May     paamindelse            syddanmark   fie karen
9 May     paamindelse-dagen-foer syddanmark   fie karen
2 June    paamindelse            nordjylland  gert karen
6 June    paamindelse            nordjylland  gert karen
10 June   paamindelse            sjaelland    hans
13 June   paamindelse-dagen-foer nordjylland  gert karen
16 June   paamindelse-dagen-foer sjaelland    hans
"""


class Spring:
    """The service in the spring of 2014, its clock turned from outside."""

    def __init__(self, service: Service, runtime: Runtime) -> None:
        self.service = service
        self._runtime = runtime
        self._letters: dict[str, str] = {}

    def turn_to(self, day: date, clock: str) -> None:
        """Let every process see this moment."""
        moment = datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=DENMARK)
        set_rehearsal(self._runtime.settings.state_dir, moment)

    def tick(self) -> None:
        """What Beat asks for every minute; the letters go through the service's own workers."""
        tools, database = self._runtime.launch_tools, self._runtime.database
        launched = launch_due_reminders(tools, database, now=self._runtime.clock.now())
        ring(self._runtime.settings, [one.campaign_id for one in launched if one.campaign_id])

    def read_letters(self) -> None:
        """Keep what the covering letter said to each."""
        for kept in self.service.kept():
            self._letters[kept.recipient.partition("@")[0]] = self._text_of(kept.file)

    def _text_of(self, file: str) -> str:
        raw = (self.service.folder / "sink" / file).read_bytes()
        body = email.message_from_bytes(raw, policy=default).get_body(("html",))
        assert body is not None
        return html.unescape(str(body.get_content()))

    def ask(self, name: str, slug: str, choice: str = "remind") -> None:
        """Press the button behind "remind me" in the letter."""
        (page,) = set(re.findall(rf'"([^"]*/r/[^"]*/{slug})"', self._letters[name]))
        assert self.service.post(page, f"choice={choice}") == 200

    def click_registration(self, name: str, slug: str) -> None:
        """Follow the link to somebody else's form, which is not there."""
        listed = self.service.read("campaign", "link", "list", "startpakke")["links"]
        number = next(row["number"] for row in listed if row["key"] == f"events.registration/{slug}")
        (link,) = set(re.findall(rf'"([^"]*/c/[^"/]*/{number})"', self._letters[name]))
        self.service.follow(link, agent=FIREFOX)

    def say_no(self, name: str) -> None:
        """The mail program's own button: no more mail at all."""
        (page,) = set(re.findall(r'"([^"]*/u/[^"]*)"', self._letters[name]))
        assert self.service.post(page, "List-Unsubscribe=One-Click") == 200

    def wait_until_interested(self, slug: str, count: int) -> None:
        """Wait until the drainer has moved what people did."""

        def look() -> bool:
            with self._runtime.database.read() as db:
                everybody = interested_recipients(find_event(db, slug).id).subquery()
                return db.scalar(select(func.count()).select_from(everybody)) == count

        wait_for(look)

    def wait_until_suppressed(self, name: str) -> None:
        """Wait until somebody's no is in force."""

        def look() -> bool:
            with self._runtime.database.read() as db:
                wanted = Recipient.email == f"{name}@kommune.example"
                return db.scalar(select(Recipient.id).where(wanted, is_suppressed())) is not None

        wait_for(look)

    def states(self, slug: str) -> dict[str, tuple[str, str | None]]:
        """The reminders of those who asked: state and reason by lead."""
        rows = self.service.read("reminder", "plan")["reminders"]
        return {
            row["lead"]: (row["state"], row["reason"])
            for row in rows
            if row["event"] == slug and row["rule"] == "asked"
        }

    def sent(self) -> list[tuple[datetime, str, str, str]]:
        """Every reminder the sink took: when by its own Date, which letter, which event, to whom."""
        with self._runtime.database.read() as db:
            rows = db.execute(select(Campaign.id, Campaign.letter))
            letters = {str(row.id): row.letter for row in rows}
        slugs = {row["title"]: row["slug"] for row in self.service.read("event", "list")["events"]}
        found = []
        for kept in self.service.kept():
            raw = (self.service.folder / "sink" / kept.file).read_bytes()
            message = email.message_from_bytes(raw, policy=default)
            letter = letters[str(message["Feedback-ID"]).partition(":")[0]]
            if letter == "startpakke":
                continue
            plain = message.get_body(("plain",))
            assert plain is not None
            told = " ".join(str(plain.get_content()).split())
            (slug,) = {slug for title, slug in slugs.items() if title in told}
            at = parsedate_to_datetime(str(message["Date"])).astimezone(DENMARK).replace(second=0)
            found.append((at, letter, slug, kept.recipient.partition("@")[0]))
        return sorted(found)

    def reconcile(self) -> dict[str, tuple[bool, bool]]:
        """Of every campaign, whether its ledger adds up and is complete."""
        with self._runtime.database.read() as db:
            campaigns = db.scalars(select(Campaign)).all()
            told = {campaign.name: reconcile(db, campaign) for campaign in campaigns}
        return {name: (one.ok, one.complete) for name, one in told.items()}


@pytest.fixture
def spring(tmp_path: Path, postgres_url: str) -> Iterator[Spring]:
    with running_service(tmp_path, postgres_url) as service, _opened(service) as runtime:
        yield Spring(service, runtime)


@contextmanager
def _opened(service: Service) -> Iterator[Runtime]:
    environment = service.environment
    settings = load_settings(
        state_dir=Path(environment["MAILER_STATE_DIR"]),
        database_url=environment["MAILER_DATABASE_URL"],
        smtp_relays=SecretStr(environment["MAILER_SMTP_RELAYS"]),
        public_url=environment["MAILER_PUBLIC_URL"],
        sender=environment["MAILER_SENDER"],
        clock=environment["MAILER_CLOCK"],
        secret_key=SECRET_KEY,
        suppression_key=SUPPRESSION_KEY,
    )
    runtime = open_runtime(settings)
    try:
        yield runtime
    finally:
        runtime.database.dispose()


def test_everybody_gets_what_the_table_says_on_the_day_it_says(spring: Spring) -> None:
    service = spring.service
    expected = _read_expected()
    days = {moment.date() for moment, *_ in expected}
    happenings = _happenings(spring)
    day = FIRST
    while day <= LAST:
        if day in days:
            spring.turn_to(day, "08:59:00")
            spring.tick()
        spring.turn_to(day, "09:00:20")
        spring.tick()
        if day in days:  # those who leave a list at noon still got the letter of nine o'clock
            so_far = sum(moment.date() <= day for moment, *_ in expected)
            wait_for(lambda count=so_far: len(service.kept()) >= len(PEOPLE) + count)
        spring.turn_to(day, "12:00:00")
        for happening in happenings.pop(day, ()):
            happening()
        day += timedelta(days=1)
    assert not happenings

    assert spring.sent() == expected
    assert set(spring.reconcile().values()) == {(True, True)}
    assert spring.states("sjaelland")["14 days"] == ("missed", "no place in time")


def _happenings(spring: Spring) -> dict[date, list[Callable[[], object]]]:
    """What people and staff do, by day."""
    service = spring.service

    def update(slug: str, *options: str) -> Callable[[], object]:
        return lambda: service.run("event", "update", slug, *options)

    def ask(name: str, *slugs: str) -> Callable[[], object]:
        return lambda: [spring.ask(name, slug) for slug in slugs]

    return {
        date(2014, 3, 1): [lambda: _begin(service)],
        date(2014, 3, 7): [lambda: _send_the_letter(spring)],
        date(2014, 3, 8): [
            ask("anne", "hovedstaden"),
            ask("erik", "midtjylland"),
            ask("hans", "sjaelland"),
            ask("jens", "syddanmark"),
            ask("karen", "syddanmark", "nordjylland"),
            lambda: spring.wait_until_interested("nordjylland", 1),
        ],
        date(2014, 3, 10): [
            lambda: spring.click_registration("carl", "midtjylland"),
            lambda: spring.wait_until_interested("midtjylland", 2),
        ],
        date(2014, 3, 12): [
            ask("bent", "hovedstaden"),
            lambda: spring.wait_until_interested("hovedstaden", 2),
            update("hovedstaden", "--time", "09:30"),
        ],
        date(2014, 3, 20): [
            lambda: _register(service, "dorte"),
            update("midtjylland", "--time", "10:00"),
        ],
        date(2014, 3, 26): [
            lambda: spring.say_no("erik"),
            lambda: spring.wait_until_suppressed("erik"),
        ],
        date(2014, 4, 1): [lambda: _register(service, "dorte", "carl")],
        date(2014, 4, 10): [
            ask("fie", "syddanmark"),
            lambda: spring.wait_until_interested("syddanmark", 3),
        ],
        date(2014, 4, 29): [
            lambda: spring.ask("jens", "syddanmark", "undo"),
            lambda: spring.wait_until_interested("syddanmark", 2),
        ],
        date(2014, 5, 1): [
            ask("gert", "nordjylland"),
            lambda: spring.wait_until_interested("nordjylland", 2),
        ],
        date(2014, 5, 2): [update("syddanmark", "--time", "09:00")],
        date(2014, 6, 2): [lambda: _assert_blocked(spring)],
        date(2014, 6, 5): [update("sjaelland", "--place", "Roskilde Kongrescenter")],
        date(2014, 6, 10): [update("nordjylland", "--time", "13:00")],
        date(2014, 6, 12): [update("sjaelland", "--time", "09:30")],
    }


def _begin(service: Service) -> None:
    service.run("event", "import", str(EVENTS))
    rows = [f"{name}@kommune.example;{name.title()} Jensen;tillidsrepræsentant" for name in PEOPLE]
    path = service.folder / "liste.csv"
    path.write_text("\n".join(["E-mail;Navn;Stilling", *rows, ""]), encoding="utf-8")
    service.run("recipient", "import", str(path))
    blocked = {
        (row["event"], row["lead"])
        for row in service.read("reminder", "plan")["reminders"]
        if row["state"] == "blocked" and row["rule"] == "asked"
    }
    others = ("hovedstaden", "midtjylland", "syddanmark", "nordjylland")
    assert blocked == {
        *((slug, "1 day") for slug in others),
        *(("sjaelland", lead) for lead in ("14 days", "7 days", "1 day")),
    }


def _send_the_letter(spring: Spring) -> None:
    service = spring.service
    service.run(
        *("campaign", "create", "startpakke", "--letter", "startpakke", "--tracking", "personal"),
        *("--legal-basis", "a public task"),
    )
    service.run("campaign", "queue", "startpakke", "--yes")
    service.wait_until_finished("startpakke")
    spring.read_letters()


def _register(service: Service, *names: str) -> None:
    """Somebody else's form has these people on its list."""
    path = service.folder / "deltagere.csv"
    path.write_text("\n".join(["E-mail", *(f"{name}@kommune.example" for name in names), ""]))
    service.run("registration", "import", "midtjylland", str(path))


def _assert_blocked(spring: Spring) -> None:
    """A day before the first reminder of Sjælland is due it still has no place."""
    states = spring.states("sjaelland")
    assert {lead: state for lead, (state, _) in states.items()} == dict.fromkeys(
        ("14 days", "7 days", "1 day"), "blocked"
    )
    told = spring.service.read("status", code=1)
    assert any("sjaelland" in alarm for alarm in told["alarms"])


def _read_expected() -> list[tuple[datetime, str, str, str]]:
    expected = []
    for line in EXPECTED.strip().splitlines():
        number, month, letter, event, *names = line.split()
        moment = datetime(2014, MONTHS.index(month) + 1, int(number), 9, tzinfo=DENMARK)
        expected += [(moment, letter, event, name) for name in names]
    return sorted(expected)
